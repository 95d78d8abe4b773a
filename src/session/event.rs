//! What the table is told at the start, and what it tells phones and sockets.

use std::time::Duration;

use super::SessionId;
use crate::refusal::Refusal;

/// A socket of a dashboard, by a number that its owner never gives out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u64);

/// What a socket must be told or suffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Show a QR code for this id.
    Show(SessionId),
    /// `201- pause`.
    Pause,
    /// `200- ack`; an [`Event::Close`] follows.
    Ack,
    /// Begin the closing handshake.
    Close(Reason),
    /// The closing handshake took longer than [`Rules::linger`]: cut the connection.
    Cut,
}

/// Why a socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The exchange is complete.
    Complete,
    /// Every URL was shown and none scanned, or the paused time is over.
    Expired,
    /// The server is going down.
    Leaving,
}

/// What [`super::Sessions::attempt`] grants.
#[derive(Debug, PartialEq, Eq)]
pub enum Attempt<K> {
    /// Go on; the answer is to be encrypted under this key of the phone.
    Granted(K),
    /// Wait: this very body is being judged at this moment.
    Pending,
    /// This very body was refused before, so.
    Repeated(Refusal),
}

/// The times and bounds of the table.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How long one QR code is shown.
    pub sleep: Duration,
    /// How many QR codes a socket shows in all, the first counted.
    pub changes: u32,
    /// How long a session waits for its acknowledgment after the pause.
    pub paused: Duration,
    /// How long a closing handshake may take.
    pub linger: Duration,
    /// How many different wrong bodies one session takes.
    pub attempts: usize,
    /// How many paused sessions without their dashboard are kept.
    pub detached: usize,
    /// How many of them one peer may have left before it opens another.
    pub detached_per_peer: usize,
}
