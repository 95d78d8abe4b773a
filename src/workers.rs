//! A queue for what costs a core a millisecond and anyone may ask for: the private key's
//! operations above all.
//!
//! As many run at once as there are workers, so many of one peer at most; the rest wait, not for
//! long. What they do is their callers' business.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::histogram::{Histogram, WAITS};
use crate::limit::{Counts, Peer};
use crate::refusal::Refusal;

/// How many operations of one peer run at once.
const PER_PEER: usize = 2;
/// How long an operation waits; the apps give up after 10 s.
const PATIENCE: Duration = Duration::from_secs(5);

/// The queue.
pub struct Workers {
    state: Mutex<State>,
}

struct State {
    free: usize,
    busy: Counts<Peer>,
    /// Who waits, in the order in which they came.
    line: VecDeque<(Peer, Arc<Condvar>)>,
    queue: Queue,
}

/// How the queue is, for the administrator.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    /// How many operations run at once at most.
    pub workers: usize,
    /// How many run now.
    pub busy: usize,
    /// How many wait now.
    pub waiting: usize,
    /// How long those waited that had their turn.
    pub waits: Histogram,
}

/// A worker's turn, over when dropped.
pub struct Turn<'a> {
    workers: &'a Workers,
    peer: Peer,
}

impl Workers {
    /// One worker a core.
    pub fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Workers::of(cores)
    }

    /// So many workers.
    pub fn of(number: usize) -> Self {
        let queue = Queue { workers: number, busy: 0, waiting: 0, waits: Histogram::new(WAITS) };
        let (busy, line) = (Counts::new(PER_PEER), VecDeque::new());
        Workers { state: Mutex::new(State { free: number, busy, line, queue }) }
    }

    /// Waits for a worker.
    ///
    /// # Errors
    /// [`Refusal::Full`] when none is free in time.
    pub fn enter(&self, peer: Peer) -> Result<Turn<'_>, Refusal> {
        let start = Instant::now();
        let mut state = self.lock();
        // Whoever waits while a worker is free is of a peer that has its share.
        if !state.begin(peer) {
            let called = Arc::new(Condvar::new());
            state.line.push_back((peer, Arc::clone(&called)));
            let place =
                |state: &State| state.line.iter().position(|(_, c)| Arc::ptr_eq(c, &called));
            // Who is called has no place in the line any more.
            while let Some(place) = place(&state) {
                let left = PATIENCE.saturating_sub(start.elapsed());
                if left.is_zero() {
                    state.line.remove(place);
                    return Err(Refusal::Full(PATIENCE));
                }
                let waited = called.wait_timeout(state, left);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        state.queue.waits.observe(start.elapsed());
        Ok(Turn { workers: self, peer })
    }

    /// How the queue is now.
    pub fn queue(&self) -> Queue {
        let state = self.lock();
        let busy = state.queue.workers - state.free;
        Queue { busy, waiting: state.line.len(), ..state.queue }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a worker for a peer, where there is one for it.
    fn begin(&mut self, peer: Peer) -> bool {
        let room = self.free > 0 && self.busy.enter(peer);
        self.free -= usize::from(room);
        room
    }

    /// Gives the worker that came free to the first who may have it; to wake all of them for one
    /// costs more than some operations.
    fn call(&mut self) -> Option<Arc<Condvar>> {
        let (free, busy) = (self.free, &mut self.busy);
        let first = self.line.iter().position(|(peer, _)| free > 0 && busy.enter(*peer))?;
        self.free -= 1;
        self.line.remove(first).map(|(_, called)| called)
    }
}

impl Default for Workers {
    fn default() -> Self {
        Workers::new()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.workers.lock();
        state.free += 1;
        state.busy.leave(&self.peer);
        let called = state.call();
        drop(state);
        if let Some(called) = called {
            called.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn peer(n: u8) -> Peer {
        Peer::of([127, 0, 0, n].into())
    }

    #[test]
    fn no_more_run_at_once_than_there_are_workers_and_all_get_their_turn() {
        let workers = Workers::of(3);
        let (running, most, done) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for n in 0..30 {
                let (workers, running, most, done) = (&workers, &running, &most, &done);
                scope.spawn(move || {
                    let _turn = workers.enter(peer(n)).unwrap();
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(2));
                    running.fetch_sub(1, Ordering::SeqCst);
                    done.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!((most.into_inner(), done.into_inner()), (3, 30));
    }

    #[test]
    fn one_peer_leaves_a_worker_to_the_others() {
        let workers = Workers::of(3);
        let _first = workers.enter(peer(1)).unwrap();
        let _second = workers.enter(peer(1)).unwrap();
        assert!(!workers.lock().busy.enter(peer(1)));
        assert!(workers.enter(peer(2)).is_ok());
    }

    #[test]
    fn who_finds_no_worker_in_time_is_refused() {
        let workers = Workers::of(1);
        let _busy = workers.enter(peer(1)).unwrap();
        thread::scope(|scope| {
            let late = scope.spawn(|| workers.enter(peer(2)).map(drop));
            while workers.queue().waiting == 0 {
                thread::yield_now();
            }
            assert_eq!(late.join().unwrap(), Err(Refusal::Full(PATIENCE)));
        });
        let Queue { workers, busy, waiting, waits } = workers.queue();
        assert_eq!((workers, busy, waiting), (1, 1, 0));
        assert_eq!(waits.cumulated().last(), Some((None, 1)));
    }
}
