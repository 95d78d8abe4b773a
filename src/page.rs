//! The sync page: a person types a user id and sees the QR codes of a session.
//!
//! Owns the page's files, its two languages and its Content-Security-Policy. The page is a
//! dashboard like any other: what it asks and hears is the contract's, and nothing here knows a
//! session. Only the QR codes are drawn here rather than in the browser, so that one library
//! draws them everywhere; their URLs come in a body, which no log keeps, and nothing is stored.

use std::time::Duration;

use tiny_http::Method;

use crate::http::Reply;
use crate::limit::Peer;
use crate::qr;
use crate::refusal::Refusal;
use crate::route::{Asset, Route};
use crate::wire::Endpoint;
use crate::workers::Workers;

const HTML: &str = include_str!("page/sync.html");
const SCRIPT: &str = include_str!("page/page.js");
const STYLE: &str = include_str!("page/page.css");
const ICON: &str = include_str!("page/icon.svg");
/// The texts: a line `key = text` each.
const ENGLISH: &str = include_str!("page/en.txt");
const FRENCH: &str = include_str!("page/fr.txt");

/// A language of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    English,
    French,
}

/// The page of one server.
pub struct Page {
    /// In the order of [`Language`].
    html: [String; 2],
    policy: String,
    api: Endpoint,
    /// A code costs a core two milliseconds, and anyone may ask for one: whoever floods this
    /// keeps one core at the most, and phones the others.
    draughtsman: Workers,
}

impl Page {
    /// The page for an API and its sockets, with the time between two codes and their number.
    pub fn new(api: &Endpoint, socket: &Endpoint, sleep: Duration, changes: u32) -> Self {
        let fill = |language| {
            let facts = [
                ("origin", api.origin()),
                ("sleep", sleep.as_secs_f64().to_string()),
                ("changes", changes.to_string()),
            ];
            facts.iter().fold(translate(language), |html, (key, value)| {
                html.replace(&format!("{{{{{key}}}}}"), value)
            })
        };
        Page {
            html: [Language::English, Language::French].map(fill),
            policy: policy(socket),
            api: api.clone(),
            draughtsman: Workers::of(1),
        }
    }

    /// One of the page's files, the page itself in the language that its query or the browser
    /// asks for.
    pub fn file(&self, asset: Asset, target: &str, accept_language: Option<&str>) -> Reply {
        let (kind, body) = match asset {
            Asset::Page => ("text/html", &*self.html[language(target, accept_language) as usize]),
            Asset::Script => ("text/javascript", SCRIPT),
            Asset::Style => ("text/css", STYLE),
            Asset::Icon => ("image/svg+xml", ICON),
        };
        let mut reply = Reply::new(200, &format!("{kind}; charset=utf-8"), body);
        reply.headers.extend([
            ("Content-Security-Policy", self.policy.clone()),
            ("Referrer-Policy", "no-referrer".to_owned()),
            ("Cross-Origin-Opener-Policy", "same-origin".to_owned()),
            ("Cross-Origin-Resource-Policy", "same-origin".to_owned()),
        ]);
        reply
    }

    /// The picture of a handshake URL of this server.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] for any other text: strangers get no codes drawn for their pages.
    /// [`Refusal::Full`] when too many wait for theirs.
    pub fn qr(&self, peer: Peer, body: &[u8]) -> Result<Reply, Refusal> {
        const OTHER: Refusal = Refusal::Malformed("the body is not a handshake URL of this server");
        let url = std::str::from_utf8(body).ok().filter(|url| self.is_own(url)).ok_or(OTHER)?;
        let _turn = self.draughtsman.enter(peer)?;
        let picture = qr::svg(url).ok_or(OTHER)?;
        Ok(Reply::new(200, "image/svg+xml", picture))
    }

    fn is_own(&self, url: &str) -> bool {
        url.strip_prefix(&self.api.url("http", "")).is_some_and(|path| {
            let route = Route::find(&Method::Post, path);
            !path.contains('?') && matches!(route, Ok(Route::Handshake(..)))
        })
    }
}

