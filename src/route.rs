//! Which resource a request means, aliases included (contract §1 to §5). Nothing is percent-decoded.

use tiny_http::Method;

use crate::refusal::Refusal;
use crate::session::{SessionId, UserId};

/// What a request to the API asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Route {
    /// `GET /`: phones want an answer below 400 (contract §3).
    Root,
    /// `GET /v2/sync/users/{user_id}`: a new session.
    Session(UserId),
    /// `POST /v2/sync/users/{user_id}/sessions/{session_id}`, with `/` or `/handshake` too.
    Handshake(UserId, SessionId),
    /// `POST /v2/sync/users/verification`: a phone checks its key (contract §4).
    Verification,
    /// `DELETE /v2/sync/users`: the BE removes a user (contract §5).
    Removal,
    /// `GET /sync` and below: a file of the sync page.
    Page(Asset),
    /// `POST /sync/qr`: a QR code for the sync page.
    Qr,
}

/// A file of the sync page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asset {
    /// The page itself.
    Page,
    /// Its script.
    Script,
    /// Its style sheet.
    Style,
    /// Its icon.
    Icon,
}

impl Route {
    /// Finds the resource; a query string is ignored.
    ///
    /// # Errors
    /// [`Refusal::Path`], [`Refusal::Method`], and what the ids in the path are refused for.
    pub fn find(method: &Method, target: &str) -> Result<Self, Refusal> {
        let segments = segments(target);
        let (route, allowed) = match *segments.as_slice() {
            [""] => (Route::Root, "GET"),
            ["v2", "sync", "users"] => (Route::Removal, "DELETE"),
            // A user may have this name: a GET opens a session for them.
            ["v2", "sync", "users", "verification"] if *method == Method::Post => {
                (Route::Verification, "POST")
            }
            ["v2", "sync", "users", "verification"]
                if !matches!(method, Method::Get | Method::Head) =>
            {
                return Err(Refusal::Method("GET, HEAD, POST, OPTIONS"));
            }
            ["v2", "sync", "users", user] => (Route::Session(UserId::parse(user)?), "GET"),
            ["v2", "sync", "users", user, "sessions", session]
            | ["v2", "sync", "users", user, "sessions", session, "" | "handshake"] => {
                (Route::Handshake(UserId::parse(user)?, SessionId::parse(session)?), "POST")
            }
            ["sync"] => (Route::Page(Asset::Page), "GET"),
            ["sync", "page.js"] => (Route::Page(Asset::Script), "GET"),
            ["sync", "page.css"] => (Route::Page(Asset::Style), "GET"),
            // Browsers ask for the second on the way from / to the page.
            ["sync", "icon.svg"] | ["favicon.ico"] => (Route::Page(Asset::Icon), "GET"),
            ["sync", "qr"] => (Route::Qr, "POST"),
            _ => return Err(Refusal::Path),
        };
        match (method, allowed) {
            (Method::Get | Method::Head, "GET")
            | (Method::Post, "POST")
            | (Method::Delete, "DELETE") => Ok(route),
            (_, "GET") => Err(Refusal::Method("GET, HEAD, OPTIONS")),
            (_, "DELETE") => Err(Refusal::Method("DELETE, OPTIONS")),
            (..) => Err(Refusal::Method("POST, OPTIONS")),
        }
    }
}

/// The user and the ticket in the path of a sync socket,
/// `/v2/sync/init/{user_id}/{session_id}` (contract §2).
///
/// # Errors
/// [`Refusal::Path`], [`Refusal::Method`], and a user id's [`Refusal::Malformed`].
pub fn socket<'a>(method: &Method, target: &'a str) -> Result<(UserId, &'a str), Refusal> {
    match *segments(target).as_slice() {
        ["v2", "sync", "init", user, ticket] if *method == Method::Get => {
            Ok((UserId::parse(user)?, ticket))
        }
        ["v2", "sync", "init", _, _] => Err(Refusal::Method("GET")),
        _ => Err(Refusal::Path),
    }
}

fn segments(target: &str) -> Vec<&str> {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    path.strip_prefix('/').map(|path| path.split('/').collect()).unwrap_or_default()
}

/// What the `Origin` of a request may do.
#[derive(Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    /// No browser page asks: phones, curl, websocat.
    Absent,
    /// A page that may read the answer; its origin is to be echoed.
    Allowed(&'a str),
    /// A page that may not.
    Foreign,
}

/// The origins whose pages may use the server, compared whole (RFC 6454 §6.2).
#[derive(Debug, Clone, Default)]
pub struct Origins {
    /// `[http] allowed_origins` and the server's own.
    pub listed: Vec<String>,
    /// In development any page of this machine may too, on whatever port it is served.
    pub localhost: bool,
}

impl Origins {
    /// Judges an `Origin` header.
    pub fn judge<'a>(&self, origin: Option<&'a str>) -> Origin<'a> {
        let Some(origin) = origin else { return Origin::Absent };
        let listed = self.listed.iter().any(|known| known == origin);
        if listed || self.localhost && is_localhost(origin) {
            Origin::Allowed(origin)
        } else {
            Origin::Foreign
        }
    }
}

