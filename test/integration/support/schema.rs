//! A database of its own for one test, on the MariaDB that `make test` starts.

use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

use mysql::prelude::Queryable as _;
use mysql::{Conn, OptsBuilder};

use super::Mariadb;

const SCRIPTS: [&str; 3] = [
    include_str!("../../../sql/gateway.sql"),
    include_str!("../../../sql/backend.sql"),
    include_str!("../../../sql/dev.sql"),
];

pub struct Schema {
    pub name: String,
    pub host: String,
    pub port: String,
    /// The path of its unix socket.
    pub socket: String,
    /// The path of its certificate.
    pub ca: String,
    pub username: String,
    pub password: String,
    /// Whether the test drops no database: its MariaDB goes as a whole.
    private: bool,
}

/// A row of `gateway_server_users`.
#[derive(Debug, PartialEq)]
pub struct Row {
    pub msisdn_hash: String,
    pub shared_key: String,
    pub public_key: String,
    pub mgf1: String,
    pub oaep: String,
}

#[expect(clippy::disallowed_methods, reason = "tests are told by the environment where MariaDB is")]
fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: these tests need the MariaDB that `make test` starts")
    })
}

impl Schema {
    /// With the tables of both and the development data.
    pub fn new() -> Self {
        Schema::empty().filled()
    }

    /// The same, on a MariaDB of the test's own.
    pub fn on(mariadb: &Mariadb) -> Self {
        let mut schema = Schema::at(&mariadb.host, &mariadb.port);
        schema.username.clone_from(&mariadb.username);
        schema.password.clone_from(&mariadb.password);
        schema.filled()
    }

    /// At an address of which nothing is known.
    pub fn at(host: &str, port: &str) -> Self {
        Schema {
            name: "test".to_owned(),
            host: host.to_owned(),
            port: port.to_owned(),
            socket: String::new(),
            ca: String::new(),
            username: "nobody".to_owned(),
            password: String::new(),
            private: true,
        }
    }

    fn filled(self) -> Self {
        let schema = self;
        let mut connection = schema.connect();
        connection.query_drop(format!("CREATE DATABASE {}", schema.name)).unwrap();
        connection.query_drop(format!("USE {}", schema.name)).unwrap();
        for statement in SCRIPTS.iter().flat_map(|script| script.split(';')) {
            // A piece of comments alone is no statement.
            let told = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with("--");
            if statement.lines().any(told) {
                connection.query_drop(statement).unwrap_or_else(|e| panic!("{e}: {statement}"));
            }
        }
        schema
    }

    /// A name that is no database yet.
    pub fn empty() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        Schema {
            name: format!("test_{}_{n}", process::id()),
            host: setting("TEST_MYSQL_HOST"),
            port: setting("TEST_MYSQL_PORT"),
            socket: setting("TEST_MYSQL_SOCKET"),
            ca: setting("TEST_MYSQL_CA"),
            username: setting("TEST_MYSQL_USERNAME"),
            password: setting("TEST_MYSQL_PASSWORD"),
            private: false,
        }
    }

    pub fn execute(&self, sql: &str) {
        let mut connection = self.connect();
        connection.query_drop(format!("USE {}", self.name)).unwrap();
        connection.query_drop(sql).unwrap();
    }

    /// The one number that a query gives.
    pub fn number(&self, sql: &str) -> u64 {
        self.connect().query_first(sql).unwrap().unwrap_or(0)
    }

    /// As [`Self::execute`], without this database as the default.
    pub fn execute_anywhere(&self, sql: &str) {
        self.connect().query_drop(sql).unwrap();
    }

    /// Whatever a query finds, each value as its text; a `NULL` is `NULL`.
    pub fn query(&self, sql: &str) -> Vec<Vec<String>> {
        let mut connection = self.connect();
        connection.query_drop(format!("USE {}", self.name)).unwrap();
        let rows: Vec<mysql::Row> = connection.query(sql).unwrap();
        let text = |value| match value {
            mysql::Value::NULL => "NULL".to_owned(),
            mysql::Value::Bytes(bytes) => String::from_utf8(bytes).unwrap(),
            other => other.as_sql(true),
        };
        rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect()
    }

    pub fn rows(&self) -> Vec<Row> {
        let columns = "msisdn_hash, shared_key, public_key, mgf1ParameterSpec, hashingAlgorithm";
        let query = format!("SELECT {columns} FROM {}.gateway_server_users", self.name);
        self.connect()
            .query_map(query, |(msisdn_hash, shared_key, public_key, mgf1, oaep)| Row {
                msisdn_hash,
                shared_key,
                public_key,
                mgf1,
                oaep,
            })
            .unwrap()
    }

    pub fn msisdn_hash(&self) -> String {
        let query = format!("SELECT full_phone_number FROM {}.usersInfos LIMIT 1", self.name);
        self.connect().query_first(query).unwrap().unwrap()
    }

    /// The variables that lead a server here.
    pub fn variables(&self) -> [(&'static str, &str); 5] {
        [
            ("GATEWAY_MYSQL_HOST", &self.host),
            ("GATEWAY_MYSQL_PORT", &self.port),
            ("GATEWAY_MYSQL_USERNAME", &self.username),
            ("GATEWAY_MYSQL_PASSWORD", &self.password),
            ("GATEWAY_MYSQL_DATABASE", &self.name),
        ]
    }

    /// At the socket under another account, with this database as the default.
    pub fn connect_as(&self, username: &str, password: &str) -> Conn {
        let options = OptsBuilder::new()
            .socket(Some(&self.socket))
            .user(Some(username))
            .pass(Some(password))
            .db_name(Some(&self.name));
        Conn::new(options).unwrap()
    }

    pub fn connect(&self) -> Conn {
        connect(&self.host, &self.port, &self.username, &self.password)
            .unwrap_or_else(|error| panic!("the test database is away: {error}"))
    }
}

/// A connection by TCP.
pub fn connect(host: &str, port: &str, username: &str, password: &str) -> mysql::Result<Conn> {
    let options = OptsBuilder::new()
        .ip_or_hostname(Some(host))
        .tcp_port(port.parse().unwrap())
        .user(Some(username))
        .pass(Some(password))
        .prefer_socket(false);
    Conn::new(options)
}

impl Drop for Schema {
    fn drop(&mut self) {
        if self.private {
            return;
        }
        let _ = self.connect().query_drop(format!("DROP DATABASE IF EXISTS {}", self.name));
    }
}
