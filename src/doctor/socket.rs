//! The dashboard's socket: the upgrade through the proxy, the first frame, and whether it lives
//! through a quiet time.

use std::io;
use std::time::{Duration, Instant};

use openssl::x509::X509VerifyResult;
use serde_json::Value;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::http::HeaderValue;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use super::recipe::{Lines, Topic};
use super::{Doctor, PATIENCE, spell};
use crate::client::link::{Link, resolve};
use crate::client::url::Url;
use crate::client::{ClientError, Trust};
use crate::finding::Finding;
use crate::log::cause;
use crate::wire::{Endpoint, PAUSE};

/// The first frame comes at once (contract §2), as the pause does.
const SOON: Duration = Duration::from_secs(5);
/// How often the time left is told.
const TICK: Duration = Duration::from_millis(500);
/// How the server closes a session that is over, as far as waiting is concerned.
const CLOSING: Duration = Duration::from_secs(2);

/// A dashboard's open socket.
pub struct Dashboard {
    socket: WebSocket<Link>,
    /// What the first frame shows.
    pub qr: Url,
    /// When it last said something.
    heard: Instant,
}

/// What a socket says next.
pub enum Said {
    Text(String),
    Ping,
    /// The server closes with this word.
    Close(String),
    /// The connection is cut without a close.
    Cut,
    /// Nothing in time.
    Nothing,
}

impl Dashboard {
    /// What it says until a deadline.
    pub fn next(&mut self, deadline: Instant) -> Said {
        loop {
            self.socket.get_mut().until(deadline);
            let said = self.socket.read();
            if matches!(said, Ok(Message::Text(_))) {
                self.heard = Instant::now();
            }
            match said {
                Ok(Message::Text(text)) => return Said::Text(text.as_str().to_owned()),
                Ok(Message::Ping(_)) => {
                    self.socket.get_mut().until(deadline + TICK);
                    let _ = self.socket.flush();
                    return Said::Ping;
                }
                Ok(Message::Close(frame)) => {
                    let _ = self.socket.flush();
                    let said = frame.map(|frame| frame.code.to_string());
                    return Said::Close(said.unwrap_or_else(|| "no code".to_owned()));
                }
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Said::Nothing;
                }
                Err(_) => return Said::Cut,
            }
        }
    }

    /// Whether the pause is seen.
    pub fn pauses(&mut self, deadline: Instant) -> bool {
        let deadline = deadline.min(Instant::now() + SOON);
        loop {
            match self.next(deadline) {
                Said::Text(text) if text == PAUSE => return true,
                Said::Text(_) | Said::Ping => {}
                Said::Close(_) | Said::Cut | Said::Nothing => return false,
            }
        }
    }

    /// Leaves as a browser does.
    fn leave(mut self) {
        let deadline = Instant::now() + CLOSING;
        self.socket.get_mut().until(deadline);
        let _ = self.socket.close(None);
        while !matches!(self.next(deadline), Said::Cut | Said::Nothing) {}
    }
}

