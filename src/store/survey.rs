//! How `gateway_server_users` is laid out on this server: what `swob-gateway takeover` looks at,
//! and the one ALTER TABLE that it may need.
//!
//! What of it matters, and what an administrator is told, is not known here.

use std::time::Duration;

use mysql::prelude::Queryable as _;
use mysql::{Conn, OptsBuilder};

use super::gateway::{self, Row};
use super::{StoreError, options, text};
use crate::config;

/// A table of many rows is counted and rebuilt in minutes.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The table as the server describes it.
#[derive(Debug, Default)]
pub struct Layout {
    pub engine: String,
    pub collation: String,
    pub columns: Vec<Column>,
    /// The columns that are a primary or unique key by themselves.
    pub unique: Vec<String>,
    pub has_primary_key: bool,
    pub rows: u64,
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

/// A connection with patience.
pub struct Survey(Conn);

impl Survey {
    /// Connects.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn new(settings: &config::Database) -> Result<Self, StoreError> {
        let patient = OptsBuilder::from_opts(options(settings)).read_timeout(Some(PATIENCE));
        Ok(Survey(Conn::new(patient)?))
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
        let rows: Option<u64> = self.0.query_first("SELECT COUNT(*) FROM gateway_server_users")?;
        Ok(Some(Layout {
            engine: text(&mut status, 0).unwrap_or_default(),
            collation: text(&mut status, 1).unwrap_or_default(),
            columns: columns.into_iter().map(column).collect(),
            unique: keys.into_iter().filter_map(|mut row| text(&mut row, 1)).collect(),
            has_primary_key: primary.is_some(),
            rows: rows.unwrap_or(0),
        }))
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
