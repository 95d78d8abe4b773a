//! The whole way from file and environment to [`Config`].

mod database;
mod mistakes;

use std::collections::BTreeMap;

use super::table::SETTINGS;
use super::*;

const SHIPPED: &str = include_str!("../../gateway.ini");
const FOLDER: &str = "/etc/swob";
const CERTIFICATE: &str = "[tls]\ncertificate = chain.pem";

fn read(text: &str, env: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let env = env.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
    let files = |path: &Path| match path.to_str() {
        Some("unix") => Ok("hunter2\n".into()),
        Some("windows") => Ok("hunter2\r\n".into()),
        Some("two lines") => Ok(" hunter2\n\n".into()),
        Some("bare") => Ok("hunter2".into()),
        Some("/creds/swob-gateway.mysql.password") => Ok("handed over\n".into()),
        Some("/creds/swob-gateway.keys.at_rest_keys") => Ok("00".into()),
        Some("/broken/swob-gateway.mysql.password") => {
            Err(io::Error::from(io::ErrorKind::InvalidData))
        }
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let overview = Overview::new(Some(text), &Path::new(FOLDER).join("gateway.ini"), &env, &files);
    overview.into_config().map_err(|error| match error {
        ConfigError::Mistakes(lines) => {
            lines.iter().map(|line| line.replace("/etc/swob/gateway.ini", "ini")).collect()
        }
        ConfigError::Unreadable(..) => unreachable!("the text is here already"),
    })
}

fn good(text: &str, env: &[(&str, &str)]) -> Config {
    read(text, env).unwrap_or_else(|mistakes| panic!("{text} {env:?}: {mistakes:?}"))
}

fn wrong(text: &str, env: &[(&str, &str)], expected: &[&str]) {
    assert_eq!(read(text, env).expect_err(text), expected, "{text} {env:?}");
}

/// The defaults as a file in [`FOLDER`] has them.
fn defaults() -> Config {
    let mut config = Config::default();
    config.keys.private_key = Path::new(FOLDER).join(config.keys.private_key);
    config.keys.ring = Path::new(FOLDER).join(config.keys.ring);
    config
}

#[test]
fn the_shipped_file_shows_every_setting_at_its_default() {
    let shown = |line: &'static str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' '));
    let whole: Vec<&str> = SHIPPED.lines().map(|line| shown(line).unwrap_or(line)).collect();
    assert_eq!(good(SHIPPED, &[]), defaults());
    assert_eq!(good(&whole.join("\n"), &[]), defaults());

    let mut section = "";
    let mut settings = Vec::new();
    for line in SHIPPED.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((key, default)) = shown(line).and_then(|line| line.split_once('=')) {
            settings.push((section, key.trim(), default.trim()));
        } else {
            assert!(line.is_empty() || line.starts_with('#'), "{line} is neither shown nor prose");
        }
    }
    let table: Vec<_> = SETTINGS.iter().map(|s| (s.section, s.key, s.default)).collect();
    assert_eq!(settings, table);
}

#[test]
fn the_shipped_file_and_the_man_page_name_what_a_reload_takes_over() {
    let start = SHIPPED.find("# - A reload (SIGHUP) takes over").unwrap();
    let told = SHIPPED[start..].split("# - ").nth(1).unwrap().split(';').next().unwrap();
    let told = told.replace("\n#  ", "");
    let page = include_str!("../../doc/swob-gateway.8");
    let signals = page.split(".Sh SIGNALS").nth(1).unwrap().split(".Sh").next().unwrap();
    for setting in SETTINGS {
        let name = format!("[{}] {}", setting.section, setting.key);
        assert_eq!(told.contains(&name), setting.reloads, "{name} in {told}");
        assert_eq!(signals.contains(&name), setting.reloads, "{name} in {signals}");
        for variable in setting.contract {
            assert!(page.contains(variable), "{variable} is not in doc/swob-gateway.8");
        }
    }
}

