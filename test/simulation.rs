//! The session table against a naive model, in simulated time.
//!
//! Each seed draws a history of connects, requests of phones and passing time, and plays it to the
//! table and to the model: results, events, size and next deadline must agree after every step.
//! The model says what the contract (§2, §3) and the table's own documentation promise, with plain
//! fields and linear scans; a witness asserts, from the events alone, what must never happen.
//!
//! `SIMULATION_SEED` replays one seed, `SIMULATION_STEPS` sets the steps a seed.

#[path = "simulation/life.rs"]
mod life;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use life::{Life, Tally};

const SEEDS: u64 = 8;
const STEPS: u64 = 100_000;
/// A server lives this long; then it leaves, and the next one starts with an empty table.
const LIFE: u64 = 2_500;

/// Everything that can happen, whether met or not; a run that misses one proves too little.
const KINDS: [&str; 14] = [
    "show",
    "pause",
    "ack",
    "complete",
    "expired",
    "leaving",
    "cut",
    "granted",
    "repeated",
    "session",
    "malformed",
    "attempts",
    "full",
    "server fault",
];

/// Plays `steps` steps from `seed`, and a few more for the ends of lives; counts them in `step`.
fn history(seed: u64, steps: u64, step: &AtomicU64) -> Tally {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut tally = Tally::new();
    let mut played = 0;
    while played < steps {
        let mut life = Life::new(&mut rng, &mut tally, step);
        for _ in 0..LIFE.min(steps - played) {
            let next = life.draw();
            life.play(next);
            played += 1;
        }
        life.end();
    }
    tally
}

fn run(seed: u64, steps: u64) {
    let step = Arc::new(AtomicU64::new(0));
    let (done, end) = mpsc::channel();
    let count = Arc::clone(&step);
    // In a thread of its own, so that a table that never returns fails the test, with its seed.
    let thread = thread::Builder::new().spawn(move || done.send(history(seed, steps, &count)));
    let thread = thread.expect("a thread is to be had");
    let limit = Duration::from_secs(30) + Duration::from_micros(200) * steps.try_into().unwrap();
    let fault = match end.recv_timeout(limit) {
        Ok(tally) => return report(seed, steps, &tally),
        Err(RecvTimeoutError::Timeout) => "the step does not return".to_owned(),
        Err(RecvTimeoutError::Disconnected) => {
            let cause = thread.join().expect_err("a thread that sends nothing has panicked");
            let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
            text.or(cause.downcast_ref::<String>().cloned()).unwrap_or_default()
        }
    };
    panic!(
        "seed {seed}, step {}: {fault}\nreplay it with SIMULATION_SEED={seed} \
         SIMULATION_STEPS={steps} cargo test --test simulation",
        step.load(Relaxed)
    );
}

/// One line of what was met, and a failure where something never was.
fn report(seed: u64, steps: u64, tally: &Tally) {
    let count = |kind: &&str| tally.get(kind).copied().unwrap_or(0);
    let counts: Vec<_> = KINDS.iter().map(|kind| format!("{kind} {}", count(kind))).collect();
    println!("seed {seed}, {steps} steps: {}", counts.join(", "));
    // A short history need not meet everything.
    let missed: Vec<_> = KINDS.iter().filter(|kind| count(kind) == 0).collect();
    assert!(missed.is_empty() || steps < 10_000, "seed {seed} never met {missed:?}");
}

/// A number from the environment; anything else there is a mistake and must not pass unnoticed.
fn given(name: &str) -> Option<u64> {
    let value = std::env::var_os(name)?;
    let number = value.to_str().and_then(|text| text.parse().ok());
    Some(number.unwrap_or_else(|| panic!("{name} is {value:?}; give a whole number")))
}

#[test]
fn the_table_agrees_with_the_naive_model_for_every_seed() {
    let steps = given("SIMULATION_STEPS").unwrap_or(STEPS);
    if let Some(seed) = given("SIMULATION_SEED") {
        return run(seed, steps);
    }
    for seed in 1..=SEEDS {
        run(seed, steps);
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    run(since.as_nanos() as u64, steps);
}
