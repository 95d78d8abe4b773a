//! Connections: an accept loop that survives every error, caps, and absolute deadlines.
//!
//! Knows bytes and times only; what they mean is [`crate::http`]'s and [`crate::socket`]'s.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::limit::{Counts, Peer};
use crate::refusal::Refusal;

/// How long an accept loop rests after an error: long enough not to spin while the process is out
/// of descriptors, short enough not to be felt.
const REST: Duration = Duration::from_millis(20);

/// Opens a listener. An IPv6 wildcard takes IPv6 alone, so that both wildcards can be listed.
///
/// # Errors
/// As the kernel says: an address in use, or not of this machine.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// Counts the connections of one kind of listener.
pub struct Gate {
    most: usize,
    live: Mutex<(usize, Counts<Peer>)>,
}

impl Gate {
    /// At most this many connections in all and of one peer.
    pub fn new(most: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Gate { most, live: Mutex::new((0, Counts::new(per_address))) })
    }

    fn enter(self: &Arc<Self>, peer: Peer) -> Result<Place, Refusal> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if live.0 >= self.most {
            return Err(Refusal::Full(Duration::from_secs(5)));
        }
        if !live.1.enter(peer) {
            return Err(Refusal::Crowd(Duration::from_secs(5)));
        }
        live.0 += 1;
        Ok(Place { gate: Arc::clone(self), peer })
    }

    /// How many connections are live.
    pub fn live(&self) -> usize {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).0
    }
}

/// A connection's place behind the gate, given back when dropped.
pub struct Place {
    gate: Arc<Gate>,
    peer: Peer,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut live = self.gate.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.0 -= 1;
        live.1.leave(&self.peer);
    }
}

/// One accept loop's way of dealing with connections.
pub struct Acceptor {
    /// What the loop's threads are called.
    pub name: &'static str,
    /// Caps, shared by all listeners of one kind.
    pub gate: Arc<Gate>,
    /// Stack of a connection's thread, in bytes.
    pub stack: usize,
    /// Serves one connection to its end.
    pub serve: Box<dyn Fn(Stream, SocketAddr) + Send + Sync>,
    /// The bytes that tell a newcomer that there is no place.
    pub refuse: fn(&Refusal) -> Vec<u8>,
}

impl Acceptor {
    /// Accepts until `leaving` is set and the listener is shut down; an error never ends it.
    pub fn run(self: &Arc<Self>, listener: &TcpListener, leaving: &AtomicBool) {
        while !leaving.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((tcp, address)) => self.admit(tcp, address),
                Err(error) if leaving.load(Ordering::Relaxed) => {
                    log::debug!("listener closed listener={} cause={error}", self.name);
                }
                Err(error) => {
                    log::warn!("accept refused by the system listener={} cause={error}", self.name);
                    thread::sleep(REST);
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, tcp: TcpStream, address: SocketAddr) {
        let place = match self.gate.enter(Peer::of(address.ip())) {
            Ok(place) => place,
            Err(refusal) => return self.turn_away(&tcp, &refusal),
        };
        let tcp = Arc::new(tcp);
        let stream = Stream { tcp: Arc::clone(&tcp), deadline: None };
        let this = Arc::clone(self);
        let serve = move || {
            let _place = place;
            // A panic ends its own connection alone; the hook has logged it.
            let _ = catch_unwind(AssertUnwindSafe(|| (this.serve)(stream, address)));
        };
        let thread = thread::Builder::new().name(self.name.to_owned()).stack_size(self.stack);
        if let Err(error) = thread.spawn(serve) {
            log::warn!("no thread for a connection listener={} cause={error}", self.name);
            self.turn_away(&tcp, &Refusal::Full(Duration::from_secs(5)));
            thread::sleep(REST);
        }
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

/// A connection whose every wait ends at one absolute deadline; without a deadline it never
/// waits.
pub struct Stream {
    tcp: Arc<TcpStream>,
    deadline: Option<Instant>,
}

impl Stream {
    /// From now on reads and writes fail with [`io::ErrorKind::TimedOut`] at `deadline`, however
    /// many bytes trickle in before.
    pub fn wait_until(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    /// From now on reads and writes never wait, as [`TcpStream::set_nonblocking`].
    ///
    /// # Errors
    /// As the kernel says.
    pub fn never_wait(&mut self) -> io::Result<()> {
        self.deadline = None;
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
        let _ = self.tcp.shutdown(Shutdown::Write);
        self.wait_until(Instant::now() + Duration::from_millis(200));
        let mut sink = [0; 4096];
        for _ in 0..16 {
            if !matches!(self.read(&mut sink), Ok(1..)) {
                return;
            }
        }
    }

    fn remaining(&self) -> io::Result<Option<Duration>> {
        let Some(deadline) = self.deadline else { return Ok(None) };
        let remaining = deadline.saturating_duration_since(Instant::now());
        if remaining.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(remaining)) }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(remaining) = self.remaining()? {
            self.tcp.set_read_timeout(Some(remaining))?;
            return (&*self.tcp).read(buffer).map_err(timed_out);
        }
        (&*self.tcp).read(buffer)
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if let Some(remaining) = self.remaining()? {
            self.tcp.set_write_timeout(Some(remaining))?;
            return (&*self.tcp).write(buffer).map_err(timed_out);
        }
        (&*self.tcp).write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket's own time-out shows as `WouldBlock` on Linux.
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_its_own_connection_and_gives_its_place_back() {
        let serve = |mut stream: Stream, _| {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("the test sends one byte");
            assert_ne!(byte, *b"!", "this connection is to panic");
            stream.write_all(&byte).expect("the test reads it");
        };
        let gate = Gate::new(2, 2);
        let (serve, refuse) = (Box::new(serve), |_: &Refusal| Vec::new());
        let acceptor = Acceptor { name: "test", gate, stack: 256 * 1024, serve, refuse };
        let acceptor = Arc::new(acceptor);
        let listener = Arc::new(listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap());
        let address = listener.local_addr().unwrap();
        let leaving = Arc::new(AtomicBool::new(false));
        let live = |number| {
            let deadline = Instant::now() + Duration::from_secs(20);
            while acceptor.gate.live() != number {
                assert!(Instant::now() < deadline, "{} live", acceptor.gate.live());
                thread::sleep(Duration::from_millis(1));
            }
        };
        let run = {
            let (acceptor, listener, leaving) =
                (Arc::clone(&acceptor), Arc::clone(&listener), Arc::clone(&leaving));
            move || acceptor.run(&listener, &leaving)
        };
        let accepting = thread::Builder::new().spawn(run).unwrap();
        let mut served = TcpStream::connect(address).unwrap();
        live(1);
        for _ in 0..5 {
            let mut panicking = TcpStream::connect(address).unwrap();
            live(2);
            panicking.write_all(b"!").unwrap();
            assert_eq!(panicking.read(&mut [0]).unwrap(), 0);
            live(1);
        }
        served.write_all(b"x").unwrap();
        let mut answer = [0];
        served.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *b"x");
        live(0);
        leaving.store(true, Ordering::Relaxed);
        rustix::net::shutdown(&listener, rustix::net::Shutdown::Both).unwrap();
        accepting.join().unwrap();
    }
}
