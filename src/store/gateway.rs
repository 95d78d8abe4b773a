//! `gateway_server_users`, the one table that this server owns (contract §6).

use mysql::prelude::Queryable as _;
use mysql::{Conn, OptsBuilder};
use zeroize::Zeroizing;

use super::at_rest::{Beside, Keys};
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
    let public_key = user.public_key.text();
    let (mgf1, oaep) = (user.digests.mgf1.name(), user.digests.oaep.name());
    let beside = Beside { msisdn_hash: user.msisdn_hash, public_key, mgf1, oaep };
    let shared_key = database.at_rest.seal(user.shared_key.as_str(), beside, rand::random());
    database.run(|connection| {
        // The hash is written anew as well: it may differ from the row's in case alone, and what
        // is sealed holds beside one text alone.
        connection.exec_drop(
            "INSERT INTO gateway_server_users \
             (msisdn_hash, shared_key, public_key, mgf1ParameterSpec, hashingAlgorithm) \
             VALUES (?, ?, ?, ?, ?) \
             ON DUPLICATE KEY UPDATE msisdn_hash = VALUES(msisdn_hash), \
             shared_key = VALUES(shared_key), \
             public_key = VALUES(public_key), mgf1ParameterSpec = VALUES(mgf1ParameterSpec), \
             hashingAlgorithm = VALUES(hashingAlgorithm)",
            (user.msisdn_hash, shared_key.as_str(), public_key, mgf1, oaep),
        )?;
        Ok(())
    })
}

/// A row as it stands in the table. Old rows hold whatever phones sent to the server before
/// (contract §6), so that every column is a text yet to be judged.
pub struct Row {
    /// The key, byte for byte the one asked for.
    pub msisdn_hash: String,
    /// The phone's AES key, in clear from [`find`], as it stands in the table from [`Row::read`].
    pub shared_key: Zeroizing<String>,
    /// The phone's RSA key, as it was sent.
    pub public_key: String,
    /// `mgf1ParameterSpec`
    pub mgf1: String,
    /// `hashingAlgorithm`
    pub oaep: String,
}

impl Row {
    /// The columns of [`Row::read`], in its order.
    pub const COLUMNS: &str =
        "msisdn_hash, shared_key, public_key, mgf1ParameterSpec, hashingAlgorithm";

    /// What came for [`Row::COLUMNS`], the shared key as it stands in the table.
    pub fn read(mut row: mysql::Row) -> Self {
        let mut column = |n| text(&mut row, n).unwrap_or_default();
        Row {
            msisdn_hash: column(0),
            shared_key: Zeroizing::new(column(1)),
            public_key: column(2),
            mgf1: column(3),
            oaep: column(4),
        }
    }

    /// The parts that the shared key is sealed beside.
    pub fn beside(&self) -> Beside<'_> {
        Beside {
            msisdn_hash: &self.msisdn_hash,
            public_key: &self.public_key,
            mgf1: &self.mgf1,
            oaep: &self.oaep,
        }
    }

    /// The same row with its shared key in clear.
    fn opened(self, keys: &Keys) -> Result<Self, StoreError> {
        let opened = keys.open(&self.shared_key, self.beside());
        let shared_key = opened.map_err(|error| StoreError::Content(error.text()))?;
        Ok(Row { shared_key, ..self })
    }
}

/// A user's row, `None` for an unknown one. The database must be the one that [`save`] writes to,
/// never a replica that lags behind: an app that reads an old key forgets its own (contract §4).
///
/// # Errors
/// [`StoreError`]; [`StoreError::Content`] where the shared key is sealed and does not open.
pub fn find(database: &Database, msisdn_hash: &str) -> Result<Option<Row>, StoreError> {
    let query = format!("SELECT {} FROM gateway_server_users WHERE msisdn_hash = ?", Row::COLUMNS);
    let row: Option<mysql::Row> =
        database.run(|connection| Ok(connection.exec_first(query, (msisdn_hash,))?))?;
    // The table compares without case and without spaces at the end; a hash is one text alone.
    let row = row.map(Row::read).filter(|row| row.msisdn_hash == msisdn_hash);
    row.map(|row| row.opened(&database.at_rest)).transpose()
}

/// The next rows in the order of their key, at most `limit`, as they stand in the table.
///
/// # Errors
/// As the database says.
pub fn page(
    connection: &mut Conn,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Row>, mysql::Error> {
    let beyond = if after.is_some() { "msisdn_hash > ?" } else { "? IS NULL" };
    let query = format!(
        "SELECT {} FROM gateway_server_users WHERE {beyond} ORDER BY msisdn_hash LIMIT {limit}",
        Row::COLUMNS
    );
    let rows: Vec<mysql::Row> = connection.exec(query, (after,))?;
    Ok(rows.into_iter().map(Row::read).collect())
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
