//! The one place where the session table meets the lock, the clock, chance and the sockets.
//!
//! Every change of the table runs under the lock and puts what sockets must be told into their
//! outlets, in order; the outlets are flushed only when the lock is released, so that no write
//! holds it. What the changes mean is [`crate::session`]'s; how bytes leave is the outlet's.

mod health;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::TryRng as _;
use rand::rngs::SysRng;

use crate::crypto::PhoneKey;
use crate::limit::{Counts, Peer};
use crate::password::{Judgement, PasswordRates, Passwords, Try};
use crate::refusal::Refusal;
use crate::session::{Attempt, Claim, Event, Rules, SessionId, Sessions, SocketId, UserId};
use crate::ticket::{self, Spent, Tickets};
pub use health::{Stuck, View};

/// The way to one socket.
pub trait Outlet: Send + Sync {
    /// Takes an event in; must neither block nor write, for the session table is locked.
    fn push(&self, event: Event);
    /// Sends what was taken in, without waiting for the peer.
    fn flush(&self);
}

/// How the hub opens sockets.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    /// Whether a socket may open without a ticket (`[sync] accept_unissued_sessions`).
    pub unissued: bool,
    /// How many sockets one peer may hold for one user.
    pub per_user_and_address: usize,
}

/// The session table, shared by all threads.
pub struct Hub {
    tickets: Tickets,
    admission: Admission,
    state: Mutex<State>,
    passwords: Mutex<Passwords>,
    /// Wakes who waits for other tries to be judged.
    judged: Condvar,
    /// Wakes who waits for the answer to the same body.
    answered: Condvar,
    /// Wakes the timer thread when an earlier deadline has come into the table.
    earlier: Condvar,
    /// How often the timer thread has looked at the table.
    beats: AtomicU64,
}

struct State {
    sessions: Sessions<Arc<PhoneKey>>,
    spent: Spent,
    outlets: HashMap<SocketId, Arc<dyn Outlet>>,
    crowd: Counts<(UserId, Peer)>,
    next_socket: u64,
    leaving: bool,
}

/// A socket's place in the table; dropped, its QR code is void.
pub struct Seat {
    hub: Arc<Hub>,
    socket: SocketId,
    counted: (UserId, Peer),
}

/// A won claim; dropped without [`Won::complete`], the session is paused again.
#[must_use = "a claim that is not completed is released"]
pub struct Won<'a> {
    hub: &'a Hub,
    claim: Option<Claim>,
}

/// A try for a password; dropped, it was wrong until [`Trying::judge`] said otherwise.
pub struct Trying<'a> {
    hub: &'a Hub,
    attempt: Try,
    judgement: Judgement,
}

/// How long a try waits for others; the apps give up after 10 s.
const PATIENCE: Duration = Duration::from_secs(5);

impl Hub {
    /// An empty hub.
    ///
    /// # Errors
    /// Where the kernel gives no random bytes for the tickets' key.
    pub fn new(
        rules: Rules,
        admission: Admission,
        rates: PasswordRates,
    ) -> Result<Self, rand::rngs::SysError> {
        let state = State {
            sessions: Sessions::new(rules),
            spent: Spent::default(),
            outlets: HashMap::new(),
            crowd: Counts::new(admission.per_user_and_address),
            next_socket: 0,
            leaving: false,
        };
        Ok(Hub {
            tickets: Tickets::new(&random()?, Instant::now()),
            admission,
            state: Mutex::new(state),
            passwords: Mutex::new(Passwords::new(rates)),
            judged: Condvar::new(),
            answered: Condvar::new(),
            earlier: Condvar::new(),
            beats: AtomicU64::new(0),
        })
    }

    /// A ticket for a new session of `user`; costs no memory (contract §1).
    ///
    /// # Errors
    /// [`Refusal::Fault`] where the kernel gives no random bytes.
    pub fn issue(&self, user: &UserId) -> Result<String, Refusal> {
        let nonce = random().map_err(|_| Refusal::Fault)?;
        Ok(self.tickets.issue(Instant::now(), user, nonce))
    }

    /// Opens a socket for the holder of a ticket; its first event is a QR code.
    ///
    /// # Errors
    /// [`Refusal::Session`] for a ticket that is not good (contract §2), [`Refusal::Crowd`] where
    /// the peer holds too many sockets for this user, [`Refusal::Full`].
    pub fn connect(
        self: &Arc<Self>,
        user: &UserId,
        ticket: &str,
        peer: Peer,
        outlet: Arc<dyn Outlet>,
    ) -> Result<Seat, Refusal> {
        let now = Instant::now();
        let counted = (user.clone(), peer);
        self.change(|state| {
            if state.leaving {
                return Err(Refusal::Full(ticket::LIFETIME));
            }
            // The crowd is looked at first: a refused newcomer keeps the ticket.
            if !state.crowd.enter(counted.clone()) {
                return Err(Refusal::Crowd(ticket::LIFETIME));
            }
            let socket = SocketId(state.next_socket);
            let opened = if self.admission.unissued {
                Ok(())
            } else {
                self.tickets.redeem(now, user, ticket, &mut state.spent)
            }
            .and_then(|()| state.sessions.connect(now, mint(), user.clone(), peer, socket));
            if let Err(refusal) = opened {
                state.crowd.leave(&counted);
                return Err(refusal);
            }
            state.next_socket += 1;
            state.outlets.insert(socket, outlet);
            Ok(Seat { hub: Arc::clone(self), socket, counted })
        })
    }

    /// See [`Sessions::begin`].
    ///
    /// # Errors
    /// As there.
    pub fn begin(&self, id: SessionId, user: &UserId, key: &Arc<PhoneKey>) -> Result<(), Refusal> {
        self.change(|state| state.sessions.begin(Instant::now(), id, user, key))
    }

