//! What became of all sessions: numbers for the administrator, who chooses the times by them.
//!
//! Nothing of a single session stays here, but for the ids that are just over: a handshake with
//! one of them tells that people need more time than they were given.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::SessionId;
use crate::histogram::Histogram;

/// For how long an id counts as just over.
const LATE: Duration = Duration::from_secs(60);
/// How many such ids are remembered; beyond, the oldest are forgotten.
const MOST: usize = 1 << 14;
/// In seconds: how much longer the time would have to be.
const DELAYS: Histogram = Histogram::new(&[1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0]);

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The phone has its key.
    Acked,
    /// Every code was shown and none scanned.
    Expired,
    /// The dashboard left before the scan.
    Abandoned,
    /// The paused time was over before the ack.
    PausedOut,
    /// The server went down.
    Stopped,
}

impl End {
    /// All of them.
    pub const ALL: [End; 5] =
        [End::Acked, End::Expired, End::Abandoned, End::PausedOut, End::Stopped];

    /// The end in one word.
    pub fn name(self) -> &'static str {
        match self {
            End::Acked => "acked",
            End::Expired => "expired",
            End::Abandoned => "abandoned",
            End::PausedOut => "paused_out",
            End::Stopped => "stopped",
        }
    }
}

/// Why an id is just over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The next code came, or the last one's time was over: [`super::Rules::sleep`].
    Rotation,
    /// The paused time was over: [`super::Rules::paused`].
    Pause,
}

/// The numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tally {
    /// Codes that were shown.
    pub shown: u64,
    /// Codes that a phone has scanned.
    pub scanned: u64,
    /// Sessions that have ended, in the order of [`End::ALL`].
    pub ended: [u64; End::ALL.len()],
    /// How long after the rotation handshakes came that came just too late, one a code.
    pub after_rotation: Histogram,
    /// The same after the end of the pause.
    pub after_pause: Histogram,
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            shown: 0,
            scanned: 0,
            ended: [0; End::ALL.len()],
            after_rotation: DELAYS,
            after_pause: DELAYS,
        }
    }
}

impl Tally {
    /// Counts an end.
    pub fn end(&mut self, end: End) {
        self.ended[end as usize] += 1;
    }

    /// Counts a handshake that came so long after its id was over.
    pub fn late(&mut self, by: Duration, over: Over) {
        match over {
            Over::Rotation => self.after_rotation.observe(by),
            Over::Pause => self.after_pause.observe(by),
        }
    }
}

/// The ids that are just over.
#[derive(Default)]
pub struct JustOver {
    ids: HashMap<SessionId, (Instant, Over)>,
    order: VecDeque<(Instant, SessionId)>,
}

impl JustOver {
    /// Remembers an id.
    pub fn note(&mut self, now: Instant, id: SessionId, over: Over) {
        while let Some((at, oldest)) = self.order.front()
            && (self.order.len() >= MOST || *at + LATE <= now)
        {
            self.ids.remove(oldest);
            self.order.pop_front();
        }
        self.order.push_back((now, id));
        self.ids.insert(id, (now, over));
    }

    /// For how long an id has been over, and why; asked again, it is forgotten, for a phone that
    /// tries many times was late once.
    pub fn take(&mut self, now: Instant, id: SessionId) -> Option<(Duration, Over)> {
        let (at, over) = self.ids.remove(&id)?;
        let by = now.saturating_duration_since(at);
        (by < LATE).then_some((by, over))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> SessionId {
        SessionId::new((n as u128).to_be_bytes())
    }

    #[test]
    fn an_id_is_just_over_for_a_minute_and_counts_once() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut over = JustOver::default();
        over.note(start, id(1), Over::Rotation);
        over.note(at(10), id(2), Over::Pause);
        over.note(at(10), id(3), Over::Pause);
        assert_eq!(over.take(at(59), id(1)), Some((Duration::from_secs(59), Over::Rotation)));
        assert_eq!(over.take(at(59), id(1)), None);
        assert_eq!(over.take(at(59), id(2)), Some((Duration::from_secs(49), Over::Pause)));
        assert_eq!(over.take(at(70), id(3)), None);
        assert_eq!(over.take(at(70), id(4)), None);
    }

    #[test]
    fn the_memory_has_a_bound_in_number_and_in_time() {
        let start = Instant::now();
        let mut over = JustOver::default();
        for n in 0..MOST + 100 {
            over.note(start, id(n), Over::Rotation);
            assert!(over.ids.len() <= MOST && over.order.len() <= MOST);
        }
        assert_eq!(over.take(start, id(99)), None);
        assert!(over.take(start, id(100)).is_some());
        over.note(start + LATE, id(MOST + 100), Over::Rotation);
        assert_eq!((over.ids.len(), over.order.len()), (1, 1));
    }

    #[test]
    fn every_end_counts_at_its_own_place() {
        let mut tally = Tally::default();
        for end in End::ALL {
            tally.end(end);
        }
        assert_eq!(tally.ended, [1; End::ALL.len()]);
    }
}
