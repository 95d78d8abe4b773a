//! Waits that end at one absolute deadline, whatever trickles in before.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A TCP connection whose waits end with [`io::ErrorKind::WouldBlock`], as the kernel's do.
pub struct Timed {
    pub tcp: Arc<TcpStream>,
    pub deadline: Option<Instant>,
}

impl Timed {
    /// Sets the time that is left, for the next call alone.
    pub fn bound(
        &self,
        set: fn(&TcpStream, Option<Duration>) -> io::Result<()>,
    ) -> io::Result<&TcpStream> {
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            set(&self.tcp, Some(left))?;
        }
        Ok(&self.tcp)
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bound(TcpStream::set_read_timeout)?.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.bound(TcpStream::set_write_timeout)?.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
