//! A process seen from outside: its CPU time and its memory, and a child that ends with us.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::Done;

/// This process holds the other end of each connection.
pub fn raise_descriptors() -> Done {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

/// CPU time by thread.
pub struct Threads(HashMap<OsString, Duration>);

impl Threads {
    /// What the threads that live now have taken since `before`.
    pub fn since(&self, before: &Threads) -> Duration {
        let taken = |(thread, time): (&OsString, &Duration)| {
            time.saturating_sub(before.0.get(thread).copied().unwrap_or_default())
        };
        self.0.iter().map(taken).sum()
    }
}

/// A server under measurement; it ends when dropped.
pub struct Process {
    child: Child,
}

impl Process {
    pub fn start(command: &mut Command) -> Done<Self> {
        Ok(Process { child: command.stdin(Stdio::piped()).spawn()? })
    }

    /// The first line that a process with a captured output says.
    pub fn first_line(&mut self) -> Done<String> {
        let output: ChildStdout = self.child.stdout.take().ok_or("the output is not captured")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        Ok(line)
    }

    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// User and system time since its start: the scheduler's own sum, told in ticks of 10 ms
    /// (proc_pid_stat(5)).
    pub fn cpu(&self) -> Done<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name may hold anything, but no later parenthesis.
        let fields = stat.rsplit(')').next().ok_or("stat has no name")?;
        let ticks = |n: usize| fields.split_whitespace().nth(n).and_then(|t| t.parse::<u64>().ok());
        let ticks = ticks(11).zip(ticks(12)).ok_or("stat has no times")?;
        Ok(Duration::from_millis((ticks.0 + ticks.1) * 10))
    }

    /// The same of each thread that lives now, to the nanosecond; takes a while with many.
    pub fn threads(&self) -> Done<Threads> {
        let mut times = HashMap::new();
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let task = task?;
            // A thread may end meanwhile.
            let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
            let nanos = text.split_whitespace().next().ok_or("schedstat is empty")?;
            times.insert(task.file_name(), Duration::from_nanos(nanos.parse()?));
        }
        Ok(Threads(times))
    }

    /// Resident memory, in bytes.
    pub fn resident(&self) -> Done<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS")?;
        Ok(kib.parse::<u64>()? * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}
