//! The lines of a proxy's recipe in doc/proxy that answer for one thing, so that what the doctor
//! advises cannot differ from what is tested.

use crate::client::exchange::Answer;

/// A proxy that the project has a recipe for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    Nginx,
    Caddy,
    Apache,
    Haproxy,
}

/// What a recipe answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Where it listens, and for whom.
    Listen,
    /// That the certificate is for an RSA key.
    Certificate,
    /// That the API is reached.
    Api,
    /// That sockets are reached, and the upgrade passes.
    Sockets,
    /// How long a socket may be quiet.
    Quiet,
    /// That bodies pass as they are.
    Bodies,
}

/// What to write, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    pub place: &'static str,
    pub lines: Vec<String>,
}

impl Lines {
    /// Lines for the settings.
    pub fn settings(lines: &[impl AsRef<str>]) -> Self {
        let lines = lines.iter().map(|line| line.as_ref().to_owned()).collect();
        Lines { place: "gateway.ini", lines }
    }
}

const ALL: [Proxy; 4] = [Proxy::Nginx, Proxy::Caddy, Proxy::Apache, Proxy::Haproxy];

impl Proxy {
    /// The proxy that has left its name in an answer; HAProxy never does.
    pub fn of(answer: &Answer) -> Option<Self> {
        let names: Vec<String> =
            answer.all("server").chain(answer.all("via")).map(str::to_ascii_lowercase).collect();
        let named = |name: &str| names.iter().any(|text| text.contains(name));
        [(Proxy::Nginx, "nginx"), (Proxy::Caddy, "caddy"), (Proxy::Apache, "apache")]
            .into_iter()
            .find_map(|(proxy, name)| named(name).then_some(proxy))
    }

    fn file(self) -> (&'static str, &'static str) {
        match self {
            Proxy::Nginx => ("doc/proxy/nginx.conf", include_str!("../../doc/proxy/nginx.conf")),
            Proxy::Caddy => ("doc/proxy/Caddyfile", include_str!("../../doc/proxy/Caddyfile")),
            Proxy::Apache => ("doc/proxy/apache.conf", include_str!("../../doc/proxy/apache.conf")),
            Proxy::Haproxy => {
                ("doc/proxy/haproxy.cfg", include_str!("../../doc/proxy/haproxy.cfg"))
            }
        }
    }

    /// What the lines in question have, one of each.
    fn marks(self, topic: Topic) -> &'static [&'static str] {
        match (self, topic) {
            (Proxy::Nginx, Topic::Listen) => &["listen 443 ssl;", "server_name "],
            (Proxy::Nginx, Topic::Certificate) => &["ssl_certificate ", "ssl_certificate_key "],
            (Proxy::Nginx, Topic::Api) => &["location / {"],
            (Proxy::Nginx, Topic::Sockets) => &["proxy_http_version ", "location /v2/sync/init/ {"],
            (Proxy::Nginx, Topic::Quiet) => &["proxy_read_timeout ", "proxy_send_timeout "],
            (Proxy::Nginx, Topic::Bodies) => &["gzip off;"],
            (Proxy::Caddy, Topic::Listen) => &["gateway.example.org {"],
            (Proxy::Caddy, Topic::Certificate) => &["tls {"],
            (Proxy::Caddy, Topic::Api) => &["reverse_proxy 127.0.0.1:15000 {"],
            (Proxy::Caddy, Topic::Sockets) => &["@sockets path ", "reverse_proxy @sockets "],
            (Proxy::Caddy, Topic::Quiet) => &["no `stream_timeout` here"],
            (Proxy::Caddy, Topic::Bodies) => &["no `encode` here"],
            (Proxy::Apache, Topic::Listen) => &["<VirtualHost ", "ServerName "],
            (Proxy::Apache, Topic::Certificate) => {
                &["SSLCertificateFile ", "SSLCertificateKeyFile "]
            }
            (Proxy::Apache, Topic::Api) => &["ProxyPass / "],
            (Proxy::Apache, Topic::Sockets | Topic::Quiet) => &["ProxyPass /v2/sync/init/ "],
            (Proxy::Apache, Topic::Bodies) => &["no-gzip", "no-brotli"],
            (Proxy::Haproxy, Topic::Listen) => &["frontend https", "bind :443 "],
            (Proxy::Haproxy, Topic::Certificate) => &["bind :443 "],
            (Proxy::Haproxy, Topic::Api) => &["default_backend api", "backend api"],
            (Proxy::Haproxy, Topic::Sockets) => {
                &["bind :443 ", "use_backend sockets ", "backend sockets"]
            }
            (Proxy::Haproxy, Topic::Quiet) => &["timeout tunnel "],
            (Proxy::Haproxy, Topic::Bodies) => &["no `compression` here"],
        }
    }

    fn lines(self, topic: Topic, host: &str) -> Lines {
        let (place, recipe) = self.file();
        let text: Vec<&str> = recipe.lines().collect();
        let mut lines = Vec::new();
        for mark in self.marks(topic) {
            // The head of each recipe says how it is installed.
            let at = text.iter().position(|line| {
                let line = line.trim_start();
                line.starts_with(mark)
                    || line.contains(mark) && (line.contains("SetEnv") || mark.contains('`'))
            });
            lines.extend(at.into_iter().flat_map(|at| block(&text[at..])));
        }
        let lines = lines.into_iter().map(|line| line.replace("gateway.example.org", host));
        Lines { place, lines: lines.collect() }
    }
}

