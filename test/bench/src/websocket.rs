//! A dashboard's end of a sync socket (RFC 6455), as little of it as a measurement needs.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use crate::Done;
use crate::http::{connect, head_length};

/// A close with code 1000 and a pong, masked with zeros.
const CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Close,
    Ping,
}

pub struct WebSocket {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl WebSocket {
    /// Opens a `ws` URL, and returns when the upgrade is answered.
    pub fn open(own: Ipv4Addr, url: &str) -> Done<Self> {
        let rest = url.strip_prefix("ws://").ok_or("not a ws URL")?;
        let (host, path) = rest.split_once('/').ok_or("a URL without a path")?;
        let mut stream = connect(own, host.parse::<SocketAddr>()?)?;
        let request = format!(
            "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let mut socket = WebSocket { stream, buffer: Vec::with_capacity(512) };
        let head = loop {
            if let Some(head) = head_length(&socket.buffer) {
                break head;
            }
            socket.fill()?;
        };
        if !socket.buffer.starts_with(b"HTTP/1.1 101") {
            return Err(format!("{}", String::from_utf8_lossy(&socket.buffer)).into());
        }
        socket.buffer.drain(..head);
        Ok(socket)
    }

    /// Waits for the next frame.
    pub fn next(&mut self) -> Done<(Kind, String)> {
        loop {
            if let Some((kind, length)) = self.take() {
                let text = String::from_utf8_lossy(&self.buffer[..length]).into_owned();
                self.buffer.drain(..length);
                return Ok((kind, text));
            }
            self.fill()?;
        }
    }

    /// Waits for a text.
    pub fn text(&mut self) -> Done<String> {
        match self.next()? {
            (Kind::Text, text) => Ok(text),
            (kind, _) => Err(format!("{kind:?} where a text should come").into()),
        }
    }

    /// Reads what is there without waiting and tells each frame's kind; an end is an error.
    pub fn poll(&mut self, mut seen: impl FnMut(Kind)) -> io::Result<()> {
        loop {
            while let Some((kind, length)) = self.take() {
                self.buffer.drain(..length);
                seen(kind);
                if kind == Kind::Ping {
                    self.stream.write_all(&PONG)?;
                }
            }
            match self.fill() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// The closing handshake, to the end of the connection.
    pub fn close(mut self) -> Done {
        self.stream.write_all(&CLOSE)?;
        while self.next()?.0 != Kind::Close {}
        self.end()
    }

    /// Answers the server's close.
    pub fn answer_close(mut self) -> Done {
        self.stream.write_all(&CLOSE)?;
        self.end()
    }

    /// Waits for the end of the connection, which the server makes (RFC 6455 §7.1.1).
    fn end(&mut self) -> Done {
        match self.fill() {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            other => Err(format!("{other:?} after the close").into()),
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 512];
        match self.stream.read(&mut chunk)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.buffer.extend_from_slice(&chunk[..n]);
                Ok(())
            }
        }
    }

    /// Takes the head of a frame that is there whole, and tells the length of its payload.
    fn take(&mut self) -> Option<(Kind, usize)> {
        let (start, length) = match self.buffer.as_slice() {
            [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
            [_, length @ 0..126, ..] => (2, usize::from(*length)),
            _ => return None,
        };
        if self.buffer.len() < start + length {
            return None;
        }
        let kind = match self.buffer[0] & 0x0f {
            8 => Kind::Close,
            9 => Kind::Ping,
            _ => Kind::Text,
        };
        self.buffer.drain(..start);
        Some((kind, length))
    }
}
