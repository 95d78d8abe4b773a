//! From the start of the process to answers on both ports; memory at rest; the binary's size.

use std::thread;
use std::time::Duration;

use crate::Done;
use crate::gateway::Installation;
use crate::report::{Report, Target, median};

const STARTS: usize = 20;

pub fn run(installation: &Installation, report: &mut Report) -> Done {
    let (mut times, mut resident) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let (gateway, took) = installation.start(&[])?;
        times.push(took.as_secs_f64() * 1e3);
        // What the first look at the database has taken is there by now.
        thread::sleep(Duration::from_millis(50));
        resident.push(gateway.process.resident()? as f64 / f64::from(1 << 20));
    }
    let longest = times.iter().copied().fold(0.0, f64::max);
    report.add(
        "start",
        "both ports answer",
        median(times),
        "ms (median of 20)",
        Target::AtMost(60.0),
    );
    report.add("start", "the longest of them", longest, "ms", Target::None);
    let (memory, size) = (median(resident), installation.stripped()? as f64 / f64::from(1 << 20));
    report.add("start", "resident at rest", memory, "MiB", Target::AtMost(10.0));
    report.add("start", "stripped binary", size, "MiB", Target::AtMost(6.0));
    Ok(())
}