#[test]
fn tls_settings_that_do_not_fit_each_other() {
    let check = |text: &str, expected: &[&str]| wrong(text, &[], expected);
    let key = "/etc/swob/server.key";
    assert_eq!(good(CERTIFICATE, &[]).keys.private_key, Path::new(key));
    let same = format!("{CERTIFICATE}\nprivate_key = a\n[keys]\nprivate_key = a");
    assert_eq!(good(&same, &[]).keys.private_key, Path::new("/etc/swob/a"));
    check(
        "[tls]\nprivate_key = a",
        &[
            "ini:2: [tls] private_key = a has no certificate; name the file with its chain as [tls] certificate",
        ],
    );
    check(
        &format!("{CERTIFICATE}\nprivate_key = a\n[keys]\nprivate_key = b"),
        &[
            "ini:3: [tls] private_key = a is another file than [keys] private_key, but phones take the \
           server's key from the certificate; name it in one of the two alone",
        ],
    );
    check(
        &format!("{CERTIFICATE}\n[http]\npublic_url = http://h\n[websocket]\npublic_url = ws://h"),
        &[
            "ini:4: [http] public_url = http://h does not fit [tls] certificate; write https://",
            "ini:6: [websocket] public_url = ws://h does not fit [tls] certificate; write wss://",
        ],
    );
    check(
        "[http]\npublic_url = x\n[tls]\ncertificate = a",
        &["ini:2: [http] public_url = x begins neither with http:// nor with https://; \
           write for example https://gateway.example.org or http://192.0.2.7:8000"],
    );
}

#[test]
fn the_defaults() {
    let config = Config::default();
    assert_eq!(config.http.listen, ["127.0.0.1:15000".parse().unwrap()]);
    assert_eq!(config.websocket.listen, ["127.0.0.1:6996".parse().unwrap()]);
    assert_eq!((config.http.public_url, config.websocket.public_url), (None, None));
    assert!(config.http.allowed_origins.is_empty());
    assert_eq!(config.sync.session_sleep_timeout, Duration::from_secs(15));
    assert_eq!(config.sync.session_change_limit, 3);
    assert_eq!(config.sync.session_paused_timeout, Duration::from_secs(120));
    assert!(!config.sync.accept_unissued_sessions);
    assert!(!config.page.enabled);
    assert_eq!(config.keys.private_key, Path::new("server.key"));
    assert_eq!(config.keys.ring, Path::new("ring"));
    assert_eq!((config.mysql.host.as_str(), config.mysql.port), ("127.0.0.1", 3306));
    assert_eq!(config.mysql.password.expose(), "");
    assert_eq!(config.mysql_be, None);
    assert_eq!(config.limits.max_connections, 10_000);
    assert_eq!(config.limits.max_connections_per_address, 100);
    assert_eq!(config.limits.max_sockets_per_user_and_address, 10);
    assert_eq!(config.limits.idle_timeout, Duration::from_secs(15));
    assert_eq!(config.limits.request_timeout, Duration::from_secs(10));
    assert_eq!(config.admin.listen, Some("127.0.0.1:15001".parse().unwrap()));
    assert_eq!(config.log, Log { level: LevelFilter::Info, failed_passwords: false, file: None });
}

/// A right text that is no default.
fn other(section: &str, key: &str) -> &'static str {
    match (section, key) {
        (_, "listen") => "127.0.0.1:0",
        (_, "trusted_proxies") => "10.0.0.0/8",
        ("http", "public_url") | (_, "allowed_origins") => "https://example.org",
        (_, "public_url") => "wss://example.org",
        (_, "accept_unissued_sessions" | "enabled" | "tls" | "failed_passwords") => "yes",
        (_, "level") => "trace",
        (_, "removal_allowed_addresses") => "::1",
        (_, "host") => "db",
        (_, "max_head" | "max_body" | "max_message") => "10000",
        (
            _,
            "password_attempts" | "password_attempts_per_address" | "password_attempts_per_user",
        ) => "7/7s",
        _ => "7",
    }
}

