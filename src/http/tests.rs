use super::*;

fn refused(head: &str) -> u16 {
    let framed = parse_head(head.as_bytes()).and_then(|request| framing(&request, 65536));
    framed.map_or_else(|refusal| refusal.status(), |_| 200)
}

#[test]
fn a_head_that_two_parsers_could_read_differently_is_refused() {
    let check = |lines: &[&str], expected: u16| {
        let head = format!("{}\r\n\r\n", lines.join("\r\n"));
        assert_eq!(refused(&head), expected, "{lines:?}");
    };
    let host = "Host: x";
    check(&["GET / HTTP/1.1", host], 200);
    check(&["GET / HTTP/1.0"], 200);
    check(&["GET / HTTP/1.1"], 400);
    check(&["GET / HTTP/1.1", host, host], 400);
    check(&["GET http://x/ HTTP/1.1", host], 400);
    check(&["GET * HTTP/1.1", host], 400);
    check(&["GET /\0 HTTP/1.1", host], 400);
    check(&["GET / more HTTP/1.1", host], 400);
    check(&["GET / HTTP/2.0", host], 400);
    check(&["GET / HTTP/1.1", host, "A: x\n y"], 400);
    check(&["GET / HTTP/1.1", host, "A: x", " folded"], 400);
    check(&["GET / HTTP/1.1", host, "A : x"], 400);
    check(&["GET / HTTP/1.1\nA: x", host], 400);
    check(&["GET / HTTP/1.1", host, "A: x\ry"], 400);
    check(&["POST / HTTP/1.1", host, "Content-Length: 5"], 200);
    check(&["POST / HTTP/1.1", host, "Content-Length: +5"], 400);
    check(&["POST / HTTP/1.1", host, "Content-Length: -5"], 400);
    check(&["POST / HTTP/1.1", host, "Content-Length: 5, 5"], 400);
    check(&["POST / HTTP/1.1", host, "Content-Length: abc"], 400);
    check(&["POST / HTTP/1.1", host, "Content-Length:"], 400);
    check(&["POST / HTTP/1.1", host, "Content-Length: 5", "Content-Length: 5"], 400);
    check(&["POST / HTTP/1.1", host, "Content-Length: 65536"], 200);
    check(&["POST / HTTP/1.1", host, "Content-Length: 65537"], 413);
    check(&["POST / HTTP/1.1", host, "Content-Length: 100000000000000"], 413);
    check(&["POST / HTTP/1.1", host, "Content-Length: 99999999999999999999999"], 413);
    check(&["POST / HTTP/1.1", host, "Transfer-Encoding: chunked"], 200);
    check(&["POST / HTTP/1.1", host, "Transfer-Encoding: gzip, chunked"], 501);
    check(&["POST / HTTP/1.1", host, "Transfer-Encoding: xchunked"], 501);
    check(&["POST / HTTP/1.0", host, "Transfer-Encoding: chunked"], 400);
    check(&["POST / HTTP/1.1", host, "Transfer-Encoding: chunked", "Content-Length: 5"], 400);
    let many: Vec<String> = (0..64).map(|n| format!("A{n}: x")).collect();
    let mut lines = vec!["GET / HTTP/1.1", host];
    lines.extend(many.iter().map(String::as_str));
    check(&lines, 431);
}

#[test]
fn a_reply_says_its_length_and_whether_the_connection_stays() {
    let reply = Reply::refusal(&Refusal::Away(Duration::from_millis(10)));
    let text = String::from_utf8(reply.bytes(true, false)).unwrap();
    assert!(text.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{text}");
    assert!(text.contains("\r\nRetry-After: 1\r\n"), "{text}");
    assert!(text.contains("\r\nContent-Length: 0\r\n"), "{text}");
    assert!(text.contains("\r\nConnection: keep-alive\r\n"), "{text}");
    let reply = Reply::refusal(&Refusal::Attempts(Duration::from_millis(1900)));
    let text = String::from_utf8(reply.bytes(true, false)).unwrap();
    assert!(
        text.contains("\r\nRetry-After: 2\r\n"),
        "a client that waits so long is served: {text}"
    );
    let reply = Reply::refusal(&Refusal::Method("GET"));
    let text = String::from_utf8(reply.bytes(false, true)).unwrap();
    assert!(text.contains("\r\nAllow: GET\r\n"), "{text}");
    assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\n"), "a HEAD has no body");
}

#[test]
fn a_client_of_http_1_0_is_not_told_to_continue() {
    let check = |version, expected| {
        let head = format!("POST / HTTP/{version}\r\nHost: x\r\nExpect: 100-continue\r\n\r\n");
        assert_eq!(parse_head(head.as_bytes()).unwrap().awaits_continue(), expected, "{version}");
    };
    check("1.1", true);
    check("1.0", false);
}
