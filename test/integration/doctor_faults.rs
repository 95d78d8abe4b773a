//! Planted faults, each found by `doctor` with its remedy. `-- --nocapture` prints the table.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::thread;

use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;

use crate::support::doctor::{Examined, Fault, ORIGIN, Site, examine_in};
use crate::support::proxy::{Kind, free_port};
use crate::support::server::Folder;
use crate::support::tls::NAME;
use crate::support::{Schema, Server, soak};

/// What a planted fault has to bring about.
struct Expected {
    check: &'static str,
    /// In what is found.
    what: &'static str,
    /// In the remedy or its lines, each.
    remedy: &'static [&'static str],
}

fn rsa() -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()
}

fn ec() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

/// The row of the table, after the finding was judged.
fn judge(name: &str, examined: &Examined, expected: &Expected) -> String {
    assert_eq!(examined.code, Some(1), "{name}: {}{}", examined.text, examined.errors);
    let problems = examined.marked("problem");
    let found = problems
        .iter()
        .find(|[check, what, _]| check == expected.check && what.contains(expected.what))
        .unwrap_or_else(|| panic!("{name} is not found: {}", examined.text));
    for part in expected.remedy {
        assert!(found[2].contains(part), "{name}: {part:?} is not in {}", found[2]);
    }
    let remedy = found[2].lines().next().unwrap();
    let mut row = format!("{name}\n    ✗ {}: {}\n      remedy: {remedy}\n", found[0], found[1]);
    let lines: serde_json::Value =
        serde_json::from_str(found[2].split_once('\n').unwrap().1).unwrap();
    for (place, lines) in lines.as_object().unwrap() {
        let _ = writeln!(row, "      {place}:");
        for line in lines.as_array().unwrap() {
            let _ = writeln!(row, "        {}", line.as_str().unwrap());
        }
    }
    row
}

fn nginx(name: &str, fault: &Fault<'_>, words: &[&str], expected: &Expected) -> String {
    let site = Site::behind(Kind::Nginx, fault);
    judge(name, &site.examine(&[words, &["--json"]].concat()), expected)
}

fn wrong_port() -> String {
    let mut site = Site::behind(Kind::Nginx, &Fault::default());
    site.port = free_port();
    let remedy = &["check that the port in the URL is right", "listen 443 ssl;", NAME];
    let expected = Expected { check: "name", what: "nobody listens there", remedy };
    judge("1 wrong port", &site.examine(&["--json"]), &expected)
}

fn ecdsa_certificate() -> String {
    let fault = Fault { key: Some(ec()), ..Fault::default() };
    let remedy = &["--key-type rsa", "ssl_certificate_key"];
    let expected = Expected { check: "key", what: "not an RSA key", remedy };
    nginx("2 ECDSA certificate", &fault, &[], &expected)
}

fn key_not_in_the_ring() -> String {
    let fault = Fault { key: Some(rsa()), ..Fault::default() };
    let remedy = &["keys add", "private_key = "];
    let expected = Expected { check: "ring", what: "not in the server's ring", remedy };
    nginx("3 key not in the ring", &fault, &[], &expected)
}

fn gzip_in_the_proxy() -> String {
    let on =
        "gzip on; gzip_min_length 1; gzip_proxied any; gzip_types text/plain application/json;";
    let fault = Fault { recipe: &[("gzip off;", on)], ..Fault::default() };
    let expected =
        Expected { check: "bodies", what: "packs bodies (gzip)", remedy: &["gzip off;"] };
    nginx("4 gzip in the proxy", &fault, &[], &expected)
}

fn upgrade_lines_missing() -> String {
    let recipe = [
        ("proxy_set_header Upgrade $http_upgrade;", ""),
        ("proxy_set_header Connection upgrade;", ""),
    ];
    let fault = Fault { recipe: &recipe, ..Fault::default() };
    let remedy = &["proxy_set_header Upgrade $http_upgrade;", "proxy_http_version 1.1;"];
    let expected = Expected { check: "socket", what: "without its upgrade", remedy };
    nginx("5 upgrade lines missing", &fault, &[], &expected)
}

/// 10 seconds with `make soak`, else 2.
fn idle_time_out() -> String {
    let seconds = if soak() { 10 } else { 2 };
    let short = format!("proxy_read_timeout {seconds}s;");
    let recipe = [("proxy_read_timeout 300s;", &*short)];
    let settings = [("GATEWAY_LIMITS_PING_INTERVAL", "25")];
    let fault = Fault { recipe: &recipe, settings: &settings, ..Fault::default() };
    let remedy = &["proxy_read_timeout 300s;", "ping_interval = "];
    let expected = Expected { check: "quiet", what: "the socket was cut after", remedy };
    nginx(&format!("6 idle time-out of {seconds} s"), &fault, &[], &expected)
}

