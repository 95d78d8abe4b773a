//! Threads that wait a while for the next connection before they end: to start one costs sixteen
//! system calls and fresh pages, to wake one a single call.
//!
//! There are as many threads as there is work at once; a few more wait for a moment.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

/// How long a thread waits for more work.
const LINGER: Duration = Duration::from_secs(5);
/// How many wait at most.
const IDLE: usize = 16;

/// One thread's work, to its end; a panic ends this work alone.
pub type Work = Box<dyn FnOnce() + Send>;

/// Threads of one kind.
pub struct Crew {
    name: &'static str,
    stack: usize,
    state: Mutex<State>,
    called: Condvar,
}

#[derive(Default)]
struct State {
    waiting: usize,
    /// What no thread has taken yet.
    work: VecDeque<Work>,
}

impl Crew {
    /// Nobody yet; its threads will have this name, and a stack of so many bytes.
    pub fn new(name: &'static str, stack: usize) -> Arc<Self> {
        Arc::new(Crew { name, stack, state: Mutex::default(), called: Condvar::new() })
    }

    /// Gives work to a thread that waits, or to a new one.
    ///
    /// # Errors
    /// Where no thread is to be had: the work that is left undone, with the cause.
    pub fn take(self: &Arc<Self>, work: Work) -> Result<(), (Work, io::Error)> {
        let mut state = self.lock();
        state.work.push_back(work);
        let waited_for = state.waiting >= state.work.len();
        drop(state);
        if waited_for {
            self.called.notify_one();
            return Ok(());
        }
        let this = Arc::clone(self);
        let thread = thread::Builder::new().name(self.name.to_owned()).stack_size(self.stack);
        match thread.spawn(move || this.serve()) {
            Ok(_) => Ok(()),
            // Another thread may have come free and taken it.
            Err(error) => {
                let left = self.lock().work.pop_back();
                left.map_or(Ok(()), |work| Err((work, error)))
            }
        }
    }

    fn serve(&self) {
        while let Some(work) = self.next() {
            // The hook has logged it.
            let _ = catch_unwind(AssertUnwindSafe(work));
        }
    }

    fn next(&self) -> Option<Work> {
        let end = Instant::now() + LINGER;
        let mut state = self.lock();
        state.waiting += 1;
        let work = loop {
            if let Some(work) = state.work.pop_front() {
                break Some(work);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || state.waiting > IDLE {
                break None;
            }
            let waited = self.called.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        };
        state.waiting -= 1;
        work
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn work_after_work_is_done_by_one_thread_and_work_at_once_by_as_many() {
        let crew = Crew::new("test", 256 * 1024);
        let (done, doing) = mpsc::channel();
        let give = |work: Work| assert!(crew.take(work).is_ok());
        let tell = |done: &mpsc::Sender<_>| {
            let done = done.clone();
            Box::new(move || done.send(thread::current().id()).unwrap())
        };
        let wait = |number| {
            let end = Instant::now() + Duration::from_secs(20);
            // A thread that is called waits until it has woken.
            let all_wait = |state: &State| state.waiting == number && state.work.is_empty();
            while !all_wait(&crew.lock()) {
                assert!(Instant::now() < end, "{} wait", crew.lock().waiting);
                thread::sleep(Duration::from_millis(1));
            }
        };
        give(tell(&done));
        let first = doing.recv().unwrap();
        wait(1);
        give(Box::new(|| panic!("this work is to panic")));
        wait(1);
        give(tell(&done));
        assert_eq!(doing.recv().unwrap(), first);
        wait(1);
        // Each waits for the other, so that no thread can do both.
        let both = Arc::new(std::sync::Barrier::new(2));
        for _ in 0..2 {
            let both = Arc::clone(&both);
            give(Box::new(move || {
                both.wait();
            }));
        }
        wait(2);
    }

    #[test]
    fn few_wait_for_more() {
        let crew = Crew::new("test", 256 * 1024);
        let all = Arc::new(std::sync::Barrier::new(4 * IDLE));
        for _ in 0..4 * IDLE {
            let all = Arc::clone(&all);
            let work = move || {
                all.wait();
            };
            assert!(crew.take(Box::new(work)).is_ok());
        }
        let end = Instant::now() + Duration::from_secs(20);
        // The crew is held here, and by each of its threads.
        while Arc::strong_count(&crew) > 1 + IDLE {
            assert!(Instant::now() < end, "{} threads", Arc::strong_count(&crew) - 1);
            thread::sleep(Duration::from_millis(1));
        }
    }
}
