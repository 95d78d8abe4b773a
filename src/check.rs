//! `swob-gateway check`: looks at whatever the server will need, and tells an administrator what
//! is wrong, with the remedy of each.
//!
//! It changes nothing. What the server starts without, its databases, is left alone with
//! `--offline`, so that the command can stand in front of a start.

pub mod database;
mod files;
mod machine;
mod ports;
mod settings;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::{error, fmt};

use crate::config::Overview;
use crate::finding::{Finding, Report};
use crate::log::is_journal;
pub use settings::open_ways;

/// Why not all is well.
#[derive(Debug)]
pub enum CheckError {
    /// What was found cannot be told.
    Output(io::Error),
    /// So many things keep phones from being served.
    Problems(usize),
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckError::Output(_) => write!(f, "what was found cannot be printed"),
            CheckError::Problems(1) => write!(f, "there is one problem; mend it and check again"),
            CheckError::Problems(count) => {
                write!(f, "there are {count} problems; mend them and check again")
            }
        }
    }
}

impl error::Error for CheckError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            CheckError::Output(error) => Some(error),
            CheckError::Problems(_) => None,
        }
    }
}

impl From<io::Error> for CheckError {
    fn from(error: io::Error) -> Self {
        CheckError::Output(error)
    }
}

/// Looks, and tells `out`; at settings and files alone where `offline` is set.
///
/// # Errors
/// [`CheckError`]; [`CheckError::Problems`] after all is told.
pub fn run(
    file: Option<&Path>,
    env: &BTreeMap<String, String>,
    offline: bool,
    out: &mut (impl Write + AsFd),
) -> Result<(), CheckError> {
    let journal = is_journal(&*out);
    let mut report = Report::new(out).for_journal(journal);
    look(file, env, offline, &mut report)?;
    match (report.problems(), report.warnings()) {
        (0, 0) => report.line("All is well.")?,
        (0, 1) => report.line("Nothing stands in the way; there is one warning.")?,
        (0, some) => report.line(format_args!("Nothing stands in the way; warnings: {some}."))?,
        (problems, _) => return Err(CheckError::Problems(problems)),
    }
    Ok(())
}

fn look(
    file: Option<&Path>,
    env: &BTreeMap<String, String>,
    offline: bool,
    report: &mut Report<'_>,
) -> io::Result<()> {
    report.line("Settings")?;
    let overview = match Overview::load(file, env) {
        Ok(overview) => overview,
        Err(error) => return report.tell(&[Finding::error(&error)]),
    };
    report.tell(&settings::judge(&overview))?;
    // Files and databases that a mistaken setting names would only mislead.
    let Ok(config) = overview.config() else { return Ok(()) };
    report.line("Files")?;
    report.tell(&files::judge(config))?;
    report.line("Machine")?;
    report.tell(&machine::judge(config))?;
    if offline {
        return Ok(());
    }
    report.line("The gateway's database")?;
    report.tell(&database::gateway(&config.mysql))?;
    report.line("The Backend's (BE) database")?;
    report.tell(&database::backend(config))?;
    report.line("Ports")?;
    report.tell(&ports::judge(config))
}
