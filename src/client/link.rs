//! A connection to a server, plain or TLS, and one HTTP request over it.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use openssl::pkey::{PKey, Public};
use openssl::ssl::{HandshakeError, SslConnector, SslMethod, SslStream, SslVerifyMode};
use openssl::x509::X509VerifyResult;

use super::ClientError;
use crate::wire::Endpoint;

/// The app's own patience with a verification (contract §3); the shorter one with a handshake is
/// left to the reader of the times.
const PATIENCE: Duration = Duration::from_secs(15);
/// The largest answer taken, in bytes.
const MAX_ANSWER: u64 = 1024 * 1024;

/// Which certificates are taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trust {
    /// Those of the system's authorities, for the host that was asked for.
    System,
    /// Any, even one made by hand.
    Any,
}

/// An open connection; it waits [`PATIENCE`] at most for each answer.
pub enum Link {
    Plain(TcpStream),
    Tls(SslStream<TcpStream>),
}

impl Link {
    /// Connects.
    ///
    /// # Errors
    /// [`ClientError::Away`], [`ClientError::Tls`].
    pub fn open(to: &Endpoint, trust: Trust) -> Result<Self, ClientError> {
        let place = format!("{}:{}", to.host, to.port);
        let host = to.host.trim_start_matches('[').trim_end_matches(']');
        let tcp =
            connect(host, to.port).map_err(|error| ClientError::Away(place.clone(), error))?;
        if !to.secure {
            return Ok(Link::Plain(tcp));
        }
        let mut connector = SslConnector::builder(SslMethod::tls_client())?;
        if trust == Trust::Any {
            connector.set_verify(SslVerifyMode::NONE);
        }
        let connector = connector.build().configure()?.verify_hostname(trust == Trust::System);
        match connector.connect(host, tcp) {
            Ok(tls) => Ok(Link::Tls(tls)),
            Err(HandshakeError::SetupFailure(error)) => Err(error.into()),
            Err(HandshakeError::Failure(tls) | HandshakeError::WouldBlock(tls)) => {
                let verdict = tls.ssl().verify_result();
                let why = if verdict == X509VerifyResult::OK {
                    tls.error().to_string()
                } else {
                    verdict.to_string()
                };
                Err(ClientError::Tls(place, why))
            }
        }
    }

    /// The socket below.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Link::Plain(tcp) => tcp,
            Link::Tls(tls) => tls.get_ref(),
        }
    }

    /// The key in the server's certificate; `None` without TLS.
    fn key(&self) -> Option<PKey<Public>> {
        match self {
            Link::Plain(_) => None,
            Link::Tls(tls) => tls.ssl().peer_certificate()?.public_key().ok(),
        }
    }
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(tcp) => {
                tcp.set_read_timeout(Some(PATIENCE))?;
                tcp.set_write_timeout(Some(PATIENCE))?;
                tcp.set_nodelay(true)?;
                return Ok(tcp);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Link::Plain(tcp) => tcp.read(buffer),
            Link::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Link {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Link::Plain(tcp) => tcp.write(buffer),
            Link::Tls(tls) => tls.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Link::Plain(tcp) => tcp.flush(),
            Link::Tls(tls) => tls.flush(),
        }
    }
}

/// An answer to a request.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    /// The key in the server's certificate.
    pub key: Option<PKey<Public>>,
}

impl Answer {
    /// What a refusal says of itself: the `detail` of its problem, or nothing.
    pub fn reason(&self) -> String {
        let problem: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
        // A stranger's text must not write to the terminal beyond its line.
        detail.unwrap_or_default().chars().filter(|c| !c.is_control()).collect()
    }
}

/// Sends one request and reads its answer. HTTP/1.0 ends it with the connection, and no server
/// answers it in chunks (RFC 9112 §6.1).
///
/// # Errors
/// [`ClientError::Answer`], and those of [`Link::open`].
pub fn ask(
    to: &Endpoint,
    trust: Trust,
    method: &str,
    path: &str,
    body: &str,
) -> Result<Answer, ClientError> {
    let mut link = Link::open(to, trust)?;
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {}:{}\r\nContent-Type: application/json; \
         charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
        to.host,
        to.port,
        body.len()
    );
    let away = |error| ClientError::Away(format!("{}:{}", to.host, to.port), error);
    link.write_all(request.as_bytes()).map_err(away)?;
    let mut bytes = Vec::new();
    let read = Read::by_ref(&mut link).take(MAX_ANSWER).read_to_end(&mut bytes);
    let (status, head, length) = parse_head(&bytes).ok_or(match read {
        Err(error) => away(error),
        Ok(_) => ClientError::Answer("it is not HTTP"),
    })?;
    let mut body = bytes.split_off(head);
    // A peer may leave TLS without a word, but not in the middle of the body.
    if body.len() < length.unwrap_or(0) {
        return Err(ClientError::Answer("it breaks off"));
    }
    body.truncate(length.unwrap_or(body.len()));
    Ok(Answer { status, body, key: link.key() })
}

/// The status, where the body begins, and how long it is said to be.
fn parse_head(bytes: &[u8]) -> Option<(u16, usize, Option<usize>)> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut answer = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = answer.parse(bytes).ok()? else { return None };
    let length = answer
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse().ok());
    Some((answer.code?, head, length))
}
