//! The one table of settings: their names, their defaults, where else they may come from.
//!
//! Their meaning and their types are `config.rs`'s business.

/// One setting, as an administrator knows it.
#[derive(Debug)]
pub struct Setting {
    pub section: &'static str,
    pub key: &'static str,
    /// The default, as it would be written.
    pub default: &'static str,
    /// Whether no error and no log may show its value.
    pub secret: bool,
    /// Whether its value is the path of a file that the server reads.
    pub file: bool,
    /// The variables of contract §7, the first one set counts.
    pub contract: &'static [&'static str],
    /// Whether a running server takes it over at SIGHUP.
    pub reloads: bool,
}

impl Setting {
    /// The variable that overrides everything else.
    pub fn variable(&self) -> String {
        format!("GATEWAY_{}_{}", self.section, self.key).to_ascii_uppercase()
    }

    /// The systemd credential that sets it: a secret by what it holds, a file by its place.
    pub fn credential(&self) -> Option<String> {
        (self.secret || self.file).then(|| format!("swob-gateway.{}.{}", self.section, self.key))
    }

    /// The variable that names a file with a secret's value.
    pub fn file_variable(&self) -> Option<String> {
        self.secret.then(|| format!("{}_FILE", self.variable()))
    }
}

const fn plain(section: &'static str, key: &'static str, default: &'static str) -> Setting {
    let (secret, file, reloads) = (false, false, false);
    Setting { section, key, default, secret, file, contract: &[], reloads }
}

/// One that SIGHUP takes over.
const fn live(section: &'static str, key: &'static str, default: &'static str) -> Setting {
    Setting { reloads: true, ..plain(section, key, default) }
}

/// One that names a file.
const fn file(section: &'static str, key: &'static str, default: &'static str) -> Setting {
    Setting { file: true, ..plain(section, key, default) }
}

const fn shared(
    section: &'static str,
    key: &'static str,
    default: &'static str,
    contract: &'static [&'static str],
) -> Setting {
    Setting { contract, ..plain(section, key, default) }
}

const fn secret(
    section: &'static str,
    key: &'static str,
    contract: &'static [&'static str],
) -> Setting {
    Setting { secret: true, ..shared(section, key, "", contract) }
}

