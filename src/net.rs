//! Connections: an accept loop that survives every error, caps, TLS, and absolute deadlines.
//!
//! Knows bytes and times only; what they mean is [`crate::http`]'s and [`crate::socket`]'s.

mod crew;
mod door;
mod metered;
#[cfg(test)]
mod tests;
mod timed;

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use openssl::ssl::{ShutdownState, Ssl, SslStream};
use socket2::{Domain, Protocol, Socket, Type};

use crate::limit::{Counts, Network, Peer};
use crate::refusal::Refusal;
use crate::tls::Tls;
pub use crew::Crew;
pub use door::{Debt, Door, Leaving};
pub use metered::{Metered, Turns};
use timed::Timed;

/// How long an accept loop rests after an error: long enough not to spin while the process is out
/// of descriptors, short enough not to be felt.
const REST: Duration = Duration::from_millis(20);
/// What the first byte of a TLS connection is, a record with a handshake message (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 22;

/// Opens a listener. An IPv6 wildcard takes IPv6 alone, so that both wildcards can be listed.
///
/// # Errors
/// As the kernel says: an address in use, or not of this machine.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bind(address)?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// Takes an address and lets nobody in yet.
///
/// # Errors
/// As [`listen`].
pub fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// What an administrator does about an address that [`bind`] does not get.
pub fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "end the program that has it, which `ss -ltnp` tells, or write another address"
        }
        io::ErrorKind::PermissionDenied => {
            "give the service AmbientCapabilities=CAP_NET_BIND_SERVICE, or put a proxy in front"
        }
        io::ErrorKind::AddrNotAvailable => "write one that `ip address` lists, 0.0.0.0 or [::]",
        _ => "write another address",
    }
}

/// Counts the connections of one kind of listener.
pub struct Gate {
    most: usize,
    /// Whose connections are other people's: no cap per address holds for them.
    proxies: Vec<Network>,
    live: Mutex<(usize, Counts<Peer>)>,
    turned_away: AtomicU64,
}

impl Gate {
    /// At most this many connections in all, and of one peer that is no proxy.
    pub fn new(most: usize, per_address: usize, proxies: Vec<Network>) -> Arc<Self> {
        let live = Mutex::new((0, Counts::new(per_address)));
        Arc::new(Gate { most, proxies, live, turned_away: AtomicU64::new(0) })
    }

    fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Place, Refusal> {
        let proxy = self.proxies.iter().any(|network| network.holds(address));
        let peer = (!proxy).then(|| Peer::of(address));
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if live.0 >= self.most {
            return Err(Refusal::Full(Duration::from_secs(5)));
        }
        if peer.is_some_and(|peer| !live.1.enter(peer)) {
            return Err(Refusal::Crowd(Duration::from_secs(5)));
        }
        live.0 += 1;
        Ok(Place { gate: Arc::clone(self), peer })
    }

    /// How many connections are live.
    pub fn live(&self) -> usize {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// How many may be.
    pub fn most(&self) -> usize {
        self.most
    }

    /// How many newcomers found no place.
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }
}

/// A connection's place behind the gate, given back when dropped.
pub struct Place {
    gate: Arc<Gate>,
    peer: Option<Peer>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut live = self.gate.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.0 -= 1;
        if let Some(peer) = self.peer {
            live.1.leave(&peer);
        }
    }
}

/// One accept loop's way of dealing with connections.
pub struct Acceptor {
    /// What the loop's threads are called.
    pub name: &'static str,
    /// Caps, shared by all listeners of one kind.
    pub gate: Arc<Gate>,
    /// What a connection begins with, and how long that may take; `None` is plain HTTP.
    pub tls: Option<(Arc<Tls>, Duration)>,
    /// The threads of connections.
    pub crew: Arc<Crew>,
    /// Serves one connection to its end.
    pub serve: Box<dyn Fn(Stream, SocketAddr) + Send + Sync>,
    /// The bytes that tell a newcomer why there is no service.
    pub refuse: fn(&Refusal) -> Vec<u8>,
}

