//! A listener whose accept loop ends when the server leaves, without a word to the listener.
//!
//! systemd may hold the same listener and hand it to the next server: to shut it down would refuse
//! the connections that wait in it. So the loop waits for a bell beside it.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// The longest time between two beats of a loop that lives.
const BEAT: Duration = Duration::from_secs(1);

/// Set once, when the server leaves: every accept loop hears it.
pub struct Leaving {
    set: AtomicBool,
    bell: OwnedFd,
    unanswered: AtomicUsize,
}

impl Leaving {
    /// A server that stays.
    ///
    /// # Errors
    /// Where the system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Leaving { set: AtomicBool::new(false), bell, unanswered: AtomicUsize::new(0) })
    }

    /// The server leaves: no loop accepts another connection.
    pub fn set(&self) {
        self.set.store(true, Ordering::Relaxed);
        // It stays rung: nobody reads it. A loop that missed it looks again within a beat.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// Whether the server leaves.
    pub fn is_set(&self) -> bool {
        self.set.load(Ordering::Relaxed)
    }

    /// How many connections were accepted and have not been answered.
    pub fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::Relaxed)
    }
}

/// An accepted connection that nobody has answered yet, until it is dropped. A server that leaves
/// owes it the answer: unlike a connection that waits in the listener, no other server finds it.
pub struct Debt(Arc<Leaving>);

impl Debt {
    fn new(to: &Arc<Leaving>) -> Self {
        to.unanswered.fetch_add(1, Ordering::Relaxed);
        Debt(Arc::clone(to))
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        self.0.unanswered.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One listener.
pub struct Door {
    listener: TcpListener,
    leaving: Arc<Leaving>,
    /// Set at least once a [`BEAT`].
    beat: Arc<AtomicBool>,
}

impl Door {
    /// Opens the door of a listener.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn new(
        listener: TcpListener,
        leaving: Arc<Leaving>,
        beat: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Door { listener, leaving, beat })
    }

    /// The next connection; `None` when the server leaves.
    ///
    /// # Errors
    /// As the kernel says; the next call may succeed.
    pub fn next(&self) -> Option<io::Result<(TcpStream, SocketAddr, Debt)>> {
        loop {
            self.beat.store(true, Ordering::Relaxed);
            if self.leaving.is_set() {
                return None;
            }
            match self.listener.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                came => return Some(came.map(|(tcp, at)| (tcp, at, Debt::new(&self.leaving)))),
            }
            if let Err(error) = self.wait() {
                return Some(Err(error));
            }
        }
    }

    /// Sleeps until somebody comes or the bell rings, a beat at most.
    fn wait(&self) -> io::Result<()> {
        let beat = Timespec::try_from(BEAT).map_err(io::Error::other)?;
        let [listener, bell] = [
            PollFd::new(&self.listener, PollFlags::IN),
            PollFd::new(&self.leaving.bell, PollFlags::IN),
        ];
        match poll(&mut [listener, bell], Some(&beat)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
