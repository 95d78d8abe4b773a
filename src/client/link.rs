//! A connection to a server, plain or TLS.

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

    /// When it ends.
    pub fn deadline(&self) -> Instant {
        match self {
            Link::Plain(timed) => timed.deadline,
            Link::Tls(tls) => tls.get_ref().deadline,
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
    pub fn key(&self) -> Option<PKey<Public>> {
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
