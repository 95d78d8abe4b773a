//! Where the databases may be, what they look like, and how little an account needs.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::server::{Folder, command};
use crate::support::{Answer, Mariadb, PASSWORD, Phone, Schema, Server, USER, post, until};

/// The answer to a phone's password.
fn sync(server: &Server) -> Answer {
    let (_dashboard, url) = server.code(USER);
    post(&server.api, &url, &Phone::new().one_step_body(PASSWORD))
}

/// An account that ends with its test.
struct Account<'a> {
    schema: &'a Schema,
    name: String,
}

impl<'a> Account<'a> {
    fn new(schema: &'a Schema, rest: &str) -> Self {
        let name = format!("tls_{}", schema.name);
        schema.execute(&format!("CREATE USER '{name}'@'%' IDENTIFIED BY 'a#b;c' {rest}"));
        schema.execute(&format!("GRANT ALL ON {}.* TO '{name}'@'%'", schema.name));
        Account { schema, name }
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        self.schema.execute(&format!("DROP USER '{}'@'%'", self.name));
    }
}

#[test]
fn a_database_that_demands_tls_is_reached_over_tls_alone() {
    let schema = Schema::new();
    let account = Account::new(&schema, "REQUIRE SSL");
    let serve = |more: &[(&str, &str)]| {
        let mut settings = vec![
            ("GATEWAY_MYSQL_USERNAME", account.name.as_str()),
            ("GATEWAY_MYSQL_PASSWORD", "a#b;c"),
        ];
        settings.extend(more);
        let server = Server::start(&schema, &settings);
        (sync(&server).status, server.log())
    };
    let ca = ("GATEWAY_MYSQL_TLS_CA", schema.ca.as_str());
    let (status, log) = serve(&[ca]);
    assert_eq!(status, 200, "{log}");
    let (status, log) = serve(&[]);
    assert!(status == 503 && log.contains("Access denied"), "{status} {log}");
    // Nobody that the system trusts has made this certificate.
    let (status, log) = serve(&[("GATEWAY_MYSQL_TLS", "yes")]);
    assert!(status == 503 && log.contains("certificate verify failed"), "{status} {log}");
    let (status, log) = serve(&[ca, ("GATEWAY_MYSQL_HOST", "localhost")]);
    assert!(status == 503 && log.contains("certificate verify failed"), "{status} {log}");
    let (status, log) = serve(&[("GATEWAY_MYSQL_TLS_CA", "no/such.pem")]);
    assert!(status == 503 && log.contains("No such file"), "{status} {log}");
}

#[test]
fn a_phone_that_has_given_up_keeps_the_key_that_the_table_has() {
    let schema = Schema::new();
    // Each answer comes in time, and with the wait for another's all come after the app has gone.
    for (table, sleep) in [("users", 1.8), ("platforms", 0.45)] {
        schema.execute(&format!("RENAME TABLE {table} TO {table}_slow"));
        schema.execute(&format!(
            "CREATE VIEW {table} AS SELECT * FROM {table}_slow WHERE SLEEP({sleep}) = 0"
        ));
    }
    schema.execute(
        "CREATE TRIGGER slow BEFORE INSERT ON gateway_server_users FOR EACH ROW DO SLEEP(1.8)",
    );
    let alone = ("GATEWAY_LIMITS_PASSWORD_ATTEMPTS", "1/1h");
    let server = Server::start(&schema, &[("GATEWAY_LOG_LEVEL", "trace"), alone]);
    let phone = Phone::new();
    let (_dashboard, url) = server.code(USER);
    let body = phone.one_step_body(PASSWORD);
    let (second, first) = thread::scope(|scope| {
        let first = scope.spawn(|| post(&server.api, &url, &body));
        until("the first is under way", || server.log().contains("private key used"));
        thread::sleep(Duration::from_secs(1));
        (sync(&server), first.join().unwrap())
    });
    assert_eq!((first.status, second.status), (200, 503), "{}", server.log());
    let key = phone.open(&first.json()["shared_key"], "sha256", "sha1");
    assert_eq!(schema.rows()[0].shared_key, key);
}

