//! What happens next: likely enough to reach every state, odd enough to reach its edges.

use std::time::Duration;

use rand::RngExt as _;

use swob_gateway::refusal::Refusal;
use swob_gateway::session::{SessionId, SocketId};

use super::{Digest, Key, Life, Step, mint};

impl Life<'_> {
    pub fn draw(&mut self) -> Step {
        let span = self.span();
        match self.rng.random_range(0..100) {
            0..16 => Step::Pass(span),
            16..19 => Step::Stall(span),
            19..30 if self.open.len() < 14 => Step::Connect(self.rng.random_range(0..3)),
            30..36 => Step::Disconnect(self.socket()),
            36..50 => {
                let (id, user) = self.target();
                Step::Begin(id, user, self.key())
            }
            50..72 => {
                let (id, user) = self.target();
                let key = self.rng.random_bool(0.5).then(|| self.key());
                Step::Attempt(id, user, [self.rng.random_range(0..9); 32], key)
            }
            72..85 => {
                let wait = Duration::from_secs(2);
                let refusals = [
                    Refusal::Credentials,
                    Refusal::Credentials,
                    Refusal::Undecipherable,
                    Refusal::Away(wait),
                    Refusal::Fault,
                ];
                let (id, digest) = self.body();
                Step::Refuse(id, digest, refusals[self.rng.random_range(0..5)])
            }
            85..92 => {
                let (id, user) = self.target();
                Step::Claim(id, user)
            }
            92..96 if !self.claims.is_empty() => Step::Complete(self.held()),
            96..100 if !self.claims.is_empty() => Step::Release(self.held()),
            _ => Step::Pass(Duration::from_millis(self.rng.random_range(0..400))),
        }
    }

    fn span(&mut self) -> Duration {
        let next = self.model.next_deadline().unwrap_or(self.now);
        let next = next.saturating_duration_since(self.now);
        match self.rng.random_range(0..if self.calm { 10 } else { 20 }) {
            0..10 => Duration::from_millis(self.rng.random_range(0..2_000)),
            10..14 => next,
            14..17 => next.saturating_sub(Duration::from_nanos(1)),
            17 => next + Duration::from_nanos(1),
            18 => Duration::from_secs(self.rng.random_range(0..40)),
            _ => Duration::from_secs(self.rng.random_range(0..250)),
        }
    }

    /// Mostly a live session and its own user; else a foreign user, or an old or unknown id.
    fn target(&mut self) -> (SessionId, usize) {
        let stranger = self.rng.random_range(0..3);
        let count = self.model.sessions.len();
        match self.rng.random_range(0..20) {
            0..15 if count > 0 => {
                let session = &self.model.sessions[self.rng.random_range(0..count)];
                (session.id, session.user)
            }
            15 if count > 0 => (self.model.sessions[self.rng.random_range(0..count)].id, stranger),
            16..19 if !self.ids.is_empty() => self.ids[self.rng.random_range(0..self.ids.len())],
            _ => (mint(&mut self.minted), stranger),
        }
    }

    fn socket(&mut self) -> SocketId {
        match self.open.len() {
            0 => SocketId(u64::MAX),
            open => self.open[self.rng.random_range(0..open)],
        }
    }

    fn key(&mut self) -> Key {
        u8::from(self.rng.random_bool(0.2))
    }

    /// Mostly one of the last bodies that took a try.
    fn body(&mut self) -> (SessionId, Digest) {
        let last = self.bodies.len().saturating_sub(20)..self.bodies.len();
        if last.is_empty() || self.rng.random_bool(0.1) {
            return (self.target().0, [self.rng.random_range(0..9); 32]);
        }
        self.bodies[self.rng.random_range(last)]
    }

    pub fn held(&mut self) -> usize {
        self.rng.random_range(0..self.claims.len())
    }
}
