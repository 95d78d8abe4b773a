//! `swob-gateway check`: what it finds, and what it says to do about it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::symm::Cipher;

use crate::databases::grants;
use crate::support::server::{Folder, KEY, command};
use crate::support::tls::self_signed;
use crate::support::{Dashboard, PASSWORD, Phone, Schema, Server, USER, post};

fn mode(folder: &Folder, name: &str, mode: u32) {
    fs::set_permissions(folder.0.join(name), fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs the command; its code and all that it says.
pub fn check(folder: &Folder, words: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = command(folder);
    if !words.contains(&"--offline") {
        // Another test may hold the default ports.
        command.env("GATEWAY_HTTP_LISTEN", "127.0.0.1:0");
        command.env("GATEWAY_WEBSOCKET_LISTEN", "127.0.0.1:0");
        command.env("GATEWAY_ADMIN_LISTEN", "127.0.0.1:0");
    }
    let output = command.arg("check").args(words).envs(settings.iter().copied()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

/// The line that begins with this mark and has this in it, and the line behind it.
pub fn finding<'a>(said: &'a str, mark: &str, what: &str) -> (&'a str, &'a str) {
    let mut lines = said.lines();
    let start = format!("  {mark:<7}  ");
    let line = lines.find(|line| line.starts_with(&start) && line.contains(what));
    let line = line.unwrap_or_else(|| panic!("no {mark} with {what:?} in:\n{said}"));
    (line, lines.next().unwrap_or_default())
}

/// An account with the rights of sql/grants.sql on a schema; it ends with its test.
struct Least<'a> {
    schema: &'a Schema,
    name: String,
}

impl<'a> Least<'a> {
    fn new(schema: &'a Schema) -> Self {
        let name = format!("check_{}", schema.name);
        let there = schema.query("SHOW TABLES");
        let missing = |statement: &&String| {
            statement.contains("GRANT SELECT ON")
                && !there.iter().any(|table| statement.contains(&format!("`{}`", table[0])))
        };
        // A later BE has fewer tables, whose lines are to be deleted.
        for statement in grants(&schema.name, &name).iter().filter(|line| !missing(line)) {
            schema.execute_anywhere(statement);
        }
        schema.execute_anywhere(&format!(
            "ALTER USER '{name}'@'localhost' IDENTIFIED BY 'least' ACCOUNT UNLOCK"
        ));
        Least { schema, name }
    }

    fn settings(&self) -> [(&str, &str); 4] {
        [
            ("GATEWAY_MYSQL_SOCKET", &self.schema.socket),
            ("GATEWAY_MYSQL_USERNAME", &self.name),
            ("GATEWAY_MYSQL_PASSWORD", "least"),
            ("GATEWAY_MYSQL_DATABASE", &self.schema.name),
        ]
    }
}

impl Drop for Least<'_> {
    fn drop(&mut self) {
        self.schema.execute_anywhere(&format!("DROP USER '{}'@'localhost'", self.name));
    }
}

#[test]
fn an_installation_as_the_readme_has_it_is_well() {
    let schema = Schema::new();
    let least = Least::new(&schema);
    let folder = Folder::furnished();
    let mut settings = least.settings().to_vec();
    settings.push(("GATEWAY_LIMITS_MAX_CONNECTIONS", "10"));
    let (code, said) = check(&folder, &[], &settings);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with("All is well.\n"), "{said}");
    for what in [
        "is an RSA key of 2048 bits",
        "ring can be written",
        "clocks of this machine and of the database agree",
        "may use gateway_server_users, which is sound",
        "usersInfos can be read",
        "the BE's hashing salt is there",
        "the BE's shared key is there",
        "[limits] max_connections = 10 fits on each port",
        "[http] listen = 127.0.0.1:0 is free",
        "[admin] listen = 127.0.0.1:0 is free",
    ] {
        finding(&said, "good", what);
    }
    let secret = schema.query("SELECT hashing_salt FROM credentials")[0][0].clone();
    assert!(!said.contains("least\n") && !said.contains(&secret), "{said}");
    // Nothing was made or changed.
    assert!(!folder.0.join("ring").exists());
    assert!(schema.rows().is_empty());
}

