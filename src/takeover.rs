//! Taking over the table of a Python installation: looks at it, tells an administrator what it
//! finds with the remedy of each, and makes the few changes that this server needs (contract §6).
//!
//! No row is written. What is changed leaves the columns and their meaning as they are, so that
//! the Python server can be started again.

mod rows;
mod table;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;
use std::{error, fmt};

use openssl::x509::X509;

use crate::config::Config;
use crate::finding::{Finding, Mark, Report};
use crate::keyring::ServerKey;
use crate::log::cause;
use crate::store::StoreError;
use crate::store::at_rest::{Keys, KeysError};
use crate::store::survey::{Layout, Survey};
use rows::Tally;

/// A table of many rows is counted and rebuilt in minutes.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Why there is no takeover.
#[derive(Debug)]
pub enum TakeoverError {
    /// The database gives no answer, or refuses the change.
    Store(StoreError),
    /// The change is refused, the statement with it.
    Alter(String, StoreError),
    /// There is no table to take over.
    NoTable(String),
    /// The keys at rest cannot be read.
    AtRest(KeysError),
    /// What was found cannot be told.
    Output(io::Error),
    /// So many things need an administrator.
    Problems(usize),
}

impl fmt::Display for TakeoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TakeoverError::Store(_) => write!(f, "the table cannot be looked at; check [mysql]"),
            TakeoverError::Alter(statement, _) => write!(
                f,
                "the table is not changed; run this once under an account that may (set \
                 GATEWAY_MYSQL_USERNAME and GATEWAY_MYSQL_PASSWORD_FILE), or let the database's \
                 administrator run: {statement}"
            ),
            TakeoverError::NoTable(database) => write!(
                f,
                "the database {database} has no table gateway_server_users; name the Python \
                 server's in [mysql] database, or make a new table with swob-gateway migrate"
            ),
            TakeoverError::AtRest(_) => write!(f, "encrypted rows cannot be looked at"),
            TakeoverError::Output(_) => write!(f, "what was found cannot be printed"),
            TakeoverError::Problems(1) => {
                write!(f, "there is one problem; mend it and run this command again")
            }
            TakeoverError::Problems(count) => {
                write!(f, "there are {count} problems; mend them and run this command again")
            }
        }
    }
}

impl error::Error for TakeoverError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            TakeoverError::Store(error) | TakeoverError::Alter(_, error) => Some(error),
            TakeoverError::AtRest(error) => Some(error),
            TakeoverError::Output(error) => Some(error),
            TakeoverError::NoTable(_) | TakeoverError::Problems(_) => None,
        }
    }
}

impl From<StoreError> for TakeoverError {
    fn from(error: StoreError) -> Self {
        TakeoverError::Store(error)
    }
}

impl From<io::Error> for TakeoverError {
    fn from(error: io::Error) -> Self {
        TakeoverError::Output(error)
    }
}

/// Looks at the table and tells `out`; without `dry_run` it makes the changes it told of, unless
/// there is a problem. `certificate` is the site's, where the server's key is to be that one's.
///
/// # Errors
/// [`TakeoverError`]; [`TakeoverError::Problems`] after all is told.
pub fn run(
    config: &Config,
    dry_run: bool,
    certificate: Option<&Path>,
    out: &mut dyn Write,
) -> Result<(), TakeoverError> {
    let keys = Keys::load(config.keys.at_rest_keys.as_deref()).map_err(TakeoverError::AtRest)?;
    let mut survey = Survey::new(&config.mysql, PATIENCE)?;
    let name = &config.mysql.database;
    let layout = survey.layout()?.ok_or_else(|| TakeoverError::NoTable(name.clone()))?;
    let rows = survey.rows()?;
    let mut report = Report::new(out);
    report.line(format_args!(
        "The table gateway_server_users of the database {name}, rows: {rows}"
    ))?;
    let findings = judge_table(&mut survey, &layout);
    report.tell(&findings)?;
    if report.problems() == 0 {
        tell_rows(&mut survey, &keys, &mut report)?;
    }
    report.line("The server's key")?;
    report.tell(&judge_key(&config.keys.private_key, certificate))?;
    match report.problems() {
        0 => change(&mut survey, &findings, dry_run, rows, &mut report),
        count => Err(TakeoverError::Problems(count)),
    }
}

