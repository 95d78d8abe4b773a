//! What an app asks for before the handshake, and a dashboard's page: `GET /`, CORS, a session.

use std::time::{Duration, SystemTime};

use super::recipe::{Lines, Topic};
use super::{Doctor, spell};
use crate::client::ClientError;
use crate::client::exchange::{Answer, Request};
use crate::client::url::Url;
use crate::finding::Finding;
use crate::log::cause;

/// As the one-step app's HTTP library sends it (contract §3).
const ANDROID: [(&str, &str); 2] = [
    ("Accept", "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"),
    ("Cache-Control", "no-cache"),
];
/// A clock that is off by more makes people look for the wrong hour in the logs, by far more
/// makes certificates invalid.
const OFF: Duration = Duration::from_secs(30);
const FAR_OFF: Duration = Duration::from_secs(300);
/// An origin that no settings allow: .invalid is nobody's (RFC 2606 §2).
const STRANGER: &str = "https://doctor.invalid";

impl Doctor<'_> {
    /// Whether `/` is answered; below 400 is what the one-step app needs.
    pub(super) fn root(&mut self) -> bool {
        let answer = match self.ask(&Request::new("GET", "/", &ANDROID)) {
            Ok(answer) => answer,
            Err(error) => {
                self.silent(&error);
                return false;
            }
        };
        match answer.status {
            ..400 => self.good("root", format!("GET / is answered {}", answer.status)),
            502..=504 => self.unreached("root", answer.status, Topic::Api),
            status => self.tell(
                "root",
                Finding::problem(
                    format!(
                        "GET / is answered {status}, but the one-step app gives up unless that \
                         is below 400"
                    ),
                    "let the proxy lead all paths to the gateway, / too",
                ),
                self.recipe(Topic::Api),
            ),
        }
        self.clock(&answer);
        true
    }

    fn silent(&mut self, error: &ClientError) {
        let api = &self.order.api;
        let port = api.port;
        let hint = if api.secure { "" } else { "; a port that speaks TLS answers https:// alone" };
        self.tell(
            "root",
            Finding::problem(
                format!(
                    "port {port} takes the connection, but GET / gets no answer: {}",
                    cause(error)
                ),
                format!(
                    "check that the API listens there and not another program, such as the sync \
                     sockets at 6996, and that the proxy reaches it{hint}"
                ),
            ),
            self.lines(Topic::Api, &["[http]", "listen = 127.0.0.1:15000"]),
        );
    }

    /// The proxy answers for a gateway that it does not reach.
    pub(super) fn unreached(&mut self, check: &'static str, status: u16, topic: Topic) {
        let (section, listen) = match topic {
            Topic::Sockets => ("[websocket]", "listen = 127.0.0.1:6996"),
            _ => ("[http]", "listen = 127.0.0.1:15000"),
        };
        self.tell(
            check,
            Finding::problem(
                format!("the proxy answers {status}: it does not reach the gateway behind it"),
                "check that the gateway runs (systemctl status swob-gateway), and that the proxy \
                 leads to the address and port at which it listens",
            ),
            self.lines(topic, &[section, listen]),
        );
    }

    /// The server's clock against this machine's.
    fn clock(&mut self, answer: &Answer) {
        let date = answer.header("date").and_then(|text| httpdate::parse_http_date(text).ok());
        let Some(date) = date else { return self.note("clock", "the answer has no Date") };
        let now = SystemTime::now();
        let (off, word) = match date.duration_since(now) {
            Ok(ahead) => (ahead, "ahead of"),
            Err(error) => (error.duration(), "behind"),
        };
        let what = format!("the server's clock is {} {word} this machine's", span(off));
        let remedy = "see on both with timedatectl which is wrong, and let it be set by itself: \
                      timedatectl set-ntp true";
        match off {
            off if off >= FAR_OFF => self.tell("clock", Finding::problem(what, remedy), vec![]),
            off if off >= OFF => self.tell("clock", Finding::warning(what, remedy), vec![]),
            _ => self.good("clock", "the server's clock is this machine's"),
        }
    }

    /// Whether the pages of the dashboards may read answers, and nobody else's.
    pub(super) fn origins(&mut self) {
        let origins = self.allowed();
        if origins.is_empty() {
            self.note("origin", "no dashboard is named; name its origin with --origin https://…");
        }
        for origin in &origins {
            let refused = self.preflight(origin).or_else(|| self.readable(origin));
            match refused {
                None => self.good("origin", format!("pages of {origin} may use the API")),
                Some(what) => {
                    let all = format!("allowed_origins = {}", origins.join(", "));
                    self.tell(
                        "origin",
                        Finding::problem(
                            format!("pages of {origin} may not use the API: {what}"),
                            "allow the origin, as browsers send it, in the settings and restart \
                             the server; the proxy must neither answer OPTIONS nor write \
                             Access-Control headers of its own",
                        ),
                        vec![Lines::settings(&["[http]", &all])],
                    );
                }
            }
        }
        if self.preflight(STRANGER).is_none() && self.readable(STRANGER).is_none() {
            self.tell(
                "origin",
                Finding::problem(
                    "pages of every origin may use the API",
                    "let the proxy write no Access-Control headers of its own: the gateway \
                     writes them, for the origins of the settings alone",
                ),
                vec![],
            );
        }
    }

    /// Those that were named, else those of the settings.
    pub(super) fn allowed(&self) -> Vec<String> {
        let named = !self.order.origins.is_empty();
        let from = if named { &self.order.origins } else { &self.settings.http.allowed_origins };
        from.clone()
    }

    /// What of a preflight keeps a browser from going on.
    fn preflight(&mut self, origin: &str) -> Option<String> {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "GET"),
            ("Access-Control-Request-Headers", "content-type"),
        ];
        let path = self.session_path();
        let answer = match self.ask(&Request::new("OPTIONS", &path, &headers)) {
            Ok(answer) => answer,
            Err(error) => return Some(format!("the preflight gets no answer: {}", cause(&error))),
        };
        if !(200..300).contains(&answer.status) {
            return Some(format!("the preflight is answered {}", answer.told()));
        }
        let headers = answer.header("access-control-allow-headers").unwrap_or_default();
        if !headers.to_ascii_lowercase().contains("content-type") {
            return Some("the preflight does not allow the header content-type".to_owned());
        }
        misses(&answer, origin)
    }

    fn readable(&mut self, origin: &str) -> Option<String> {
        let path = self.session_path();
        match self.ask(&Request::new("GET", &path, &[("Origin", origin)])) {
            Ok(answer) => misses(&answer, origin),
            Err(error) => Some(cause(&error)),
        }
    }

    fn session_path(&self) -> String {
        format!("/v2/sync/users/{}", self.user)
    }

    /// Opens a session as a dashboard does: the URL of its socket.
    pub(super) fn session(&mut self) -> Option<(String, Url)> {
        let path = self.session_path();
        let origin = self.allowed().into_iter().next();
        let mut headers = vec![("Content-Type", "text/plain")];
        headers.extend(origin.as_deref().map(|origin| ("Origin", origin)));
        let answer = match self.ask(&Request::new("GET", &path, &headers)) {
            Ok(answer) => answer,
            Err(error) => {
                self.silent(&error);
                return None;
            }
        };
        if matches!(answer.status, 502..=504) && answer.header("retry-after").is_none() {
            self.unreached("session", answer.status, Topic::Api);
            return None;
        }
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let url = Url::parse(&text).filter(|url| {
            answer.status == 200 && text.starts_with("ws") && url.path.starts_with("/v2/sync/init/")
        });
        let Some(url) = url else {
            self.tell(
                "session",
                Finding::problem(
                    format!("GET {path} gives no URL of a sync socket but {}", answer.told()),
                    "let the proxy lead /v2/sync/users/ to the API and not elsewhere, and change \
                     nothing of its answers",
                ),
                self.recipe(Topic::Api),
            );
            return None;
        };
        Some((text, url))
    }
}

