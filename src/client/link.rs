//! A connection to a server, plain or TLS, and one HTTP request over it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use openssl::pkey::{PKey, Public};
use openssl::ssl::{HandshakeError, SslConnector, SslMethod, SslRef, SslStream, SslVerifyMode};
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

/// An open connection, whose reads and writes end by its deadline, however slowly bytes trickle
/// in: then they are [`io::ErrorKind::WouldBlock`].
pub enum Link {
    /// Without TLS.
    Plain(Timed),
    /// With TLS.
    Tls(SslStream<Timed>),
}

/// A socket with a deadline.
pub struct Timed {
    tcp: TcpStream,
    deadline: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        // What OpenSSL takes for a pause, and what the kernel tells of a time-out of its own.
        if left.is_zero() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(self.left()?)?;
        self.tcp.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(self.left()?)?;
        self.tcp.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Link {
    /// Connects, wherever the name leads; the connection has `PATIENCE` in all, until
    /// [`Self::until`] says otherwise.
    ///
    /// # Errors
    /// [`ClientError::Away`], [`ClientError::Tls`].
    pub fn open(to: &Endpoint, trust: Trust) -> Result<Self, ClientError> {
        let deadline = Instant::now() + PATIENCE;
        let addresses = resolve(&to.host, deadline)
            .map_err(|error| ClientError::Away(format!("{}:{}", to.host, to.port), error))?;
        Link::dial(&addresses, to, trust, deadline)
    }

    /// Connects to the first of these addresses that answers, as to this endpoint.
    ///
    /// # Errors
    /// [`ClientError::Away`], [`ClientError::Tls`].
    pub fn dial(
        addresses: &[IpAddr],
        to: &Endpoint,
        trust: Trust,
        deadline: Instant,
    ) -> Result<Self, ClientError> {
        let place = format!("{}:{}", to.host, to.port);
        let tcp = connect(addresses, to.port, deadline)
            .map_err(|error| ClientError::Away(place.clone(), error))?;
        let timed = Timed { tcp, deadline };
        if !to.secure {
            return Ok(Link::Plain(timed));
        }
        let mut connector = SslConnector::builder(SslMethod::tls_client())?;
        if trust == Trust::Any {
            // The verdict is there nonetheless, for whoever asks.
            connector.set_verify(SslVerifyMode::NONE);
        }
        match connector.build().connect(bare(&to.host), timed) {
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

    /// Sets the deadline anew.
    pub fn until(&mut self, deadline: Instant) {
        match self {
            Link::Plain(timed) => timed.deadline = deadline,
            Link::Tls(tls) => tls.get_mut().deadline = deadline,
        }
    }

    /// What OpenSSL knows of the server; `None` without TLS.
    pub fn ssl(&self) -> Option<&SslRef> {
        match self {
            Link::Plain(_) => None,
            Link::Tls(tls) => Some(tls.ssl()),
        }
    }

    /// The key in the server's certificate; `None` without TLS.
    fn key(&self) -> Option<PKey<Public>> {
        self.ssl()?.peer_certificate()?.public_key().ok()
    }
}

/// A host without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// The addresses of a host. The system's resolver knows no deadline, so it is asked in a thread,
/// which is left behind where it does not answer in time.
///
/// # Errors
/// As the resolver says; [`io::ErrorKind::TimedOut`].
pub fn resolve(host: &str, deadline: Instant) -> io::Result<Vec<IpAddr>> {
    let host = bare(host).to_owned();
    let (answer, answered) = mpsc::channel();
    let ask = move || {
        let found = (host.as_str(), 0).to_socket_addrs();
        let _ = answer.send(found.map(|found| found.map(|at| at.ip()).collect()));
    };
    thread::Builder::new().spawn(ask)?;
    let left = deadline.saturating_duration_since(Instant::now());
    answered.recv_timeout(left).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Connects to the first of these addresses that answers; they share the time.
///
/// # Errors
/// The last failure.
pub fn connect(addresses: &[IpAddr], port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let rest = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = (left / rest).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&SocketAddr::new(*address, port), share) {
            Ok(tcp) => {
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
            Link::Plain(timed) => timed.read(buffer),
            Link::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Link {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Link::Plain(timed) => timed.write(buffer),
            Link::Tls(tls) => tls.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Link::Plain(timed) => timed.flush(),
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