#[test]
fn a_phone_that_was_told_so_is_stored_where_the_database_does_not_commit_by_itself() {
    let mariadb = Mariadb::start();
    let schema = Schema::on(&mariadb);
    schema.execute("SET GLOBAL autocommit = 0, sql_mode = ''");
    let server = Server::start(&schema, &[]);
    assert_eq!(sync(&server).status, 200, "{}", server.log());
    assert_eq!(schema.rows().len(), 1);
}

#[test]
fn the_gateways_database_is_at_a_socket_and_the_bes_elsewhere_over_tls() {
    let (gateway, be) = (Schema::new(), Schema::new());
    gateway.execute("DROP TABLE usersInfos, wallets, platforms, users, credentials");
    let account = Account::new(&be, "REQUIRE SSL");
    let server = Server::start(
        &gateway,
        &[
            // Nothing listens at this port: the socket alone is used.
            ("GATEWAY_MYSQL_PORT", "1"),
            ("GATEWAY_MYSQL_SOCKET", &gateway.socket),
            ("MYSQL_BE_HOST", &be.host),
            ("MYSQL_BE_PORT", &be.port),
            ("MYSQL_BE_USERNAME", &account.name),
            ("MYSQL_BE_PASSWORD", "a#b;c"),
            ("MYSQL_BE_DATABASE", &be.name),
            ("GATEWAY_MYSQL_BE_TLS_CA", &be.ca),
        ],
    );
    assert_eq!(sync(&server).status, 200);
    assert_eq!((gateway.rows().len(), be.rows().len()), (1, 0));
}

/// The accounts' statements of sql/grants.sql, for this database and account.
pub fn grants(schema: &str, account: &str) -> Vec<String> {
    let script = include_str!("../../sql/grants.sql");
    let code: Vec<&str> = script.lines().filter(|line| !line.starts_with("--")).collect();
    let code = code.join("\n").replace("`swob_gateway`", &format!("`{schema}`"));
    let code = code.replace("'swob_gateway'@", &format!("'{account}'@"));
    code.split(';').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect()
}

#[test]
fn the_rights_of_grants_sql_suffice_for_everything_and_allow_no_more() {
    let schema = Schema::new();
    schema.execute("DROP TABLE gateway_server_users");
    let account = format!("least_{}", schema.name);
    for _ in 0..2 {
        for statement in grants(&schema.name, &account) {
            schema.execute_anywhere(&statement);
        }
    }
    schema.execute_anywhere(&format!(
        "ALTER USER '{account}'@'localhost' IDENTIFIED BY 'least' ACCOUNT UNLOCK"
    ));
    // The account is one of localhost, which for MariaDB is the socket.
    let settings = [
        ("GATEWAY_MYSQL_HOST", "127.0.0.1"),
        ("GATEWAY_MYSQL_SOCKET", schema.socket.as_str()),
        ("GATEWAY_MYSQL_USERNAME", account.as_str()),
        ("GATEWAY_MYSQL_PASSWORD", "least"),
        ("GATEWAY_MYSQL_DATABASE", schema.name.as_str()),
    ];
    let folder = Folder::new();
    let keys = folder.0.join("keys");
    fs::write(&keys, "01".repeat(32)).unwrap();
    let run = |words: &[&str]| {
        let output = command(&folder)
            .args(words)
            .envs(settings)
            .env("GATEWAY_KEYS_AT_REST_KEYS", &keys)
            .output()
            .unwrap();
        assert!(output.status.success(), "{words:?} {output:?}");
    };
    run(&["migrate"]);
    let server = Server::start(&schema, &settings);
    assert_eq!(sync(&server).status, 200);
    assert_eq!(sync(&server).status, 200, "a second time over the first row");
    run(&["keys", "generate"]);
    run(&["keys", "encrypt"]);
    run(&["keys", "decrypt"]);
    run(&["takeover"]);
    let denied = |sql: &str| {
        let mut connection = schema.connect_as(&account, "least");
        let error = mysql::prelude::Queryable::query_drop(&mut connection, sql).unwrap_err();
        assert!(error.to_string().contains("denied"), "{sql}: {error}");
    };
    for sql in [
        "UPDATE users SET password = ''",
        "DELETE FROM usersInfos",
        "INSERT INTO credentials (id) VALUES (2)",
        "DROP TABLE gateway_server_users",
        "ALTER TABLE gateway_server_users ADD x INT",
        "CREATE TABLE other (id INT)",
    ] {
        denied(sql);
    }
    schema.execute_anywhere(&format!("DROP USER '{account}'@'localhost'"));
}

