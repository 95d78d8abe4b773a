//! How the hub is, for the administrator: answered by a deadline, whoever holds the table.

use std::sync::TryLockError;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::Hub;
use crate::session::Tally;

/// How often a thread looks whether what it waits for has come.
const LOOK: Duration = Duration::from_millis(2);

/// How the table is, for the administrator.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Sockets that are open.
    pub sockets: usize,
    /// Sessions in the table.
    pub sessions: usize,
    /// What became of the others.
    pub tally: Tally,
}

/// What keeps the server from living.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// Whoever holds the table does not let go of it.
    Table,
    /// The timer thread does not come by.
    Timer,
}

impl Hub {
    /// How the table is.
    ///
    /// # Errors
    /// [`Stuck::Table`] where the lock is not to be had by the deadline.
    pub fn view(&self, deadline: Instant) -> Result<View, Stuck> {
        // A lock that waits cannot be left again, so it is tried until the time is over.
        loop {
            match self.state.try_lock() {
                Ok(state) => {
                    return Ok(View {
                        sockets: state.outlets.len(),
                        sessions: state.sessions.len(),
                        tally: *state.sessions.tally(),
                    });
                }
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    thread::sleep(LOOK);
                }
                Err(_) => return Err(Stuck::Table),
            }
        }
    }

    /// Whether the table is to be had and the timer runs, by the deadline.
    ///
    /// # Errors
    /// What does not.
    pub fn live(&self, deadline: Instant) -> Result<(), Stuck> {
        let before = self.beats.load(Ordering::Relaxed);
        self.view(deadline)?;
        // The timer of an empty table sleeps, so it is asked to come by.
        while self.beats.load(Ordering::Relaxed) == before {
            if Instant::now() >= deadline {
                return Err(Stuck::Timer);
            }
            self.earlier.notify_one();
            thread::sleep(LOOK);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::hub::{Admission, Outlet};
    use crate::limit::Peer;
    use crate::password::PasswordRates;
    use crate::session::{Event, Rules, UserId};

    fn hub() -> Arc<Hub> {
        let second = Duration::from_secs(1);
        let rules = Rules {
            sleep: second,
            changes: 1,
            paused: second,
            linger: second,
            attempts: 1,
            detached: 1,
            detached_per_peer: 1,
        };
        let admission = Admission { unissued: true, per_user_and_address: 1 };
        let none = PasswordRates { pair: vec![], address: vec![], user: vec![] };
        Arc::new(Hub::new(rules, admission, none).unwrap())
    }

    /// A socket that counts what it is told, and whose library panics.
    #[derive(Default)]
    struct Broken(AtomicU64);

    impl Outlet for Broken {
        fn push(&self, _: Event) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn flush(&self) {
            panic!("this socket is to panic");
        }
    }

    #[test]
    fn a_panic_in_one_socket_does_not_stop_the_rotation_of_all() {
        let (hub, broken) = (hub(), Arc::new(Broken::default()));
        let user = UserId::parse("ada").unwrap();
        let peer = Peer::of([127, 0, 0, 1].into());
        let _seat = hub.connect(&user, "", peer, Arc::clone(&broken) as _).unwrap();
        let timer = Arc::clone(&hub);
        thread::Builder::new().spawn(move || timer.keep_time()).unwrap();
        // The code, then after a second each the close and the cut.
        let deadline = Instant::now() + Duration::from_secs(20);
        while broken.0.load(Ordering::Relaxed) < 3 {
            assert!(Instant::now() < deadline, "{broken:?} events came", broken = broken.0);
            thread::sleep(LOOK);
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    #[test]
    fn it_lives_while_the_table_is_free_and_the_timer_comes_by() {
        let hub = hub();
        assert_eq!(hub.live(soon()), Err(Stuck::Timer));
        let held = hub.lock();
        assert_eq!(hub.live(soon()), Err(Stuck::Table));
        assert_eq!(hub.view(soon()).err(), Some(Stuck::Table));
        drop(held);
        let timer = Arc::clone(&hub);
        thread::Builder::new().spawn(move || timer.keep_time()).unwrap();
        // Asked twice, since the timer of an empty table sleeps in between.
        for _ in 0..2 {
            assert_eq!(hub.live(Instant::now() + Duration::from_secs(20)), Ok(()));
        }
    }
}
