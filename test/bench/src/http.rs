//! A client that costs little, so that it is not what is measured: blocking, bytes as they come.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::Done;

/// After so long without an answer a server counts as stuck.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Connects from an address of 127.0.0.0/8: one has too few ports for all connections.
pub fn connect(own: Ipv4Addr, to: SocketAddr) -> Done<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((own, 0)).into())?;
    socket.connect(&to.into())?;
    socket.set_tcp_nodelay(true)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A keep-alive connection.
pub struct Http {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Http {
    pub fn new(own: Ipv4Addr, to: SocketAddr) -> Done<Self> {
        Ok(Http { stream: connect(own, to)?, buffer: vec![0; 16 * 1024] })
    }

    /// A request's bytes, to be sent as often as wanted.
    pub fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
        let length = match method {
            "GET" => String::new(),
            _ => format!("Content-Length: {}\r\n", body.len()),
        };
        format!("{method} {path} HTTP/1.1\r\nHost: bench\r\n{length}\r\n{body}").into_bytes()
    }

    /// Sends a request and returns status and body.
    pub fn send(&mut self, request: &[u8]) -> Done<(u16, &[u8])> {
        self.stream.write_all(request)?;
        let mut filled = 0;
        loop {
            if filled == self.buffer.len() {
                return Err("the answer is too long".into());
            }
            match self.stream.read(&mut self.buffer[filled..])? {
                0 => return Err("the connection ended before the answer".into()),
                n => filled += n,
            }
            let Some(head) = head_length(&self.buffer[..filled]) else { continue };
            let (status, length) = head_facts(&self.buffer[..head])?;
            if filled >= head + length {
                return Ok((status, &self.buffer[head..head + length]));
            }
        }
    }

    /// The body of an answer that must be a 200.
    pub fn expect(&mut self, request: &[u8]) -> Done<&[u8]> {
        match self.send(request)? {
            (200, body) => Ok(body),
            (status, body) => {
                Err(format!("answered {status}: {}", String::from_utf8_lossy(body)).into())
            }
        }
    }
}

/// Where a head ends, when it is whole.
pub fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn head_facts(head: &[u8]) -> Done<(u16, usize)> {
    let head = std::str::from_utf8(head)?;
    let status = head.get(9..12).ok_or("no status")?.parse()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    Ok((status, length.unwrap_or(0)))
}
