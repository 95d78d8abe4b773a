//! `gateway_server_users`, the one table that this server owns (contract §6).

use mysql::prelude::Queryable as _;
use mysql::{Conn, OptsBuilder, Row};
use zeroize::Zeroizing;

use super::{Database, StoreError, options, text};
use crate::config;
use crate::crypto::{Digests, PhoneKey, SharedKey};

const SCHEMA: &str = include_str!("../../sql/gateway.sql");

/// What a complete handshake leaves behind.
pub struct User<'a> {
    /// The BE's `full_phone_number`, the key of the row.
    pub msisdn_hash: &'a str,
    /// The phone's AES key.
    pub shared_key: &'a SharedKey,
    /// The phone's RSA key, as it was sent.
    pub public_key: &'a PhoneKey,
    /// The digests of the password.
    pub digests: Digests,
}

/// Stores a user's row in place of the one before; when this returns, it is committed.
///
/// # Errors
/// [`StoreError`]; after [`StoreError::Away`] the row may be stored nonetheless, if the connection
/// broke between the COMMIT and its answer.
pub fn save(database: &Database, user: &User<'_>) -> Result<(), StoreError> {
    database.run(|connection| {
        connection.exec_drop(
            "INSERT INTO gateway_server_users \
             (msisdn_hash, shared_key, public_key, mgf1ParameterSpec, hashingAlgorithm) \
             VALUES (?, ?, ?, ?, ?) \
             ON DUPLICATE KEY UPDATE shared_key = VALUES(shared_key), \
             public_key = VALUES(public_key), mgf1ParameterSpec = VALUES(mgf1ParameterSpec), \
             hashingAlgorithm = VALUES(hashingAlgorithm)",
            (
                user.msisdn_hash,
                user.shared_key.as_str(),
                user.public_key.text(),
                user.digests.mgf1.name(),
                user.digests.oaep.name(),
            ),
        )?;
        Ok(())
    })
}

/// A row as it is kept; an old server may have stored anything.
pub struct Stored {
    /// 32 hexadecimal digits.
    pub shared_key: Zeroizing<String>,
    /// PEM, as the phone sent it.
    pub public_key: String,
    /// The digest of OAEP by the phone's name for it.
    pub hashing_algorithm: String,
}

/// The row of a user. The database must be the one that [`save`] writes to, never a replica that
/// lags behind: an app that reads an old key forgets its own (contract §4).
///
/// # Errors
/// [`StoreError`]
pub fn find(database: &Database, msisdn_hash: &str) -> Result<Option<Stored>, StoreError> {
    database.run(|connection| {
        let row: Option<Row> = connection.exec_first(
            "SELECT msisdn_hash, shared_key, public_key, hashingAlgorithm \
             FROM gateway_server_users WHERE msisdn_hash = ?",
            (msisdn_hash,),
        )?;
        let Some(mut row) = row else { return Ok(None) };
        // The table's collation takes A for a.
        let found = text(&mut row, 0).is_some_and(|found| found == msisdn_hash);
        let mut column = |at| text(&mut row, at).unwrap_or_default();
        Ok(found.then(|| Stored {
            shared_key: Zeroizing::new(column(1)),
            public_key: column(2),
            hashing_algorithm: column(3),
        }))
    })
}

/// Removes a user's row, where there is one.
///
/// # Errors
/// [`StoreError`]
pub fn remove(database: &Database, msisdn_hash: &str) -> Result<(), StoreError> {
    database.run(|connection| {
        let statement = "DELETE FROM gateway_server_users WHERE msisdn_hash = ?";
        Ok(connection.exec_drop(statement, (msisdn_hash,))?)
    })
}

/// Whether the table is there and readable.
///
/// # Errors
/// [`StoreError`]
pub fn greet(database: &Database) -> Result<(), StoreError> {
    database
        .run(|connection| Ok(connection.query_drop("SELECT 1 FROM gateway_server_users LIMIT 0")?))
}

/// Makes the database and the table where they are not.
///
/// # Errors
/// As the database says, also when it is away.
pub fn migrate(settings: &config::Database) -> Result<(), StoreError> {
    let nameless = OptsBuilder::from_opts(options(settings)).db_name(None::<String>);
    let mut connection = Conn::new(nameless)?;
    let name = &settings.database;
    // An account without the right to create databases is enough where this one exists.
    let known: Option<u8> = connection
        .exec_first("SELECT 1 FROM information_schema.schemata WHERE schema_name = ?", (name,))?;
    if known.is_none() {
        connection.query_drop(format!("CREATE DATABASE {}", quoted(name)))?;
    }
    connection.select_db(name)?;
    for statement in SCHEMA.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        connection.query_drop(statement)?;
    }
    Ok(())
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
