//! The settings of the two databases, which say what they leave open to each other.

use super::*;

#[test]
fn the_backends_database() {
    let own = "[mysql]\nhost = db\nport = 1\nusername = u\ndatabase = d\npassword = p\n";
    let check =
        |text: &str, env: &[(&str, &str)], expected: Option<(&str, u16, &str, &str, &str)>| {
            let config = good(&format!("{own}[mysql_be]\n{text}"), env);
            let found = config.mysql_be.as_ref().map(|be| {
                let Database { host, port, username, database, password, .. } = be;
                (host.as_str(), *port, username.as_str(), database.as_str(), password.expose())
            });
            assert_eq!(found, expected, "{text} {env:?}");
        };
    check("", &[], None);
    check("host =\nport =\nsocket =\nusername =\ndatabase =\npassword =", &[], None);
    check("", &[("MYSQL_BE_HOST", ""), ("MYSQL_BE_PASSWORD", "")], None);
    check("host = be", &[], Some(("be", 1, "u", "d", "p")));
    check("port = 2", &[], Some(("db", 2, "u", "d", "p")));
    check("database = be", &[], Some(("db", 1, "u", "be", "p")));
    check("", &[("MSYQL_BE_USERNAME", "be")], Some(("db", 1, "be", "d", "p")));
    check(
        "",
        &[("MYSQL_BE_USER", "be"), ("MYSQL_BE_PASSWORD", "x")],
        Some(("db", 1, "be", "d", "x")),
    );
    check("host = be", &[("GATEWAY_MYSQL_BE_HOST", "")], None);
    check("", &[("GATEWAY_MYSQL_BE_PASSWORD_FILE", "unix")], Some(("db", 1, "u", "d", "hunter2")));
}

#[test]
fn unix_sockets() {
    let check = |text: &str, env: &[(&str, &str)], own: Option<&str>, be: Option<&str>| {
        let config = good(&format!("[mysql]\nsocket = /own\n[mysql_be]\n{text}"), env);
        assert_eq!(config.mysql.socket.as_deref(), own.map(Path::new), "{text} {env:?}");
        let found = config.mysql_be.and_then(|be| be.socket);
        assert_eq!(found.as_deref(), be.map(Path::new), "{text} {env:?}");
    };
    check("", &[], Some("/own"), None);
    check("database = be", &[], Some("/own"), Some("/own"));
    check("socket = /be", &[], Some("/own"), Some("/be"));
    check("socket = /be\nhost = be", &[], Some("/own"), Some("/be"));
    // A host of its own is not reached through the gateway's socket.
    check("host = be", &[], Some("/own"), None);
    check("port = 2", &[], Some("/own"), None);
    // A host from the environment overrides a socket from the file.
    check("", &[("MYSQL_HOST", "db")], None, None);
    check("database = be", &[("MYSQL_HOST", "db")], None, None);
    check("socket = /be", &[("MYSQL_BE_HOST", "be")], Some("/own"), None);
    let both = [("MYSQL_HOST", "db"), ("GATEWAY_MYSQL_SOCKET", "/env")];
    check("", &both, Some("/env"), None);
}

#[test]
fn a_database_elsewhere_is_reached_over_tls() {
    let check = |text: &str, gateway: Option<&str>, be: Option<&str>| {
        let config = good(text, &[]);
        let shown = |database: &Database| {
            let tls = database.tls.clone()?;
            Some(tls.ca.map_or(String::new(), |ca| ca.display().to_string()))
        };
        assert_eq!(shown(&config.mysql).as_deref(), gateway, "{text}");
        assert_eq!(config.mysql_be.as_ref().and_then(shown).as_deref(), be, "{text}");
    };
    check("[mysql_be]\nhost = be", None, None);
    check("[mysql]\ntls = yes", Some(""), None);
    check("[mysql]\ntls_ca = /ca", Some("/ca"), None);
    check("[mysql]\ntls = yes\ntls_ca = /ca\n[mysql_be]\nhost = be", Some("/ca"), Some("/ca"));
    check("[mysql]\ntls_ca = /ca\n[mysql_be]\ntls_ca = /own", Some("/ca"), Some("/own"));
    check("[mysql]\ntls_ca = /ca\n[mysql_be]\ntls = no", Some("/ca"), None);
    check("[mysql_be]\ntls_ca = /own", None, Some("/own"));
    wrong(
        "[mysql]\ntls = maybe",
        &[],
        &["ini:2: [mysql] tls = maybe is neither yes nor no; write yes or no"],
    );
}