#[test]
fn names_of_platforms_in_wallets_may_be_odd() {
    let schema = Schema::new();
    for change in [
        "DROP TABLE wallets",
        "DROP TABLE platforms",
        "CREATE TABLE wallets (id INT PRIMARY KEY AUTO_INCREMENT, platformId VARCHAR(255), userId VARCHAR(255))",
    ] {
        schema.execute(change);
    }
    schema.execute(&format!(
        "INSERT INTO wallets (platformId, userId) VALUES \
         ('GMail', '{USER}'), ('gmail', '{USER}'), ('mastodon', '{USER}'), (NULL, '{USER}'), \
         ('', '{USER}'), ('1', '{USER}'), ('slack', 'another')"
    ));
    let server = Server::start(&schema, &[]);
    let answer = sync(&server).json();
    let names = |member: &str| -> Vec<String> {
        let list = answer["user_platforms"][member].as_array().unwrap().iter();
        list.map(|platform| platform["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("saved_platforms"), ["gmail"], "{answer}");
    assert_eq!(names("unsaved_platforms"), ["twitter", "telegram", "slack"], "{answer}");
}

#[test]
fn the_bes_columns_may_have_any_collation() {
    let schema = Schema::new();
    for change in [
        "ALTER TABLE users MODIFY password VARCHAR(255) CHARACTER SET latin1 COLLATE latin1_bin",
        "ALTER TABLE usersInfos MODIFY full_phone_number VARCHAR(255) \
         CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
    ] {
        schema.execute(change);
    }
    let server = Server::start(&schema, &[]);
    assert_eq!(sync(&server).status, 200);
    schema.execute("ALTER TABLE usersInfos MODIFY full_phone_number VARBINARY(255)");
    assert_eq!(sync(&server).status, 200);
}

#[test]
fn credentials_are_read_at_the_start_and_not_at_every_request() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    schema.execute("DROP TABLE credentials");
    assert_eq!(sync(&server).status, 200);
    assert_eq!(sync(&server).status, 200);
}

#[test]
fn a_salt_that_was_renewed_is_read_again_but_not_at_once() {
    const START: Duration = Duration::from_secs(10);
    let begin = Instant::now();
    let schema = Schema::new();
    let server = Server::start(
        &schema,
        &[
            ("GATEWAY_LIMITS_PASSWORD_ATTEMPTS", ""),
            ("GATEWAY_LIMITS_PASSWORD_ATTEMPTS_PER_USER", ""),
        ],
    );
    // HMAC-SHA512 of the password under the new salt.
    let key = openssl::pkey::PKey::hmac(b"another salt").unwrap();
    let mut signer =
        openssl::sign::Signer::new(openssl::hash::MessageDigest::sha512(), &key).unwrap();
    let hash = signer.sign_oneshot_to_vec(PASSWORD.as_bytes()).unwrap();
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    schema.execute("UPDATE credentials SET hashing_salt = 'another salt'");
    schema.execute(&format!("UPDATE users SET password = '{hash}'"));
    let mut statuses = Vec::new();
    while statuses.last() != Some(&200) {
        assert!(begin.elapsed() < 6 * START, "{statuses:?}");
        statuses.push(sync(&server).status);
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(begin.elapsed() >= START, "read again after {:?}", begin.elapsed());
    let (last, before) = statuses.split_last().unwrap();
    assert!(*last == 200 && before.iter().all(|status| *status == 401), "{statuses:?}");
}
