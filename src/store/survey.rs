//! What a database is like: how `gateway_server_users` is laid out, what the account may do, which
//! time it is there; and the one ALTER TABLE that a takeover may need.
//!
//! What of it matters, and what an administrator is told, is not known here.

use std::time::Duration;

use mysql::prelude::Queryable as _;
use mysql::{Conn, OptsBuilder};

use super::backend::PLATFORM_KIND;
use super::gateway::{self, Row};
use super::{StoreError, options, text};
use crate::config;

/// The table as the server describes it.
#[derive(Debug, Default)]
pub struct Layout {
    pub engine: String,
    pub collation: String,
    pub columns: Vec<Column>,
    /// The columns that are a primary or unique key by themselves.
    pub unique: Vec<String>,
    pub has_primary_key: bool,
}

/// Whether an account may run a statement.
#[derive(Debug, PartialEq, Eq)]
pub enum Right {
    Given,
    Denied,
    /// A table is not there, or the account may know nothing of it.
    NoTable,
    /// The statement does not fit the tables, in the database's words.
    Unfit(String),
}

/// A column as `information_schema` describes it.
#[derive(Clone, Debug, Default)]
pub struct Column {
    pub name: String,
    /// With its length, such as `varchar(256)`.
    pub kind: String,
    /// In characters; `None` for a column that holds no text.
    pub width: Option<u64>,
    pub nullable: bool,
    pub default: Option<String>,
    pub extra: String,
    pub charset: Option<String>,
    pub collation: Option<String>,
}

/// A connection.
pub struct Survey(Conn);

impl Survey {
    /// Connects; each answer may take as long as `patience`.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn new(settings: &config::Database, patience: Duration) -> Result<Self, StoreError> {
        let patient = OptsBuilder::from_opts(options(settings)).read_timeout(Some(patience));
        Ok(Survey(Conn::new(patient)?))
    }

    /// The name and version of the server.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn version(&mut self) -> Result<String, StoreError> {
        let row: Option<mysql::Row> = self.0.query_first("SELECT VERSION()")?;
        Ok(row.and_then(|mut row| text(&mut row, 0)).unwrap_or_default())
    }

    /// The seconds since 1970 by the database's clock.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn clock(&mut self) -> Result<u64, StoreError> {
        Ok(self.0.query_first("SELECT UNIX_TIMESTAMP()")?.unwrap_or(0))
    }

    /// The type of `wallets.platformId`, where there is one (contract §6).
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn platform_kind(&mut self) -> Result<Option<String>, StoreError> {
        let row: Option<mysql::Row> = self.0.query_first(PLATFORM_KIND)?;
        Ok(row.and_then(|mut row| text(&mut row, 0)))
    }

    /// Whether the account may run a statement, which is prepared and never run: the database asks
    /// for the rights then.
    ///
    /// # Errors
    /// [`StoreError::Away`]
    pub fn may(&mut self, statement: &str) -> Result<Right, StoreError> {
        const DENIED: [u16; 3] = [1142, 1143, 1227];
        const NO_TABLE: u16 = 1146;
        match self.0.prep(statement) {
            Ok(prepared) => Ok(self.0.close(prepared).map(|()| Right::Given)?),
            Err(mysql::Error::MySqlError(error)) if DENIED.contains(&error.code) => {
                Ok(Right::Denied)
            }
            Err(mysql::Error::MySqlError(error)) if error.code == NO_TABLE => Ok(Right::NoTable),
            Err(mysql::Error::MySqlError(error)) => Ok(Right::Unfit(error.message)),
            Err(error) => Err(error.into()),
        }
    }

    /// The tables of which the account may write a column at least, rows of theirs or new ones.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn written(&mut self) -> Result<Vec<String>, StoreError> {
        const QUERY: &str = "SELECT DISTINCT table_name FROM information_schema.columns \
             WHERE table_schema = DATABASE() \
             AND (privileges LIKE '%insert%' OR privileges LIKE '%update%')";
        Ok(self.0.query(QUERY)?)
    }

    /// The table's layout, `None` where there is no table.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn layout(&mut self) -> Result<Option<Layout>, StoreError> {
        const HERE: &str =
            "WHERE table_schema = DATABASE() AND table_name = 'gateway_server_users'";
        let status: Option<mysql::Row> = self.0.query_first(format!(
            "SELECT engine, table_collation FROM information_schema.tables {HERE}"
        ))?;
        let Some(mut status) = status else { return Ok(None) };
        let columns = format!(
            "SELECT column_name, column_type, character_maximum_length, is_nullable, \
             column_default, extra, character_set_name, collation_name \
             FROM information_schema.columns {HERE} ORDER BY ordinal_position"
        );
        let columns: Vec<mysql::Row> = self.0.query(columns)?;
        let keys = format!(
            "SELECT MAX(index_name), MAX(column_name) FROM information_schema.statistics {HERE} \
             AND non_unique = 0 GROUP BY index_name HAVING COUNT(*) = 1 AND MAX(sub_part) IS NULL"
        );
        let keys: Vec<mysql::Row> = self.0.query(keys)?;
        let primary = format!(
            "SELECT 1 FROM information_schema.statistics {HERE} AND index_name = 'PRIMARY' LIMIT 1"
        );
        let primary: Option<u8> = self.0.query_first(primary)?;
        Ok(Some(Layout {
            engine: text(&mut status, 0).unwrap_or_default(),
            collation: text(&mut status, 1).unwrap_or_default(),
            columns: columns.into_iter().map(column).collect(),
            unique: keys.into_iter().filter_map(|mut row| text(&mut row, 1)).collect(),
            has_primary_key: primary.is_some(),
        }))
    }

    /// How many rows the table has.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn rows(&mut self) -> Result<u64, StoreError> {
        Ok(self.0.query_first("SELECT COUNT(*) FROM gateway_server_users")?.unwrap_or(0))
    }

    /// How many rows share their `msisdn_hash` with another, the first of each not counted.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn repeated(&mut self) -> Result<u64, StoreError> {
        let query = "SELECT COUNT(*) - COUNT(DISTINCT msisdn_hash) FROM gateway_server_users";
        Ok(self.0.query_first(query)?.unwrap_or(0))
    }

    /// Shows every row, as it stands in the table.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn each_row(&mut self, mut look: impl FnMut(Row)) -> Result<(), StoreError> {
        const PAGE: usize = 500;
        let mut after: Option<String> = None;
        loop {
            let rows = gateway::page(&mut self.0, after.as_deref(), PAGE)?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.msisdn_hash.clone());
            rows.into_iter().for_each(&mut look);
        }
    }

    /// Changes the table.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn alter(&mut self, statement: &str) -> Result<(), StoreError> {
        Ok(self.0.query_drop(statement)?)
    }
}

fn column(mut row: mysql::Row) -> Column {
    let mut text = |n| text(&mut row, n);
    Column {
        name: text(0).unwrap_or_default(),
        kind: text(1).unwrap_or_default(),
        width: text(2).and_then(|width| width.parse().ok()),
        nullable: text(3).as_deref() == Some("YES"),
        // MariaDB spells the default NULL out.
        default: text(4).filter(|default| default != "NULL"),
        extra: text(5).unwrap_or_default(),
        charset: text(6),
        collation: text(7),
    }
}
