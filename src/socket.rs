//! One sync socket: the upgrade, then one thread that waits for the peer while others send.
//!
//! The owner sleeps in `poll(2)` without a lock; whoever has an event for the socket locks it and
//! sends by itself, without waiting (`design.md` has the measurements of the alternatives). What
//! the events mean is [`crate::session`]'s.

mod heard;

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use crate::http::{Connection, End, Limits, Reply, Request};
use crate::hub::{Hub, Outlet};
use crate::limit::Peer;
use crate::log::{self as records, begin_request, short};
use crate::metrics::Metrics;
use crate::net::{Crew, Stream};
use crate::proxy::Proxies;
use crate::refusal::Refusal;
use crate::route::{self, Origin, Origins};
use crate::services::Live;
use crate::session::{Event, Reason, UserId};
use crate::wire::{self, Endpoint};
#[doc(hidden)]
pub use heard::Heard;

/// How much a dashboard may ask of its socket.
#[derive(Clone, Copy, Debug)]
pub struct SocketLimits {
    /// Between two pings; proxies cut connections that are quiet for a minute.
    pub ping_interval: Duration,
    /// How many pings may go unanswered.
    pub missed_pings: u32,
    /// How many messages a dashboard, which has nothing to say, may send in all.
    pub max_messages: u32,
    /// The largest message, in bytes.
    pub max_message: usize,
    /// From the upgrade to a close, whatever happens.
    pub lifetime: Duration,
}

impl SocketLimits {
    /// How many pings and pongs may come between two of our pings: one a second, for those who
    /// watch their line closely, and some.
    fn max_controls(&self) -> u32 {
        let seconds = u32::try_from(self.ping_interval.as_secs()).unwrap_or(u32::MAX);
        seconds.saturating_add(self.max_messages)
    }

    /// How many bytes may come between two of our pings.
    fn max_bytes(&self) -> usize {
        self.max_message.saturating_mul(self.max_controls() as usize)
    }
}

/// Everything that a socket needs.
pub struct Sockets {
    /// The session table.
    pub hub: Arc<Hub>,
    /// Where the API is, for the QR codes.
    pub api: Endpoint,
    /// Whose pages may open a socket.
    pub origins: Arc<Live<Origins>>,
    /// Who the client is.
    pub proxies: Arc<Proxies>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How long and how large the upgrade may be.
    pub limits: Limits,
    /// What may come after it.
    pub socket_limits: SocketLimits,
    /// The threads that wait for peers, each with one socket.
    pub owners: Arc<Crew>,
}

impl Sockets {
    /// Serves one connection to its end.
    pub fn serve(&self, stream: Stream, address: SocketAddr) {
        let _request = begin_request();
        let mut connection = Connection::new(stream, self.limits);
        let refusal = match connection.read() {
            Ok(request) => match admit(&self.origins.get(), &request) {
                Ok((user, ticket, key)) => {
                    let upgrade = Upgrade { user, ticket, accept: derive_accept_key(key) };
                    let peer = Peer::of(self.proxies.client(address.ip(), &request));
                    return self.open(connection, &upgrade, peer);
                }
                Err(refusal) => refusal,
            },
            Err(End::Refused(refusal)) => refusal,
            Err(End::Silent) => return,
        };
        self.refuse(connection, &refusal);
    }

    fn open(&self, connection: Connection, upgrade: &Upgrade<'_>, peer: Peer) {
        let socket = Arc::new(Socket {
            tcp: Arc::clone(connection.tcp()),
            user: upgrade.user.clone(),
            api: self.api.clone(),
            limits: self.socket_limits,
            outbox: Mutex::new(VecDeque::new()),
            line: Mutex::new(None),
            closing: AtomicBool::new(false),
        });
        let outlet = Arc::clone(&socket);
        let seat = match self.hub.connect(&upgrade.user, upgrade.ticket, peer, outlet) {
            Ok(seat) => seat,
            Err(refusal) => return self.refuse(connection, &refusal),
        };
        log::info!("socket opened user={}", short(upgrade.user.as_str()));
        if let Err(error) = socket.upgrade(connection, &upgrade.accept) {
            return socket.ended(&Err(error));
        }
        let request = records::request();
        let own = move || {
            let _request = records::go_on(request);
            let ended = socket.attend();
            drop(seat);
            socket.ended(&ended);
        };
        // What a thread's stack and its share of the heap have once touched stays with it; the
        // upgrade needs more of both than the hours of waiting that follow.
        if let Err((own, _)) = self.owners.take(Box::new(own)) {
            own();
        }
    }