#[test]
fn every_setting_has_its_effect_from_everywhere() {
    let mut seen = vec![good(CERTIFICATE, &[])];
    for setting in SETTINGS {
        let (section, key) = (setting.section, setting.key);
        let text = other(section, key);
        if (section, key) == ("tls", "private_key") {
            // It is nothing without its certificate, and another name for the server's key.
            let file = good(&format!("{CERTIFICATE}\nprivate_key = {text}"), &[]);
            assert_eq!(file.keys.private_key, Path::new(FOLDER).join(text));
            continue;
        }
        let file = good(&format!("[{section}]\n{key} = {text}"), &[]);
        assert_ne!(file, defaults(), "[{section}] {key}");
        assert!(!seen.contains(&file), "[{section}] {key} does what another does");
        seen.push(file);
        let from_own = good("", &[(&setting.variable(), text)]);
        assert_ne!(from_own, defaults(), "[{section}] {key}");
        for name in setting.contract {
            assert_eq!(good("", &[(name, text)]), from_own, "{name}");
        }
    }
}

#[test]
fn the_order_of_precedence() {
    let file = "[mysql]\nusername = file\npassword = file";
    let check = |env: &[(&str, &str)], username, password| {
        let mysql = good(file, env).mysql;
        assert_eq!((mysql.username.as_str(), mysql.password.expose()), (username, password));
    };
    check(&[], "file", "file");
    check(&[("MYSQL_USER", "a")], "a", "file");
    check(&[("MSYQL_USERNAME", "b"), ("MYSQL_USER", "a")], "b", "file");
    check(&[("MYSQL_USERNAME", "c"), ("MSYQL_USERNAME", "b")], "c", "file");
    check(&[("MYSQL_USERNAME", ""), ("MSYQL_USERNAME", "b")], "b", "file");
    check(&[("GATEWAY_MYSQL_USERNAME", "d"), ("MYSQL_USERNAME", "c")], "d", "file");
    check(&[("MYSQL_USERNAME", ""), ("MYSQL_PASSWORD", "")], "file", "");
    check(&[("MYSQL_PASSWORD", "a")], "file", "a");
    check(&[("MYSQL_PASSWORD", "a"), ("GATEWAY_MYSQL_PASSWORD", "")], "file", "");
    check(&[("MYSQL_PASSWORD", "a"), ("GATEWAY_MYSQL_PASSWORD_FILE", "unix")], "file", "hunter2");
    check(&[("GATEWAY_MYSQL_PASSWORD_FILE", "windows")], "file", "hunter2");
    check(&[("GATEWAY_MYSQL_PASSWORD_FILE", "bare")], "file", "hunter2");
    check(&[("GATEWAY_MYSQL_PASSWORD_FILE", "two lines")], "file", " hunter2\n");
}

#[test]
fn credentials() {
    let check = |more: &[(&str, &str)], expected| {
        let env = [&[("CREDENTIALS_DIRECTORY", "/creds")], more].concat();
        let config = good("[mysql]\npassword = file\n[keys]\nat_rest_keys = /file", &env);
        assert_eq!(config.mysql.password.expose(), expected, "{more:?}");
        let handed = Path::new("/creds/swob-gateway.keys.at_rest_keys");
        assert_eq!(config.keys.at_rest_keys.as_deref(), Some(handed));
        assert_eq!(config.keys.private_key, Path::new(FOLDER).join("server.key"));
    };
    check(&[], "handed over");
    check(&[("MYSQL_PASSWORD", "a")], "a");
    check(&[("GATEWAY_MYSQL_PASSWORD", "b")], "b");
    check(&[("GATEWAY_MYSQL_PASSWORD_FILE", "unix")], "hunter2");
    wrong(
        "",
        &[("CREDENTIALS_DIRECTORY", "/broken")],
        &["swob-gateway.mysql.password: /broken/swob-gateway.mysql.password cannot be read \
           (invalid data); make it a readable text"],
    );
}

