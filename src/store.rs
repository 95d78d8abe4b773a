//! The way to the databases: pools, time-outs, and what a failing database means.
//!
//! [`gateway`] holds the statements of the table that this server owns, [`at_rest`] how keys stand
//! in it, [`conversion`] how that changes, [`survey`] how the table is laid out, [`backend`] the statements of the BE's tables, which it
//! only reads.

pub mod at_rest;
pub mod backend;
pub mod conversion;
pub mod gateway;
pub mod survey;

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{error, fmt};

use mysql::{Opts, OptsBuilder, Pool, PoolConstraints, PoolOpts, PooledConn, Row, SslOpts, Value};

use self::at_rest::Keys;
use crate::config;
use crate::refusal::Refusal;

/// Connections to one database. Few, because each idle one may cost a time-out when the database
/// freezes, and because a handshake needs one for a millisecond only.
const CONNECTIONS: usize = 4;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long a caller waits for a connection that others use.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a database that did not answer is left alone.
const PAUSE: Duration = Duration::from_secs(2);

/// Why a database gave no answer.
#[derive(Debug)]
pub enum StoreError {
    /// It is away, or refuses connections: worth another try later.
    Away(Option<mysql::Error>),
    /// It answers, but not as the contract says: a human must look.
    Fault(mysql::Error),
    /// A row that must be there is not, or not of its form; the text says which.
    Content(&'static str),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Away(_) => {
                write!(
                    f,
                    "the database is away or refuses the account; check that it runs, and [mysql]"
                )
            }
            StoreError::Fault(_) => write!(f, "the database refuses a statement"),
            StoreError::Content(what) => write!(f, "{what}"),
        }
    }
}

impl error::Error for StoreError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            StoreError::Away(cause) => cause.as_ref().map(|cause| cause as _),
            StoreError::Fault(cause) => Some(cause),
            StoreError::Content(_) => None,
        }
    }
}

impl StoreError {
    /// What the client is told.
    pub fn refusal(&self) -> Refusal {
        match self {
            StoreError::Away(_) => Refusal::Away(PAUSE),
            // A salt that is not there yet is a database that is not there yet.
            StoreError::Content(_) => Refusal::Away(Duration::from_secs(10)),
            StoreError::Fault(_) => Refusal::Fault,
        }
    }
}

impl From<mysql::Error> for StoreError {
    fn from(cause: mysql::Error) -> Self {
        // Access denied, unknown database, too many connections, shutdown, lock wait, deadlock:
        // an administrator or a moment mends them, and the phone should come again.
        const TEMPORARY: [u16; 8] = [1040, 1044, 1045, 1049, 1053, 1203, 1205, 1213];
        let temporary = match &cause {
            mysql::Error::MySqlError(error) => TEMPORARY.contains(&error.code),
            // A pool whose connections are all in use is one that waits for the database.
            mysql::Error::DriverError(mysql::DriverError::Timeout) => true,
            other => other.is_connectivity_error(),
        };
        if temporary { StoreError::Away(Some(cause)) } else { StoreError::Fault(cause) }
    }
}

/// One database.
pub struct Database {
    pool: Pool,
    at_rest: Keys,
    turns: Mutex<Turns>,
    freed: Condvar,
}

/// Who may use the pool. It connects under a lock of its own, so that a frozen database would
/// hold a crowd there for one time-out each: the crowd waits here instead, and is sent away
/// together when the first of them finds the database away.
struct Turns {
    free: usize,
    away_until: Option<Instant>,
}

impl Database {
    /// Prepares a pool; connects to nothing, so that the server starts without its database.
    ///
    /// # Errors
    /// [`StoreError::Fault`] for settings that the driver refuses.
    pub fn new(settings: &config::Database) -> Result<Self, StoreError> {
        Ok(Database {
            pool: Pool::new(options(settings)).map_err(StoreError::Fault)?,
            at_rest: Keys::default(),
            turns: Mutex::new(Turns { free: CONNECTIONS, away_until: None }),
            freed: Condvar::new(),
        })
    }

    /// The same with the keys that phones' keys are sealed under in [`gateway`]'s table.
    #[must_use]
    pub fn sealed_under(self, at_rest: Keys) -> Self {
        Database { at_rest, ..self }
    }

    /// Runs statements on a connection.
    ///
    /// # Errors
    /// [`StoreError`]; while the database is away, at once.
    pub fn run<T>(
        &self,
        work: impl FnOnce(&mut PooledConn) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _turn = self.turn()?;
        let result = self
            .pool
            .try_get_conn(PATIENCE)
            .map_err(StoreError::from)
            .and_then(|mut connection| work(&mut connection));
        if let Err(StoreError::Away(_)) = result {
            self.lock().away_until = Some(Instant::now() + PAUSE);
            self.freed.notify_all();
        }
        result
    }

    fn turn(&self) -> Result<Turn<'_>, StoreError> {
        let patience = Instant::now() + PATIENCE;
        let mut turns = self.lock();
        loop {
            let now = Instant::now();
            let away = turns.away_until.is_some_and(|until| now < until);
            if away || now >= patience {
                return Err(StoreError::Away(None));
            }
            if turns.free > 0 {
                turns.free -= 1;
                return Ok(Turn(self));
            }
            let waited = self.freed.wait_timeout(turns, patience - now);
            turns = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Turn<'a>(&'a Database);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().free += 1;
        self.0.freed.notify_one();
    }
}

/// How to reach a database.
pub fn options(settings: &config::Database) -> Opts {
    let constraints = PoolConstraints::new(0, CONNECTIONS).expect("0 is not more than the number");
    // Without a health check a connection that died once is handed out for ever; a reset would
    // cost a round trip and the prepared statements.
    let pool = PoolOpts::default()
        .with_constraints(constraints)
        .with_check_health(true)
        .with_reset_connection(false);
    let socket = settings.socket.as_ref().map(|path| path.to_string_lossy().into_owned());
    OptsBuilder::new()
        .ip_or_hostname(Some(settings.host.clone()))
        .tcp_port(settings.port)
        .socket(socket)
        .user(Some(settings.username.clone()))
        .pass(Some(settings.password.expose().to_owned()))
        .db_name(Some(settings.database.clone()))
        .prefer_socket(false)
        .ssl_opts(settings.tls.as_ref().map(|tls| {
            SslOpts::default().with_root_cert_path(tls.ca.clone().map(std::borrow::Cow::Owned))
        }))
        .tcp_connect_timeout(Some(CONNECT_TIMEOUT))
        .read_timeout(Some(TIMEOUT))
        .write_timeout(Some(TIMEOUT))
        // A lenient server would cut a text off that is too long for its column, and say nothing.
        .init(vec!["SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')"])
        .pool_opts(pool)
        .into()
}

/// A column's text, whatever its type; a `NULL` is none. The driver's own conversions panic on a
/// column that is not of the form expected, and the BE's tables are not ours.
fn text(row: &mut Row, column: usize) -> Option<String> {
    match row.take::<Value, _>(column)? {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        other => Some(other.as_sql(true)),
    }
}