/// A line, and what it opens; a site as a whole is left to its first line.
fn block<'a>(text: &[&'a str]) -> Vec<&'a str> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let first = text[0];
    let section = first.starts_with("backend ");
    let last = if section {
        text.iter().position(|line| line.is_empty())
    } else if first.ends_with('{') && indent(first) > 0 {
        let close = |line: &&str| line.trim() == "}" && indent(line) == indent(first);
        text.iter().position(close).map(|at| at + 1)
    } else {
        Some(1)
    };
    text[..last.unwrap_or(text.len())].iter().map(|line| line.trim_end()).collect()
}

/// The lines for one thing: those of the proxy that is known, else of each.
pub fn lines(proxy: Option<Proxy>, topic: Topic, host: &str) -> Vec<Lines> {
    let known = proxy.map(|proxy| vec![proxy]).unwrap_or_else(|| ALL.to_vec());
    known.into_iter().map(|proxy| proxy.lines(topic, host)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_finds_its_lines_in_every_recipe() {
        let topics = [
            Topic::Listen,
            Topic::Certificate,
            Topic::Api,
            Topic::Sockets,
            Topic::Quiet,
            Topic::Bodies,
        ];
        for topic in topics {
            for proxy in ALL {
                let found = proxy.lines(topic, "h.example").lines;
                for mark in proxy.marks(topic) {
                    let mark = mark.replace("gateway.example.org", "h.example");
                    let there = found.iter().any(|line| line.contains(&mark));
                    assert!(there, "{proxy:?} {topic:?} {mark}: {found:?}");
                }
            }
        }
    }

    #[test]
    fn a_block_is_whole_and_no_longer() {
        let check = |proxy: Proxy, topic, first: &str, last: &str, count| {
            let lines = proxy.lines(topic, "h.example").lines;
            let ends = (lines[0].trim(), lines[lines.len() - 1].trim());
            assert_eq!((ends, lines.len()), ((first, last), count), "{lines:?}");
        };
        check(Proxy::Nginx, Topic::Sockets, "proxy_http_version 1.1;", "}", 8);
        check(Proxy::Caddy, Topic::Certificate, "tls {", "}", 5);
        check(Proxy::Caddy, Topic::Listen, "h.example {", "h.example {", 1);
        check(
            Proxy::Haproxy,
            Topic::Api,
            "default_backend api",
            "server gateway 127.0.0.1:15000",
            3,
        );
    }

    #[test]
    fn a_proxy_is_known_by_what_it_leaves_in_answers() {
        let check = |headers: &[(&str, &str)], expected| {
            let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            let answer =
                Answer { status: 200, headers, body: vec![], chunked: false, continued: false };
            assert_eq!(Proxy::of(&answer), expected);
        };
        check(&[("server", "nginx/1.22.1")], Some(Proxy::Nginx));
        check(&[("server", "swob-gateway"), ("via", "1.1 Caddy")], Some(Proxy::Caddy));
        check(&[("server", "Apache/2.4.62 (Debian)")], Some(Proxy::Apache));
        check(&[("server", "swob-gateway")], None);
    }
}
