//! The ways to the two databases: what each setting means beside the others.
//!
//! Names and texts are read by the parent.

use std::net::IpAddr;
use std::path::PathBuf;

use super::reader::Reader;
use super::{Secret, value};

/// A way to a database.
#[derive(Clone, Debug, PartialEq)]
pub struct Database {
    /// A name or an address, an IPv6 one without brackets.
    pub host: String,
    pub port: u16,
    /// Used instead of host and port.
    pub socket: Option<PathBuf>,
    pub username: String,
    pub database: String,
    pub password: Secret,
    /// How the connection is encrypted; `None` leaves it plain.
    pub tls: Option<Tls>,
}

impl Database {
    /// Whether the connection goes to another machine in clear, so that whoever carries it reads
    /// the phones' keys.
    pub fn is_exposed(&self) -> bool {
        let address = self.host.parse();
        let local = self.host == "localhost" || address.is_ok_and(|a: IpAddr| a.is_loopback());
        !local && self.socket.is_none() && self.tls.is_none()
    }
}

/// TLS towards a database, whose certificate has to be valid for `host`.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// Certificates in PEM that are trusted beside the system's.
    pub ca: Option<PathBuf>,
}

impl Reader<'_> {
    pub fn mysql(&mut self) -> Database {
        // Who names a certificate does not mean a plain connection.
        let ca = self.path("mysql", "tls_ca");
        Database {
            host: self.get("mysql", "host", value::host),
            port: self.get("mysql", "port", value::port),
            socket: self.socket("mysql"),
            username: self.get("mysql", "username", value::name),
            database: self.get("mysql", "database", value::name),
            password: self.password("mysql"),
            tls: (self.get("mysql", "tls", value::yes_no) || ca.is_some()).then_some(Tls { ca }),
        }
    }

    /// The BE's database: what is not set is as in the gateway's, and where nothing is, it is the
    /// gateway's (contract §7).
    pub fn mysql_be(&mut self, gateway: &Database) -> Option<Database> {
        const SECTION: &str = "mysql_be";
        let mut settings = self.given.iter().filter(|given| given.setting.section == SECTION);
        if settings.all(|given| given.text.is_empty()) {
            return None;
        }
        let host = self.optional(SECTION, "host", value::host);
        let port = self.optional(SECTION, "port", value::port);
        // The gateway's socket leads to the gateway's host alone.
        let elsewhere = host.is_some() || port.is_some();
        let own = self.socket(SECTION);
        let password = self.password(SECTION);
        let ca = self.path(SECTION, "tls_ca");
        let tls = self
            .optional(SECTION, "tls", value::yes_no)
            .unwrap_or(ca.is_some() || gateway.tls.is_some());
        let ca = ca.or_else(|| gateway.tls.as_ref().and_then(|tls| tls.ca.clone()));
        Some(Database {
            host: host.unwrap_or_else(|| gateway.host.clone()),
            port: port.unwrap_or(gateway.port),
            socket: own.or_else(|| gateway.socket.clone().filter(|_| !elsewhere)),
            username: self
                .optional(SECTION, "username", value::name)
                .unwrap_or_else(|| gateway.username.clone()),
            database: self
                .optional(SECTION, "database", value::name)
                .unwrap_or_else(|| gateway.database.clone()),
            password: if password.expose().is_empty() {
                gateway.password.clone()
            } else {
                password
            },
            tls: tls.then_some(Tls { ca }),
        })
    }

    /// A host from the environment overrides a socket in the file, too.
    fn socket(&self, section: &str) -> Option<PathBuf> {
        let rank = |key| self.given(section, key).place.rank();
        self.path(section, "socket").filter(|_| rank("socket") >= rank("host"))
    }
}
