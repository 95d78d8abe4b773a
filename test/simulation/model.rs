//! The naive model of the session table: slow, obvious, and from the contract (§2, §3).
//!
//! A deadline is found by looking at every session, and a session by looking at every id. Which
//! steps are drawn and how the two are compared is the simulation's.

use std::time::Instant;

use swob_gateway::refusal::Refusal;
use swob_gateway::session::{Attempt, Event, Reason, SessionId, SocketId};

use super::{Digest, Key, RULES, Told};

/// The results of all steps in one comparable form; reasons of a 400 are the table's own affair.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    Done,
    Granted(Key),
    Pending,
    Repeated(Refusal),
    Refused(Refusal),
}

impl Outcome {
    pub fn of<T>(result: Result<T, Refusal>, done: impl FnOnce(T) -> Outcome) -> Outcome {
        match result {
            Ok(value) => done(value),
            Err(Refusal::Malformed(_)) => Outcome::Refused(Refusal::Malformed("")),
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    pub fn kind(&self) -> Option<&'static str> {
        match self {
            Outcome::Done => None,
            Outcome::Granted(_) => Some("granted"),
            Outcome::Pending => Some("pending"),
            Outcome::Repeated(_) => Some("repeated"),
            Outcome::Refused(Refusal::Session) => Some("session"),
            Outcome::Refused(Refusal::Malformed(_)) => Some("malformed"),
            Outcome::Refused(Refusal::Attempts(_)) => Some("attempts"),
            Outcome::Refused(Refusal::Full(_)) => Some("full"),
            Outcome::Refused(other) => panic!("the table has no business to refuse with {other:?}"),
        }
    }
}

pub struct Session {
    pub id: SessionId,
    pub user: usize,
    pub socket: Option<SocketId>,
    /// Bound by the first begin; a session without is showing its code.
    pub key: Option<Key>,
    pub claimed: bool,
    codes: u32,
    ends: Instant,
    tries: Vec<(Digest, Option<Refusal>)>,
}

#[derive(Default)]
pub struct Model {
    pub sessions: Vec<Session>,
    /// Sockets in their closing handshake, with its deadline.
    closing: Vec<(SocketId, Instant)>,
}

impl Model {
    pub fn live(&mut self, id: SessionId, user: usize) -> Result<&mut Session, Refusal> {
        let found = self.sessions.iter_mut().find(|s| s.id == id && s.user == user);
        found.ok_or(Refusal::Session)
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        let sessions = self.sessions.iter().filter(|s| !s.claimed).map(|s| s.ends);
        sessions.chain(self.closing.iter().map(|(_, ends)| *ends)).min()
    }

    pub fn close(&mut self, now: Instant, socket: SocketId, reason: Reason) -> Told {
        self.closing.push((socket, now + RULES.linger));
        (socket, Event::Close(reason))
    }

    pub fn connect(
        &mut self,
        now: Instant,
        id: SessionId,
        user: usize,
        socket: SocketId,
    ) -> Result<Told, Refusal> {
        if self.sessions.iter().filter(|s| s.socket.is_none()).count() >= RULES.detached {
            return Err(Refusal::Full(RULES.paused));
        }
        self.sessions.push(Session {
            id,
            user,
            socket: Some(socket),
            key: None,
            claimed: false,
            codes: 1,
            ends: now + RULES.sleep,
            tries: Vec::new(),
        });
        Ok((socket, Event::Show(id)))
    }

    pub fn disconnect(&mut self, socket: SocketId) {
        self.closing.retain(|(other, _)| *other != socket);
        self.sessions.retain(|s| s.socket != Some(socket) || s.key.is_some());
        for session in &mut self.sessions {
            session.socket = session.socket.filter(|other| *other != socket);
        }
    }

