//! URLs as the server prints them and people paste them.

use crate::wire::Endpoint;

/// A place on a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Url {
    /// The server.
    pub endpoint: Endpoint,
    /// Begins with `/`.
    pub path: String,
}

impl Url {
    /// Reads `http`, `ws` and `app` URLs, and those of the three with TLS; `None` for others.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once("://")?;
        let secure = match scheme {
            "http" | "ws" | "app" => false,
            "https" | "wss" | "apps" => true,
            _ => return None,
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !authority.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, if secure { 443 } else { 80 }),
        };
        let odd = |c: char| c.is_whitespace() || c.is_control() || "?#@\\".contains(c);
        if host.is_empty() || rest.contains(odd) {
            return None;
        }
        let path = if path.is_empty() { "/" } else { path }.to_owned();
        Some(Url { endpoint: Endpoint { secure, host: host.to_owned(), port }, path })
    }

    /// A segment of the path as the apps count them: they take the user id as segment 4
    /// (contract §2).
    pub fn segment(&self, number: usize) -> Option<&str> {
        self.path.split('/').nth(number).filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_with_and_without_a_port() {
        let check = |text: &str, secure, host: &str, port, path: &str| {
            let endpoint = Endpoint { secure, host: host.to_owned(), port };
            assert_eq!(Url::parse(text), Some(Url { endpoint, path: path.to_owned() }), "{text}");
        };
        check("http://localhost:15000/a/b", false, "localhost", 15000, "/a/b");
        check("https://sync.example", true, "sync.example", 443, "/");
        check("ws://192.0.2.1/x", false, "192.0.2.1", 80, "/x");
        check("wss://[2001:db8::1]:6996/x", true, "[2001:db8::1]", 6996, "/x");
        check("wss://[2001:db8::1]/x", true, "[2001:db8::1]", 443, "/x");
        check("apps://h:1/x\n", true, "h", 1, "/x");
        for text in ["", "h", "ftp://h/", "http://", "http:///x", "http://h:x/", "http://h:99999/"]
        {
            assert_eq!(Url::parse(text), None, "{text}");
        }
        for text in ["http://u@h/", "http://h/a b", "http://h/a\r\nb", "http://h/?q", "http://h/#f"]
        {
            assert_eq!(Url::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_user_is_segment_four() {
        let url = Url::parse("app://h:80/v2/sync/users/ada/sessions/0f/handshake").unwrap();
        assert_eq!((url.segment(4), url.segment(6)), (Some("ada"), Some("0f")));
        assert_eq!(Url::parse("http://h/v2/sync/users/").unwrap().segment(4), None);
    }
}
