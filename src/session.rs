//! The session table: which QR code is worth what, until when, and who must be told.
//!
//! A session is one scan in the making: a dashboard's socket that shows a QR code, and the phone
//! that scanned it.
//!
//! ```text
//!            connect                 begin                  claim             complete
//!   (nothing) ──────▶ Shown ─────────────────▶ Paused ──────────────▶ Claimed ──────────▶ 200- ack, close
//!                     │  ▲                    │      ▲                  │
//!             sleep:  │  │ new id             │      └──────────────────┘
//!             rotate  └──┘                    │            release
//!                     │                       │
//!   limit reached,    ▼                       ▼  paused time over:
//!   dashboard leaves: close                close
//! ```
//!
//! The table does no I/O, reads no clock and draws no chance: the time is an argument, a fresh id
//! comes from the caller, and what sockets must be told leaves through [`Sessions::poll_event`].
//! After each change the caller drains the events, and calls [`Sessions::handle_timeout`] when
//! [`Sessions::poll_timeout`] says. Issuing and spending the ids of `GET` is [`crate::ticket`]'s.

mod event;
mod id;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use crate::limit::{Counts, Peer};
use crate::refusal::Refusal;

pub use self::event::{Attempt, Event, Reason, Rules, SocketId};
pub use self::id::{SessionId, UserId};
pub use self::tally::{End, Tally};
use self::tally::{JustOver, Over};

/// The right to complete one session: whoever holds it has won the race for this URL.
#[must_use = "a claim that is neither completed nor released blocks its session for ever"]
#[derive(Debug)]
pub struct Claim(SessionId);

struct Row<K> {
    user: UserId,
    /// Who opened the socket.
    peer: Peer,
    /// `None` once the dashboard of a paused session has left.
    socket: Option<SocketId>,
    state: State<K>,
    /// When the state ends; a claimed session keeps it for its release.
    deadline: Instant,
    /// The digests of the bodies that took a try, with the refusal each met.
    attempts: Vec<([u8; 32], Option<Refusal>)>,
}

enum State<K> {
    /// A QR code is on the screen, the `shown`-th of its socket.
    Shown { shown: u32 },
    /// A phone has handed over its key.
    Paused { key: K },
    /// A phone has proved its owner and its row is being written: nothing may expire.
    Claimed { key: K },
}

enum Seat {
    In(SessionId),
    Closing(Instant),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Session(SessionId),
    Closing(SocketId),
}

/// The session table. `K` is a phone's public key.
pub struct Sessions<K> {
    rules: Rules,
    rows: HashMap<SessionId, Row<K>>,
    sockets: HashMap<SocketId, Seat>,
    deadlines: BTreeSet<(Instant, Due)>,
    events: VecDeque<(SocketId, Event)>,
    detached: usize,
    /// Whose they are.
    left_by: Counts<Peer>,
    tally: Tally,
    just_over: JustOver,
}

impl<K: Clone + PartialEq> Sessions<K> {
    /// An empty table.
    pub fn new(rules: Rules) -> Self {
        Sessions {
            rules,
            rows: HashMap::new(),
            sockets: HashMap::new(),
            deadlines: BTreeSet::new(),
            events: VecDeque::new(),
            detached: 0,
            left_by: Counts::new(usize::MAX),
            tally: Tally::default(),
            just_over: JustOver::default(),
        }
    }

    /// A dashboard's socket opens: it is shown its first QR code, `id`, which must be fresh.
    ///
    /// # Errors
    /// [`Refusal::Full`] while too many paused sessions wait without their dashboard, and
    /// [`Refusal::Crowd`] while too many of this peer's do: else one stranger could fill the table.
    pub fn connect(
        &mut self,
        now: Instant,
        id: SessionId,
        user: UserId,
        peer: Peer,
        socket: SocketId,
    ) -> Result<(), Refusal> {
        if self.detached >= self.rules.detached {
            return Err(Refusal::Full(self.rules.paused));
        }
        if self.left_by.of(&peer) >= self.rules.detached_per_peer {
            return Err(Refusal::Crowd(self.rules.paused));
        }
        let row = Row {
            user,
            peer,
            socket: Some(socket),
            state: State::Shown { shown: 1 },
            deadline: now + self.rules.sleep,
            attempts: Vec::new(),
        };
        self.show(id, row, socket);
        Ok(())
    }

