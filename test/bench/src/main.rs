//! `make bench` and `make curves`: the server's speed and capacity, measured side by side with
//! reference servers and with the machine's own limits in one run.
//!
//! Each mode tells its progress, then rows of one table, then one line of JSON. Figures of CPU and
//! memory are the gateway process's own. What is compared takes turns in short rounds, so that
//! whatever else the machine does hits both sides; the figure is the median of the rounds.
#![forbid(unsafe_code)]

mod chart;
mod curves;
mod gateway;
mod get;
mod handshake;
mod hold;
mod http;
mod open;
mod process;
mod reference;
mod report;
mod start;
mod websocket;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use gateway::Installation;
use report::Report;

pub type Done<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// The modes of `make bench`, in their order; `curves` comes only by its name.
const MODES: [&str; 5] = ["start", "get", "open", "handshake", "hold"];
const USAGE: &str = "usage: swob-bench GATEWAY [start|get|open|handshake|hold|curves FOLDER]...

GATEWAY is the server's binary. TEST_MYSQL_SOCKET, TEST_MYSQL_USERNAME and TEST_MYSQL_PASSWORD name a
MariaDB for its database, as test/support/mariadb.sh run sets them.";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let done = match arguments.next().as_deref() {
        Some("reference") => reference::run(),
        Some(program) if !program.starts_with('-') => run(program.into(), arguments.collect()),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("swob-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(program: PathBuf, modes: Vec<String>) -> Done {
    process::raise_descriptors()?;
    let installation = Installation::new(program)?;
    let mut report = Report::new();
    let modes = if modes.is_empty() { MODES.map(str::to_owned).to_vec() } else { modes };
    let mut modes = modes.into_iter();
    while let Some(mode) = modes.next() {
        eprintln!("{mode}");
        match mode.as_str() {
            "get" => get::run(&installation, &mut report)?,
            "open" => open::run(&installation, &mut report)?,
            "hold" => hold::run(&installation, &mut report)?,
            "handshake" => handshake::run(&installation, &mut report)?,
            "start" => start::run(&installation, &mut report)?,
            "curves" => curves::run(&installation, &modes.next().ok_or(USAGE)?)?,
            _ => return Err(USAGE.into()),
        }
    }
    report.print();
    Ok(())
}
