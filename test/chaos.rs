//! Zero loss: phones sync while the gateway is killed, and its MariaDB killed, frozen and
//! restarted, at random; then every handshake is accounted for.
//!
//! The short form runs with the other tests. `make chaos` runs the long one; the variables
//! `CHAOS_HANDSHAKES` (how many answers of 200) and `CHAOS_SEED` choose another run. The seed fixes
//! what is done to whom and when, not how the threads of the phones meet.

#[path = "chaos/ledger.rs"]
mod ledger;
#[path = "chaos/phones.rs"]
mod phones;
#[path = "chaos/stage.rs"]
mod stage;
#[allow(
    dead_code,
    unused_imports,
    reason = "the harness of the integration tests has more than is used here"
)]
#[path = "integration/support/mod.rs"]
mod support;

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use crate::stage::{ALL, Fault, House, Stage, WORKERS};

/// The short form: this many answers of 200, within this time.
const SHORT: usize = 1000;
const SHORT_TIME: Duration = Duration::from_secs(30);

#[expect(clippy::disallowed_methods, reason = "the run is chosen in the environment")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// On the screen, also where the output of tests is captured.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "chaos: {line}");
}

#[test]
fn what_is_answered_200_is_stored_whoever_is_killed() {
    let seed = number("CHAOS_SEED").unwrap_or_else(rand::random);
    let long = number("CHAOS_HANDSHAKES").map(|number| usize::try_from(number).unwrap());
    say(&format!("CHAOS_SEED={seed}"));
    let mut house = House::new();
    let stage = Stage::new(&house);
    let begun = Instant::now();
    let (scans, suffered) = thread::scope(|scope| {
        let stage = &stage;
        let worker = |n: usize| {
            let work = move || phones::work(stage, n, seed.wrapping_add(n as u64 + 1));
            thread::Builder::new().spawn_scoped(scope, work).unwrap()
        };
        let workers: Vec<_> = (0..WORKERS).map(worker).collect();
        let suffered = hurt(&mut house, stage, seed, long);
        stage.closed.store(true, Ordering::Relaxed);
        let scans: Vec<_> = workers.into_iter().flat_map(|w| w.join().unwrap()).collect();
        (scans, suffered)
    });
    let (journal, rows) = house.books(&stage);
    let (figures, wrong) = ledger::judge(&scans, &journal, &rows, &house.faults);

    let count = |fault: Fault| suffered.iter().filter(|suffered| **suffered == fault).count();
    for fault in ALL {
        say(&format!("{fault:?}: {} times", count(fault)));
    }
    say(&format!("{} QR codes in {:.0?}: {figures:#?}", scans.len(), begun.elapsed()));
    say(&format!("{} commits, {} rows, {} wrong", journal.len(), rows.len(), wrong.len()));
    for line in wrong.iter().take(20) {
        say(line);
    }
    assert!(wrong.is_empty(), "{} wrong answers; CHAOS_SEED={seed}", wrong.len());
    assert!(figures.stored > 0 && ALL.iter().all(|fault| count(*fault) > 0), "nothing happened");
}

/// Hurts one side after the other until enough was stored; what was done.
fn hurt(house: &mut House, stage: &Stage, seed: u64, long: Option<usize>) -> Vec<Fault> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let begun = Instant::now();
    let goal = long.unwrap_or(SHORT);
    let mut suffered = Vec::new();
    let mut next = VecDeque::new();
    loop {
        let stored = stage.stored.load(Ordering::Relaxed);
        let enough = stored >= goal || (long.is_none() && begun.elapsed() > SHORT_TIME);
        if enough && suffered.len() >= ALL.len() {
            return suffered;
        }
        // Each round has each fault once and the cheapest a few times more, in another order.
        if next.is_empty() {
            let mut round = [&ALL[..], &[Fault::KillGateway; 3]].concat();
            if suffered.is_empty() {
                round.truncate(ALL.len());
            }
            round.shuffle(&mut rng);
            next.extend(round);
        }
        thread::sleep(Duration::from_millis(rng.random_range(200..1500)));
        let fault = next.pop_front().expect("a round was just drawn");
        house.suffer(fault, stage, &mut rng);
        suffered.push(fault);
        let stored = stage.stored.load(Ordering::Relaxed);
        say(&format!("{:>4.0?} {stored} of {goal} stored, {fault:?}", begun.elapsed()));
    }
}
