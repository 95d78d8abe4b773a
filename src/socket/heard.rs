//! How much a peer has said that has nothing to say: in messages, control frames and bytes, so that
//! no kind of frame is free, a message without an end neither.

use std::io::{self, Read, Write};

use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

use super::{SocketLimits, close};
use crate::net::Turns;

/// How many messages are read before others get the socket's lock,
const TURN: usize = 16;
/// and how many bytes: the parts of one long message count as none.
const TURN_BYTES: usize = 16 * 1024;

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
    pub fn listen<S: Read + Write + Turns>(
        &mut self,
        line: &mut WebSocket<S>,
        limits: &SocketLimits,
    ) -> Result<(), Error> {
        line.get_mut().begin_turn(TURN_BYTES);
        let read = self.read(line);
        self.bytes += TURN_BYTES - line.get_ref().left();
        if self.exceeds(limits) {
            // A peer that does not read either is let go all the same.
            let _ = close(line, CloseCode::Policy);
            return Err(Error::ConnectionClosed);
        }
        match read {
            Err(Error::Io(error))
                if error.kind() == io::ErrorKind::WouldBlock && line.get_ref().left() == 0 =>
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
