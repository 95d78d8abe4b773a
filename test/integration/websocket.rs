//! The sync socket as the dashboard sees it (contract §1, §2).

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::support::dashboard::Seen;
use crate::support::http::{connect, raw};
use crate::support::{Dashboard, PASSWORD, Phone, Schema, Server, USER, get, post, request, until};

const QUICK: (&str, &str) = ("GATEWAY_SYNC_SESSION_SLEEP_TIMEOUT", "0.3");

fn session_of(url: &str) -> &str {
    url.split('/').nth(8).unwrap()
}

#[test]
fn a_code_is_shown_at_once_changes_in_time_and_ends_with_a_close() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[QUICK]);
    let url = server.session(USER);
    let start = Instant::now();
    let mut dashboard = Dashboard::open(&url);
    let urls = [dashboard.url(), dashboard.url(), dashboard.url()];
    assert_eq!(dashboard.next(), Seen::Close(CloseCode::Normal));
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    let sessions = urls.each_ref().map(|url| session_of(url));
    assert!(sessions[0] != sessions[1] && sessions[1] != sessions[2]);
    for (url, session) in urls.iter().zip(sessions) {
        let expected =
            format!("http://{}/v2/sync/users/{USER}/sessions/{session}/handshake", server.api);
        assert_eq!(*url, expected);
        assert_eq!(session.len(), 32);
    }
    let answer = post(&server.api, &urls[2], &Phone::new().key_body());
    assert_eq!(answer.status, 404);
}

#[test]
fn a_frame_is_the_contracts_byte_for_byte() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let mut dashboard = Dashboard::open(&server.session(USER));
    let Message::Text(frame) = dashboard.socket.read().unwrap() else { panic!() };
    let json: serde_json::Value = serde_json::from_str(frame.as_str()).unwrap();
    let url = json["qr_url"].as_str().unwrap();
    let mobile = url.replacen("http", "app", 1);
    assert_eq!(frame.as_str(), format!("{{\"qr_url\": \"{url}\", \"mobile_url\": \"{mobile}\"}}"));
}

#[test]
fn the_dashboard_sees_the_pause_the_ack_and_a_close_and_no_rotation_between() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[("GATEWAY_SYNC_SESSION_SLEEP_TIMEOUT", "1.5")]);
    let phone = Phone::new();
    let (mut dashboard, url) = server.code(USER);
    assert_eq!(post(&server.api, &url, &phone.key_body()).status, 200);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(post(&server.api, &url, &phone.key_body()).status, 200);
    assert_eq!(post(&server.api, &url, &Phone::password_body(PASSWORD)).status, 200);
    dashboard.expect(&[
        Seen::Text("201- pause".into()),
        Seen::Text("200- ack".into()),
        Seen::Close(CloseCode::Normal),
    ]);
}

#[test]
fn a_pause_without_an_ack_ends_with_a_close() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[("GATEWAY_SYNC_SESSION_PAUSED_TIMEOUT", "0.5")]);
    let (mut dashboard, url) = server.code(USER);
    assert_eq!(post(&server.api, &url, &Phone::new().key_body()).status, 200);
    dashboard.expect(&[Seen::Text("201- pause".into()), Seen::Close(CloseCode::Normal)]);
    assert_eq!(post(&server.api, &url, &Phone::password_body(PASSWORD)).status, 404);
}

#[test]
fn an_issued_session_opens_one_socket_of_its_user() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let url = server.session(USER);
    let foreign = url.replace(USER, "eve");
    assert_eq!(Dashboard::try_open(&foreign).err(), Some(404));
    let _dashboard = Dashboard::open(&url);
    assert_eq!(Dashboard::try_open(&url).err(), Some(404));
    let unissued = format!("ws://{}/v2/sync/init/111/000", server.sockets);
    assert_eq!(Dashboard::try_open(&unissued).err(), Some(404));
}

#[test]
fn in_development_the_seeds_pair_opens_a_socket() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[("GATEWAY_SYNC_ACCEPT_UNISSUED_SESSIONS", "yes")]);
    let unissued = format!("ws://{}/v2/sync/init/111/000", server.sockets);
    for _ in 0..2 {
        assert!(Dashboard::open(&unissued).url().contains("/v2/sync/users/111/sessions/"));
    }
}

#[test]
fn a_dashboard_that_leaves_takes_its_code_along_but_not_a_phone_that_has_begun() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let (dashboard, url) = server.code(USER);
    drop(dashboard);
    until("the code is void", || post(&server.api, &url, "{\"password\":\"YQ==\"}").status == 404);

    let (dashboard, url) = server.code(USER);
    let phone = Phone::new();
    assert_eq!(post(&server.api, &url, &phone.key_body()).status, 200);
    drop(dashboard);
    until("the dashboard has left", || server.log().matches("socket lost").count() == 2);
    assert_eq!(post(&server.api, &url, &Phone::password_body(PASSWORD)).status, 200);
}

#[test]
fn one_address_opens_so_many_sockets_for_a_user_and_no_more() {
    let schema = Schema::new();
    let server =
        Server::start(&schema, &[("GATEWAY_LIMITS_MAX_SOCKETS_PER_USER_AND_ADDRESS", "2")]);
    let first = Dashboard::open(&server.session(USER));
    let _second = Dashboard::open(&server.session(USER));
    let waiting = server.session(USER);
    assert_eq!(Dashboard::try_open(&waiting).err(), Some(429));
    assert!(Dashboard::try_open(&server.session("another")).is_ok());
    drop(first);
    until("there is room again", || Dashboard::try_open(&waiting).is_ok());
}

