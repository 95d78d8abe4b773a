//! Paths, ids, origins and tickets: what is recognised is what would be written, byte for byte.

use std::time::{Duration, Instant};

use swob_gateway::route::{Origin, Origins, Route, socket};
use swob_gateway::session::{SessionId, UserId};
use swob_gateway::ticket::{Spent, Tickets};
use tiny_http::Method;

pub fn holds(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    ids(text);
    for method in [Method::Get, Method::Head, Method::Post, Method::Delete, Method::Options] {
        path(&method, text);
    }
    origin(text);
    ticket(input);
}

fn ids(text: &str) {
    if let Ok(user) = UserId::parse(text) {
        assert_eq!(user.as_str(), text);
        assert!(!text.contains(['/', '?', '%', ' ', '"', '\\', '\0', '\r', '\n']), "{text:?}");
        assert!(text.is_ascii() && (1..256).contains(&text.len()) && text != "." && text != "..");
    }
    if let Ok(session) = SessionId::parse(text) {
        assert_eq!(session.to_string(), text);
    }
}

fn path(method: &Method, target: &str) {
    let path = target.split('?').next().unwrap_or_default();
    match Route::find(method, target) {
        Ok(Route::Root) => assert_eq!(path, "/"),
        Ok(Route::Session(user)) => assert_eq!(path, format!("/v2/sync/users/{}", user.as_str())),
        Ok(Route::Handshake(user, session)) => {
            let written = format!("/v2/sync/users/{}/sessions/{session}", user.as_str());
            let more = path.strip_prefix(&written).expect("the path names what was found");
            assert!(["", "/", "/handshake"].contains(&more), "{target:?}");
            assert_eq!(*method, Method::Post);
        }
        Ok(Route::Verification) => {
            assert_eq!((method, path), (&Method::Post, "/v2/sync/users/verification"));
        }
        Ok(Route::Page(_)) => assert!(path.starts_with("/sync") || path == "/favicon.ico"),
        Ok(Route::Qr) => assert_eq!((method, path), (&Method::Post, "/sync/qr")),
        Ok(Route::Removal) => assert_eq!((method, path), (&Method::Delete, "/v2/sync/users")),
        Err(refusal) => assert!([400, 404, 405].contains(&refusal.status()), "{refusal:?}"),
    }
    match socket(method, target) {
        Ok((user, ticket)) => {
            assert_eq!(path, format!("/v2/sync/init/{}/{ticket}", user.as_str()));
            assert_eq!(*method, Method::Get);
        }
        Err(refusal) => assert!([400, 404, 405].contains(&refusal.status()), "{refusal:?}"),
    }
}

fn origin(text: &str) {
    const OWN: &str = "https://sync.example";
    let origins = |localhost| Origins { listed: vec![OWN.to_owned()], localhost };
    if let Origin::Allowed(echoed) = origins(false).judge(Some(text)) {
        assert_eq!((echoed, text), (OWN, OWN));
    }
    if let Origin::Allowed(echoed) = origins(true).judge(Some(text)) {
        assert_eq!(echoed, text);
        let host = text.split("//").nth(1).expect("an origin has a scheme");
        let local = ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| {
            let port = host.strip_prefix(name).map(|port| port.strip_prefix(':').unwrap_or(port));
            port.is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
        });
        assert!(local || text == OWN, "{text:?} is not this machine");
    }
}

/// The input is a text to redeem, and a change to a good ticket: the ticket XOR the input.
fn ticket(input: &[u8]) {
    let now = Instant::now();
    let tickets = Tickets::new(&[7; 32], now);
    let user = UserId::parse("ada").expect("a user id");
    let issued = tickets.issue(now, &user, [3; 16]);
    let mut changed = issued.clone().into_bytes();
    for (byte, change) in changed.iter_mut().zip(input) {
        *byte ^= change;
    }
    let mut spent = Spent::default();
    let mut redeem = |text: &[u8]| {
        let text = std::str::from_utf8(text).ok()?;
        tickets.redeem(now + Duration::from_secs(1), &user, text, &mut spent).ok()
    };
    assert_eq!(redeem(&changed).is_some(), changed == issued.as_bytes(), "a forged ticket");
    assert_eq!(redeem(input), None, "a ticket out of nothing, or a used one");
    if changed != issued.as_bytes() {
        assert_eq!(redeem(issued.as_bytes()), Some(()), "a forgery uses the good one up");
    }
    assert_eq!(redeem(issued.as_bytes()), None, "a ticket opens one socket");
}