fn is_localhost(origin: &str) -> bool {
    let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    let Some(host) = host else { return false };
    let host = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_one_resource() {
        let id = "000102030405060708090a0b0c0d0e0f";
        let user = || UserId::parse("ada").unwrap();
        let session = || Route::Handshake(user(), SessionId::parse(id).unwrap());
        let check = |method: Method, target: &str, expected: Result<Route, u16>| {
            let found = Route::find(&method, target).map_err(|refusal| refusal.status());
            assert_eq!(found, expected, "{method} {target}");
        };
        check(Method::Get, "/", Ok(Route::Root));
        check(Method::Head, "/?x=1", Ok(Route::Root));
        check(Method::Get, "/v2/sync/users/ada", Ok(Route::Session(user())));
        check(Method::Post, &format!("/v2/sync/users/ada/sessions/{id}"), Ok(session()));
        check(Method::Post, &format!("/v2/sync/users/ada/sessions/{id}/"), Ok(session()));
        check(Method::Post, &format!("/v2/sync/users/ada/sessions/{id}/handshake"), Ok(session()));
        check(Method::Get, &format!("/v2/sync/users/ada/sessions/{id}"), Err(405));
        check(Method::Post, &format!("/v2/sync/users/ada/sessions/{id}/other"), Err(404));
        check(Method::Post, "/v2/sync/users/ada/sessions/short", Err(404));
        check(Method::Post, "/v2/sync/users/ada", Err(405));
        check(Method::Post, "/v2/sync/users/verification", Ok(Route::Verification));
        let named = Route::Session(UserId::parse("verification").unwrap());
        check(Method::Get, "/v2/sync/users/verification", Ok(named));
        check(Method::Put, "/v2/sync/users/verification", Err(405));
        check(Method::Post, "/v2/sync/users/verification/", Err(404));
        check(Method::Delete, "/v2/sync/users", Ok(Route::Removal));
        check(Method::Get, "/v2/sync/users", Err(405));
        check(Method::Delete, "/v2/sync/users/ada", Err(405));
        check(Method::Get, "/sync?lang=fr", Ok(Route::Page(Asset::Page)));
        check(Method::Head, "/sync/page.js", Ok(Route::Page(Asset::Script)));
        check(Method::Get, "/favicon.ico", Ok(Route::Page(Asset::Icon)));
        check(Method::Post, "/sync", Err(405));
        check(Method::Post, "/sync/qr", Ok(Route::Qr));
        check(Method::Get, "/sync/qr", Err(405));
        check(Method::Get, "/sync/", Err(404));
        check(Method::Get, "/v2/sync/users/..", Err(400));
        check(Method::Get, "/v2/sync/users/%61da", Err(400));
        check(Method::Get, "/v2/sync/users/", Err(400));
        check(Method::Get, "/v1/sync/users/ada", Err(404));
        check(Method::Get, "*", Err(404));
        check(Method::Get, "//", Err(404));
    }

    #[test]
    fn a_sync_socket_has_one_path() {
        let check = |method: Method, target: &str, expected: Result<(&str, &str), u16>| {
            let found = socket(&method, target).map_err(|refusal| refusal.status());
            let found = found.map(|(user, ticket)| (user.as_str().to_owned(), ticket));
            let expected = expected.map(|(user, ticket)| (user.to_owned(), ticket));
            assert_eq!(found, expected, "{method} {target}");
        };
        check(Method::Get, "/v2/sync/init/111/000", Ok(("111", "000")));
        check(Method::Get, "/v2/sync/init/111/000?x", Ok(("111", "000")));
        check(Method::Post, "/v2/sync/init/111/000", Err(405));
        check(Method::Get, "/v2/sync/init/111/000/", Err(404));
        check(Method::Get, "/v2/sync/init/a%20b/000", Err(400));
        check(Method::Get, "/", Err(404));
    }

    #[test]
    fn an_origin_is_compared_whole() {
        let listed = vec!["https://app.example".to_owned()];
        let strict = Origins { listed: listed.clone(), localhost: false };
        let development = Origins { listed, localhost: true };
        let check = |origins: &Origins, origin: &str, allowed: bool| {
            let verdict = origins.judge(Some(origin));
            let expected = if allowed { Origin::Allowed(origin) } else { Origin::Foreign };
            assert_eq!(verdict, expected, "{origin}");
        };
        assert_eq!(strict.judge(None), Origin::Absent);
        check(&strict, "https://app.example", true);
        for foreign in [
            "http://app.example",
            "https://app.example:444",
            "https://app.example.evil",
            "https://evil-app.example",
            "null",
            "",
            "http://localhost:3000",
        ] {
            check(&strict, foreign, false);
        }
        check(&development, "http://localhost:3000", true);
        check(&development, "http://[::1]", true);
        check(&development, "http://127.0.0.1:8080", true);
        check(&development, "http://localhost.evil:80", false);
        check(&development, "evil://localhost", false);
        check(&development, "http://evil.example/://localhost", false);
        check(&development, "null", false);
    }
}
