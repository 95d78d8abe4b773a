//! Brings every row of `gateway_server_users` to the form that the keys at rest write, while the
//! server runs: `swob-gateway keys encrypt | decrypt`.
//!
//! Each row is changed by compare-and-swap on all that was read of it, so that a handshake at the
//! same moment wins. A row tells its own form: what was cut off anywhere goes on where it stopped,
//! and nothing is sealed twice.

use std::time::Duration;

use mysql::prelude::Queryable as _;
use mysql::{Conn, OptsBuilder, TxOpts};

use super::at_rest::Keys;
use super::gateway::{self, Row};
use super::{StoreError, options};
use crate::config;

/// Rows a transaction: a handshake of one of them waits for its end, some 50 ms.
const BATCH: usize = 100;
/// How often a row that changed under our hands is looked at again.
const PASSES: usize = 5;
/// How often a batch is tried that the database broke off in favour of a handshake.
const TRIES: usize = 5;
/// The rows may be many, and a handshake may hold one for a moment.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of a conversion, in rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Those that have a new form now.
    pub changed: u64,
    /// Those whose shared key does not open; they stay as they were.
    pub closed: u64,
    /// Those that are not in the form, those that do not open among them.
    pub left: u64,
}

/// Converts the whole table. `progress` gets the rows looked at so far, and how many there were at
/// the start.
///
/// # Errors
/// [`StoreError`]; what was converted until then stays so.
pub fn convert(
    settings: &config::Database,
    keys: &Keys,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Outcome, StoreError> {
    let patient = OptsBuilder::from_opts(options(settings)).read_timeout(Some(PATIENCE));
    let mut connection = Conn::new(patient)?;
    let count = "SELECT COUNT(*) FROM gateway_server_users";
    let total: Option<u64> = connection.query_first(count)?;
    let mut outcome = Outcome::default();
    for _ in 0..PASSES {
        let pass = pass(&mut connection, keys, &mut |seen| progress(seen, total.unwrap_or(0)))?;
        outcome.changed += pass.changed;
        outcome.closed = pass.closed;
        if pass.contested == 0 {
            break;
        }
    }
    let mark = keys.mark();
    let not = if keys.seals() { "NOT" } else { "" };
    let left = format!("{count} WHERE {not} LEFT(shared_key, {}) = ?", mark.len());
    outcome.left = connection.exec_first(left, (mark,))?.unwrap_or(0);
    Ok(outcome)
}

/// What came of some rows.
#[derive(Default)]
struct Pass {
    changed: u64,
    closed: u64,
    /// Those that another changed between our reading and our writing.
    contested: u64,
}

/// Goes through the table once, in the order of its key.
fn pass(
    connection: &mut Conn,
    keys: &Keys,
    progress: &mut dyn FnMut(u64),
) -> Result<Pass, StoreError> {
    let (mut sum, mut seen) = (Pass::default(), 0);
    let mut after: Option<String> = None;
    loop {
        let rows = gateway::page(connection, after.as_deref(), BATCH)?;
        let Some(last) = rows.last() else { return Ok(sum) };
        let batch = batch(connection, keys, &rows)?;
        sum.changed += batch.changed;
        sum.closed += batch.closed;
        sum.contested += batch.contested;
        seen += rows.len() as u64;
        progress(seen);
        after = Some(last.msisdn_hash.clone());
    }
}

/// Converts these rows in one transaction, which is repeated where a deadlock ended it.
fn batch(connection: &mut Conn, keys: &Keys, rows: &[Row]) -> Result<Pass, StoreError> {
    const DEADLOCK: u16 = 1213;
    let mut tries = 1;
    loop {
        match transaction(connection, keys, rows) {
            Err(mysql::Error::MySqlError(error)) if error.code == DEADLOCK && tries < TRIES => {
                tries += 1;
            }
            result => return Ok(result?),
        }
    }
}

fn transaction(connection: &mut Conn, keys: &Keys, rows: &[Row]) -> Result<Pass, mysql::Error> {
    let mut pass = Pass::default();
    let mut transaction = connection.start_transaction(TxOpts::default())?;
    let swap = swap();
    for row in rows.iter().filter(|row| !keys.is_current(&row.shared_key)) {
        let beside = row.beside();
        let Ok(plain) = keys.open(&row.shared_key, beside) else {
            pass.closed += 1;
            continue;
        };
        let new = keys.seal(&plain, beside, rand::random());
        let parameters = (
            new.as_str(),
            beside.msisdn_hash,
            beside.msisdn_hash,
            row.shared_key.as_str(),
            beside.public_key,
            beside.mgf1,
            beside.oaep,
        );
        transaction.exec_drop(&swap, parameters)?;
        match transaction.affected_rows() {
            0 => pass.contested += 1,
            _ => pass.changed += 1,
        }
    }
    transaction.commit()?;
    Ok(pass)
}

/// The first comparison finds the row by its key; the others are exact to the byte, which the
/// table's own would not be: it compares without case and without spaces at the end. The date
/// tells of the phone, not of us.
fn swap() -> String {
    let same: String = Row::COLUMNS
        .split(", ")
        .map(|column| format!(" AND CAST(CONVERT({column} USING utf8mb4) AS BINARY) = ?"))
        .collect();
    format!(
        "UPDATE gateway_server_users SET shared_key = ?, date = date WHERE msisdn_hash = ?{same}"
    )
}
