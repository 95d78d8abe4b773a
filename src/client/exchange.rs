//! One HTTP/1.1 request and its answer as it arrives: with its headers, unpacked by nobody.
//!
//! [`super::link`] carries the bytes and keeps the deadline. What an answer means is not known here.

use std::io::{self, Read as _, Write as _};
use std::time::{Duration, Instant};

use httparse::Status;

use super::link::Link;
use super::{ClientError, Trust};
use crate::wire::Endpoint;

/// The largest answer taken, in bytes.
const MOST: usize = 1024 * 1024;
/// How long a client waits for `100 Continue` before it sends the body nonetheless (RFC 9110
/// §10.1.1; curl waits a second).
const CONTINUE: Duration = Duration::from_secs(2);

/// A request.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a str,
    /// Whether the body waits for `100 Continue`.
    pub expects: bool,
    /// Whether a packed answer is welcome, as it is to browsers and apps.
    pub packed: bool,
}

impl<'a> Request<'a> {
    /// Without a body.
    pub fn new(method: &'a str, path: &'a str, headers: &'a [(&'a str, &'a str)]) -> Self {
        Request { method, path, headers, body: "", expects: false, packed: false }
    }

    /// With one.
    pub fn post(path: &'a str, headers: &'a [(&'a str, &'a str)], body: &'a str) -> Self {
        Request { body, ..Request::new("POST", path, headers) }
    }

    fn head(&self, to: &Endpoint) -> String {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: swob-gateway\r\nConnection: close\r\n",
            self.method,
            self.path,
            to.authority()
        );
        let mut line = |name: &str, value: &str| head.extend([name, ": ", value, "\r\n"]);
        if self.packed {
            line("Accept-Encoding", "gzip, deflate, br");
        }
        if self.method == "POST" {
            line("Content-Length", &self.body.len().to_string());
        }
        if self.expects {
            line("Expect", "100-continue");
        }
        self.headers.iter().for_each(|(name, value)| line(name, value));
        head + "\r\n"
    }
}

/// An answer.
#[derive(Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    /// The names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the body came in chunks, without its length.
    pub chunked: bool,
    /// Whether `100 Continue` came before it.
    pub continued: bool,
}

impl Answer {
    /// A header's value, the first where there are several.
    pub fn header<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// A header's values.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = move |(known, _): &&(String, String)| known == name;
        self.headers.iter().filter(named).map(|(_, value)| value.as_str())
    }

    /// The body as JSON, or null.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// What a refusal says of itself: the `detail` of its problem, or nothing.
    pub fn reason(&self) -> String {
        let problem = self.json();
        let detail = problem["detail"].as_str().unwrap_or_default();
        // A stranger's text must not write to the terminal beyond its line.
        detail.chars().filter(|c| !c.is_control()).take(200).collect()
    }

    /// The status, with the reason where there is one.
    pub fn told(&self) -> String {
        let reason = self.reason();
        let colon = if reason.is_empty() { "" } else { ": " };
        format!("{}{colon}{reason}", self.status)
    }
}

/// Connects, and does the same as [`exchange`].
///
/// # Errors
/// Those of [`Link::open`] and of [`exchange`].
pub fn ask(to: &Endpoint, trust: Trust, request: &Request<'_>) -> Result<Answer, ClientError> {
    exchange(&mut Link::open(to, trust)?, to, request)
}

/// Sends a request and reads its answer, until the link's deadline.
///
/// # Errors
/// [`ClientError::Away`] as the connection ends or its deadline passes, [`ClientError::Answer`]
/// for what is no HTTP.
pub fn exchange(
    link: &mut Link,
    to: &Endpoint,
    request: &Request<'_>,
) -> Result<Answer, ClientError> {
    let away = |error| ClientError::Away(format!("{}:{}", to.host, to.port), error);
    let mut bytes = Vec::new();
    link.write_all(request.head(to).as_bytes()).map_err(away)?;
    if request.expects {
        let deadline = link.deadline();
        link.until(deadline.min(Instant::now() + CONTINUE));
        // Silence is an answer here: then the body goes without leave.
        let _ = fill(link, &mut bytes);
        link.until(deadline);
    }
    link.write_all(request.body.as_bytes()).map_err(away)?;
    loop {
        if let Some(answer) = parse(&bytes, false)? {
            return Ok(answer);
        }
        if bytes.len() > MOST {
            return Err(ClientError::Answer("it is longer than any of the gateway's"));
        }
        if fill(link, &mut bytes).map_err(away)? == 0 {
            let cut = if bytes.is_empty() {
                ClientError::Answer("the connection ends without any")
            } else {
                ClientError::Answer("it breaks off before the length that it told")
            };
            return parse(&bytes, true)?.ok_or(cut);
        }
    }
}