/// Every setting, in the order of gateway.ini.
pub static SETTINGS: &[Setting] = &[
    plain("http", "listen", "127.0.0.1:15000"),
    plain("http", "public_url", ""),
    live("http", "allowed_origins", ""),
    plain("http", "trusted_proxies", ""),
    plain("websocket", "listen", "127.0.0.1:6996"),
    plain("websocket", "public_url", ""),
    file("tls", "certificate", ""),
    file("tls", "private_key", ""),
    plain("tls", "hsts", "0"),
    plain("sync", "session_sleep_timeout", "15"),
    plain("sync", "session_change_limit", "3"),
    plain("sync", "session_paused_timeout", "120"),
    plain("sync", "accept_unissued_sessions", "no"),
    file("sync", "platforms_file", ""),
    plain("page", "enabled", "no"),
    file("keys", "private_key", "server.key"),
    plain("keys", "ring", ""),
    Setting { file: true, ..shared("keys", "hashing_salt_file", "", &["HASHING_SALT"]) },
    Setting { file: true, ..shared("keys", "shared_key_file", "", &["SHARED_KEY"]) },
    file("keys", "at_rest_keys", ""),
    shared("mysql", "host", "127.0.0.1", &["MYSQL_HOST"]),
    shared("mysql", "port", "3306", &["MYSQL_PORT"]),
    plain("mysql", "socket", ""),
    // The seed prints MSYQL; scripts copied from it do too.
    shared(
        "mysql",
        "username",
        "swob_gateway",
        &["MYSQL_USERNAME", "MSYQL_USERNAME", "MYSQL_USER"],
    ),
    shared("mysql", "database", "swob_gateway", &["MYSQL_DATABASE"]),
    secret("mysql", "password", &["MYSQL_PASSWORD"]),
    plain("mysql", "tls", "no"),
    file("mysql", "tls_ca", ""),
    shared("mysql_be", "host", "", &["MYSQL_BE_HOST"]),
    shared("mysql_be", "port", "", &["MYSQL_BE_PORT"]),
    plain("mysql_be", "socket", ""),
    shared(
        "mysql_be",
        "username",
        "",
        &["MYSQL_BE_USERNAME", "MSYQL_BE_USERNAME", "MYSQL_BE_USER"],
    ),
    shared("mysql_be", "database", "", &["MYSQL_BE_DATABASE"]),
    secret("mysql_be", "password", &["MYSQL_BE_PASSWORD"]),
    plain("mysql_be", "tls", ""),
    file("mysql_be", "tls_ca", ""),
    plain("limits", "max_connections", "10000"),
    plain("limits", "max_connections_per_address", "100"),
    plain("limits", "max_sockets_per_user_and_address", "10"),
    live("limits", "removal_allowed_addresses", ""),
    plain("limits", "idle_timeout", "15"),
    plain("limits", "head_timeout", "5"),
    plain("limits", "body_timeout", "10"),
    plain("limits", "request_timeout", "10"),
    plain("limits", "max_head", "8192"),
    plain("limits", "max_body", "65536"),
    plain("limits", "max_message", "4096"),
    plain("limits", "max_messages", "16"),
    plain("limits", "ping_interval", "25"),
    plain("limits", "missed_pings", "2"),
    plain("limits", "max_socket_lifetime", "3600"),
    plain("limits", "session_attempts", "5"),
    plain("limits", "password_attempts", "3/2m, 5/15m, 7/1h, 9/1d"),
    plain("limits", "password_attempts_per_address", "30/15m"),
    plain("limits", "password_attempts_per_user", "50/1h"),
    plain("admin", "listen", "127.0.0.1:15001"),
    live("log", "level", "info"),
    live("log", "failed_passwords", "no"),
    plain("log", "file", ""),
];

/// The sections, each once.
pub fn sections() -> Vec<&'static str> {
    let mut names: Vec<_> = SETTINGS.iter().map(|setting| setting.section).collect();
    names.dedup();
    names
}

/// The known name that a mistyped one probably means.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    known
        .into_iter()
        .map(|name| (distance(&word, &name.to_ascii_lowercase()), name))
        .filter(|(distance, name)| *distance <= name.len() / 2)
        .min()
        .map(|(_, name)| name)
}

/// How many letters to add, drop or change (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[row.len() - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let check = |a, b, expected| assert_eq!(distance(a, b), expected, "{a} {b}");
        check("", "", 0);
        check("", "abc", 3);
        check("abc", "", 3);
        check("abc", "abc", 0);
        check("abc", "abd", 1);
        check("abc", "ac", 1);
        check("kitten", "sitting", 3);
    }

    #[test]
    fn mistyped_names() {
        let known = ["host", "port", "username", "session_sleep_timeout"];
        let check = |word, expected| assert_eq!(nearest(word, known), expected, "{word}");
        check("hots", Some("host"));
        check("prot", Some("port"));
        check("user", Some("username"));
        check("hosts", Some("host"));
        check("PORT", Some("port"));
        check("usrname", Some("username"));
        check("session_timeout", Some("session_sleep_timeout"));
        check("colour", None);
        check("", None);
    }

    #[test]
    fn names_are_told_apart() {
        let mut names: Vec<String> = SETTINGS
            .iter()
            .flat_map(|setting| {
                let contract = setting.contract.iter().map(|name| (*name).to_owned());
                contract.chain([setting.variable()]).chain(setting.file_variable())
            })
            .collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(names.contains(&"GATEWAY_MYSQL_BE_PASSWORD_FILE".to_owned()));
    }
}
