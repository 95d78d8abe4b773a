//! The settings: an ini file and the environment as written -> one typed, checked [`Config`].
//!
//! All mistakes are found at once, each with its place and its remedy. What a setting does is the
//! business of the module that owns the matter; nothing here listens, connects or logs.

mod database;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{error, fmt, fs, io};

use log::LevelFilter;
use zeroize::Zeroizing;

use crate::limit::Network;
use crate::password::Rate;
use crate::wire::Endpoint;
pub use database::{Database, Tls};
use source::{Given, Mistake, Place, Source};
use value::Bad;

/// The configuration file where none is named.
const FILE: &str = "gateway.ini";

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

/// The log.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    pub level: LevelFilter,
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
            ConfigError::Unreadable(file, _) => {
                write!(f, "{} cannot be read; name a readable file with --config", file.display())
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

/// Reads the configuration from a file, or from `gateway.ini` where that exists, and from `env`.
///
/// # Errors
/// [`ConfigError`] with all mistakes.
pub fn load(file: Option<&Path>, env: &BTreeMap<String, String>) -> Result<Config, ConfigError> {
    let path = file.unwrap_or(Path::new(FILE));
    let text = match fs::read_to_string(path) {
        Err(cause) if file.is_none() && cause.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.map_err(|cause| ConfigError::Unreadable(path.to_owned(), cause))?,
    };
    parse(&text, path, env, &|path| fs::read_to_string(path))
}

/// The same of a file's text; `read` reads the files that `…_FILE` variables name.
///
/// # Errors
/// [`ConfigError::Mistakes`].
pub fn parse(
    text: &str,
    file: &Path,
    env: &BTreeMap<String, String>,
    read: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<Config, ConfigError> {
    let mut source = Source::defaults();
    source.read_file(text);
    source.read_environment(env, read);
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut reader = Reader { given: source.given, mistakes: source.mistakes, folder };
    let config = reader.config();
    if reader.mistakes.is_empty() {
        return Ok(config);
    }
    reader.mistakes.sort();
    let line = |(place, mistake): Mistake| match place {
        Place::Default => mistake,
        Place::Line(number) => format!("{}:{number}: {mistake}", file.display()),
        Place::Variable(name) => format!("{name}: {mistake}"),
    };
    Err(ConfigError::Mistakes(reader.mistakes.into_iter().map(line).collect()))
}

impl Default for Config {
    /// What counts where neither file nor environment says anything.
    fn default() -> Self {
        let given = Source::defaults().given;
        Reader { given, mistakes: Vec::new(), folder: Path::new("") }.config()
    }
}

/// Turns texts into values. A text that is wrong is noted, and its default goes on in its place,
/// so that the mistakes after it are found as well.
struct Reader<'a> {
    given: Vec<Given>,
    mistakes: Vec<Mistake>,
    /// Where the file's relative paths begin.
    folder: &'a Path,
}

impl Reader<'_> {
    fn config(&mut self) -> Config {
        let tls = self.tls();
        let mysql = self.mysql();
        let mysql_be = self.mysql_be(&mysql);
        Config {
            http: Http {
                listen: self.get("http", "listen", value::addresses),
                public_url: self.get("http", "public_url", value::api_url),
                allowed_origins: self.get("http", "allowed_origins", value::origins),
                trusted_proxies: self.get("http", "trusted_proxies", value::networks),
            },
            websocket: WebSocket {
                listen: self.get("websocket", "listen", value::addresses),
                public_url: self.get("websocket", "public_url", value::socket_url),
            },
            tls,
            sync: Sync {
                session_sleep_timeout: self.get("sync", "session_sleep_timeout", value::seconds),
                session_change_limit: self.get(
                    "sync",
                    "session_change_limit",
                    value::number(1..=1000),
                ),
                session_paused_timeout: self.get("sync", "session_paused_timeout", value::seconds),
                accept_unissued_sessions: self.get(
                    "sync",
                    "accept_unissued_sessions",
                    value::yes_no,
                ),
                platforms_file: self.path("sync", "platforms_file"),
            },
            page: Page { enabled: self.get("page", "enabled", value::yes_no) },
            keys: self.keys(),
            mysql,
            mysql_be,
            limits: self.limits(),
            log: Log {
                level: self.get("log", "level", value::level),
                file: self.path("log", "file"),
            },
        }
    }

    fn tls(&mut self) -> ServerTls {
        let certificate = self.path("tls", "certificate");
        let plain = |url: Result<Option<Endpoint>, Bad>| {
            url.is_ok_and(|url| url.is_some_and(|url| !url.secure))
        };
        let url = |reader: &Self, section| reader.given(section, "public_url").text.clone();
        if certificate.is_some() && plain(value::api_url(&url(self, "http"))) {
            self.mistake("http", "public_url", "does not fit [tls] certificate; write https://");
        }
        if certificate.is_some() && plain(value::socket_url(&url(self, "websocket"))) {
            self.mistake("websocket", "public_url", "does not fit [tls] certificate; write wss://");
        }
        ServerTls { certificate, hsts: self.get("tls", "hsts", value::number(0..=63_072_000)) }
    }

    /// The certificate's key is the server's key (contract §3), so it has one name.
    fn server_key(&mut self) -> PathBuf {
        let own = self.required_path("keys", "private_key");
        let Some(key) = self.path("tls", "private_key") else { return own };
        let named = self.given("keys", "private_key").place != Place::Default;
        if self.path("tls", "certificate").is_none() {
            let mistake = "has no certificate; name the file with its chain as [tls] certificate";
            self.mistake("tls", "private_key", mistake);
        } else if named && own != key {
            let mistake = "is another file than [keys] private_key, but phones take the server's \
                           key from the certificate; name it in one of the two alone";
            self.mistake("tls", "private_key", mistake);
        }
        key
    }

    fn keys(&mut self) -> Keys {
        let private_key = self.server_key();
        let ring = self.path("keys", "ring");
        Keys {
            ring: ring.unwrap_or_else(|| private_key.with_file_name("ring")),
            private_key,
            hashing_salt_file: self.path("keys", "hashing_salt_file"),
            shared_key_file: self.path("keys", "shared_key_file"),
            at_rest_keys: self.path("keys", "at_rest_keys"),
        }
    }

    fn limits(&mut self) -> Limits {
        const MOST: usize = 1_000_000;
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let mut count = |key| self.get("limits", key, value::number(1..=MOST));
        Limits {
            max_connections: count("max_connections"),
            max_connections_per_address: count("max_connections_per_address"),
            max_sockets_per_user_and_address: count("max_sockets_per_user_and_address"),
            removal_allowed_addresses: self.get(
                "limits",
                "removal_allowed_addresses",
                value::peers,
            ),
            idle_timeout: self.get("limits", "idle_timeout", value::seconds),
            head_timeout: self.get("limits", "head_timeout", value::seconds),
            body_timeout: self.get("limits", "body_timeout", value::seconds),
            request_timeout: self.get("limits", "request_timeout", value::seconds),
            max_head: self.get("limits", "max_head", value::number(1024..=65536)),
            max_body: self.get("limits", "max_body", value::number(8192..=1_048_576)),
            max_message: self.get("limits", "max_message", value::number(125..=65536)),
            max_messages: self.get("limits", "max_messages", value::number(0..=1000)),
            ping_interval: self.get("limits", "ping_interval", value::seconds),
            missed_pings: self.get("limits", "missed_pings", value::number(1..=100)),
            max_socket_lifetime: self.get("limits", "max_socket_lifetime", value::seconds),
            session_attempts: self.get("limits", "session_attempts", value::number(1..=100)),
            password_attempts: self.get("limits", "password_attempts", value::rates(DAY)),
            password_attempts_per_address: self.get(
                "limits",
                "password_attempts_per_address",
                value::rates(DAY),
            ),
            // Longer, and a stranger could lock an owner out for it.
            password_attempts_per_user: self.get(
                "limits",
                "password_attempts_per_user",
                value::rates(value::HOUR),
            ),
        }
    }

    fn given(&self, section: &str, key: &str) -> &Given {
        let named = |given: &&Given| (given.setting.section, given.setting.key) == (section, key);
        self.given.iter().find(named).expect("every read asks for all settings, so a test finds it")
    }

    fn get<T>(&mut self, section: &str, key: &str, parse: impl Fn(&str) -> Result<T, Bad>) -> T {
        let given = self.given(section, key);
        let bad = match parse(&given.text) {
            Ok(value) => return value,
            Err(bad) => bad,
        };
        let Given { setting, text, place } = given;
        let mistake = if text.is_empty() {
            format!("[{section}] {key} is empty; {}", bad.remedy)
        } else {
            format!("[{section}] {key} = {} {}; {}", value::shown(text), bad.what, bad.remedy)
        };
        let mistake = (place.clone(), mistake);
        let value = parse(setting.default).expect("every default is right: a test reads them");
        self.mistakes.push(mistake);
        value
    }

    /// Notes what is wrong with a value beside others.
    fn mistake(&mut self, section: &str, key: &str, what: &str) {
        let Given { text, place, .. } = self.given(section, key);
        let mistake = format!("[{section}] {key} = {} {what}", value::shown(text));
        let mistake = (place.clone(), mistake);
        self.mistakes.push(mistake);
    }

    fn optional<T>(
        &mut self,
        section: &str,
        key: &str,
        parse: impl Fn(&str) -> Result<T, Bad>,
    ) -> Option<T> {
        self.get(section, key, |text| value::optional(text, &parse))
    }

    fn required_path(&mut self, section: &str, key: &str) -> PathBuf {
        self.get(section, key, value::name);
        // Only an empty text has no path, and that is noted now.
        self.path(section, key).unwrap_or_default()
    }

    fn path(&self, section: &str, key: &str) -> Option<PathBuf> {
        let Given { text, place, .. } = self.given(section, key);
        match place {
            _ if text.is_empty() => None,
            Place::Variable(_) => Some(text.into()),
            _ => Some(self.folder.join(text)),
        }
    }

    fn password(&self, section: &str) -> Secret {
        Secret::new(self.given(section, "password").text.clone())
    }
}