    fn refuse(&self, mut connection: Connection, refusal: &Refusal) {
        log::info!("socket refused status={}", refusal.status());
        self.metrics.refused(refusal);
        let _ = connection.write(&Reply::refusal(refusal), false, false);
        connection.finish();
    }
}

/// Whether a request is a WebSocket upgrade (RFC 6455 §4.2.1) that this server takes.
///
/// # Errors
/// What the newcomer is told.
#[doc(hidden)]
pub fn admit<'a>(
    origins: &Origins,
    request: &'a Request,
) -> Result<(UserId, &'a str, &'a [u8]), Refusal> {
    let (user, ticket) = route::socket(&request.method, &request.target)?;
    let upgrade = request.has_token("upgrade", "websocket")
        && request.has_token("connection", "upgrade")
        && request.header("sec-websocket-version") == Some("13");
    if !upgrade {
        return Err(Refusal::Upgrade);
    }
    let key = request
        .header("sec-websocket-key")
        .filter(|key| STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16));
    let key = key.ok_or(Refusal::Malformed("Sec-WebSocket-Key is not base64 of 16 bytes"))?;
    if !request.body.is_empty() {
        return Err(Refusal::Malformed("an upgrade has no body"));
    }
    if origins.judge(request.header("origin")) == Origin::Foreign {
        return Err(Refusal::Origin);
    }
    Ok((user, ticket, key.as_bytes()))
}

struct Upgrade<'a> {
    user: UserId,
    ticket: &'a str,
    accept: String,
}

struct Socket {
    tcp: Arc<TcpStream>,
    user: UserId,
    api: Endpoint,
    limits: SocketLimits,
    /// What the session table has for this socket, in its order.
    outbox: Mutex<VecDeque<Event>>,
    /// `None` until the upgrade is answered: no frame may overtake it.
    line: Mutex<Option<WebSocket<Stream>>>,
    /// Set with the server's own close.
    closing: AtomicBool,
}

impl Outlet for Socket {
    fn push(&self, event: Event) {
        self.outbox().push_back(event);
    }

    fn flush(&self) {
        let mut line = self.line();
        let Some(line) = line.as_mut() else { return };
        // The next event is taken out under the line's lock, so that two threads cannot swap
        // the order of theirs.
        while let Some(event) = self.next() {
            if self.send(line, event).is_err() {
                // The peer does not read, or is gone: its owner cleans up when poll tells.
                let _ = self.tcp.shutdown(Shutdown::Both);
            }
        }
    }
}

impl Socket {
    fn send(&self, line: &mut WebSocket<Stream>, event: Event) -> Result<(), Error> {
        self.closing.fetch_or(matches!(event, Event::Close(_)), Ordering::Relaxed);
        let text = match event {
            Event::Show(session) => wire::show_frame(&self.api, &self.user, session),
            Event::Pause => wire::PAUSE.to_owned(),
            Event::Ack => wire::ACK.to_owned(),
            Event::Close(Reason::Complete | Reason::Expired) => {
                return close(line, CloseCode::Normal);
            }
            Event::Close(Reason::Leaving) => return close(line, CloseCode::Away),
            Event::Cut => return Err(Error::ConnectionClosed),
        };
        line.send(Message::text(text))
    }

