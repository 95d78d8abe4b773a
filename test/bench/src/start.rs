//! From the start of the process to answers on both ports; memory at rest; the binary's size.

use std::thread;
use std::time::Duration;

use crate::Done;
use crate::gateway::Installation;
use crate::report::{Report, Target, median};

const STARTS: usize = 20;
/// How long a server rests before its memory is looked at.
const REST: Duration = Duration::from_secs(7);

pub fn run(installation: &Installation, report: &mut Report) -> Done {
    let mut times = Vec::new();
    for _ in 1..STARTS {
        times.push(installation.start(&[])?.1.as_secs_f64() * 1e3);
    }
    let (gateway, took) = installation.start(&[])?;
    times.push(took.as_secs_f64() * 1e3);
    // By now it has looked at its keys and its databases, and the threads of the first requests
    // have ended.
    thread::sleep(REST);
    let resident = gateway.process.resident()? as f64 / f64::from(1 << 20);
    let longest = times.iter().copied().fold(0.0, f64::max);
    report.add(
        "start",
        "both ports answer",
        median(times),
        "ms (median of 20)",
        Target::AtMost(60.0),
    );
    report.add("start", "the longest of them", longest, "ms", Target::None);
    let size = installation.stripped()? as f64 / f64::from(1 << 20);
    report.add("start", "resident at rest", resident, "MiB", Target::AtMost(10.0));
    report.add("start", "stripped binary", size, "MiB", Target::AtMost(6.0));
    Ok(())
}
