//! The sync page as a browser asks for it; test/browser has the browser itself.

use crate::support::http::raw;
use crate::support::{Answer, Schema, Server, USER, get, post, request};

const PAGE: (&str, &str) = ("GATEWAY_PAGE_ENABLED", "yes");

/// The status of a socket that a page of this origin opens.
fn opens(server: &Server, origin: &str) -> u16 {
    let url = server.session(USER);
    let path = url.split_once(&server.sockets).unwrap().1;
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nOrigin: {origin}\r\n\r\n"
    );
    raw(&server.sockets, head.as_bytes()).unwrap().status
}

#[test]
fn there_is_no_page_unless_the_settings_say_so() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    for path in ["/sync", "/sync/page.js", "/sync/page.css", "/sync/icon.svg"] {
        assert_eq!(get(&server.api, path).status, 404, "{path}");
    }
    assert_eq!(post(&server.api, "/sync/qr", "x").status, 404);
    let root = get(&server.api, "/");
    assert_eq!((root.status, root.header("refresh")), (200, None));
    assert_eq!(opens(&server, &format!("http://{}", server.api)), 403);
}

#[test]
fn the_page_comes_with_a_strict_policy_and_the_root_leads_to_it() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[PAGE]);
    let root = get(&server.api, "/");
    assert_eq!((root.status, root.text().as_str()), (200, "SMSWithoutBorders Gateway Server\n"));
    assert_eq!(root.header("refresh"), Some("0; url=/sync"));
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
         connect-src 'self' ws://{}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        server.sockets
    );
    let check = |path: &str, kind: &str| -> Answer {
        let answer = get(&server.api, path);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), Some(kind), "{path}");
        assert_eq!(answer.header("content-security-policy"), Some(&*policy), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        answer
    };
    check("/sync", "text/html; charset=utf-8");
    check("/sync/page.js", "text/javascript; charset=utf-8");
    check("/sync/page.css", "text/css; charset=utf-8");
    check("/sync/icon.svg", "image/svg+xml; charset=utf-8");
    let french = [("Accept-Language", "fr-CM,fr;q=0.9")];
    let page = request(&server.api, "GET", "/sync", &french, b"").text();
    assert!(page.contains(r#"<html lang="fr">"#), "{page}");
    assert_eq!(opens(&server, &format!("http://{}", server.api)), 101);
    assert_eq!(opens(&server, "http://another.example"), 403);
}

#[test]
fn a_code_is_drawn_and_its_session_stays_out_of_the_log() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[PAGE]);
    let (_dashboard, url) = server.code(USER);
    let picture = post(&server.api, "/sync/qr", &url);
    assert_eq!(picture.status, 200, "{picture:?}");
    assert_eq!(picture.header("content-type"), Some("image/svg+xml"));
    assert!(picture.text().contains("<svg"));
    for other in ["", "hello", "http://another.example/", &url.replace("http:", "https:")] {
        assert_eq!(post(&server.api, "/sync/qr", other).status, 400, "{other}");
    }
    let session = url.split('/').nth(8).unwrap();
    assert!(!server.log().contains(session));
}