    fn ended(&self, ended: &Result<(), Error>) {
        let user = short(self.user.as_str());
        match ended {
            Ok(()) => log::info!("socket closed user={user}"),
            Err(error) => log::info!("socket lost user={user} cause={error}"),
        }
    }

    /// Answers the upgrade and lets the events go.
    fn upgrade(&self, mut connection: Connection, accept: &str) -> Result<(), Error> {
        connection.switch(accept)?;
        let (mut stream, ahead) = connection.into_parts();
        stream.never_wait()?;
        *self.line() = Some(line(stream, ahead, &self.limits));
        self.flush();
        Ok(())
    }

    /// Waits for the peer until the connection ends; a closing handshake that completes is no
    /// error.
    fn attend(&self) -> Result<(), Error> {
        let mut heard = Heard::default();
        let mut ping = Instant::now() + self.limits.ping_interval;
        let end = Instant::now() + self.limits.lifetime;
        // What came ahead of the upgrade is in the buffer, where poll does not see it.
        let mut ready = true;
        loop {
            if ready {
                match self.with_line(|line| heard.listen(line, &self.limits)) {
                    // More may wait in the buffer: on after the others had their chance to send.
                    Ok(()) => {
                        thread::yield_now();
                        continue;
                    }
                    Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(Error::ConnectionClosed) => return Ok(()),
                    // Who goes without an answer to our close has seen all there was to see.
                    Err(_) if self.closing.load(Ordering::Relaxed) => return Ok(()),
                    Err(error) => {
                        let _ = self.with_line(|line| reject(line, &error));
                        return Err(error);
                    }
                }
            }
            ready = wait(&self.tcp, ping.min(end))?;
            if Instant::now() >= end {
                return self.with_line(|line| close(line, CloseCode::Policy));
            }
            if !ready {
                if heard.misses == self.limits.missed_pings {
                    return Err(io::Error::from(io::ErrorKind::TimedOut).into());
                }
                heard.ping();
                ping = Instant::now() + self.limits.ping_interval;
                self.with_line(|line| line.send(Message::Ping(Vec::new().into())))?;
            }
        }
    }

    fn with_line<T>(
        &self,
        work: impl FnOnce(&mut WebSocket<Stream>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.line().as_mut().map_or(Err(Error::AlreadyClosed), work)
    }

    fn next(&self) -> Option<Event> {
        self.outbox().pop_front()
    }

    fn outbox(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self) -> MutexGuard<'_, Option<WebSocket<Stream>>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The frames of one peer, in small buffers: there may be ten thousand (`design.md`).
#[doc(hidden)]
pub fn line<S: Read + Write>(stream: S, ahead: Vec<u8>, limits: &SocketLimits) -> WebSocket<S> {
    let config = WebSocketConfig::default()
        .read_buffer_size(1024)
        .write_buffer_size(0)
        .max_write_buffer_size(16 * 1024)
        .max_message_size(Some(limits.max_message))
        .max_frame_size(Some(limits.max_message));
    WebSocket::from_partially_read(stream, ahead, Role::Server, Some(config))
}

/// Tells a peer that broke the protocol so, where it can still be told (RFC 6455 §7.1.7).
///
/// # Errors
/// As the connection fails.
#[doc(hidden)]
pub fn reject<S: Read + Write>(line: &mut WebSocket<S>, error: &Error) -> Result<(), Error> {
    match error {
        Error::Capacity(_) => close(line, CloseCode::Size),
        Error::Protocol(_) => close(line, CloseCode::Protocol),
        Error::Utf8(_) => close(line, CloseCode::Invalid),
        _ => Ok(()),
    }
}

fn close<S: Read + Write>(line: &mut WebSocket<S>, code: CloseCode) -> Result<(), Error> {
    // A pong that is due goes first, for nothing may follow a close (RFC 6455 §5.5.1).
    line.flush()?;
    line.close(Some(CloseFrame { code, reason: "".into() }))?;
    line.flush()
}

/// Sleeps until the peer has sent something, or the deadline: then false.
fn wait(tcp: &TcpStream, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(tcp, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