fn fill(link: &mut Link, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut chunk = [0; 8192];
    let count = link.read(&mut chunk)?;
    bytes.extend_from_slice(&chunk[..count]);
    Ok(count)
}

/// The answer in these bytes, `None` while it is not whole; `ended` once no more will come.
fn parse(mut bytes: &[u8], ended: bool) -> Result<Option<Answer>, ClientError> {
    const ODD: ClientError = ClientError::Answer("it is not HTTP");
    let mut continued = false;
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut headers);
        let Status::Complete(length) = head.parse(bytes).map_err(|_| ODD)? else { return Ok(None) };
        let status = head.code.ok_or(ODD)?;
        let rest = &bytes[length..];
        if status < 200 {
            continued |= status == 100;
            bytes = rest;
            continue;
        }
        let headers: Vec<(String, String)> = head
            .headers
            .iter()
            .map(|header| {
                let value = String::from_utf8_lossy(header.value).trim().to_owned();
                (header.name.to_ascii_lowercase(), value)
            })
            .collect();
        let mut answer = Answer { status, headers, body: Vec::new(), chunked: false, continued };
        answer.chunked = answer.header("transfer-encoding").is_some();
        let length = answer.header("content-length").and_then(|text| text.parse::<usize>().ok());
        let body = match length {
            _ if matches!(status, 204 | 304) => Some(Vec::new()),
            _ if answer.chunked => join(rest)?,
            Some(length) => rest.get(..length).map(<[u8]>::to_vec),
            None => ended.then(|| rest.to_vec()),
        };
        return Ok(body.map(|body| Answer { body, ..answer }));
    }
}

/// Joins the chunks of a body (RFC 9112 §7.1); `None` while the last is missing.
fn join(mut bytes: &[u8]) -> Result<Option<Vec<u8>>, ClientError> {
    let mut body = Vec::new();
    loop {
        let size = httparse::parse_chunk_size(bytes)
            .map_err(|_| ClientError::Answer("its chunks are not HTTP's"))?;
        let Status::Complete((head, size)) = size else { return Ok(None) };
        if size == 0 {
            return Ok(Some(body));
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(MOST);
        let (Some(chunk), Some(rest)) =
            (bytes.get(head..head + size), bytes.get(head + size + 2..))
        else {
            return Ok(None);
        };
        body.extend_from_slice(chunk);
        bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_framing_says_so() {
        let check = |text: &str, ended, expected: Option<(u16, &str)>| {
            let found = parse(text.as_bytes(), ended).unwrap();
            let found =
                found.map(|answer| (answer.status, String::from_utf8(answer.body).unwrap()));
            assert_eq!(found, expected.map(|(status, body)| (status, body.to_owned())), "{text:?}");
        };
        check("HTTP/1.1 200 OK\r\n", false, None);
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", true, None);
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", false, Some((200, "abc")));
        check("HTTP/1.1 204 No\r\n\r\n", false, Some((204, "")));
        check("HTTP/1.1 200 OK\r\n\r\nab", false, None);
        check("HTTP/1.1 200 OK\r\n\r\nab", true, Some((200, "ab")));
        let chunks = "HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n";
        check(chunks, true, None);
        check(&format!("{chunks}0\r\n\r\n"), false, Some((404, "abc")));
        check("HTTP/1.1 100 Continue\r\n\r\n", false, None);
        let continued = parse(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            false,
        );
        assert!(continued.unwrap().unwrap().continued);
        assert!(parse(b"SSH-2.0-OpenSSH\r\n", false).is_err());
    }

    #[test]
    fn a_request_names_its_length_and_its_port() {
        let to = Endpoint { secure: true, host: "h".to_owned(), port: 444 };
        let post = Request { expects: true, ..Request::post("/p", &[("A", "b")], "xyz") };
        let head = post.head(&to);
        assert!(head.starts_with("POST /p HTTP/1.1\r\nHost: h:444\r\n"), "{head}");
        assert!(
            head.ends_with("Content-Length: 3\r\nExpect: 100-continue\r\nA: b\r\n\r\n"),
            "{head}"
        );
        let head = Request::new("GET", "/", &[]).head(&Endpoint { port: 443, ..to.clone() });
        assert!(head.contains("Host: h\r\n") && !head.contains("Content-Length"), "{head}");
        assert!(!head.contains("Accept-Encoding"), "{head}");
        let packed = Request { packed: true, ..Request::new("GET", "/", &[]) };
        assert!(packed.head(&to).contains("Accept-Encoding: gzip"));
    }
}
