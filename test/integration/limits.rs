//! How often, how long and how much a stranger may (issue and design: nobody who is being served
//! is evicted, the newcomer is refused).

use std::io::Write as _;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::support::dashboard::Seen;
use crate::support::http::connect;
use crate::support::{
    Answer, Dashboard, PASSWORD, Phone, Schema, Server, USER, at_once, post, request,
};

/// One try of a user's password at a session of its own.
fn attempt(server: &Server, user: &str, password: &str) -> Answer {
    let (_dashboard, url) = server.code(user);
    post(&server.api, &url, &Phone::new().one_step_body(password))
}

#[test]
fn a_fourth_wrong_password_has_to_wait_also_at_a_new_session() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    for _ in 0..3 {
        assert_eq!(attempt(&server, USER, "wrong").status, 401);
    }
    let refused = attempt(&server, USER, PASSWORD);
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=120).contains(&wait), "{wait}");
    assert!(schema.rows().is_empty());
}

#[test]
fn an_unknown_user_waits_like_a_known_one() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let statuses = |user: &str| {
        [0; 5].map(|_| {
            let answer = attempt(&server, user, "wrong");
            (answer.status, answer.body, answer.headers.len())
        })
    };
    assert_eq!(statuses(USER), statuses("nobody"));
}

#[test]
fn a_right_password_begins_anew_and_an_exact_repeat_counts_once() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    for _ in 0..3 {
        for _ in 0..2 {
            assert_eq!(attempt(&server, USER, "wrong").status, 401);
        }
        assert_eq!(attempt(&server, USER, PASSWORD).status, 200);
    }
    let (_dashboard, url) = server.code(USER);
    let phone = Phone::new();
    let wrong = phone.one_step_body("wrong");
    for _ in 0..10 {
        assert_eq!(post(&server.api, &url, &wrong).status, 401);
    }
    assert_eq!(post(&server.api, &url, &phone.one_step_body(PASSWORD)).status, 200);
}

#[test]
fn a_ciphertext_that_does_not_open_is_no_wrong_password() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[("GATEWAY_LIMITS_PASSWORD_ATTEMPTS", "1/1h")]);
    let (_dashboard, url) = server.code(USER);
    let phone = Phone::new();
    let garbled = serde_json::json!({ "public_key": phone.pem, "password": "AAAA".repeat(86) });
    assert_eq!(post(&server.api, &url, &garbled.to_string()).status, 400);
    assert_eq!(post(&server.api, &url, &phone.one_step_body(PASSWORD)).status, 200);
}

#[test]
fn tries_side_by_side_do_not_outrun_the_limit() {
    let schema = Schema::new();
    let many = ("GATEWAY_LIMITS_MAX_SOCKETS_PER_USER_AND_ADDRESS", "20");
    let server = Server::start(&schema, &[many]);
    let phone = Phone::new();
    let dashboards: Vec<_> = (0..12)
        .map(|_| {
            let mut dashboard = Dashboard::open(&server.session(USER));
            (dashboard.url(), dashboard)
        })
        .collect();
    let wrong: Vec<_> = dashboards.iter().map(|_| phone.one_step_body("wrong")).collect();
    let tries = dashboards.iter().map(|(url, _)| url).zip(&wrong);
    let statuses = at_once(tries, |(url, body)| post(&server.api, url, body).status);
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 3, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 9, "{statuses:?}");
}

#[test]
fn what_needs_no_session_is_counted_by_its_refusals() {
    let schema = Schema::new();
    let per_address = ("GATEWAY_LIMITS_PASSWORD_ATTEMPTS_PER_ADDRESS", "4/15m");
    let server = Server::start(&schema, &[per_address]);
    let removal =
        |body: &str| request(&server.api, "DELETE", "/v2/sync/users", &[], body.as_bytes()).status;
    let verification = |body: &str| post(&server.api, "/v2/sync/users/verification", body).status;
    assert_eq!(removal("{"), 400);
    assert_eq!(removal("{\"msisdn_hashed\":\"forged\"}"), 403);
    assert_eq!(verification("{"), 400);
    assert_eq!(verification("{}"), 400);
    assert_eq!(verification("{}"), 429);
    assert_eq!(removal("{"), 429);
    assert_eq!(attempt(&server, USER, PASSWORD).status, 429);
    assert!(server.serves());
}

