//! A secret of the BE: the first line of a file, or a column of `credentials`, row 1 (contract §6).

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable as _;
use zeroize::Zeroizing;

use super::super::{Database, StoreError, text};

/// How long a missing secret is taken for missing.
const PAUSE: Duration = Duration::from_secs(10);

/// A secret, where it is kept, and what the log is told while it is not there.
pub struct Credential {
    file: Option<PathBuf>,
    query: &'static str,
    /// In bytes; a shorter one is none.
    least: usize,
    otherwise: &'static str,
    value: OnceLock<Zeroizing<String>>,
    missed: Mutex<Option<Instant>>,
}

impl Credential {
    /// The key of the BE's hashes.
    pub fn salt(file: Option<PathBuf>) -> Self {
        Credential {
            file,
            query: "SELECT hashing_salt FROM credentials WHERE id = 1",
            least: 1,
            otherwise: "the hashing salt is missing: neither credentials row 1 nor [keys] hashing_salt_file has it",
            value: OnceLock::new(),
            missed: Mutex::new(None),
        }
    }

    /// The key that the BE shares with this server.
    pub fn shared_key(file: Option<PathBuf>) -> Self {
        Credential {
            file,
            query: "SELECT shared_key FROM credentials WHERE id = 1",
            least: 32,
            otherwise: "the BE's shared key is missing: neither credentials row 1 nor [keys] shared_key_file has one of 32 characters or more",
            value: OnceLock::new(),
            missed: Mutex::new(None),
        }
    }

    /// The secret: read once, and again while it is missing, but not at every request.
    ///
    /// # Errors
    /// [`StoreError::Content`] where it is missing.
    pub fn get(&self, database: &Database) -> Result<&str, StoreError> {
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        if missed.is_some_and(|at| at.elapsed() < PAUSE) {
            return Err(StoreError::Content(self.otherwise));
        }
        match self.read(database)?.filter(|value| value.len() >= self.least) {
            Some(value) => Ok(self.value.get_or_init(|| value)),
            None => {
                *missed = Some(Instant::now());
                Err(StoreError::Content(self.otherwise))
            }
        }
    }

    fn read(&self, database: &Database) -> Result<Option<Zeroizing<String>>, StoreError> {
        let Some(file) = &self.file else {
            return database.run(|connection| {
                let row: Option<mysql::Row> = connection.query_first(self.query)?;
                Ok(row.and_then(|mut row| text(&mut row, 0)).map(Zeroizing::new))
            });
        };
        let content = fs::read_to_string(file).map(Zeroizing::new).ok();
        let line = content.as_ref().and_then(|content| content.lines().next());
        Ok(line.map(|line| Zeroizing::new(line.to_owned())))
    }
}
