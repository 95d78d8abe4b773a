//! How much a peer has said that has nothing to say: in messages, control frames and bytes, so that
//! no kind of frame is free, a message without an end neither.

use std::io::{self, Read, Write};

use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

use super::{SocketLimits, close};

/// How many messages are read before others get the socket's lock,
const TURN: usize = 16;
/// and how many bytes: the parts of one long message count as none.
const TURN_BYTES: usize = 16 * 1024;

/// A stream that gives a turn's bytes, and then says that there are no more.
pub struct Metered<S> {
    stream: S,
    left: usize,
}

impl<S> Metered<S> {
    /// The first turn begins with [`Heard::listen`].
    pub fn new(stream: S) -> Self {
        Metered { stream, left: 0 }
    }

    /// The stream itself.
    pub fn get_ref(&self) -> &S {
        &self.stream
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

/// What one peer has sent.
#[derive(Debug, Default)]
pub struct Heard {
    /// Messages in all.
    pub messages: u32,
    /// Pings and pongs since our last ping.
    pub controls: u32,
    /// Bytes since our last ping.
    pub bytes: usize,
    /// Our pings in a row that nothing answered.
    pub misses: u32,
}

impl Heard {
    /// Notes a ping of ours.
    pub fn ping(&mut self) {
        self.misses += 1;
        (self.controls, self.bytes) = (0, 0);
    }

    /// Reads one turn of messages and counts them.
    ///
    /// # Errors
    /// [`Error::ConnectionClosed`] also after a close for too many of them.
    pub fn listen<S: Read + Write>(
        &mut self,
        line: &mut WebSocket<Metered<S>>,
        limits: &SocketLimits,
    ) -> Result<(), Error> {
        line.get_mut().left = TURN_BYTES;
        let read = self.read(line);
        self.bytes += TURN_BYTES - line.get_ref().left;
        if self.exceeds(limits) {
            close(line, CloseCode::Policy)?;
            return Err(Error::ConnectionClosed);
        }
        match read {
            Err(Error::Io(error))
                if error.kind() == io::ErrorKind::WouldBlock && line.get_ref().left == 0 =>
            {
                Ok(())
            }
            read => read,
        }
    }

    fn read<S: Read + Write>(&mut self, line: &mut WebSocket<S>) -> Result<(), Error> {
        for _ in 0..TURN {
            match line.read()? {
                Message::Pong(_) => (self.misses, self.controls) = (0, self.controls + 1),
                Message::Ping(_) => self.controls += 1,
                Message::Text(_) | Message::Binary(_) => self.messages += 1,
                Message::Close(_) | Message::Frame(_) => {}
            }
        }
        Ok(())
    }

    fn exceeds(&self, limits: &SocketLimits) -> bool {
        self.messages > limits.max_messages
            || self.controls > limits.max_controls()
            || self.bytes > limits.max_bytes()
    }
}
