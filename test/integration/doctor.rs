//! `doctor` on sites where all is well: it finds nothing, does no harm, and never hangs.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::doctor::{Examined, Fault, ORIGIN, Site, examine};
use crate::support::proxy::Kind;
use crate::support::{Dashboard, PASSWORD, Phone, Schema, Server, USER, post, until};

fn well(examined: &Examined) {
    let text = &examined.text;
    assert_eq!(examined.code, Some(0), "{text}{}", examined.errors);
    // Port 443 is not a test's to have.
    let warnings = examined.marked("warning");
    assert!(warnings.iter().all(|[check, ..]| check == "port 443"), "{text}");
    let good: Vec<_> = examined.marked("good").into_iter().map(|[check, ..]| check).collect();
    for check in [
        "name",
        "certificate",
        "key",
        "root",
        "clock",
        "origin",
        "socket",
        "QR code",
        "pause",
        "bodies",
        "ring",
        "database",
        "quiet",
    ] {
        assert!(good.iter().any(|name| name == check), "{check}: {text}");
    }
}

fn well_behind(kind: Kind) {
    let site = Site::behind(kind, &Fault::default());
    let examined = site.examine(&["--origin", ORIGIN, "--json"]);
    well(&examined);
    assert_eq!(site.schema.rows().len(), 0);
}

#[test]
fn all_is_well_behind_caddy() {
    well_behind(Kind::Caddy);
}

#[test]
fn all_is_well_behind_nginx() {
    well_behind(Kind::Nginx);
}

#[test]
fn all_is_well_behind_apache() {
    well_behind(Kind::Apache);
}

#[test]
fn all_is_well_behind_haproxy() {
    well_behind(Kind::Haproxy);
}

#[test]
fn all_is_well_with_tls_of_its_own() {
    let site = Site::native(&Fault::default());
    well(&site.examine(&["--origin", ORIGIN, "--json"]));
    let people = site.examine(&["--origin", ORIGIN]).text;
    for line in ["\n  ✓ name ", "  ✓ quiet ", "  … quiet: up to 30 s for a ping", "warnings: 1."]
    {
        assert!(people.contains(line), "{people}");
    }
}

#[test]
fn it_locks_nobody_out_and_leaves_nothing() {
    let schema = Schema::new();
    let server = Server::start(
        &schema,
        &[
            ("GATEWAY_LIMITS_PASSWORD_ATTEMPTS_PER_ADDRESS", "30/15m"),
            ("GATEWAY_LIMITS_PING_INTERVAL", "1"),
            ("GATEWAY_LIMITS_MISSED_PINGS", "100"),
            ("GATEWAY_SYNC_SESSION_PAUSED_TIMEOUT", "4"),
        ],
    );
    let url = format!("http://{}", server.api);
    // Each examination spends two of the 30 tries of its address.
    for round in 0..3 {
        let examined = examine(&["--url", &url, "--wait", "5", "--json"], None);
        assert_eq!(examined.code, Some(0), "{round}: {}{}", examined.text, examined.errors);
    }
    assert_eq!(schema.rows().len(), 0);
    assert_eq!(server.metric("swob_gateway_sockets"), 0.0);
    until("its sessions are over", || server.metric("swob_gateway_sessions") == 0.0);
    let mut dashboard = Dashboard::open(&server.session(USER));
    let at = dashboard.url();
    let phone = Phone::new();
    assert_eq!(post(&server.api, &at, &phone.key_body()).status, 200);
    assert_eq!(post(&server.api, &at, &Phone::password_body("not that")).status, 401);
    assert_eq!(post(&server.api, &at, &Phone::password_body(PASSWORD)).status, 200);
    assert_eq!(schema.rows().len(), 1);
    let log = server.log();
    assert_eq!(log.matches("socket closed user=doctor-").count(), 3, "{log}");
    assert!(!log.contains("socket lost"), "{log}");
}

/// A port that takes connections and treats each like this.
fn port(serve: impl Fn(std::net::TcpStream) + Send + Clone + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let accept = move || {
        for tcp in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            thread::Builder::new().spawn(move || serve(tcp)).unwrap();
        }
    };
    thread::Builder::new().spawn(accept).unwrap();
    port
}

#[test]
fn it_never_hangs() {
    let silent = port(|mut tcp| {
        let _ = tcp.read_to_end(&mut Vec::new());
    });
    let dripping = port(|mut tcp| {
        let text = "HTTP/1.1 200 OK\r\nX: ".bytes().chain(std::iter::repeat(b'x'));
        for byte in text {
            if tcp.write_all(&[byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(300));
        }
    });
    let flooding = port(|mut tcp| {
        let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n");
        while tcp.write_all(&[b'x'; 65536]).is_ok() {}
    });
    let check = |url: String, check: &'static str| {
        let start = Instant::now();
        let examined = examine(&["--url", &url, "--json"], None);
        let took = start.elapsed();
        assert!(took < Duration::from_secs(60), "{url}: {took:?}");
        assert_eq!(examined.code, Some(1), "{url}: {}", examined.text);
        assert_eq!(examined.marked("problem")[0][0], check, "{}", examined.text);
    };
    thread::scope(|scope| {
        scope.spawn(|| check(format!("https://127.0.0.1:{silent}"), "certificate"));
        scope.spawn(|| check(format!("http://127.0.0.1:{silent}"), "root"));
        scope.spawn(|| check(format!("http://127.0.0.1:{dripping}"), "root"));
        scope.spawn(|| check(format!("http://127.0.0.1:{flooding}"), "root"));
    });
}

#[test]
fn without_a_url_it_says_what_to_write() {
    let examined = examine(&[], None);
    assert_eq!(examined.code, Some(1));
    assert!(examined.errors.contains("write doctor --url https://"), "{}", examined.errors);
}
