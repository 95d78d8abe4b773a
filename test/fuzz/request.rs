//! Request heads and framing: what is accepted has one interpretation, however it arrives and
//! however leniently somebody else would read it (RFC 9112 §11.2).

use swob_gateway::http::{Connection, End, Request};
use swob_gateway::refusal::Refusal;

use super::transport::{Bytes, LIMITS};

pub fn holds(input: &[u8]) {
    let (requests, end) = read(input, usize::MAX);
    let slowly = read(input, 1);
    assert_eq!(slowly.0.len(), requests.len(), "pieces change the number of requests");
    assert_eq!(slowly.1, end, "pieces change how the connection ends");
    let mut rest = input;
    for (request, again) in requests.iter().zip(&slowly.0) {
        assert_eq!(format!("{request:?}"), format!("{again:?}"), "pieces change a request");
        assert!(request.body.len() <= LIMITS.max_body);
        assert!(request.target.starts_with('/'));
        let behind = behind(rest);
        let lenient = Lenient::read(&mut rest).expect("others see a request too");
        assert_eq!(lenient.method, request.method.as_str().as_bytes());
        assert_eq!(lenient.target, request.target.as_bytes());
        assert_eq!(lenient.body, request.body, "others see another body");
        assert_eq!(rest.len(), behind, "others see the next request elsewhere");
    }
}

/// All requests of a connection, and what its end is told.
fn read(input: &[u8], piece: usize) -> (Vec<Request>, Option<Refusal>) {
    let mut connection = Connection::new(Bytes::new(input, piece), LIMITS);
    let mut requests = Vec::new();
    loop {
        match connection.read() {
            Ok(request) => requests.push(request),
            Err(End::Refused(refusal)) => return (requests, Some(refusal)),
            Err(End::Silent) => return (requests, None),
        }
    }
}

/// How many bytes stay behind the first request.
fn behind(input: &[u8]) -> usize {
    let mut connection = Connection::new(Bytes::new(input, usize::MAX), LIMITS);
    connection.read().expect("what was read is read again");
    let (stream, ahead) = connection.into_parts();
    stream.input.len() + ahead.len()
}

/// A request as the most forgiving proxy would read it: lines end at LF, names are trimmed, a
/// coding that ends in `chunked` is chunked, and the last length counts.
struct Lenient<'a> {
    method: &'a [u8],
    target: &'a [u8],
    body: Vec<u8>,
}

impl<'a> Lenient<'a> {
    fn read(rest: &mut &'a [u8]) -> Option<Self> {
        let mut first = line(rest)?;
        while first.is_empty() {
            first = line(rest)?;
        }
        let mut words = first.split(|&b| b == b' ').filter(|word| !word.is_empty());
        let (method, target) = (words.next()?, words.next()?);
        let (mut length, mut chunked) = (0, false);
        loop {
            let header = line(rest)?;
            if header.is_empty() {
                break;
            }
            let at = header.iter().position(|&b| b == b':')?;
            let (name, value) = (header[..at].trim_ascii(), header[at + 1..].trim_ascii());
            let value = std::str::from_utf8(value).unwrap_or_default();
            match name.to_ascii_lowercase().as_slice() {
                b"content-length" => length = value.parse().ok()?,
                b"transfer-encoding" => chunked = value.to_ascii_lowercase().ends_with("chunked"),
                _ => {}
            }
        }
        let body = if chunked { chunks(rest)? } else { take(rest, length)?.to_vec() };
        Some(Lenient { method, target, body })
    }
}

fn chunks(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = std::str::from_utf8(line(rest)?.split(|&b| b == b';').next()?).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            break;
        }
        body.extend(take(rest, size)?);
        if !line(rest)?.is_empty() {
            return None;
        }
    }
    while !line(rest)?.is_empty() {}
    Some(body)
}

fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let at = rest.iter().position(|&b| b == b'\n')?;
    let line = &rest[..at];
    *rest = &rest[at + 1..];
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}
