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

    /// A wait with an end is broken off when the process is stopped and goes on, as by a container
    /// that is paused (signal(7)): it is no fault of the peer's.
    pub fn whole<T>(&self, mut wait: impl FnMut(&Self) -> io::Result<T>) -> io::Result<T> {
        loop {
            match wait(self) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.whole(|timed| timed.bound(TcpStream::set_read_timeout)?.read(buffer))
    }
}

impl Write for Timed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.whole(|timed| timed.bound(TcpStream::set_write_timeout)?.write(buffer))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