    /// A dashboard's socket is gone. A QR code that was not scanned goes with it; a session that
    /// a phone has begun stays for the phone (contract §2).
    pub fn disconnect(&mut self, socket: SocketId) {
        match self.sockets.remove(&socket) {
            Some(Seat::Closing(deadline)) => {
                self.deadlines.remove(&(deadline, Due::Closing(socket)));
            }
            Some(Seat::In(id)) => match self.rows.get_mut(&id) {
                Some(Row { state: State::Shown { .. }, .. }) => {
                    self.take(id);
                    self.tally.end(End::Abandoned);
                }
                Some(row) => {
                    row.socket = None;
                    self.detached += 1;
                    self.left_by.enter(row.peer);
                }
                None => {}
            },
            None => {}
        }
    }

    /// A phone hands over its key: the first key pauses the session and binds it; the same key
    /// again changes nothing.
    ///
    /// # Errors
    /// [`Refusal::Session`] for another key and for whatever is not a live session of `user`.
    pub fn begin(
        &mut self,
        now: Instant,
        id: SessionId,
        user: &UserId,
        key: &K,
    ) -> Result<(), Refusal> {
        self.count_late(now, id);
        let row = find(&mut self.rows, id, user)?;
        match &row.state {
            State::Paused { key: bound } | State::Claimed { key: bound } => {
                return if bound == key { Ok(()) } else { Err(Refusal::Session) };
            }
            State::Shown { .. } => {}
        }
        row.state = State::Paused { key: key.clone() };
        self.deadlines.remove(&(row.deadline, Due::Session(id)));
        row.deadline = now + self.rules.paused;
        self.deadlines.insert((row.deadline, Due::Session(id)));
        self.events.extend(row.socket.map(|socket| (socket, Event::Pause)));
        self.tally.scanned += 1;
        Ok(())
    }

    /// Takes one of the session's tries for a body with this digest, before any private-key work.
    /// `key` is the phone's, where the body holds one; else the one that [`Self::begin`] bound.
    /// A body seen before takes none.
    ///
    /// # Errors
    /// [`Refusal::Session`] as in [`Self::begin`]; [`Refusal::Malformed`] for a password without
    /// a key; [`Refusal::Attempts`] when the tries are used up.
    pub fn attempt(
        &mut self,
        now: Instant,
        id: SessionId,
        user: &UserId,
        digest: [u8; 32],
        key: Option<&K>,
    ) -> Result<Attempt<K>, Refusal> {
        self.count_late(now, id);
        let tries = self.rules.attempts;
        let row = find(&mut self.rows, id, user)?;
        let key = match (&row.state, key) {
            (State::Shown { .. }, Some(key)) => key.clone(),
            (State::Shown { .. }, None) => {
                return Err(Refusal::Malformed(
                    "public_key is missing; send it before the password",
                ));
            }
            (State::Paused { key: bound } | State::Claimed { key: bound }, key) => {
                if key.is_some_and(|key| key != bound) {
                    return Err(Refusal::Session);
                }
                bound.clone()
            }
        };
        match row.attempts.iter().find(|(seen, _)| *seen == digest) {
            Some((_, Some(refusal))) => Ok(Attempt::Repeated(*refusal)),
            Some((_, None)) => Ok(Attempt::Pending),
            None if row.attempts.len() < tries => {
                row.attempts.push((digest, None));
                Ok(Attempt::Granted(key))
            }
            None => Err(Refusal::Attempts(row.deadline.saturating_duration_since(now))),
        }
    }

