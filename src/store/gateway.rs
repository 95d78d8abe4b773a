//! `gateway_server_users`, the one table that this server owns (contract §6).

use mysql::prelude::Queryable as _;
use mysql::{Conn, OptsBuilder};
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

/// A row as it stands in the table. Old rows hold whatever phones sent to the server before
/// (contract §6), so that every column is a text yet to be judged.
pub struct Row {
    /// The key, byte for byte the one asked for.
    pub msisdn_hash: String,
    /// The phone's AES key.
    pub shared_key: Zeroizing<String>,
    /// The phone's RSA key, as it was sent.
    pub public_key: String,
    /// `mgf1ParameterSpec`
    pub mgf1: String,
    /// `hashingAlgorithm`
    pub oaep: String,
}

/// A user's row, `None` for an unknown one. The database must be the one that [`save`] writes to,
/// never a replica that lags behind: an app that reads an old key forgets its own (contract §4).
///
/// # Errors
/// [`StoreError`]
pub fn find(database: &Database, msisdn_hash: &str) -> Result<Option<Row>, StoreError> {
    let row: Option<mysql::Row> = database.run(|connection| {
        Ok(connection.exec_first(
            "SELECT msisdn_hash, shared_key, public_key, mgf1ParameterSpec, hashingAlgorithm \
             FROM gateway_server_users WHERE msisdn_hash = ?",
            (msisdn_hash,),
        )?)
    })?;
    let row = row.map(|mut row| {
        let mut column = |n| text(&mut row, n).unwrap_or_default();
        Row {
            msisdn_hash: column(0),
            shared_key: Zeroizing::new(column(1)),
            public_key: column(2),
            mgf1: column(3),
            oaep: column(4),
        }
    });
    // The table compares without case and without spaces at the end; a hash is one text alone.
    Ok(row.filter(|row| row.msisdn_hash == msisdn_hash))
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