impl Acceptor {
    /// Accepts until the server leaves; an error never ends it.
    pub fn run(self: &Arc<Self>, door: &Door) {
        while let Some(came) = door.next() {
            match came {
                Ok((tcp, address, debt)) => self.admit(tcp, address, debt),
                Err(error) => {
                    log::warn!("accept refused by the system listener={} cause={error}", self.name);
                    thread::sleep(REST);
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, tcp: TcpStream, address: SocketAddr, debt: Debt) {
        let place = match self.gate.enter(address.ip()) {
            Ok(place) => place,
            Err(refusal) => {
                self.gate.turned_away.fetch_add(1, Ordering::Relaxed);
                return self.turn_away(&tcp, &refusal);
            }
        };
        // What is written is meant to leave at once: a frame behind the answer to an upgrade would
        // else wait for the peer's delayed acknowledgement, 40 ms.
        let _ = tcp.set_nodelay(true);
        let tcp = Arc::new(tcp);
        let stream = Stream::plain(Arc::clone(&tcp), debt, place);
        let this = Arc::clone(self);
        let serve = move || match this.secure(stream) {
            Ok(stream) => (this.serve)(stream, address),
            Err(error) => log::debug!("no TLS handshake listener={} cause={error}", this.name),
        };
        if let Err((_, error)) = self.crew.take(Box::new(serve)) {
            log::warn!("no thread for a connection listener={} cause={error}", self.name);
            self.turn_away(&tcp, &Refusal::Full(Duration::from_secs(5)));
            thread::sleep(REST);
        }
    }

    /// Begins TLS where it is on.
    fn secure(&self, mut stream: Stream) -> io::Result<Stream> {
        let Some((tls, limit)) = &self.tls else { return Ok(stream) };
        stream.wait_until(Instant::now() + *limit);
        if stream.first_byte()? != TLS_HANDSHAKE {
            let told = Refusal::Malformed("this port speaks TLS; write https:// or wss://");
            let _ = stream.write_all(&(self.refuse)(&told));
            stream.finish();
            return Err(io::Error::other("the peer does not speak TLS"));
        }
        stream.secure(tls.session()?)
    }

    /// Says no without waiting: what the kernel's buffer does not take is not worth a thread.
    fn turn_away(&self, mut tcp: &TcpStream, refusal: &Refusal) {
        if tcp.set_nonblocking(true).is_err() {
            return;
        }
        let _ = tcp.write(&(self.refuse)(refusal));
        let _ = tcp.shutdown(Shutdown::Write);
        // Unread bytes would turn the close into a reset that overtakes the answer.
        let _ = tcp.read(&mut [0; 4096]);
    }
}

/// A connection, maybe through TLS, whose every wait ends at one absolute deadline; without a
/// deadline it never waits.
pub struct Stream {
    tcp: Arc<TcpStream>,
    line: Line,
    /// Until the first byte of an answer is written.
    debt: Option<Debt>,
    /// Given back with the connection.
    _place: Place,
}

/// The meter is under TLS, where a peer can send records without end that hold nothing for us, such
/// as key updates (RFC 8446 §4.6.3): OpenSSL would read on for as long as they come.
enum Line {
    Plain(Metered<Timed>),
    Tls(SslStream<Metered<Timed>>),
}

impl Stream {
    fn plain(tcp: Arc<TcpStream>, debt: Debt, place: Place) -> Self {
        let line = Line::Plain(Metered::new(Timed::new(Arc::clone(&tcp))));
        Stream { tcp, line, debt: Some(debt), _place: place }
    }

    /// The server's side of the TLS handshake, until the deadline.
    fn secure(mut self, session: Ssl) -> io::Result<Self> {
        let mut timed = Timed::new(Arc::clone(&self.tcp));
        timed.deadline = self.timed().deadline;
        let mut line = SslStream::new(session, Metered::new(timed))?;
        if let Err(error) = line.accept() {
            // OpenSSL has told the peer why, in an alert that must arrive.
            self.finish();
            return Err(error.into_io_error().unwrap_or_else(io::Error::other));
        }
        self.line = Line::Tls(line);
        Ok(self)
    }

    /// From now on reads and writes fail with [`io::ErrorKind::TimedOut`] at `deadline`, however
    /// many bytes trickle in before.
    pub fn wait_until(&mut self, deadline: Instant) {
        self.timed().deadline = Some(deadline);
    }

    /// From now on reads and writes never wait, as [`TcpStream::set_nonblocking`]. What TLS has
    /// read ahead is not seen by `poll(2)`: read until [`io::ErrorKind::WouldBlock`] before it.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn never_wait(&mut self) -> io::Result<()> {
        self.timed().deadline = None;
        self.tcp.set_nonblocking(true)
    }

    /// The descriptor, to poll and to shut down from other threads.
    pub fn tcp(&self) -> &Arc<TcpStream> {
        &self.tcp
    }

    /// Ends a connection so that the last answer arrives even if the peer is still sending:
    /// closes the writing half and reads on for a moment, for closing over unread bytes would
    /// send a reset that overtakes the answer.
    pub fn finish(mut self) {
        self.say_goodbye();
        let _ = self.tcp.shutdown(Shutdown::Write);
        self.wait_until(Instant::now() + Duration::from_millis(500));
        // A proxy passes the answer on only if its own writing of the rest has not failed.
        let mut sink = [0; 4096];
        for _ in 0..256 {
            if !matches!(self.timed().read(&mut sink), Ok(1..)) {
                return;
            }
        }
    }

    /// Tells a TLS peer that nothing was cut off (RFC 8446 §6.1), once, and does not wait for
    /// the same from there.
    fn say_goodbye(&mut self) {
        if let Line::Tls(line) = &mut self.line
            && !line.get_shutdown().contains(ShutdownState::SENT)
        {
            let _ = line.shutdown();
        }
    }

    /// The first byte that comes, which stays to be read.
    fn first_byte(&mut self) -> io::Result<u8> {
        let mut first = [0];
        match self.timed().peek(&mut first)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(first[0]),
        }
    }

    fn timed(&mut self) -> &mut Timed {
        match &mut self.line {
            Line::Plain(metered) => metered.get_mut(),
            Line::Tls(line) => line.get_mut().get_mut(),
        }
    }

    /// A wait that its deadline ended is `WouldBlock` below, which OpenSSL survives.
    fn late(&mut self, error: io::Error) -> io::Error {
        if error.kind() == io::ErrorKind::WouldBlock && self.timed().deadline.is_some() {
            return io::ErrorKind::TimedOut.into();
        }
        error
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.say_goodbye();
    }
}

impl Turns for Stream {
    fn begin_turn(&mut self, bytes: usize) {
        match &mut self.line {
            Line::Plain(metered) => metered.begin_turn(bytes),
            Line::Tls(line) => line.get_mut().begin_turn(bytes),
        }
    }

    fn left(&self) -> usize {
        match &self.line {
            Line::Plain(metered) => metered.left(),
            Line::Tls(line) => line.get_ref().left(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.line {
            Line::Plain(metered) => metered.read(buffer),
            Line::Tls(line) => line.read(buffer),
        }
        .map_err(|error| self.late(error))
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = match &mut self.line {
            Line::Plain(metered) => metered.write(buffer),
            Line::Tls(line) => line.write(buffer),
        };
        self.debt = None;
        written.map_err(|error| self.late(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