fn origin_missing() -> String {
    let other = "https://other.example.org";
    let words = ["--origin", ORIGIN, "--origin", other];
    let remedy = &["allowed_origins = https://dashboard.example.org, https://other.example.org"];
    let expected = Expected { check: "origin", what: other, remedy };
    nginx("7 origin missing", &Fault::default(), &words, &expected)
}

fn root_404() -> String {
    let recipe = [("location / {", "location = / { return 404; }\nlocation / {")];
    let fault = Fault { recipe: &recipe, ..Fault::default() };
    let remedy = &["location / {", "proxy_pass http://127.0.0.1:15000;"];
    let expected = Expected { check: "root", what: "GET / is answered 404", remedy };
    nginx("8 root 404", &fault, &[], &expected)
}

fn be_account_gone() -> String {
    let settings = [("GATEWAY_MYSQL_BE_USERNAME", "swob_gone")];
    let fault = Fault { settings: &settings, ..Fault::default() };
    let remedy = &["[mysql_be]", "sql/grants.sql"];
    let what = "the BE's database is away, or refuses the server's account";
    let expected = Expected { check: "database", what, remedy };
    nginx("9 BE account gone", &fault, &[], &expected)
}

fn salt_row_missing() -> String {
    let fault = Fault { sql: "DELETE FROM credentials", ..Fault::default() };
    let remedy = &["credentials row 1", "hashing_salt_file"];
    let expected = Expected { check: "database", what: "the hashing salt is not there", remedy };
    nginx("10 salt row missing", &fault, &[], &expected)
}

fn table_foreign() -> String {
    let sql = "DROP TABLE gateway_server_users; \
               CREATE TABLE gateway_server_users (id INT PRIMARY KEY, name TEXT)";
    let fault = Fault { sql, ..Fault::default() };
    let remedy = &["migrate", "takeover", "[mysql] database"];
    let what = "the gateway's database refuses a statement";
    let expected = Expected { check: "database", what, remedy };
    nginx("11 table foreign", &fault, &[], &expected)
}