#[test]
fn a_later_be_without_a_table_of_platforms_needs_no_right_on_it() {
    let schema = Schema::new();
    for change in [
        "DROP TABLE wallets",
        "DROP TABLE platforms",
        "CREATE TABLE wallets (id INT PRIMARY KEY, platformId VARCHAR(255), userId VARCHAR(255))",
    ] {
        schema.execute(change);
    }
    let least = Least::new(&schema);
    let (code, said) = check(&Folder::furnished(), &[], &least.settings());
    assert_eq!(code, Some(0), "{said}");
    finding(&said, "good", "wallets holds their names");
    let server = Server::start(&schema, &least.settings());
    let url = Dashboard::open(&server.session(USER)).url();
    let answer = post(&server.api, &url, &Phone::new().one_step_body(PASSWORD));
    assert_eq!(answer.status, 404, "the dashboard has left");
    let mut dashboard = Dashboard::open(&server.session(USER));
    let answer = post(&server.api, &dashboard.url(), &Phone::new().one_step_body(PASSWORD));
    assert_eq!(answer.status, 200, "{answer:?}\n{}", server.log());
}

#[test]
fn what_is_wrong_in_the_databases_is_told_with_its_remedy() {
    let find = |change: &dyn Fn(&Schema, &str), mark: &str, what: &str, remedy: &str| {
        let schema = Schema::new();
        let least = Least::new(&schema);
        change(&schema, &least.name);
        let (code, said) = check(&Folder::furnished(), &[], &least.settings());
        let (line, next) = finding(&said, mark, what);
        assert!(next.contains("remedy: ") && next.contains(remedy), "{line}\n{next}");
        assert_eq!(code, Some(i32::from(mark == "problem")), "{said}");
    };
    let revoke = |right: &'static str, table: &'static str| {
        move |schema: &Schema, account: &str| {
            schema.execute(&format!("REVOKE {right} ON {table} FROM '{account}'@'localhost'"));
        }
    };
    let run = |sql: &'static str| move |schema: &Schema, _: &str| schema.execute(sql);
    find(
        &revoke("INSERT, DELETE", "gateway_server_users"),
        "problem",
        "lacks INSERT, DELETE on gateway_server_users",
        "sql/grants.sql",
    );
    find(&revoke("SELECT", "usersInfos"), "problem", "may not read usersInfos", "GRANT SELECT");
    find(&revoke("SELECT", "platforms"), "problem", "may not read platforms", "GRANT SELECT");
    find(
        &run("DROP TABLE gateway_server_users"),
        "problem",
        "no table gateway_server_users",
        "swob-gateway migrate",
    );
    find(
        &run("ALTER TABLE gateway_server_users MODIFY public_key VARCHAR(255) NOT NULL"),
        "problem",
        "public_key is varchar(255)",
        "swob-gateway takeover",
    );
    find(
        &run("DELETE FROM credentials"),
        "problem",
        "hashing salt is missing",
        "BE writes the row",
    );
    find(
        &run("UPDATE credentials SET shared_key = 'short'"),
        "problem",
        "shared key is missing",
        "[keys]",
    );
    find(
        &run("ALTER TABLE users CHANGE password passphrase VARCHAR(255)"),
        "problem",
        "users is not as this server reads it",
        "[mysql_be] database",
    );
    find(
        &|schema, account| {
            schema.execute(&format!("GRANT UPDATE ON users TO '{account}'@'localhost'"));
            schema.execute(&format!("GRANT DELETE ON wallets TO '{account}'@'localhost'"));
        },
        "warning",
        "may write the BE's users, wallets",
        "SELECT alone",
    );
    // Whoever may set a password alone is every user.
    find(
        &|schema, account| {
            schema.execute(&format!("GRANT UPDATE (password) ON users TO '{account}'@'localhost'"));
        },
        "warning",
        "may write the BE's users",
        "SELECT alone",
    );
    find(
        &|schema, account| {
            schema.execute_anywhere(&format!(
                "ALTER USER '{account}'@'localhost' IDENTIFIED BY 'another'"
            ));
        },
        "problem",
        "its settings: ERROR 1045 (28000): Access denied",
        "ACCOUNT UNLOCK",
    );
}

