//! Whether a database is ready: asked in a thread of its own, so that who wants to know waits for
//! no database, and not more often than once a second, however many want to know.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::log::cause;
use crate::store::StoreError;

/// How long an answer counts.
const FRESH: Duration = Duration::from_secs(1);
/// The driver runs in it.
const STACK: usize = 512 * 1024;

/// One database's probe.
pub struct Probe {
    name: &'static str,
    check: Box<dyn Fn() -> Result<(), StoreError> + Send + Sync>,
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Default)]
struct State {
    running: bool,
    /// The last answer.
    verdict: Option<Result<(), String>>,
    /// Until when it counts.
    until: Option<Instant>,
}

impl State {
    fn fresh(&self) -> Option<&Result<(), String>> {
        self.verdict.as_ref().filter(|_| self.until.is_some_and(|until| Instant::now() < until))
    }
}

impl Probe {
    /// What `check` finds is the answer.
    pub fn new(
        name: &'static str,
        check: impl Fn() -> Result<(), StoreError> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let state = Mutex::new(State::default());
        Arc::new(Probe { name, check: Box::new(check), state, done: Condvar::new() })
    }

    /// Asks, unless the answer is fresh or under way.
    pub fn start(self: &Arc<Self>) {
        let mut state = self.lock();
        if state.running || state.fresh().is_some() {
            return;
        }
        state.running = true;
        drop(state);
        let this = Arc::clone(self);
        let thread = thread::Builder::new().name(format!("probe {}", self.name)).stack_size(STACK);
        let spawned = thread.spawn(move || {
            let mut run = Run { probe: &this, verdict: Err("the check broke off".to_owned()) };
            run.verdict = this.check();
        });
        if spawned.is_err() {
            self.end(Err("there is no thread to look with".to_owned()));
        }
    }

    /// The answer, by the deadline; where there is none, that is the answer.
    ///
    /// # Errors
    /// Why it is not ready.
    pub fn verdict(&self, deadline: Instant) -> Result<(), String> {
        let mut state = self.wait(deadline);
        if let Some(verdict) = state.fresh() {
            return verdict.clone();
        }
        state.verdict.insert(Err("it gives no answer within a second".to_owned())).clone()
    }

    /// The answer, by the deadline, or the one before it.
    pub fn last(&self, deadline: Instant) -> bool {
        self.wait(deadline).verdict.as_ref().is_some_and(Result::is_ok)
    }

    /// Waits for a fresh answer.
    fn wait(&self, deadline: Instant) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while state.fresh().is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.done.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    fn check(&self) -> Result<(), String> {
        (self.check)().map_err(|error| match (&error, &self.lock().verdict) {
            // Nobody has tried: what the last one met is still the reason.
            (StoreError::Away(None), Some(Err(before))) => before.clone(),
            _ => cause(&error),
        })
    }

    fn end(&self, verdict: Result<(), String>) {
        let mut state = self.lock();
        state.running = false;
        state.verdict = Some(verdict);
        state.until = Some(Instant::now() + FRESH);
        drop(state);
        self.done.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A check under way, which ends also where it panics.
struct Run<'a> {
    probe: &'a Probe,
    verdict: Result<(), String>,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.probe.end(std::mem::replace(&mut self.verdict, Ok(())));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn many_who_ask_within_a_second_cost_one_look() {
        let looks = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&looks);
        let probe = Probe::new("test", move || {
            counted.fetch_add(1, Ordering::SeqCst);
            Err(StoreError::Content("no salt"))
        });
        let start = Instant::now();
        for _ in 0..50 {
            probe.start();
            assert_eq!(probe.verdict(soon()), Err("no salt".to_owned()));
        }
        let most = 1 + start.elapsed().as_secs() as usize;
        assert!((1..=most).contains(&looks.load(Ordering::SeqCst)));
    }

    #[test]
    fn who_asks_a_frozen_database_waits_no_longer_than_the_deadline() {
        let (thaw, frozen) = mpsc::channel::<()>();
        let frozen = Mutex::new(frozen);
        let probe = Probe::new("test", move || {
            frozen.lock().unwrap().recv().unwrap();
            Ok(())
        });
        probe.start();
        let late = probe.verdict(Instant::now() + Duration::from_millis(20));
        assert_eq!(late, Err("it gives no answer within a second".to_owned()));
        assert!(!probe.last(Instant::now()));
        probe.start();
        thaw.send(()).unwrap();
        assert_eq!(probe.verdict(soon()), Ok(()));
        probe.lock().until = None;
        // The next answer is not there yet: the last one is good enough for a curve.
        probe.start();
        assert!(probe.last(Instant::now()));
        thaw.send(()).unwrap();
    }

    #[test]
    fn a_check_that_panics_is_an_answer() {
        let probe = Probe::new("test", || panic!("planted"));
        probe.start();
        assert_eq!(probe.verdict(soon()), Err("the check broke off".to_owned()));
    }

    #[test]
    fn the_reason_stays_while_nobody_tries() {
        let first = AtomicUsize::new(0);
        let probe = Probe::new("test", move || match first.fetch_add(1, Ordering::SeqCst) {
            0 => Err(StoreError::Content("no salt")),
            _ => Err(StoreError::Away(None)),
        });
        for _ in 0..2 {
            probe.start();
            assert_eq!(probe.verdict(soon()), Err("no salt".to_owned()));
            probe.lock().until = None;
        }
    }
}