fn clock_a_day_off() -> String {
    // The program faketime would outlive its test: it waits for the server and passes no signal on.
    let settings = [
        ("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1"),
        ("FAKETIME", "-1d"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let fault = Fault { settings: &settings, ..Fault::default() };
    let site = Site::native(&fault);
    let what = "the server's clock is 24 hours behind this machine's";
    let remedy = &["timedatectl set-ntp true"];
    let expected = Expected { check: "clock", what, remedy };
    judge("12 clock a day off", &site.examine(&["--json"]), &expected)
}

/// On the server itself each database is named, with its cause.
#[test]
fn the_servers_own_settings_name_the_fault() {
    let check = |sql: &str, settings: &[(&str, &str)], expected: &[(&str, &str, &str)]| {
        let schema = Schema::new();
        sql.split(';').filter(|sql| !sql.is_empty()).for_each(|sql| schema.execute(sql));
        let pings = [("GATEWAY_LIMITS_PING_INTERVAL", "1"), ("GATEWAY_LIMITS_MISSED_PINGS", "100")];
        let quick = [&pings, settings].concat();
        let server = Server::start(&schema, &quick);
        let folder = Folder::furnished();
        let own = [("GATEWAY_ADMIN_LISTEN", &*server.admin)];
        let settings = [&own, &schema.variables()[..], &quick].concat();
        let url = format!("http://{}", server.api);
        let examined = examine_in(&folder, &["--url", &url, "--json"], &settings, None);
        let text = format!("{}{}", examined.text, examined.errors);
        assert_eq!(examined.code, Some(i32::from(!expected.is_empty())), "{text}");
        let problems = examined.marked("problem");
        for (check, what, remedy) in expected {
            let found =
                |p: &&[String; 3]| p[0] == *check && p[1].contains(what) && p[2].contains(remedy);
            assert!(problems.iter().any(|problem| found(&problem)), "{what}: {text}");
        }
        if expected.is_empty() {
            let good = examined.marked("good");
            assert!(good.iter().any(|[check, ..]| check == "running"), "{text}");
        }
    };
    check("", &[], &[]);
    check(
        "",
        &[("GATEWAY_MYSQL_BE_USERNAME", "swob_gone")],
        &[
            ("running", "BE database not ready", "restart the server"),
            ("settings", "Access denied", "[mysql_be] username and password"),
        ],
    );
    check(
        "DELETE FROM credentials",
        &[],
        &[("settings", "the hashing salt is missing", "the BE writes the row")],
    );
    check(
        "DROP TABLE gateway_server_users;\
         CREATE TABLE gateway_server_users (id INT PRIMARY KEY, name TEXT)",
        &[],
        &[("settings", "there is no column msisdn_hash", "name its database in [mysql] database")],
    );
}

/// What else leads astray, and the other proxies' lines.
#[test]
fn more_faults_behind_other_proxies() {
    let check = |kind, fault: Fault<'_>, check, what, remedy| {
        let site = Site::behind(kind, &fault);
        let name = format!("{kind:?} {what}");
        judge(&name, &site.examine(&["--json"]), &Expected { check, what, remedy });
    };
    let slow: &[_] = &[("GATEWAY_LIMITS_PING_INTERVAL", "25")];
    let cut = "the socket was cut after";
    check(
        Kind::Haproxy,
        Fault {
            recipe: &[("timeout tunnel 300s", "timeout tunnel 2s")],
            settings: slow,
            ..Fault::default()
        },
        "quiet",
        cut,
        &["timeout tunnel 300s"],
    );
    check(
        Kind::Apache,
        Fault {
            // The longer of both sides' time-outs counts.
            recipe: &[("timeout=300", "timeout=2"), ("SSLEngine on", "Timeout 2\nSSLEngine on")],
            settings: slow,
            ..Fault::default()
        },
        "quiet",
        cut,
        &["timeout=300"],
    );
    let plain = [("SetEnv no-gzip 1", ""), ("SetEnv no-brotli 1", "")];
    check(
        Kind::Apache,
        Fault { recipe: &plain, ..Fault::default() },
        "bodies",
        "packs bodies (gzip)",
        &["SetEnv no-gzip 1"],
    );
    check(
        Kind::Apache,
        Fault { recipe: &[("upgrade=websocket", "")], ..Fault::default() },
        "socket",
        "without its upgrade",
        &["upgrade=websocket"],
    );
    check(
        Kind::Nginx,
        Fault {
            recipe: &[("location /v2/sync/init/ {", "location /nowhere/ {")],
            ..Fault::default()
        },
        "socket",
        "leads elsewhere (404)",
        &["location /v2/sync/init/ {"],
    );
    check(
        Kind::Nginx,
        Fault {
            recipe: &[(
                "proxy_pass http://127.0.0.1:15000;",
                "proxy_pass http://127.0.0.1:9; # 127.0.0.1:15000",
            )],
            ..Fault::default()
        },
        "root",
        "does not reach the gateway",
        &["listen = 127.0.0.1:15000", "systemctl status"],
    );
    let public = [("GATEWAY_HTTP_PUBLIC_URL", "https://gateway.test:15000")];
    check(
        Kind::Nginx,
        Fault { settings: &public, ..Fault::default() },
        "QR code",
        "it leads phones to https://gateway.test:15000",
        &["public_url = https://gateway.test:"],
    );
    let closed = format!("wss://{NAME}:{}", free_port());
    check(
        Kind::Nginx,
        Fault { settings: &[("GATEWAY_WEBSOCKET_PUBLIC_URL", &closed)], ..Fault::default() },
        "socket",
        "is not reached",
        &["[websocket]", "public_url = wss://gateway.test:"],
    );
}

#[test]
fn twelve_planted_faults_are_found_with_their_remedies() {
    // The scripts are read once before threads share the machine.
    drop(Schema::new());
    let faults: [fn() -> String; 12] = [
        wrong_port,
        ecdsa_certificate,
        key_not_in_the_ring,
        gzip_in_the_proxy,
        upgrade_lines_missing,
        idle_time_out,
        origin_missing,
        root_404,
        be_account_gone,
        salt_row_missing,
        table_foreign,
        clock_a_day_off,
    ];
    let queue = Mutex::new(faults.iter().enumerate());
    let table = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().next();
                    let Some((place, fault)) = next else { return };
                    let row = fault();
                    table.lock().unwrap().push((place, row));
                }
            });
        }
    });
    let mut table = table.into_inner().unwrap();
    table.sort();
    assert_eq!(table.len(), 12);
    println!();
    table.iter().for_each(|(_, row)| println!("{row}"));
}
