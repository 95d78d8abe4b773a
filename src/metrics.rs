//! What the server counts, and how Prometheus reads it (text format 0.0.4).
//!
//! A label's value is one of a few words that stand in this source, never a text from outside, so
//! that no id, number or address can get into it and the number of series has a bound.

mod text;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::histogram::{Histogram, WAITS};
use crate::refusal::Refusal;
pub use text::{CONTENT_TYPE, Listener, Process, Reading, Store, render};

/// How a handshake can end, in one word each: the first two are the 200 of its steps, the others
/// the names of refusals.
pub const HANDSHAKES: [&str; 10] = [
    "begun",
    "complete",
    "malformed",
    "undecipherable",
    "credentials",
    "session",
    "attempts",
    "full",
    "away",
    "fault",
];

/// What happens in many threads, counted.
#[derive(Default)]
pub struct Metrics(Mutex<Counters>);

/// The counts.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    /// In the order of [`Refusal::NAMES`].
    refusals: [u64; Refusal::NAMES.len()],
    /// In the order of [`HANDSHAKES`], with the time of the last.
    handshakes: [(u64, Option<SystemTime>); HANDSHAKES.len()],
    /// How long phones waited for the answer to a step of their handshake.
    handshake_waits: Histogram,
    /// How long the private key was at work.
    key_work: Histogram,
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            refusals: [0; Refusal::NAMES.len()],
            handshakes: [(0, None); HANDSHAKES.len()],
            handshake_waits: Histogram::new(WAITS),
            key_work: Histogram::new(WAITS),
        }
    }
}

impl Metrics {
    /// Counts an answer that is a refusal.
    pub fn refused(&self, refusal: &Refusal) {
        let at = Refusal::NAMES.iter().position(|name| *name == refusal.name());
        self.change(|counters| at.into_iter().for_each(|at| counters.refusals[at] += 1));
    }

    /// Counts a handshake's answer, which took so long, at this time.
    pub fn handshake(&self, outcome: &str, took: Duration, now: SystemTime) {
        let at = HANDSHAKES.iter().position(|name| *name == outcome);
        // A refusal that has no business here is a fault of the server.
        let at = at.unwrap_or(HANDSHAKES.len() - 1);
        self.change(|counters| {
            counters.handshakes[at].0 += 1;
            counters.handshakes[at].1 = Some(now);
            counters.handshake_waits.observe(took);
        });
    }

    /// Counts an operation of the private key.
    pub fn key_worked(&self, took: Duration) {
        self.change(|counters| counters.key_work.observe(took));
    }

    /// The counts as they are now.
    pub fn counters(&self) -> Counters {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Half-counted does no harm: a panic elsewhere must not end the counting.
    fn change(&self, change: impl FnOnce(&mut Counters)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