#[test]
fn a_database_that_is_away_is_a_problem_but_not_offline() {
    let folder = Folder::furnished();
    let nowhere = [("GATEWAY_MYSQL_HOST", "127.0.0.1"), ("GATEWAY_MYSQL_PORT", "1")];
    let (code, said) = check(&folder, &[], &nowhere);
    assert_eq!(code, Some(1), "{said}");
    let (_, remedy) = finding(&said, "problem", "127.0.0.1:1");
    assert!(remedy.contains("[mysql] host, port"), "{said}");
    let elsewhere =
        [nowhere, [("GATEWAY_MYSQL_BE_HOST", "127.0.0.1"), ("GATEWAY_MYSQL_BE_PORT", "2")]];
    let (_, both) = check(&folder, &[], &elsewhere.concat());
    let (line, remedy) = finding(&both, "problem", "127.0.0.1:2");
    assert!(remedy.contains("[mysql_be] host, port") && !line.contains("[mysql]"), "{both}");
    let (code, said) = check(&folder, &["--offline"], &nowhere);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("127.0.0.1:1"), "{said}");
}

#[test]
fn what_is_wrong_with_settings_and_files_is_told_with_its_remedy() {
    let find = |furnish: &dyn Fn(&Folder), mark: &str, what: &str, remedy: &str| {
        let folder = Folder::furnished();
        furnish(&folder);
        let (code, said) = check(&folder, &["--offline"], &[]);
        let (line, next) = finding(&said, mark, what);
        assert!(next.contains("remedy: ") && next.contains(remedy), "{line}\n{next}");
        assert_eq!(code, Some(i32::from(mark == "problem")), "{said}");
    };
    let write = |name: &'static str, text: &'static str| {
        move |folder: &Folder| fs::write(folder.0.join(name), text).unwrap()
    };
    let ini = |text: &'static str| write("gateway.ini", text);
    let certify = |key: &PKey<Private>, days: u32, folder: &Folder| {
        let certificate = self_signed(key, days).to_pem().unwrap();
        fs::write(folder.0.join("chain.pem"), certificate).unwrap();
        write("gateway.ini", "[tls]\ncertificate = chain.pem\n")(folder);
    };
    let two = "[http]\nlistn = 1\n[sync]\nsession_change_limit = 0\n";
    find(&ini(two), "problem", "gateway.ini:2", "did you mean listen?");
    find(&ini(two), "problem", "gateway.ini:4", "write one from 1 to 1000");
    find(
        &|folder| {
            ini("[mysql]\npassword = x\n")(folder);
            mode(folder, "gateway.ini", 0o644);
        },
        "warning",
        "gateway.ini holds a password",
        "chmod 640",
    );
    find(
        &ini("[http]\nlisten = 0.0.0.0:0\n"),
        "warning",
        "plain HTTP on a public address",
        "set [tls]",
    );
    find(
        &ini("[mysql]\nhost = db.example.org\n"),
        "warning",
        "connects to another machine in clear",
        "tls = yes",
    );
    find(
        &ini("[sync]\naccept_unissued_sessions = yes\n"),
        "warning",
        "made-up sessions",
        "take it out",
    );
    find(&ini("[keys]\nprivate_key = no\n"), "problem", "no server key", "keys generate");
    find(&write("server.key", "hello"), "problem", "holds no RSA private key", "keys generate");
    find(&locked(true), "problem", "server.key is locked with a passphrase", "openssl pkey -in ");
    find(&locked(false), "problem", "server.key is locked with a passphrase", "openssl pkey -in ");
    find(&|f| mode(f, "server.key", 0o644), "warning", "open to every user", "chmod o=");
    find(&|f| mode(f, "server.key", 0o660), "warning", "changed by its group", "chmod g-w");
    find(
        &ini("[keys]\nring = no/such/ring\n"),
        "problem",
        "ring no/such/ring cannot be written",
        "[keys] ring",
    );
    find(
        &|folder| {
            fs::create_dir(folder.0.join("ring")).unwrap();
            write("ring/old.pem", "hello")(folder);
        },
        "warning",
        "of no use",
        "take it out",
    );
    find(&ini("[tls]\ncertificate = no\n"), "problem", "out of reach", "[tls] certificate");
    let other = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    find(&|f| certify(&other, 90, f), "problem", "another key than", "[tls] private_key");
    find(&|f| certify(&KEY, 0, f), "problem", "has expired", "renew it");
    find(&|f| certify(&KEY, 5, f), "warning", "expires in ", "certbot renew");
    find(
        &|folder| {
            write("at-rest", "hello")(folder);
            ini("[keys]\nat_rest_keys = at-rest\n")(folder);
        },
        "problem",
        "at-rest:1 is no key",
        "openssl rand",
    );
    find(
        &ini("[sync]\nplatforms_file = no\n"),
        "problem",
        "list of platforms at no cannot be read: No such file",
        "[sync] platforms_file",
    );
    find(
        &ini("[limits]\nmax_connections = 1000000\n"),
        "warning",
        "max_connections = 1000000 does not fit",
        "or set max_connections = ",
    );
    find(&ini("[log]\nfile = no/such/log\n"), "problem", "cannot be written", "standard error");
    find(&ini("[log]\nfile = .\n"), "problem", "log file . cannot be written", "standard error");
    find(&ini("[mysql]\ntls_ca = no.pem\n"), "problem", "tls_ca names no.pem", "may read");
}

