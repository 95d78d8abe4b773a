//! An answer, and its bytes.

use std::fmt::Write as _;
use std::time::SystemTime;

use tiny_http::StatusCode;

use crate::refusal::Refusal;
use crate::wire;

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// Headers beside the ones that every reply has; no value holds a line's end.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A reply with a body of this content type.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Reply {
            status: StatusCode(status),
            headers: vec![("Content-Type", content_type.to_owned())],
            body: body.into(),
        }
    }

    /// The answer that a refusal is: a 4xx with its reason (RFC 9457), a 5xx with an empty body.
    pub fn refusal(refusal: &Refusal) -> Self {
        let status = StatusCode(refusal.status());
        let mut reply = if refusal.reason().is_empty() || refusal.status() >= 500 {
            Reply { status, headers: Vec::new(), body: Vec::new() }
        } else {
            let problem = wire::problem(refusal, status.default_reason_phrase());
            Reply::new(refusal.status(), "application/problem+json", problem)
        };
        if let Some(wait) = refusal.retry_after() {
            // Whoever comes back a moment too early is refused again.
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            reply.headers.push(("Retry-After", seconds.to_string()));
        }
        match refusal {
            Refusal::Method(allowed) => reply.headers.push(("Allow", (*allowed).to_owned())),
            Refusal::Upgrade => {
                reply.headers.push(("Upgrade", "websocket".to_owned()));
                reply.headers.push(("Sec-WebSocket-Version", "13".to_owned()));
            }
            _ => {}
        }
        reply
    }

    /// The bytes on the wire. Nothing here may be stored by a cache: it holds keys.
    pub fn bytes(&self, keep: bool, head_only: bool) -> Vec<u8> {
        let StatusCode(code) = self.status;
        let connection = if keep { "keep-alive" } else { "close" };
        let date = httpdate::fmt_http_date(SystemTime::now());
        let mut head = format!(
            "HTTP/1.1 {code} {}\r\nServer: swob-gateway\r\nDate: {date}\r\nConnection: {connection}\r\n\
             Content-Length: {}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
            self.status.default_reason_phrase(),
            self.body.len(),
        );
        for (name, value) in &self.headers {
            debug_assert!(!value.contains(['\r', '\n']), "{name} would split the reply");
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if !head_only {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}
