//! From texts with their places to a [`Config`]: every setting is asked for here, once.
//!
//! What one text may say is `value`'s business; what two of them must have in common is noted here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::source::{Given, Mistake, Place, Source};
use super::value::{self, Bad};
use super::{Admin, Config, Http, Keys, Limits, Log, Page, Secret, ServerTls, Sync, WebSocket};
use crate::wire::Endpoint;

/// Turns texts into values. A text that is wrong is noted, and its default goes on in its place,
/// so that the mistakes after it are found as well.
pub(super) struct Reader<'a> {
    pub(super) given: Vec<Given>,
    mistakes: Vec<Mistake>,
    folder: &'a Path,
}

impl<'a> Reader<'a> {
    /// The texts, and the folder where the file's relative paths begin.
    pub(super) fn new(source: Source, folder: &'a Path) -> Self {
        Reader { given: source.given, mistakes: source.mistakes, folder }
    }

    /// All values, and what is wrong with the texts.
    pub(super) fn read(mut self) -> (Config, Vec<Mistake>) {
        (self.config(), self.mistakes)
    }

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
            admin: Admin { listen: self.optional("admin", "listen", value::loopback) },
            log: Log {
                level: self.get("log", "level", value::level),
                failed_passwords: self.get("log", "failed_passwords", value::yes_no),
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

    pub(super) fn given(&self, section: &str, key: &str) -> &Given {
        let named = |given: &&Given| (given.setting.section, given.setting.key) == (section, key);
        self.given.iter().find(named).expect("every read asks for all settings, so a test finds it")
    }

    pub(super) fn get<T>(
        &mut self,
        section: &str,
        key: &str,
        parse: impl Fn(&str) -> Result<T, Bad>,
    ) -> T {
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

    pub(super) fn optional<T>(
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

    pub(super) fn path(&self, section: &str, key: &str) -> Option<PathBuf> {
        let Given { text, place, .. } = self.given(section, key);
        match place {
            _ if text.is_empty() => None,
            Place::Variable(_) => Some(text.into()),
            _ => Some(self.folder.join(text)),
        }
    }

    pub(super) fn password(&self, section: &str) -> Secret {
        Secret::new(self.given(section, "password").text.clone())
    }
}
