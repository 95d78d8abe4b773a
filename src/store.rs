//! The way to the databases: connections, time-outs, and what a failing database means.
//!
//! [`gateway`] holds the statements of the table that this server owns, [`at_rest`] how keys stand
//! in it, [`conversion`] how that changes, [`survey`] how the table is laid out, [`backend`] the statements of the BE's tables, which it
//! only reads.

pub mod at_rest;
pub mod backend;
pub mod conversion;
pub mod gateway;
pub mod survey;

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{error, fmt, io, mem};

use mysql::{Conn, Opts, OptsBuilder, Row, SslOpts, Value};

use self::at_rest::Keys;
use crate::config;
use crate::histogram::{Histogram, WAITS};
use crate::refusal::Refusal;

/// Connections to one database. Few, because a handshake needs one for a millisecond only.
const CONNECTIONS: usize = 4;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long a caller waits for a connection that others use.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a database that did not answer is left alone. A server that is back within 3 s of its
/// database, as phones expect it, has a second to spare for one last attempt that comes too early.
const PAUSE: Duration = Duration::from_secs(1);

/// How long an open connection is taken to live without being asked; a question takes as long as a
/// statement, and a handshake has three of those.
const FRESH: Duration = Duration::from_secs(1);

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
                    "the database is away or refuses the account; check that it runs, and its settings"
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
            StoreError::Away(cause) => cause.as_ref().map(plain),
            StoreError::Fault(cause) => Some(plain(cause)),
            StoreError::Content(_) => None,
        }
    }
}

/// What happened, without the names of the driver's types around it.
fn plain(cause: &mysql::Error) -> &(dyn error::Error + 'static) {
    match cause {
        mysql::Error::MySqlError(cause) => cause,
        mysql::Error::DriverError(cause) => cause,
        mysql::Error::IoError(cause) => cause,
        other => other,
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
        // Access denied, unknown database, host blocked, too many connections of all or of one,
        // shutdown, connection or query killed, lock wait, deadlock: an administrator or a moment
        // mends them, and the phone should come again.
        const TEMPORARY: [u16; 12] =
            [1040, 1044, 1045, 1049, 1053, 1129, 1203, 1205, 1213, 1226, 1317, 1927];
        let temporary = match &cause {
            mysql::Error::MySqlError(error) => TEMPORARY.contains(&error.code),
            other => other.is_connectivity_error(),
        };
        if temporary { StoreError::Away(Some(cause)) } else { StoreError::Fault(cause) }
    }
}

/// One database, with the few connections to it.
///
/// The driver's own pool tries its idle connections one after the other, each for a whole
/// time-out, and connects under its lock: a frozen database would hold a phone for 10 s and a
/// silent one a crowd for a time-out each. Here the first failure speaks for all.
pub struct Database {
    opts: Opts,
    at_rest: Keys,
    state: Mutex<State>,
    freed: Condvar,
}

struct State {
    /// How many more callers may use a connection now.
    free: usize,
    /// Open connections that nobody uses, each with the time of its last answer.
    idle: Vec<(Conn, Instant)>,
    /// Until when callers are sent away at once; past it, one of them tries.
    away_until: Option<Instant>,
    record: Record,
}

/// How a database has served so far.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// How long callers waited for its answer, or for the want of one.
    pub waits: Histogram,
    /// Of those without an answer, to whom it was away.
    pub away: u64,
    /// Whom it refused a statement, or answered otherwise than it must.
    pub faults: u64,
}

impl Database {
    /// Connects to nothing yet, so that the server starts without its database.
    pub fn new(settings: &config::Database) -> Self {
        Database {
            opts: options(settings),
            at_rest: Keys::default(),
            state: Mutex::new(State {
                free: CONNECTIONS,
                idle: Vec::new(),
                away_until: None,
                record: Record { waits: Histogram::new(WAITS), away: 0, faults: 0 },
            }),
            freed: Condvar::new(),
        }
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
        work: impl FnOnce(&mut Conn) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let start = Instant::now();
        let turn = self.turn();
        let (_turn, idle) = turn.inspect_err(|_| self.lock().record.away += 1)?;
        let result = self.connection(idle).and_then(|mut connection| {
            let result = work(&mut connection);
            // A connection that failed may still have an answer under way, which is not for the
            // next caller.
            let sound = matches!(result, Ok(_) | Err(StoreError::Content(_)));
            Ok((result?, sound.then_some(connection)))
        });
        let mut state = self.lock();
        state.record.waits.observe(start.elapsed());
        match result {
            Ok((answer, connection)) => {
                state.away_until = None;
                state.idle.extend(connection.map(|connection| (connection, Instant::now())));
                Ok(answer)
            }
            Err(error) => {
                if let StoreError::Away(_) = error {
                    state.away_until = Some(Instant::now() + PAUSE);
                    state.record.away += 1;
                    self.freed.notify_all();
                } else {
                    state.record.faults += 1;
                }
                Err(error)
            }
        }
    }

    /// How it has served so far.
    pub fn record(&self) -> Record {
        self.lock().record
    }

    /// A connection that lives: the idle one, unless the database has ended it since.
    fn connection(&self, idle: Option<(Conn, Instant)>) -> Result<Conn, StoreError> {
        if let Some((mut connection, answered)) = idle {
            if answered.elapsed() < FRESH {
                return Ok(connection);
            }
            match connection.ping() {
                Ok(()) => return Ok(connection),
                // A frozen database takes a new connection as well, and does not answer there.
                Err(error) if timed_out(&error) => return Err(error.into()),
                // A database that was restarted has ended all of them.
                Err(_) => {
                    // Closing says goodbye to the database, which is not the lock's business.
                    let ended = mem::take(&mut self.lock().idle);
                    drop(ended);
                }
            }
        }
        Ok(Conn::new(self.opts.clone())?)
    }

    fn turn(&self) -> Result<(Turn<'_>, Option<(Conn, Instant)>), StoreError> {
        let patience = Instant::now() + PATIENCE;
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if state.away_until.is_some_and(|until| now < until) || now >= patience {
                return Err(StoreError::Away(None));
            }
            if state.free > 0 {
                state.free -= 1;
                // This caller finds out whether the database is back; the others do not wait.
                state.away_until = state.away_until.map(|_| now + PAUSE);
                let idle = state.idle.pop();
                return Ok((Turn(self), idle));
            }
            let waited = self.freed.wait_timeout(state, patience - now);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an answer did not come in time, rather than the connection having ended.
fn timed_out(error: &mysql::Error) -> bool {
    // The driver's errors do not tell their source.
    let cause = match error {
        mysql::Error::IoError(error) => Some(error as &dyn error::Error),
        mysql::Error::CodecError(error) => error::Error::source(error),
        _ => None,
    };
    cause.and_then(|error| error.downcast_ref::<io::Error>()).is_some_and(|error| {
        matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
    })
}

/// The right to use a connection; given back when dropped.
struct Turn<'a>(&'a Database);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().free += 1;
        self.0.freed.notify_one();
    }
}

/// How to reach a database.
pub fn options(settings: &config::Database) -> Opts {
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
        // A lenient server would cut a text off that is too long for its column, and say nothing;
        // one whose settings have autocommit off would roll back what a phone was told is stored.
        .init(vec![
            "SET SESSION autocommit = 1, sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')",
        ])
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