/// With the key behind a passphrase, in the form of today or in that of old installations.
fn locked(pkcs8: bool) -> impl Fn(&Folder) {
    move |folder| {
        let (cipher, word) = (Cipher::aes_256_cbc(), b"a passphrase");
        let pem = if pkcs8 {
            KEY.private_key_to_pem_pkcs8_passphrase(cipher, word)
        } else {
            KEY.rsa().unwrap().private_key_to_pem_passphrase(cipher, word)
        };
        fs::write(folder.0.join("server.key"), pem.unwrap()).unwrap();
    }
}

#[test]
fn the_journal_is_told_how_much_a_finding_matters() {
    let folder = Folder::furnished();
    mode(&folder, "server.key", 0o644);
    fs::write(folder.0.join("gateway.ini"), "[tls]\ncertificate = no\n").unwrap();
    let script = "JOURNAL_STREAM=$(stat -Lc %d:%i /dev/stderr) exec \"$0\" check --offline >&2";
    let output = std::process::Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_swob-gateway")])
        .current_dir(&folder.0)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    for told in [
        "<6>  good     gateway.ini is read",
        "<4>  warning  server.key is open to every user",
        "<4>           remedy: chmod",
        "<3>  problem  the certificate no is out of reach",
        "<3>swob-gateway: there is one problem",
    ] {
        assert!(said.contains(told), "{told} is missing in {said}");
    }
}

#[test]
fn a_port_is_free_or_ours_or_a_strangers() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let strange = stranger.local_addr().unwrap().to_string();
    let run = |api: &str, sockets: &str| {
        let mut settings = schema.variables().to_vec();
        settings.extend([("GATEWAY_HTTP_LISTEN", api), ("GATEWAY_WEBSOCKET_LISTEN", sockets)]);
        check(&Folder::furnished(), &[], &settings)
    };
    let (_, said) = run(&server.api, &server.sockets);
    finding(&said, "good", &format!("[http] listen = {} is held by a running", server.api));
    finding(&said, "good", &format!("[websocket] listen = {} is held by a", server.sockets));
    // Nobody answers there, as before a service that systemd's socket waits for.
    let (code, said) = run(&strange, "192.0.2.1:80");
    finding(&said, "warning", "someone who does not answer");
    finding(&said, "problem", "192.0.2.1:80 is no address of this machine");
    assert_eq!(code, Some(1), "{said}");
}