    /// Tells what came of an attempt: a refusal of the body itself is kept, for its exact
    /// repeats get the same answer; one that may pass (5xx, and 429 with it) gives the try back.
    pub fn refuse(&mut self, id: SessionId, digest: [u8; 32], refusal: Refusal) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        if refusal.status() >= 500 || refusal.retry_after().is_some() {
            row.attempts.retain(|(seen, kept)| *seen != digest || kept.is_some());
            return;
        }
        match row.attempts.iter_mut().find(|(seen, _)| *seen == digest) {
            Some((_, kept)) => *kept = Some(refusal),
            // A fault met by the same body at the same moment has given the try back.
            None => row.attempts.push((digest, Some(refusal))),
        }
    }

    /// Takes the sole right to complete a paused session. From here it cannot expire.
    ///
    /// # Errors
    /// [`Refusal::Session`] where another phone won, and as in [`Self::begin`].
    pub fn claim(&mut self, id: SessionId, user: &UserId) -> Result<Claim, Refusal> {
        let row = find(&mut self.rows, id, user)?;
        let State::Paused { key } = &row.state else { return Err(Refusal::Session) };
        row.state = State::Claimed { key: key.clone() };
        self.deadlines.remove(&(row.deadline, Due::Session(id)));
        Ok(Claim(id))
    }

    /// The phone's key is stored: acknowledge and close.
    pub fn complete(&mut self, now: Instant, claim: Claim) {
        self.tally.end(End::Acked);
        if let Some(socket) = self.take(claim.0).and_then(|row| row.socket) {
            self.events.push_back((socket, Event::Ack));
            self.close(now, socket, Reason::Complete);
        }
    }

    /// The phone's key could not be stored: the session is paused again, for the rest of its time.
    pub fn release(&mut self, claim: Claim) {
        let Some(row) = self.rows.get_mut(&claim.0) else { return };
        if let State::Claimed { key } = &row.state {
            row.state = State::Paused { key: key.clone() };
            self.deadlines.insert((row.deadline, Due::Session(claim.0)));
        }
    }

    /// Rotates, expires and cuts whatever is due. `mint` gives fresh ids.
    pub fn handle_timeout(&mut self, now: Instant, mint: &mut dyn FnMut() -> SessionId) {
        while let Some((deadline, due)) = self.deadlines.first().copied() {
            if deadline > now {
                return;
            }
            self.deadlines.pop_first();
            match due {
                Due::Session(id) => self.expire(now, id, mint),
                Due::Closing(socket) => self.events.push_back((socket, Event::Cut)),
            }
        }
    }

    /// When [`Self::handle_timeout`] has something to do next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// The next thing that a socket must be told, in the order of the changes.
    pub fn poll_event(&mut self) -> Option<(SocketId, Event)> {
        self.events.pop_front()
    }

    /// The server is going down: closes every socket. Claimed sessions are still completed, for
    /// their phones; all others end here.
    pub fn leave(&mut self, now: Instant) {
        let claimed = |row: &Row<K>| matches!(row.state, State::Claimed { .. });
        let others = self.rows.iter().filter(|(_, row)| !claimed(row));
        let others: Vec<_> = others.map(|(id, _)| *id).collect();
        for id in others {
            self.tally.end(End::Stopped);
            if let Some(socket) = self.take(id).and_then(|row| row.socket) {
                self.close(now, socket, Reason::Leaving);
            }
        }
    }

    /// Sessions in the table: sockets that show a code, and paused sessions.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// What became of all sessions so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Whether no session is in the table.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn expire(&mut self, now: Instant, id: SessionId, mint: &mut dyn FnMut() -> SessionId) {
        let Some(mut row) = self.take(id) else { return };
        let over = match row.state {
            State::Shown { .. } => Over::Rotation,
            State::Paused { .. } | State::Claimed { .. } => Over::Pause,
        };
        self.just_over.note(now, id, over);
        match (&mut row.state, row.socket) {
            (State::Shown { shown }, Some(socket)) if *shown < self.rules.changes => {
                *shown += 1;
                // From now, not from when it was due: a late timer must not shorten the time in
                // which this code can be scanned.
                row.deadline = now + self.rules.sleep;
                row.attempts.clear();
                return self.show(mint(), row, socket);
            }
            (_, Some(socket)) => self.close(now, socket, Reason::Expired),
            (_, None) => {}
        }
        self.tally.end(if over == Over::Pause { End::PausedOut } else { End::Expired });
    }

    fn count_late(&mut self, now: Instant, id: SessionId) {
        if let Some((by, over)) = self.just_over.take(now, id) {
            self.tally.late(by, over);
        }
    }

    fn show(&mut self, id: SessionId, row: Row<K>, socket: SocketId) {
        self.deadlines.insert((row.deadline, Due::Session(id)));
        self.sockets.insert(socket, Seat::In(id));
        self.rows.insert(id, row);
        self.tally.shown += 1;
        self.events.push_back((socket, Event::Show(id)));
    }

    /// Removes a row with its deadline and its share in `detached`.
    fn take(&mut self, id: SessionId) -> Option<Row<K>> {
        let row = self.rows.remove(&id)?;
        self.deadlines.remove(&(row.deadline, Due::Session(id)));
        if row.socket.is_none() {
            self.detached -= 1;
            self.left_by.leave(&row.peer);
        }
        Some(row)
    }

    fn close(&mut self, now: Instant, socket: SocketId, reason: Reason) {
        let deadline = now + self.rules.linger;
        self.sockets.insert(socket, Seat::Closing(deadline));
        self.deadlines.insert((deadline, Due::Closing(socket)));
        self.events.push_back((socket, Event::Close(reason)));
    }
}

fn find<'a, K>(
    rows: &'a mut HashMap<SessionId, Row<K>>,
    id: SessionId,
    user: &UserId,
) -> Result<&'a mut Row<K>, Refusal> {
    rows.get_mut(&id).filter(|row| row.user == *user).ok_or(Refusal::Session)
}