/// What there is to say of the table's layout; a change is the clause that `run` runs.
pub fn judge_table(survey: &mut Survey, layout: &Layout) -> Vec<Finding> {
    let keyed = layout.unique.iter().any(|name| name.eq_ignore_ascii_case("msisdn_hash"));
    let repeated = if keyed { 0 } else { survey.repeated().unwrap_or(0) };
    table::judge(layout, repeated)
}

fn tell_rows(
    survey: &mut Survey,
    keys: &Keys,
    report: &mut Report<'_>,
) -> Result<(), TakeoverError> {
    let mut tally = Tally::default();
    survey.each_row(|row| tally.count(row, keys))?;
    report.line("Its rows")?;
    report.line(format_args!("  {:7}  can be verified", tally.good))?;
    for (what, rows) in &tally.odd {
        report.line(format_args!("  {rows:7}  have {what}"))?;
    }
    if !tally.odd.is_empty() {
        report.line(
            "           remedy: none is needed; where verification cannot tell, a phone keeps its \
             key, and\n           its row is replaced when it syncs again",
        )?;
    }
    Ok(())
}

/// The server's key, alone and against a certificate.
fn judge_key(path: &Path, certificate: Option<&Path>) -> Vec<Finding> {
    let key = match ServerKey::read(path) {
        Ok(key) => key,
        Err(error) => {
            return vec![Finding::problem(
                cause(&error),
                "set [keys] private_key to the Python server's private key: phones that synced \
                 with it go on encrypting under that one",
            )];
        }
    };
    let mut findings =
        vec![Finding::good(format!("{} is an RSA key of {} bits", path.display(), key.bits()))];
    let Some(certificate) = certificate else {
        findings.push(Finding::note(
            "no certificate is compared with it; name the site's with --certificate FILE if the \
             app of one step is in use, which takes the key from the site's certificate",
        ));
        return findings;
    };
    let shown = certificate.display();
    let public = fs::read(certificate)
        .map_err(|error| error.to_string())
        .and_then(|pem| X509::from_pem(&pem).map_err(|error| error.to_string()))
        .and_then(|x509| x509.public_key().map_err(|error| error.to_string()));
    findings.push(match public {
        Err(error) => Finding::problem(
            format!("{shown} gives no certificate: {error}"),
            "name the site's certificate in PEM, such as certbot's fullchain.pem",
        ),
        Ok(public) if key.is_of(&public) => {
            Finding::good(format!("{shown} is the certificate of this key"))
        }
        Ok(_) => Finding::problem(
            format!("{shown} is the certificate of another key"),
            "set [keys] private_key to the private key of the certificate, such as certbot's \
             privkey.pem, and take the one before into the ring with swob-gateway keys add FILE",
        ),
    });
    findings
}

/// Makes the changes, or says which it would make.
fn change(
    survey: &mut Survey,
    findings: &[Finding],
    dry_run: bool,
    rows: u64,
    report: &mut Report<'_>,
) -> Result<(), TakeoverError> {
    let clauses: Vec<&str> = findings
        .iter()
        .filter(|finding| finding.mark == Mark::Change)
        .map(|finding| finding.remedy.as_str())
        .collect();
    if clauses.is_empty() {
        report.line("Nothing has to be changed; start the server.")?;
        return Ok(());
    }
    let statement = format!("ALTER TABLE gateway_server_users {}", clauses.join(", "));
    if dry_run {
        report.line(format_args!("Without --dry-run this command would run:\n  {statement};"))?;
        return Ok(());
    }
    survey.alter(&statement).map_err(|error| TakeoverError::Alter(statement.clone(), error))?;
    report.line(format_args!("Done, {} rows are as they were:\n  {statement};", rows))?;
    report.line("Start the server; the Python server can still be started as well.")?;
    Ok(())
}
