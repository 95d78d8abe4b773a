//! The settings: an ini file and the environment as written -> one typed, checked [`Config`].
//!
//! All mistakes are found at once, each with its place and its remedy. What a setting does is the
//! business of the module that owns the matter; nothing here listens, connects or logs.

mod database;
mod overview;
mod reader;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod value;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{error, fmt, io};

use log::LevelFilter;
use zeroize::Zeroizing;

use crate::limit::Network;
use crate::password::Rate;
use crate::wire::Endpoint;
pub use database::{Database, Tls};
pub use overview::{Overview, Shown};
use reader::Reader;
use source::Source;

/// The configuration files where none is named: the first that is there.
const FILES: [&str; 2] = ["gateway.ini", "/etc/swob-gateway/gateway.ini"];

/// Every setting; gateway.ini explains each for the administrator.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub http: Http,
    pub websocket: WebSocket,
    pub tls: ServerTls,
    pub sync: Sync,
    pub page: Page,
    pub keys: Keys,
    pub mysql: Database,
    /// The BE's database; `None` where it shares the gateway's.
    pub mysql_be: Option<Database>,
    pub limits: Limits,
    pub admin: Admin,
    pub log: Log,
}

/// The API.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// At least one.
    pub listen: Vec<SocketAddr>,
    pub public_url: Option<Endpoint>,
    /// As browsers send them.
    pub allowed_origins: Vec<String>,
    /// Whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<Network>,
}

impl Http {
    /// Whether other machines reach it without a proxy.
    pub fn is_public(&self) -> bool {
        self.listen.iter().any(|address| !address.ip().is_loopback())
    }
}

/// The sync sockets.
#[derive(Clone, Debug, PartialEq)]
pub struct WebSocket {
    /// At least one.
    pub listen: Vec<SocketAddr>,
    pub public_url: Option<Endpoint>,
}

/// TLS on both ports; its private key is [`Keys::private_key`].
#[derive(Clone, Debug, PartialEq)]
pub struct ServerTls {
    /// The chain; `None` is plain HTTP.
    pub certificate: Option<PathBuf>,
    /// Seconds of HSTS, 0 for none.
    pub hsts: u32,
}

/// The sessions (contract §2).
#[derive(Clone, Debug, PartialEq)]
pub struct Sync {
    /// Between two rotations.
    pub session_sleep_timeout: Duration,
    /// URLs in all, the first counted.
    pub session_change_limit: u32,
    /// From the pause to a close without ack.
    pub session_paused_timeout: Duration,
    /// Whether a socket opens with an id that no `GET` issued: in development only.
    pub accept_unissued_sessions: bool,
    /// The platforms of a BE without a table of them; `None` is the built-in list.
    pub platforms_file: Option<PathBuf>,
}

/// The sync page.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Whether it is served.
    pub enabled: bool,
}

/// The server's key, and the BE's two secrets.
#[derive(Clone, Debug, PartialEq)]
pub struct Keys {
    /// The certificate's, where there is one.
    pub private_key: PathBuf,
    /// The folder with every key that was ever current; by default `ring` beside the key.
    pub ring: PathBuf,
    /// `None` takes the salt from the BE's `credentials` (contract §6).
    pub hashing_salt_file: Option<PathBuf>,
    /// `None` takes the key from the BE's `credentials` (contract §6).
    pub shared_key_file: Option<PathBuf>,
    /// The keys that phones' keys are sealed under in the table; `None` leaves them in clear.
    pub at_rest_keys: Option<PathBuf>,
}

/// How much a stranger may take.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// On each port.
    pub max_connections: usize,
    pub max_connections_per_address: usize,
    pub max_sockets_per_user_and_address: usize,
    /// Who may remove users (contract §5); empty is everyone.
    pub removal_allowed_addresses: Vec<IpAddr>,
    /// Until the first byte of a request.
    pub idle_timeout: Duration,
    /// From the first byte of a request to the end of its head.
    pub head_timeout: Duration,
    /// From there to the end of its body.
    pub body_timeout: Duration,
    /// For one whole request, head and body.
    pub request_timeout: Duration,
    /// In bytes.
    pub max_head: usize,
    /// In bytes.
    pub max_body: usize,
    /// Of a dashboard, in bytes.
    pub max_message: usize,
    /// Of one dashboard.
    pub max_messages: u32,
    /// Between two pings of a sync socket.
    pub ping_interval: Duration,
    /// Pings in a row that may go unanswered.
    pub missed_pings: u32,
    /// From the upgrade of a sync socket to its end.
    pub max_socket_lifetime: Duration,
    /// Different wrong bodies for one session.
    pub session_attempts: usize,
    /// Wrong passwords for one user from one address.
    pub password_attempts: Vec<Rate>,
    /// Wrong passwords for all users from one address.
    pub password_attempts_per_address: Vec<Rate>,
    /// Wrong passwords for one user from all addresses.
    pub password_attempts_per_user: Vec<Rate>,
}

/// The loopback listener for the administrator.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Of this machine alone; `None` is none.
    pub listen: Option<SocketAddr>,
}

/// The log.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    pub level: LevelFilter,
    /// Whether each wrong password leaves a line with its address.
    pub failed_passwords: bool,
    /// `None` is standard error.
    pub file: Option<PathBuf>,
}

/// A text that no log shows, and that is wiped when it is dropped.
#[derive(Clone, PartialEq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text.
    pub fn new(text: String) -> Self {
        Secret(Zeroizing::new(text))
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// What it and the environment say is wrong: one line a mistake, with place and remedy.
    Mistakes(Vec<String>),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Unreadable(file, cause) => {
                // It may hold passwords, so that not everybody who has a shell reads it.
                let how = match cause.kind() {
                    io::ErrorKind::PermissionDenied => {
                        "run this with sudo, or let the service's account read it (chmod 640)"
                    }
                    _ => "name a readable file with --config",
                };
                write!(f, "{} cannot be read; {how}", file.display())
            }
            ConfigError::Mistakes(lines) => f.write_str(&lines.join("\n")),
        }
    }
}

impl error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            ConfigError::Unreadable(_, cause) => Some(cause),
            ConfigError::Mistakes(_) => None,
        }
    }
}

impl Default for Config {
    /// What counts where neither file nor environment says anything.
    fn default() -> Self {
        Reader::new(Source::defaults(), Path::new("")).read().0
    }
}
