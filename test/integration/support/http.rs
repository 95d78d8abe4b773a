//! Requests byte for byte, for what a well-behaved client would never send.

use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Reads one answer; `None` where the peer closed without.
    pub fn read(stream: &mut impl Read) -> Option<Self> {
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => return None,
                Ok(n) => bytes.extend_from_slice(&chunk[..n]),
            }
        };
        let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
        let mut lines = text.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: bytes[head..].to_vec() };
        let length = answer.header("content-length").map_or(0, |text| text.parse().unwrap());
        while answer.body.len() < length {
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => return None,
                Ok(n) => answer.body.extend_from_slice(&chunk[..n]),
            }
        }
        Some(answer)
    }
}

pub fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Sends these bytes and reads one answer.
pub fn raw(address: &str, bytes: &[u8]) -> Option<Answer> {
    let mut stream = connect(address);
    // The server may refuse before it has read everything.
    let _ = stream.write_all(bytes);
    Answer::read(&mut stream)
}

pub fn request(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend(format!("{name}: {value}\r\n").bytes());
    }
    bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
    bytes.extend(body);
    raw(address, &bytes).unwrap_or_else(|| panic!("no answer to {method} {path}"))
}

pub fn get(address: &str, path: &str) -> Answer {
    request(address, "GET", path, &[], b"")
}

/// Posts to a path or a whole URL on this address.
pub fn post(address: &str, url: &str, body: &str) -> Answer {
    let path = url.split_once("://").map_or(url, |(_, rest)| &rest[rest.find('/').unwrap()..]);
    request(address, "POST", path, &[("Content-Type", "application/json")], body.as_bytes())
}
