//! Reading in turns: nobody who sends without an end keeps a reader for ever.

use std::io::{self, Read, Write};

/// What is read in turns.
pub trait Turns {
    /// From now on so many bytes come off the line, TLS's own among them.
    fn begin_turn(&mut self, bytes: usize);
    /// How many of the turn's bytes are left.
    fn left(&self) -> usize;
}

/// A stream that gives a turn's bytes, and then says that there are no more.
pub struct Metered<S> {
    stream: S,
    left: usize,
}

impl<S> Metered<S> {
    /// The first turn has no end.
    pub fn new(stream: S) -> Self {
        Metered { stream, left: usize::MAX }
    }

    /// The stream itself.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The stream itself.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S> Turns for Metered<S> {
    fn begin_turn(&mut self, bytes: usize) {
        self.left = bytes;
    }

    fn left(&self) -> usize {
        self.left
    }
}

impl<S: Read> Read for Metered<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let most = buffer.len().min(self.left);
        let read = self.stream.read(&mut buffer[..most])?;
        self.left -= read;
        Ok(read)
    }
}

impl<S: Write> Write for Metered<S> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
