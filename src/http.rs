//! HTTP/1.1 (RFC 9112) for short requests: reads one under limits, writes one reply.
//!
//! Knows no route. The strict framing is deliberate: whatever a proxy could read otherwise than
//! this server is refused, so that no request hides in another.

mod reply;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tiny_http::Method;

use crate::net::Stream;
use crate::refusal::Refusal;
pub use reply::Reply;

const MAX_HEADERS: usize = 64;
/// How much is read at once.
const CHUNK: usize = 4096;
const BAD_CHUNKS: Refusal = Refusal::Malformed("the chunked coding is broken");

/// How long and how large requests may be. Every time is absolute: a byte a second changes
/// nothing.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the start of a connection or the last reply to the first byte of a request.
    pub idle: Duration,
    /// From that byte to the end of the head.
    pub head: Duration,
    /// From the end of the head to the end of the body.
    pub body: Duration,
    /// From the first byte to the end of the body.
    pub request: Duration,
    /// The largest head, in bytes.
    pub max_head: usize,
    /// The largest body, in bytes.
    pub max_body: usize,
}

/// One request, read whole.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Path and query as they came; always begins with `/`.
    pub target: String,
    /// The body, empty where there is none.
    pub body: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
    minor: u8,
}

impl Request {
    /// The value of a header that came exactly once, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => std::str::from_utf8(value).ok(),
            _ => None,
        }
    }

    /// The items of a comma-separated header, of all its lines in their order; one that is not
    /// UTF-8 is empty.
    pub fn items<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(known, _)| known == name)
            .flat_map(|(_, value)| value.split(|&b| b == b','))
            .map(|item| std::str::from_utf8(item.trim_ascii()).unwrap_or_default())
    }

    /// Whether a comma-separated header holds this token, in any case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.items(name).any(|item| item.eq_ignore_ascii_case(token))
    }

    /// Whether the client may send another request on this connection (RFC 9112 §9.3).
    pub fn keeps_alive(&self) -> bool {
        self.minor == 1 && !self.has_token("connection", "close")
    }

    /// Whether the body comes only after a word (RFC 9110 §10.1.1), which HTTP/1.0 does not know.
    fn awaits_continue(&self) -> bool {
        self.minor == 1 && self.has_token("expect", "100-continue")
    }

    fn count(&self, name: &str) -> usize {
        self.headers.iter().filter(|(known, _)| known == name).count()
    }
}

/// What carries requests: bytes in both directions, under one absolute deadline.
pub trait Transport: Read + Write {
    /// From now on reads and writes fail with [`io::ErrorKind::TimedOut`] at `deadline`.
    fn wait_until(&mut self, deadline: Instant);
}

impl Transport for Stream {
    fn wait_until(&mut self, deadline: Instant) {
        self.wait_until(deadline);
    }
}

/// A connection that carries requests; fuzzers carry them in memory.
pub struct Connection<S = Stream> {
    stream: S,
    /// Bytes that were read but belong to what comes next.
    ahead: Vec<u8>,
    limits: Limits,
}

/// Why there is no request.
#[derive(Debug)]
pub enum End {
    /// The peer has gone, or let a quiet connection run out: nothing is to be said.
    Silent,
    /// The peer is owed this answer, and then a close.
    Refused(Refusal),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        End::Refused(refusal)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => End::Refused(Refusal::Late),
            _ => End::Silent,
        }
    }
}

impl<S: Transport> Connection<S> {
    /// Takes a fresh connection.
    pub fn new(stream: S, limits: Limits) -> Self {
        Connection { stream, ahead: Vec::new(), limits }
    }

    /// Waits for the next request and reads it whole.
    ///
    /// # Errors
    /// [`End`]; after it the connection is good for one reply with a close at most.
    pub fn read(&mut self) -> Result<Request, End> {
        if self.ahead.is_empty() {
            self.stream.wait_until(Instant::now() + self.limits.idle);
            if !matches!(self.fill(), Ok(1..)) {
                return Err(End::Silent);
            }
        }
        let begun = Instant::now();
        let whole = begun + self.limits.request;
        self.stream.wait_until(whole.min(begun + self.limits.head));
        let head = self.read_head()?;
        let mut request = parse_head(&head)?;
        let framing = framing(&request, self.limits.max_body)?;
        self.stream.wait_until(whole.min(Instant::now() + self.limits.body));
        if framing != Framing::Length(0) && request.awaits_continue() {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        request.body = match framing {
            Framing::Length(length) => self.take(length)?,
            Framing::Chunked => self.read_chunks()?,
        };
        Ok(request)
    }

    /// Writes a reply; `head_only` leaves its body out, as `HEAD` wants.
    ///
    /// # Errors
    /// As the connection fails, or its deadline passes.
    pub fn write(&mut self, reply: &Reply, keep: bool, head_only: bool) -> io::Result<()> {
        self.stream.wait_until(Instant::now() + self.limits.request);
        self.stream.write_all(&reply.bytes(keep, head_only))
    }

    /// Answers a WebSocket upgrade (RFC 6455 §4.2.2).
    ///
    /// # Errors
    /// As the connection fails, or its deadline passes.
    pub fn switch(&mut self, accept: &str) -> io::Result<()> {
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        self.stream.write_all(answer.as_bytes())
    }

    /// The connection and what the peer has sent ahead, for another protocol.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.ahead)
    }

    fn fill(&mut self) -> io::Result<usize> {
        // Not by way of the stack: what it has once touched stays with a socket's thread.
        let filled = self.ahead.len();
        self.ahead.resize(filled + CHUNK, 0);
        let read = self.stream.read(&mut self.ahead[filled..]);
        self.ahead.truncate(filled + *read.as_ref().unwrap_or(&0));
        read
    }

