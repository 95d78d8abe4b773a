//! Requests as no app sends them: each gets an answer, and hides no other (RFC 9112).

use std::io::Write as _;

use crate::support::http::{connect, raw};
use crate::support::{Answer, Schema, Server, USER};

#[test]
fn what_two_parsers_could_read_differently_is_refused_and_closed() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let check = |bytes: &[u8], expected: u16| {
        let mut stream = connect(&server.api);
        let _ = stream.write_all(bytes);
        let shown = String::from_utf8_lossy(bytes).into_owned();
        let answer = Answer::read(&mut stream).unwrap_or_else(|| panic!("no answer to {shown:?}"));
        assert_eq!(answer.status, expected, "{shown:?}");
        if expected >= 400 {
            assert!(Answer::read(&mut stream).is_none(), "a second answer to {shown:?}");
        }
        assert!(server.serves());
    };
    let post = "POST / HTTP/1.1\r\nHost: x\r\n";
    let smuggled = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let with = |lines: &str| format!("{post}{lines}\r\n\r\n{smuggled}").into_bytes();
    check(&with("Content-Length: 4\r\nTransfer-Encoding: chunked"), 400);
    check(&with("Content-Length: 4\r\nContent-Length: 5"), 400);
    check(&with("Content-Length: 4\r\nContent-Length: 4"), 400);
    check(&with("Content-Length: +2"), 400);
    check(&with("Content-Length: abc"), 400);
    check(&with("Content-Length: 0x10"), 400);
    check(&with("Content-Length: 100000000000000"), 413);
    check(&with("Content-Length: 9223372036854775808"), 413);
    check(&with("Transfer-Encoding: gzip"), 501);
    check(&with("Transfer-Encoding : chunked"), 400);
    check(&with("A: x\r\n folded"), 400);
    check(&with("A: x\nB: y"), 400);
    check(b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    check(b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    check(b"GET / HTTP/1.1\r\nA: \0\r\nHost: x\r\n\r\n", 400);
    check(b"GET / HTTP/1.1\r\n\r\n", 400);
    check(b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400);
    check(b"GET / HTTP/1.1\nHost: x\n\n\r\n\r\n", 400);
    check(b"\r\n\r\n", 400);
    check(b"GET / HTTP/1.0\r\n\r\n", 200);
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    for body in ["zz\r\n\r\n", "-1\r\n\r\n", "+1\r\nx\r\n", "4\r\nabcdef\r\n", "\r\n\r\n"] {
        check(format!("{post}{chunked}{body}").as_bytes(), 400);
    }
    for body in ["2;a\n\r\n{}\r\n0\r\n\r\n", "0\r\nA: x\ny\r\n\r\n", "0\r\nA: x\ry\r\n\r\n"] {
        check(format!("{post}{chunked}{body}{smuggled}").as_bytes(), 400);
    }
    check(format!("{post}{chunked}ffffffff\r\n").as_bytes(), 413);
    check(format!("{post}{chunked}fffffffffffffffff\r\n").as_bytes(), 400);
}

#[test]
fn a_chunked_body_is_read_and_what_follows_is_the_next_request() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let mut stream = connect(&server.api);
    let path = format!("/v2/sync/users/{USER}/sessions/{}", "0".repeat(32));
    let post = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
         2;ext=1\r\n{{}}\r\n0\r\nTrailer: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(post.as_bytes()).unwrap();
    assert_eq!(Answer::read(&mut stream).unwrap().status, 400);
    let mut last = connect(&server.api);
    last.write_all(b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let answer = Answer::read(&mut last);
    assert!(answer.is_none(), "a HEAD has a length but no body");
}

#[test]
fn a_connection_carries_many_requests_and_their_answers_in_order() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let mut stream = connect(&server.api);
    let one = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    for _ in 0..3 {
        stream.write_all(one.as_bytes()).unwrap();
        let answer = Answer::read(&mut stream).unwrap();
        assert_eq!(answer.header("connection"), Some("keep-alive"));
    }
    let last = "GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(last.as_bytes()).unwrap();
    let answer = Answer::read(&mut stream).unwrap();
    assert_eq!((answer.status, answer.header("connection")), (404, Some("close")));
    assert!(Answer::read(&mut stream).is_none());
}

#[test]
fn curl_may_ask_before_it_sends_a_long_body() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let mut stream = connect(&server.api);
    stream
        .write_all(
            b"POST /v2/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
        )
        .unwrap();
    assert_eq!(Answer::read(&mut stream).unwrap().status, 100);
    stream.write_all(b"{}").unwrap();
    assert_eq!(Answer::read(&mut stream).unwrap().status, 404);
    let refused =
        b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999\r\n\r\n";
    assert_eq!(raw(&server.api, refused).unwrap().status, 413);
}

#[test]
fn at_the_cap_the_newcomer_is_refused_and_who_is_served_stays() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[("GATEWAY_LIMITS_MAX_CONNECTIONS_PER_ADDRESS", "3")]);
    let one = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut served: Vec<_> = (0..3).map(|_| connect(&server.api)).collect();
    for stream in &mut served {
        stream.write_all(one).unwrap();
        assert_eq!(Answer::read(stream).unwrap().status, 200);
    }
    let refused = Answer::read(&mut connect(&server.api)).unwrap();
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").is_some());
    for stream in &mut served {
        stream.write_all(one).unwrap();
        assert_eq!(Answer::read(stream).unwrap().status, 200);
    }
    drop(served);
    crate::support::until("there is room again", || {
        raw(&server.api, one).is_some_and(|answer| answer.status == 200)
    });
}