impl Doctor<'_> {
    /// Opens a session and its socket, and judges the first frame.
    pub(super) fn dashboard(&mut self) -> Result<Option<Dashboard>, ClientError> {
        let Some((text, url)) = self.session() else { return Ok(None) };
        let Some(mut socket) = self.open(&text, &url)? else { return Ok(None) };
        socket.get_mut().until(self.by(SOON));
        let frame = loop {
            match socket.read() {
                Ok(Message::Text(text)) => break text.as_str().to_owned(),
                Ok(_) => {}
                Err(error) => {
                    self.tell(
                        "socket",
                        Finding::problem(
                            format!("the socket opens, but its first frame does not come: {error}"),
                            "let the proxy pass frames at once, without buffering",
                        ),
                        self.recipe(Topic::Sockets),
                    );
                    return Ok(None);
                }
            }
        };
        let frame: Value = serde_json::from_str(&frame).unwrap_or_default();
        let shown = |name: &str| frame[name].as_str().and_then(Url::parse);
        let (Some(qr), Some(mobile)) = (shown("qr_url"), shown("mobile_url")) else {
            self.tell(
                "socket",
                Finding::problem(
                    "the first frame has no qr_url and mobile_url",
                    "see that the URL of the socket leads to this gateway and not elsewhere",
                ),
                vec![],
            );
            return Ok(None);
        };
        let at = &url.endpoint;
        self.good("socket", format!("{}: it opens, and shows a QR code", at.url("ws", "")));
        self.shown(&qr, &mobile);
        Ok(Some(Dashboard { socket, qr, heard: Instant::now() }))
    }

    fn open(&mut self, text: &str, url: &Url) -> Result<Option<WebSocket<Link>>, ClientError> {
        let to = &url.endpoint;
        let same = to.host.eq_ignore_ascii_case(&self.order.api.host);
        let deadline = self.by(PATIENCE);
        let addresses = if same {
            Ok(self.addresses.clone())
        } else {
            let away = |error| ClientError::Away(format!("{}:{}", to.host, to.port), error);
            resolve(&to.host, deadline).map_err(away)
        };
        let link = addresses.and_then(|addresses| Link::dial(&addresses, to, Trust::Any, deadline));
        let link = match link {
            Ok(link) => link,
            Err(error) => {
                self.no_socket(to, &error);
                return Ok(None);
            }
        };
        if *to != self.order.api {
            self.browsers(to, &link);
        }
        let mut request = text.trim().into_client_request().map_err(ClientError::Socket)?;
        if let Some(origin) = self.allowed().first()
            && let Ok(origin) = HeaderValue::from_str(origin)
        {
            request.headers_mut().insert("origin", origin);
        }
        match tungstenite::client(request, link) {
            Ok((socket, _)) => Ok(Some(socket)),
            Err(HandshakeError::Failure(Error::Http(answer))) => {
                self.no_upgrade(answer.status().as_u16());
                Ok(None)
            }
            Err(error) => {
                let told = match error {
                    HandshakeError::Failure(error) => error.to_string(),
                    HandshakeError::Interrupted(_) => "no answer in time".to_owned(),
                };
                self.tell(
                    "socket",
                    Finding::problem(
                        format!("{} is no WebSocket: {told}", to.url("ws", "")),
                        "let the URL of the sockets lead to them, through the proxy's lines for \
                         the upgrade",
                    ),
                    self.lines(Topic::Sockets, &self.public()),
                );
                Ok(None)
            }
        }
    }

    /// The settings under which sockets share the API's name and port.
    fn public(&self) -> [String; 2] {
        ["[websocket]".to_owned(), format!("public_url = {}", self.order.api.url("ws", ""))]
    }

    fn no_socket(&mut self, to: &Endpoint, error: &ClientError) {
        let here = self.order.api.url("ws", "");
        self.tell(
            "socket",
            Finding::problem(
                format!("the sockets' URL {} is not reached: {}", to.url("ws", ""), cause(error)),
                format!(
                    "behind a proxy let [websocket] public_url be {here} and the proxy lead \
                     /v2/sync/init/ there; else open the port in the firewall"
                ),
            ),
            self.lines(Topic::Sockets, &self.public()),
        );
    }

    fn no_upgrade(&mut self, status: u16) {
        let (what, remedy) = match status {
            426 | 400 => (
                format!(
                    "the proxy passes the request for a socket on without its upgrade ({status})"
                ),
                "let the proxy pass the headers Upgrade and Connection on, over HTTP/1.1",
            ),
            404 | 405 => (
                format!("the path of the sockets leads elsewhere ({status})"),
                "let the proxy lead /v2/sync/init/ to the sockets' port, all else to the API's",
            ),
            403 => (
                "the socket is refused for its origin (403)".to_owned(),
                "allow the dashboard's origin in [http] allowed_origins, and let the proxy leave \
                 the header Origin as it is",
            ),
            429 => (
                "the socket is refused (429): too many from this address".to_owned(),
                "if many are behind one proxy, name it in [http] trusted_proxies; else wait a \
                 minute and try again",
            ),
            502 | 504 => return self.unreached("socket", status, Topic::Sockets),
            _ => (
                format!("the socket is refused ({status})"),
                "see the log of the gateway for its cause; 503 is a full server or the proxy's own",
            ),
        };
        self.tell("socket", Finding::problem(what, remedy), self.recipe(Topic::Sockets));
    }

    /// Whether browsers would open it, where it is not the API's own address.
    fn browsers(&mut self, to: &Endpoint, link: &Link) {
        if self.order.api.secure && !to.secure {
            self.tell(
                "socket",
                Finding::problem(
                    "the sockets are ws, but pages that were loaded by https may open wss alone",
                    "serve them with TLS and say so in the settings",
                ),
                vec![Lines::settings(&self.public())],
            );
        }
        let verdict = link.ssl().map_or(X509VerifyResult::OK, |ssl| ssl.verify_result());
        if verdict != X509VerifyResult::OK && !to.host.eq_ignore_ascii_case(&self.order.api.host) {
            self.tell(
                "socket",
                Finding::problem(
                    format!("browsers do not trust {}: {verdict}", to.url("ws", "")),
                    "let the sockets' URL have a name that the certificate is for",
                ),
                vec![Lines::settings(&self.public())],
            );
        }
    }

    /// The QR code leads phones to the place that is examined.
    fn shown(&mut self, qr: &Url, mobile: &Url) {
        let api = &self.order.api;
        let host = |url: &Url| url.endpoint.host.to_ascii_lowercase();
        let leads = |url: &Url| {
            let Endpoint { secure, port, .. } = url.endpoint;
            (secure, port) == (api.secure, api.port) && host(url) == api.host.to_ascii_lowercase()
        };
        if leads(qr) && leads(mobile) && qr.path == mobile.path {
            return self.good("QR code", format!("it leads phones to {}", api.url("http", "")));
        }
        let public = format!("public_url = {}", api.url("http", ""));
        self.tell(
            "QR code",
            Finding::problem(
                format!(
                    "it leads phones to {}, not to {}",
                    qr.endpoint.url("http", ""),
                    api.url("http", "")
                ),
                "set the address under which phones reach the server, and restart it",
            ),
            vec![Lines::settings(&["[http]", &public])],
        );
    }

    /// Whether a quiet socket lives until the server's next ping.
    pub(super) fn quiet(&mut self, mut dashboard: Dashboard) {
        let start = Instant::now();
        let end = self.by(self.wait);
        let most = end.saturating_duration_since(start);
        let mut first = true;
        let said = loop {
            let told = format!(
                "quiet: up to {} s for a ping of the server; {} s so far",
                most.as_secs_f64().round(),
                start.elapsed().as_secs()
            );
            self.screen.wait(&told, first);
            first = false;
            match dashboard.next(end.min(Instant::now() + TICK)) {
                Said::Nothing if Instant::now() < end => {}
                Said::Text(_) => {}
                said => break said,
            }
        };
        self.judge_quiet(&said, dashboard.heard.elapsed());
        dashboard.leave();
    }

    fn judge_quiet(&mut self, said: &Said, time: Duration) {
        let quiet = spell(time);
        match said {
            Said::Ping => {
                self.good(
                    "quiet",
                    format!("a socket that is quiet for {quiet} lives: the ping came"),
                );
            }
            Said::Cut => {
                let seconds = (time.as_secs() * 4 / 5).clamp(1, 20);
                let ping = format!("ping_interval = {seconds}");
                self.tell(
                    "quiet",
                    Finding::problem(
                        format!(
                            "the socket was cut after {quiet} of quiet: an idle time-out in \
                             between is shorter than the time between two pings of the server"
                        ),
                        "let the proxy keep quiet sockets for longer than session_paused_timeout, \
                         120 seconds; where it is not yours, let the server ping more often",
                    ),
                    self.lines(Topic::Quiet, &["[limits]", &ping]),
                );
            }
            Said::Close(code) => self.note(
                "quiet",
                format!("the server closed the session ({code}) after {quiet}, before any ping"),
            ),
            Said::Nothing | Said::Text(_) => self.tell(
                "quiet",
                Finding::warning(
                    format!("the socket lives, but no ping came in {quiet}"),
                    "[limits] ping_interval is longer than that; wait for longer with --wait \
                     SECONDS to see whether sockets live until then",
                ),
                vec![],
            ),
        }
    }
}