    fn fill_some(&mut self) -> Result<(), End> {
        if self.fill()? == 0 { Err(End::Silent) } else { Ok(()) }
    }

    fn read_head(&mut self) -> Result<Vec<u8>, End> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.ahead[searched..].windows(4).position(|w| w == b"\r\n\r\n") {
                let rest = self.ahead.split_off(searched + at + 4);
                let head = std::mem::replace(&mut self.ahead, rest);
                return if head.len() > self.limits.max_head {
                    Err(Refusal::Head.into())
                } else {
                    Ok(head)
                };
            }
            if self.ahead.len() > self.limits.max_head {
                return Err(Refusal::Head.into());
            }
            searched = self.ahead.len().saturating_sub(3);
            self.fill_some()?;
        }
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>, End> {
        while self.ahead.len() < length {
            self.fill_some()?;
        }
        let rest = self.ahead.split_off(length);
        Ok(std::mem::replace(&mut self.ahead, rest))
    }

    /// A chunked body (RFC 9112 §7.1); extensions and trailers are read and dropped.
    fn read_chunks(&mut self) -> Result<Vec<u8>, End> {
        let mut body = Vec::new();
        loop {
            let line = self.read_line()?;
            let size = line.split(|&b| b == b';').next().unwrap_or_default();
            let size = std::str::from_utf8(size).ok().filter(|text| {
                (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
            });
            let size =
                usize::from_str_radix(size.ok_or(BAD_CHUNKS)?, 16).map_err(|_| BAD_CHUNKS)?;
            if size == 0 {
                break;
            }
            if size > self.limits.max_body - body.len() {
                return Err(Refusal::Body.into());
            }
            body.extend(self.take(size)?);
            if self.take(2)? != b"\r\n" {
                return Err(BAD_CHUNKS.into());
            }
        }
        for _ in 0..MAX_HEADERS {
            if self.read_line()?.is_empty() {
                return Ok(body);
            }
        }
        Err(Refusal::Head.into())
    }

    /// One line of a chunked body, without its end.
    fn read_line(&mut self) -> Result<Vec<u8>, End> {
        loop {
            let end = self.ahead.windows(2).position(|w| w == b"\r\n");
            // Also a line that came at once: the answer must not depend on how bytes arrive.
            if end.unwrap_or(self.ahead.len().saturating_sub(1)) > self.limits.max_head {
                return Err(Refusal::Head.into());
            }
            if let Some(at) = end {
                let mut line = self.take(at + 2)?;
                line.truncate(at);
                // Who takes a bare LF for a line's end would see the body end elsewhere.
                let plain = !line.iter().any(|&b| b.is_ascii_control() && b != b'\t');
                return if plain { Ok(line) } else { Err(BAD_CHUNKS.into()) };
            }
            self.fill_some()?;
        }
    }
}

impl Connection {
    /// Ends the connection so that the last reply arrives.
    pub fn finish(self) {
        self.stream.finish();
    }

    /// The descriptor, to poll and to shut down from other threads.
    pub fn tcp(&self) -> &Arc<TcpStream> {
        self.stream.tcp()
    }
}

fn parse_head(head: &[u8]) -> Result<Request, Refusal> {
    const BAD: Refusal = Refusal::Malformed("the request head is not HTTP/1.1");
    // httparse takes a bare LF for a line's end; a proxy in front may not.
    let strict = head.iter().enumerate().all(|(i, &b)| match b {
        b'\n' => i > 0 && head[i - 1] == b'\r',
        b'\r' => head.get(i + 1) == Some(&b'\n'),
        _ => true,
    });
    if !strict {
        return Err(BAD);
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::Head),
        Ok(httparse::Status::Partial) | Err(_) => return Err(BAD),
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(BAD);
    };
    let request = Request {
        method: Method::from_str(method).map_err(|()| BAD)?,
        target: target.to_owned(),
        body: Vec::new(),
        headers: parsed
            .headers
            .iter()
            .map(|header| (header.name.to_ascii_lowercase(), header.value.to_vec()))
            .collect(),
        minor,
    };
    if !target.starts_with('/') {
        return Err(Refusal::Malformed("the request target is not a path"));
    }
    if minor == 1 && request.count("host") != 1 {
        return Err(Refusal::Malformed("one Host header is wanted"));
    }
    Ok(request)
}

#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
}

/// How long the body is (RFC 9112 §6.3), where there are no two ways to read it.
fn framing(request: &Request, max_body: usize) -> Result<Framing, Refusal> {
    const BAD: Refusal = Refusal::Malformed("the length of the body is ambiguous");
    match (request.count("transfer-encoding"), request.count("content-length")) {
        (0, 0) => Ok(Framing::Length(0)),
        (0, 1) => {
            let text = request.header("content-length").unwrap_or_default();
            // parse::<u64> would take a sign, which another parser may not.
            if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
                return Err(BAD);
            }
            let length = text.parse().map_err(|_| Refusal::Body)?;
            if length > max_body { Err(Refusal::Body) } else { Ok(Framing::Length(length)) }
        }
        (1, 0) if request.minor == 1 => {
            let coding = request.header("transfer-encoding").unwrap_or_default();
            let chunked = coding.eq_ignore_ascii_case("chunked");
            if chunked { Ok(Framing::Chunked) } else { Err(Refusal::Coding) }
        }
        _ => Err(BAD),
    }
}

#[cfg(test)]
mod tests;