#[test]
fn each_deadline_is_absolute() {
    let schema = Schema::new();
    let server = Server::start(
        &schema,
        &[
            ("GATEWAY_LIMITS_IDLE_TIMEOUT", "0.4"),
            ("GATEWAY_LIMITS_HEAD_TIMEOUT", "0.8"),
            ("GATEWAY_LIMITS_BODY_TIMEOUT", "0.8"),
        ],
    );
    // Drips a byte each 50 ms behind `begin`, and says what came back.
    let drip = |begin: &[u8]| {
        let mut stream = connect(&server.api);
        stream.write_all(begin).unwrap();
        let start = Instant::now();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        loop {
            assert!(start.elapsed() < Duration::from_secs(10), "a drip kept its connection");
            let sent = begin.is_empty() || stream.write_all(b"x").is_ok();
            let mut byte = [0];
            match std::io::Read::read(&mut stream, &mut byte) {
                Ok(0) => return false,
                Ok(_) => return true,
                Err(_) if sent => {}
                Err(_) => return false,
            }
        }
    };
    assert!(!drip(b""), "a silent connection is closed without a word");
    assert!(drip(b"GET / HTTP/1.1\r\nX: "), "a slow head is told so");
    let body = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n";
    assert!(drip(body), "a slow body is told so");
    assert!(server.serves());
}

#[test]
fn a_dashboard_that_answers_no_ping_is_let_go() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[("GATEWAY_LIMITS_PING_INTERVAL", "0.2")]);
    let mut alive = Dashboard::open(&server.session(USER));
    let mut dead = Dashboard::open(&server.session(USER));
    alive.url();
    dead.url();
    // Reading answers pings; who does not read does not answer.
    crate::support::until("the silent socket is lost", || {
        alive.socket.get_mut().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let _ = alive.socket.read();
        let _ = alive.socket.flush();
        server.log().contains("socket lost")
    });
    assert_eq!(server.log().matches("socket lost").count(), 1);
    alive.socket.send(Message::Ping("x".into())).unwrap();
    assert!(!server.log().contains("socket closed"));
}

#[test]
fn a_dashboard_stays_when_the_server_stood_still() {
    let schema = Schema::new();
    let settings =
        [("GATEWAY_LIMITS_PING_INTERVAL", "0.3"), ("GATEWAY_SYNC_SESSION_SLEEP_TIMEOUT", "3")];
    let server = Server::start(&schema, &settings);
    let mut dashboard = Dashboard::open(&server.session(USER));
    dashboard.url();
    // As when a machine is moved: for longer than pings may go unanswered.
    server.signal(Signal::STOP);
    std::thread::sleep(Duration::from_secs(2));
    server.signal(Signal::CONT);
    // An answer takes its time on the way.
    std::thread::sleep(Duration::from_millis(150));
    dashboard.url();
}

#[test]
fn a_socket_has_a_longest_life() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[("GATEWAY_LIMITS_MAX_SOCKET_LIFETIME", "0.5")]);
    let mut dashboard = Dashboard::open(&server.session(USER));
    dashboard.url();
    assert_eq!(dashboard.next(), Seen::Close(CloseCode::Policy));
}

#[test]
fn forged_hosts_change_no_answer() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let path = format!("/v2/sync/users/{USER}");
    let shape = |headers: &[(&str, &str)]| {
        let answer = request(&server.api, "GET", &path, headers, b"");
        let url = answer.text();
        let (base, _ticket) = url.rsplit_once('/').unwrap();
        let headers: Vec<_> =
            answer.headers.iter().filter(|(name, _)| name != "date").cloned().collect();
        (answer.status, base.to_owned(), headers)
    };
    let honest = shape(&[]);
    for name in ["Forwarded", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-For", "X-Host"]
    {
        for value in ["evil.example", "https", "host=evil.example;proto=https", "127.0.0.1, ::1"] {
            assert_eq!(shape(&[(name, value)]), honest, "{name}: {value}");
        }
    }
}