#[test]
fn what_is_no_upgrade_is_told_so() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let upgrade = |path: &str, headers: &[(&str, &str)]| {
        let answer = request(&server.sockets, "GET", path, headers, b"");
        (answer.status, answer.header("sec-websocket-version").map(str::to_owned))
    };
    let key = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let path = "/v2/sync/init/111/000";
    let full =
        [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13")];
    assert_eq!(upgrade("/", &full).0, 404);
    assert_eq!(upgrade(path, &[]), (426, Some("13".to_owned())));
    assert_eq!(upgrade(path, &full[..2]).0, 426);
    assert_eq!(upgrade(path, &full).0, 400);
    assert_eq!(upgrade(path, &[full[0], full[1], full[2], ("Sec-WebSocket-Key", "short")]).0, 400);
    assert_eq!(upgrade(path, &[full[0], full[1], full[2], key]).0, 404);
    assert_eq!(upgrade("/v2/sync/init/a%20b/000", &[full[0], full[1], full[2], key]).0, 400);
    assert_eq!(request(&server.sockets, "POST", path, &full, b"").status, 405);
    let foreign = [full[0], full[1], full[2], key, ("Origin", "https://evil.example")];
    assert_eq!(upgrade(path, &foreign).0, 403);
    assert_eq!(raw(&server.sockets, b"\x16\x03\x01 hello\r\n\r\n").unwrap().status, 400);
    assert!(server.serves());
}

#[test]
fn what_a_dashboard_types_is_borne_for_a_while_and_too_much_of_it_closes() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let mut dashboard = Dashboard::open(&server.session(USER));
    dashboard.url();
    for _ in 0..16 {
        dashboard.socket.send(Message::text("typed by mistake")).unwrap();
    }
    dashboard.socket.send(Message::Ping("x".into())).unwrap();
    assert!(matches!(dashboard.socket.read(), Ok(Message::Pong(_))));
    dashboard.socket.send(Message::text("once too often")).unwrap();
    assert_eq!(dashboard.next(), Seen::Close(CloseCode::Policy));

    let mut dashboard = Dashboard::open(&server.session(USER));
    dashboard.url();
    let _ = dashboard.socket.send(Message::text("x".repeat(5000)));
    assert_eq!(dashboard.next(), Seen::Close(CloseCode::Size));
}

#[test]
fn a_frame_of_a_huge_length_costs_nothing() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let mut dashboard = Dashboard::open(&server.session(USER));
    dashboard.url();
    let mut frame = vec![0x82, 0xff];
    frame.extend((1_u64 << 60).to_be_bytes());
    frame.extend([1, 2, 3, 4]);
    dashboard.socket.get_mut().write_all(&frame).unwrap();
    assert_eq!(dashboard.next(), Seen::Close(CloseCode::Size));
    assert!(server.serves());
}

#[test]
fn a_closed_dashboard_gets_its_close_back() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let mut dashboard = Dashboard::open(&server.session(USER));
    dashboard.url();
    dashboard.socket.close(None).unwrap();
    assert!(matches!(dashboard.next(), Seen::Close(_)));
    until("the socket is closed", || server.log().contains("socket closed"));
}

#[test]
fn the_urls_are_those_of_the_settings_whatever_the_request_says() {
    let schema = Schema::new();
    let server = Server::start(
        &schema,
        &[
            ("GATEWAY_HTTP_PUBLIC_URL", "https://sync.example"),
            ("GATEWAY_WEBSOCKET_PUBLIC_URL", "wss://sync.example"),
            ("GATEWAY_HTTP_ALLOWED_ORIGINS", "https://app.example"),
        ],
    );
    let path = format!("/v2/sync/users/{USER}");
    let forged = [("X-Forwarded-Host", "evil.example"), ("Forwarded", "host=evil.example")];
    let url = request(&server.api, "GET", &path, &forged, b"").text();
    assert!(url.starts_with("wss://sync.example:443/v2/sync/init/"), "{url}");
    let local = url.replace("wss://sync.example:443", &format!("ws://{}", server.sockets));
    let mut dashboard = Dashboard::open(&local);
    let shown = dashboard.url();
    assert!(shown.starts_with("https://sync.example:443/v2/sync/users/"), "{shown}");
}

#[test]
fn the_dashboards_page_may_read_the_answer_and_no_other_page_may() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[("GATEWAY_HTTP_ALLOWED_ORIGINS", "https://app.example")]);
    let path = format!("/v2/sync/users/{USER}");
    let ask = |method: &str, origin: &str| {
        let wants = [("Origin", origin), ("Access-Control-Request-Method", "GET")];
        request(&server.api, method, &path, &wants, b"")
    };
    for method in ["GET", "OPTIONS"] {
        let answer = ask(method, "https://app.example");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.header("vary"), Some("Origin"));
        let answer = ask(method, "https://evil.example");
        assert_eq!(answer.status, if method == "GET" { 200 } else { 403 });
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    let preflight = ask("OPTIONS", "https://app.example");
    assert_eq!(preflight.header("access-control-allow-headers"), Some("content-type"));
    assert_eq!(get(&server.api, &path).header("content-type"), Some("text/plain"));
}

#[test]
fn an_upgrade_a_byte_at_a_time_ends_at_its_deadline() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[("GATEWAY_LIMITS_REQUEST_TIMEOUT", "0.5")]);
    for address in [&server.api, &server.sockets] {
        let mut stream = connect(address);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) && stream.write_all(b"G").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(start.elapsed() < Duration::from_secs(10), "a drip kept its connection");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(server.serves());
    }
}