/// What the page may load and reach: its own files, its pictures, and the socket.
fn policy(socket: &Endpoint) -> String {
    // A host source has no form for an IPv6 address (CSP3 §2.3.1): then the scheme must do.
    let socket = if socket.host.starts_with('[') {
        if socket.secure { "wss:" } else { "ws:" }.to_owned()
    } else {
        socket.url("ws", "")
    };
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
         connect-src 'self' {socket}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

fn texts(language: Language) -> impl Iterator<Item = (&'static str, &'static str)> {
    let file = match language {
        Language::English => ENGLISH,
        Language::French => FRENCH,
    };
    file.lines().filter_map(|line| line.split_once(" = "))
}

fn translate(language: Language) -> String {
    let (code, other, other_code) = match language {
        Language::English => ("en", Language::French, "fr"),
        Language::French => ("fr", Language::English, "en"),
    };
    let other_name = texts(other).find(|(key, _)| *key == "name").unwrap_or_default().1;
    let own = [("lang", code), ("other", other_code), ("other_name", other_name)];
    texts(language)
        .chain(own)
        .fold(HTML.to_owned(), |html, (key, text)| html.replace(&format!("{{{{{key}}}}}"), text))
}

/// The language of `?lang=`, else the better liked of the two in `Accept-Language` (RFC 9110
/// §12.5.4), else English.
fn language(target: &str, accept: Option<&str>) -> Language {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    match query.split('&').find_map(|pair| pair.strip_prefix("lang=")) {
        Some("fr") => return Language::French,
        Some("en") => return Language::English,
        _ => {}
    }
    let liking = |language: &str| {
        let ranges = accept.unwrap_or_default().split(',').filter_map(|range| {
            let (tag, weight) = range.split_once(';').unwrap_or((range, "q=1"));
            let primary = tag.trim().split('-').next().unwrap_or_default();
            let weight = weight.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok());
            primary.eq_ignore_ascii_case(language).then(|| weight.unwrap_or(0.0))
        });
        ranges.fold(0.0, f32::max)
    };
    if liking("fr") > liking("en") { Language::French } else { Language::English }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    fn page(host: &str) -> Page {
        let at = |port| Endpoint { secure: true, host: host.to_owned(), port };
        Page::new(&at(443), &at(6996), Duration::from_millis(1500), 3)
    }

    #[test]
    fn both_languages_have_every_text() {
        let page = page("sync.example");
        let keys = |language| texts(language).map(|(key, _)| key).collect::<Vec<_>>();
        assert_eq!(keys(Language::English), keys(Language::French));
        for html in &page.html {
            assert!(!html.contains("{{"), "{html}");
            assert!(html.contains("https://sync.example,"), "{html}");
            assert!(html.contains(r#"data-sleep="1.5" data-changes="3""#), "{html}");
        }
        let [english, french] = &page.html;
        assert!(english.contains(r#"<html lang="en">"#));
        assert!(english.contains(r#"lang="fr" hreflang="fr">Français<"#));
        assert!(french.contains(r#"<html lang="fr">"#));
        for (key, _) in texts(Language::English) {
            assert!(key == "name" || HTML.contains(&format!("{{{{{key}}}}}")), "{key}");
        }
    }

    #[test]
    fn nothing_is_inline_or_from_elsewhere() {
        for text in [HTML, STYLE, SCRIPT] {
            assert!(!text.contains("://") && !text.contains("style=") && !text.contains("eval("));
        }
        let handlers = ["onclick", "onsubmit", "onload", "javascript:", "<style", "<script>"];
        assert!(handlers.iter().all(|handler| !HTML.contains(handler)));
    }

    #[test]
    fn the_policy_names_the_socket() {
        let check = |host: &str, expected: &str| {
            let policy = page(host).policy;
            let connect = policy.split("; ").find(|part| part.starts_with("connect-src")).unwrap();
            assert_eq!(connect, format!("connect-src 'self' {expected}"));
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
        };
        check("sync.example", "wss://sync.example:6996");
        check("[2001:db8::1]", "wss:");
    }

    #[test]
    fn the_switch_wins_over_the_browser_and_english_over_none() {
        let check = |target: &str, accept: &str, expected: Language| {
            let accept = Some(accept).filter(|accept| !accept.is_empty());
            assert_eq!(language(target, accept), expected, "{target} {accept:?}");
        };
        use Language::{English, French};
        check("/sync", "", English);
        check("/sync", "fr", French);
        check("/sync", "fr-CM, fr;q=0.9, en;q=0.8", French);
        check("/sync", "en-US,en;q=0.9,fr;q=0.8", English);
        check("/sync", "en;q=0.5, FR ; q=0.7", French);
        check("/sync", "de, *;q=0.5", English);
        check("/sync", "fr;q=0", English);
        check("/sync", "fr;q=x", English);
        check("/sync", "fry", English);
        check("/sync?lang=en", "fr", English);
        check("/sync?a=b&lang=fr", "en", French);
        check("/sync?lang=de", "fr", French);
    }

    #[test]
    fn a_code_is_drawn_of_handshake_urls_of_this_server_alone() {
        let page = page("sync.example");
        let peer = Peer::of(Ipv4Addr::LOCALHOST.into());
        let id = "000102030405060708090a0b0c0d0e0f";
        let path = format!("/v2/sync/users/ada/sessions/{id}/handshake");
        let check = |url: &str, expected: u16| {
            let answer = page.qr(peer, url.as_bytes());
            let status = answer.map_or_else(|refusal| refusal.status(), |_| 200);
            assert_eq!(status, expected, "{url}");
        };
        check(&format!("https://sync.example:443{path}"), 200);
        check(&format!("https://sync.example{path}"), 400);
        check(&format!("http://sync.example:443{path}"), 400);
        check(&format!("https://evil.example:443{path}"), 400);
        check(&format!("https://sync.example:443.evil{path}"), 400);
        check(&format!("https://sync.example:443{path}?x"), 400);
        check("https://sync.example:443/", 400);
        check("https://sync.example:443/v2/sync/users/ada", 400);
        check("", 400);
        assert!(page.qr(peer, b"\xff").is_err());
    }

    #[test]
    fn codes_are_drawn_one_after_the_other() {
        let page = page("sync.example");
        let peer = |last| Peer::of(Ipv4Addr::new(192, 0, 2, last).into());
        let busy = page.draughtsman.enter(peer(1)).unwrap();
        let (drawn, drawings) = mpsc::channel();
        thread::scope(|scope| {
            let url = "https://sync.example:443/v2/sync/users/ada/sessions/000102030405060708090a0b0c0d0e0f/handshake";
            let draw = || drawn.send(page.qr(peer(2), url.as_bytes()).is_ok()).unwrap();
            thread::Builder::new().spawn_scoped(scope, draw).unwrap();
            drawings.recv_timeout(Duration::from_millis(200)).unwrap_err();
            drop(busy);
            assert!(drawings.recv().unwrap());
        });
    }
}