    /// See [`Sessions::attempt`]: the phone's key. Waits while the same body is being judged, for
    /// a repeat beside it would be a try that nobody counts.
    ///
    /// # Errors
    /// As there, what the same body met before, and [`Refusal::Full`] where it takes too long.
    pub fn attempt(
        &self,
        id: SessionId,
        user: &UserId,
        digest: [u8; 32],
        key: Option<&Arc<PhoneKey>>,
    ) -> Result<Arc<PhoneKey>, Refusal> {
        let patience = Instant::now() + PATIENCE;
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            match state.sessions.attempt(now, id, user, digest, key)? {
                Attempt::Granted(key) => return Ok(key),
                Attempt::Repeated(refusal) => return Err(refusal),
                Attempt::Pending if now >= patience => return Err(Refusal::Full(PATIENCE)),
                Attempt::Pending => drop(self.answered.wait_timeout(state, patience - now)),
            }
            state = self.lock();
        }
    }

    /// See [`Sessions::refuse`].
    pub fn refuse(&self, id: SessionId, digest: [u8; 32], refusal: Refusal) {
        self.change(|state| state.sessions.refuse(id, digest, refusal));
        self.answered.notify_all();
    }

    /// See [`Sessions::claim`].
    ///
    /// # Errors
    /// As there.
    pub fn claim(&self, id: SessionId, user: &UserId) -> Result<Won<'_>, Refusal> {
        let claim = self.change(|state| state.sessions.claim(id, user))?;
        Ok(Won { hub: self, claim: Some(claim) })
    }

    /// See [`Passwords::begin`]; waits while other tries must be judged first.
    ///
    /// # Errors
    /// As there, and [`Refusal::Full`] where the others take too long.
    pub fn try_password(&self, user: Option<&UserId>, peer: Peer) -> Result<Trying<'_>, Refusal> {
        let patience = Instant::now() + PATIENCE;
        let mut passwords = self.passwords();
        loop {
            let now = Instant::now();
            if let Some(attempt) = passwords.begin(now, user, peer)? {
                return Ok(Trying { hub: self, attempt, judgement: Judgement::Wrong });
            }
            if now >= patience {
                return Err(Refusal::Full(PATIENCE));
            }
            let waited = self.judged.wait_timeout(passwords, patience - now);
            passwords = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Closes every socket and admits no more.
    pub fn leave(&self) {
        self.change(|state| {
            state.leaving = true;
            state.sessions.leave(Instant::now());
        });
    }

    /// How many sockets are open.
    pub fn sockets(&self) -> usize {
        self.lock().outlets.len()
    }

    /// Rotates, expires and cuts in time; never returns.
    pub fn keep_time(&self) -> ! {
        loop {
            self.beats.fetch_add(1, Ordering::Relaxed);
            self.change(|state| state.sessions.handle_timeout(Instant::now(), &mut mint));
            let state = self.lock();
            let wait = state
                .sessions
                .poll_timeout()
                .map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match wait {
                Some(wait) if wait.is_zero() => {}
                Some(wait) => drop(self.earlier.wait_timeout(state, wait)),
                None => drop(self.earlier.wait(state)),
            }
        }
    }

    /// Changes the table under the lock, then tells the sockets.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let before = state.sessions.poll_timeout();
        let result = change(&mut state);
        let mut told = Vec::new();
        while let Some((socket, event)) = state.sessions.poll_event() {
            if let Some(outlet) = state.outlets.get(&socket) {
                outlet.push(event);
                told.push(Arc::clone(outlet));
            }
        }
        let after = state.sessions.poll_timeout();
        let sooner = after.is_some_and(|after| before.is_none_or(|before| after < before));
        drop(state);
        if sooner {
            self.earlier.notify_one();
        }
        for outlet in told {
            // A panic in one socket must neither stop the clock of all, nor keep a phone's answer.
            let _ = catch_unwind(AssertUnwindSafe(|| outlet.flush()));
        }
        result
    }

    /// Half-counted tries do no harm: a panic elsewhere must not end the limits.
    fn passwords(&self) -> MutexGuard<'_, Passwords> {
        self.passwords.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked in the table may have left it half changed: a restart costs two
        // minutes of QR codes, a wrong table may acknowledge a phone whose key is not stored.
        self.state.lock().unwrap_or_else(|_| {
            log::error!("the session table is damaged by a panic; the process ends");
            std::process::exit(70)
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let outlet = self.hub.change(|state| {
            state.sessions.disconnect(self.socket);
            state.crowd.leave(&self.counted);
            state.outlets.remove(&self.socket)
        });
        // The last handle closes a descriptor, which is not the lock's business.
        drop(outlet);
    }
}

impl Won<'_> {
    /// The phone's key is stored: the dashboard sees `200- ack`.
    pub fn complete(mut self) {
        if let Some(claim) = self.claim.take() {
            self.hub.change(|state| state.sessions.complete(Instant::now(), claim));
            self.hub.answered.notify_all();
        }
    }
}

impl Drop for Won<'_> {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.hub.change(|state| state.sessions.release(claim));
        }
    }
}

impl Trying<'_> {
    /// Ends the try.
    pub fn judge(mut self, judgement: Judgement) {
        self.judgement = judgement;
    }
}

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        self.hub.passwords().end(Instant::now(), self.attempt, self.judgement);
        self.hub.judged.notify_all();
    }
}

fn mint() -> SessionId {
    SessionId::new(random().expect("the kernel's generator, once seeded, always answers"))
}

/// Bytes of the kernel's generator.
///
/// # Errors
/// Where the kernel has no generator, or not yet.
pub fn random<const N: usize>() -> Result<[u8; N], rand::rngs::SysError> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes)?;
    Ok(bytes)
}