/// What the headers of an answer lack for a page of this origin (Fetch standard, CORS protocol).
fn misses(answer: &Answer, origin: &str) -> Option<String> {
    let allowed: Vec<&str> = answer.all("access-control-allow-origin").collect();
    match allowed.as_slice() {
        [] => Some("the answer has no Access-Control-Allow-Origin".to_owned()),
        [one] if *one != origin => Some(format!("Access-Control-Allow-Origin is {one:?}")),
        [_] if answer.header("access-control-allow-credentials") != Some("true") => {
            Some("the answer lacks Access-Control-Allow-Credentials: true".to_owned())
        }
        [_] => None,
        many => {
            Some(format!("{} Access-Control-Allow-Origin, where browsers take one", many.len()))
        }
    }
}

/// A long time for people.
fn span(time: Duration) -> String {
    match time.as_secs() {
        0..120 => spell(time),
        seconds @ 120..7200 => format!("{} minutes", seconds / 60),
        seconds @ 7200..172_800 => format!("{} hours", seconds / 3600),
        seconds => format!("{} days", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_reads_answers_for_its_own_origin_with_credentials() {
        let check = |headers: &[(&str, &str)], expected: Option<&str>| {
            let headers = headers
                .iter()
                .map(|(name, value)| (format!("access-control-allow-{name}"), (*value).to_owned()))
                .collect();
            let answer =
                Answer { status: 200, headers, body: vec![], chunked: false, continued: false };
            let found = misses(&answer, "https://a.example");
            match expected {
                None => assert_eq!(found, None),
                Some(text) => {
                    assert!(found.as_ref().is_some_and(|f| f.contains(text)), "{found:?}")
                }
            }
        };
        let own = ("origin", "https://a.example");
        check(&[own, ("credentials", "true")], None);
        check(&[], Some("has no Access-Control-Allow-Origin"));
        check(&[own], Some("lacks Access-Control-Allow-Credentials"));
        check(&[("origin", "*"), ("credentials", "true")], Some("is \"*\""));
        check(&[own, own, ("credentials", "true")], Some("2 Access-Control-Allow-Origin"));
    }

    #[test]
    fn spans_are_short() {
        let check = |seconds, expected: &str| {
            assert_eq!(span(Duration::from_secs(seconds)), expected);
        };
        check(45, "45.0 s");
        check(300, "5 minutes");
        check(86_390, "23 hours");
        check(172_800, "2 days");
    }
}
