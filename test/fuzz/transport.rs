//! A connection in memory: bytes that arrive in pieces, and room for so many of the answer.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use swob_gateway::http::{Limits, Transport};

/// So small that a short input reaches every bound.
pub const LIMITS: Limits = Limits {
    idle: Duration::from_secs(60),
    head: Duration::from_secs(60),
    body: Duration::from_secs(60),
    request: Duration::from_secs(60),
    max_head: 256,
    max_body: 64,
};

pub struct Bytes<'a> {
    pub input: &'a [u8],
    /// How many bytes arrive at once.
    pub piece: usize,
    pub output: Vec<u8>,
    /// How many bytes of output the peer takes before it stops to read.
    pub room: usize,
    /// Whether the peer stays when all has arrived.
    pub open: bool,
}

impl<'a> Bytes<'a> {
    /// A peer that sends, reads everything, and goes.
    pub fn new(input: &'a [u8], piece: usize) -> Self {
        Bytes { input, piece, output: Vec::new(), room: usize::MAX, open: false }
    }
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.open && self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = self.piece.min(buffer.len());
        self.input.read(&mut buffer[..n])
    }
}

impl Write for Bytes<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let n = buffer.len().min(self.room - self.output.len());
        if n == 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.output.extend(&buffer[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Bytes<'_> {
    fn wait_until(&mut self, _: Instant) {}
}