#[test]
fn what_kubernetes_tells_of_its_services_is_no_setting() {
    let services = [
        ("GATEWAY_SERVICE_HOST", "10.0.0.1"),
        ("GATEWAY_SERVICE_PORT", "15000"),
        ("GATEWAY_SERVICE_PORT_HTTP", "15000"),
        ("GATEWAY_PORT", "tcp://10.0.0.1:15000"),
        ("GATEWAY_PORT_15000_TCP", "tcp://10.0.0.1:15000"),
        ("GATEWAY_PORT_15000_TCP_PROTO", "tcp"),
        ("GATEWAY_PORT_15000_TCP_PORT", "15000"),
        ("GATEWAY_PORT_15000_TCP_ADDR", "10.0.0.1"),
        ("GATEWAY_DB_SERVICE_HOST", "10.0.0.2"),
        ("MYSQL_SERVICE_HOST", "10.0.0.3"),
        ("MYSQL_PORT", "tcp://10.0.0.3:3306"),
    ];
    assert_eq!(good("", &services), defaults());
    // What an administrator may have meant is told.
    for (name, text) in [
        ("GATEWAY_PORT", "15000"),
        ("GATEWAY_HTTP_PORT", "80"),
        ("GATEWAY_PORT_X_TCP", "1"),
        ("GATEWAY_SERVICE", "x"),
        ("MYSQL_PORT", "x"),
    ] {
        assert!(read("", &[(name, text)]).is_err(), "{name}");
    }
}

#[test]
fn a_password_is_taken_as_it_is() {
    let check = |written: &str, expected| {
        let text = format!("[mysql]\npassword = {written}\r\n");
        assert_eq!(good(&text, &[]).mysql.password.expose(), expected, "{written}");
    };
    check("p#a;s:s=w", "p#a;s:s=w");
    check("a # b ; c", "a # b ; c");
    check(r"\n\", r"\n\");
    check("\" a \"", " a ");
}

#[test]
fn relative_paths() {
    let check = |text, env: &[(&str, &str)], expected: &str| {
        assert_eq!(good(text, env).keys.private_key, Path::new(expected), "{text} {env:?}");
    };
    check("", &[], "/etc/swob/server.key");
    check("[keys]\nprivate_key = a/b.key", &[], "/etc/swob/a/b.key");
    check("[keys]\nprivate_key = /b.key", &[], "/b.key");
    check("", &[("GATEWAY_KEYS_PRIVATE_KEY", "b.key")], "b.key");
    let keys = good("", &[("HASHING_SALT", "salt"), ("SHARED_KEY", "")]).keys;
    assert_eq!((keys.hashing_salt_file, keys.shared_key_file), (Some("salt".into()), None));
}

#[test]
fn rates_of_attempts() {
    let rate = |most, seconds| Rate { most, period: Duration::from_secs(seconds) };
    let check = |text: &str, expected: &[Rate]| {
        let config = good(&format!("[limits]\npassword_attempts = {text}"), &[]);
        assert_eq!(config.limits.password_attempts, expected, "{text}");
    };
    check("", &[]);
    check("3/2m", &[rate(3, 120)]);
    check(
        "3/2m,5 / 15 m , 7/1h, 9/1d, 2/30s",
        &[rate(3, 120), rate(5, 900), rate(7, 3600), rate(9, 86400), rate(2, 30)],
    );
    for wrong in ["3", "3/m", "3/2", "0/2m", "3/0m", "3/2w", "-3/2m", "3/2m;5/15m", "1/25h"] {
        assert!(read(&format!("[limits]\npassword_attempts = {wrong}"), &[]).is_err());
    }
    assert!(read("[limits]\npassword_attempts_per_user = 50/2h", &[]).is_err());
}

#[test]
fn files() {
    let load = |file: Option<&str>| {
        Overview::load(file.map(Path::new), &BTreeMap::new()).and_then(Overview::into_config)
    };
    let error = load(Some("no/such/gateway.ini")).unwrap_err();
    let expected = "no/such/gateway.ini cannot be read; name a readable file with --config";
    assert_eq!(error.to_string(), expected);
    assert!(error::Error::source(&error).is_some());
    let denied = ConfigError::Unreadable("g.ini".into(), io::ErrorKind::PermissionDenied.into());
    assert!(denied.to_string().starts_with("g.ini cannot be read; run this with sudo, or let"));
    // Tests run in the folder of gateway.ini.
    assert_eq!(load(None).unwrap(), Config::default());
    assert_eq!(load(Some("gateway.ini")).unwrap(), Config::default());
}
