//! A secret of the BE: the first line of a file, or a column of `credentials`, row 1 (contract §6).
//!
//! It is read once and kept; again while it is missing, and again when what was made with it does
//! not match, since a BE that was set up anew has other secrets. A stranger can bring about either,
//! so that it is never read twice in [`PAUSE`] for it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable as _;
use zeroize::Zeroizing;

use super::super::{Database, StoreError, text};
use crate::file;

/// The shortest time between two readings.
const PAUSE: Duration = Duration::from_secs(10);

/// A secret's text.
pub type Secret = Arc<Zeroizing<String>>;

/// A secret, where it is kept, and what the log is told while it is not there.
pub struct Credential {
    file: Option<PathBuf>,
    query: &'static str,
    /// In bytes; a shorter one is none.
    least: usize,
    otherwise: &'static str,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    secret: Option<Secret>,
    /// When it was last read.
    read: Option<Instant>,
}

impl State {
    fn is_fresh(&self) -> bool {
        self.read.is_some_and(|at| at.elapsed() < PAUSE)
    }
}

impl Credential {
    /// The key of the BE's hashes.
    pub fn salt(file: Option<PathBuf>) -> Self {
        Credential {
            file,
            query: "SELECT hashing_salt FROM credentials WHERE id = 1",
            least: 1,
            otherwise: "the hashing salt is missing: neither credentials row 1 nor [keys] hashing_salt_file has it",
            state: Mutex::default(),
        }
    }

    /// The key that the BE shares with this server.
    pub fn shared_key(file: Option<PathBuf>) -> Self {
        Credential {
            file,
            query: "SELECT shared_key FROM credentials WHERE id = 1",
            least: 32,
            otherwise: "the BE's shared key is missing: neither credentials row 1 nor [keys] shared_key_file has one of 32 characters or more",
            state: Mutex::default(),
        }
    }

    /// The secret: read once, and again while it is missing, but not at every request.
    ///
    /// # Errors
    /// [`StoreError::Content`] where it is missing.
    pub fn get(&self, database: &Database) -> Result<Secret, StoreError> {
        let missing = StoreError::Content(self.otherwise);
        let state = self.lock();
        if state.secret.is_some() || state.is_fresh() {
            return state.secret.clone().ok_or(missing);
        }
        // No lock is held over a database call.
        drop(state);
        let found = self.read(database)?;
        *self.lock() = State { secret: found.clone(), read: Some(Instant::now()) };
        found.ok_or(missing)
    }

    /// The secret read again, if it is another now; `None` where it is not, or was read a moment
    /// ago, or cannot be read.
    pub fn renewed(&self, database: &Database) -> Option<Secret> {
        let mut state = self.lock();
        if state.is_fresh() {
            return None;
        }
        state.read = Some(Instant::now());
        drop(state);
        let found = self.read(database).ok()??;
        let before = self.lock().secret.replace(Arc::clone(&found));
        (before.as_ref() != Some(&found)).then_some(found)
    }

    fn read(&self, database: &Database) -> Result<Option<Secret>, StoreError> {
        let found = match &self.file {
            Some(file) => {
                let content = file::read(file).map(Zeroizing::new).unwrap_or_default();
                let text = str::from_utf8(&content).unwrap_or_default();
                text.lines().next().map(str::to_owned)
            }
            None => database.run(|connection| {
                let row: Option<mysql::Row> = connection.query_first(self.query)?;
                Ok(row.and_then(|mut row| text(&mut row, 0)))
            })?,
        };
        let found = found.map(Zeroizing::new).filter(|secret| secret.len() >= self.least);
        Ok(found.map(Arc::new))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