    pub fn begin(
        &mut self,
        now: Instant,
        id: SessionId,
        user: usize,
        key: Key,
    ) -> Result<Option<Told>, Refusal> {
        let session = self.live(id, user)?;
        match session.key {
            Some(bound) if bound == key => Ok(None),
            Some(_) => Err(Refusal::Session),
            None => {
                session.key = Some(key);
                session.ends = now + RULES.paused;
                Ok(session.socket.map(|socket| (socket, Event::Pause)))
            }
        }
    }

    pub fn attempt(
        &mut self,
        now: Instant,
        id: SessionId,
        user: usize,
        digest: Digest,
        key: Option<Key>,
    ) -> Result<Attempt<Key>, Refusal> {
        let session = self.live(id, user)?;
        let bound = session.key.or(key).ok_or(Refusal::Malformed(""))?;
        if key.is_some_and(|key| key != bound) {
            return Err(Refusal::Session);
        }
        if let Some((_, refusal)) = session.tries.iter().find(|(seen, _)| *seen == digest) {
            return Ok(refusal.map_or(Attempt::Pending, Attempt::Repeated));
        }
        if session.tries.len() >= RULES.attempts {
            return Err(Refusal::Attempts(session.ends.saturating_duration_since(now)));
        }
        session.tries.push((digest, None));
        Ok(Attempt::Granted(bound))
    }

    pub fn refuse(&mut self, id: SessionId, digest: Digest, refusal: Refusal) {
        for session in self.sessions.iter_mut().filter(|s| s.id == id) {
            if refusal.status() >= 500 {
                session.tries.retain(|entry| *entry != (digest, None));
            } else {
                session.tries.retain(|(seen, _)| *seen != digest);
                session.tries.push((digest, Some(refusal)));
            }
        }
    }

    pub fn claim(&mut self, id: SessionId, user: usize) -> Result<(), Refusal> {
        let session = self.live(id, user)?;
        if session.key.is_none() || session.claimed {
            return Err(Refusal::Session);
        }
        session.claimed = true;
        Ok(())
    }

    pub fn complete(&mut self, now: Instant, id: SessionId) -> Vec<Told> {
        let at = self.sessions.iter().position(|s| s.id == id).expect("a claimed session stays");
        match self.sessions.remove(at).socket {
            Some(socket) => vec![(socket, Event::Ack), self.close(now, socket, Reason::Complete)],
            None => vec![],
        }
    }

    pub fn release(&mut self, id: SessionId) {
        for session in self.sessions.iter_mut().filter(|s| s.id == id) {
            session.claimed = false;
        }
    }

    /// `seen` are the table's events: which fresh id goes to which socket is the table's choice.
    pub fn pass(&mut self, now: Instant, seen: &[Told]) -> Vec<Told> {
        let mut events = Vec::new();
        let (cut, closing) = self.closing.drain(..).partition(|(_, ends)| *ends <= now);
        self.closing = closing;
        events.extend(Vec::into_iter(cut).map(|(socket, _)| (socket, Event::Cut)));
        let due = |s: &Session| !s.claimed && s.ends <= now;
        let (due, live) = self.sessions.drain(..).partition::<Vec<_>, _>(due);
        self.sessions = live;
        for mut session in due {
            let Some(socket) = session.socket else { continue };
            if session.key.is_some() || session.codes == RULES.changes {
                events.push(self.close(now, socket, Reason::Expired));
                continue;
            }
            let fresh = seen.iter().find_map(|event| match event {
                (to, Event::Show(id)) if *to == socket => Some(*id),
                _ => None,
            });
            session.id = fresh.unwrap_or_else(|| panic!("{socket:?} is due a code, got none"));
            session.codes += 1;
            session.tries.clear();
            session.ends = now + RULES.sleep;
            events.push((socket, Event::Show(session.id)));
            self.sessions.push(session);
        }
        events
    }

    pub fn leave(&mut self, now: Instant) -> Vec<Told> {
        let (stay, end) = self.sessions.drain(..).partition(|s| s.claimed);
        self.sessions = stay;
        let sockets = Vec::into_iter(end).filter_map(|s: Session| s.socket);
        sockets.map(|socket| self.close(now, socket, Reason::Leaving)).collect()
    }
}
