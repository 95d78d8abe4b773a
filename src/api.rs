//! The API: from a request to its route, its use case and its reply; CORS; one log line.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tiny_http::Method;

use crate::http::{Connection, End, Limits, Reply, Request};
use crate::limit::Peer;
use crate::log::{begin_request, short};
use crate::net::{Leaving, Stream};
use crate::page::Page;
use crate::password::Judgement;
use crate::proxy::Proxies;
use crate::refusal::Refusal;
use crate::route::{Origin, Origins, Route};
use crate::services::{Live, Services};
use crate::wire::{self, Endpoint};

/// Everything that answers requests.
pub struct Api {
    /// What answers need.
    pub services: Arc<Services>,
    /// Where the sync socket is.
    pub socket: Endpoint,
    /// The sync page, where it is served.
    pub page: Option<Page>,
    /// Whose pages may use the API.
    pub origins: Arc<Live<Origins>>,
    /// Who the client is.
    pub proxies: Arc<Proxies>,
    /// Seconds for which browsers shall keep to HTTPS (RFC 6797); `None` tells them nothing.
    pub hsts: Option<u32>,
    /// How long and how large requests may be.
    pub limits: Limits,
    /// Set when the server goes down: connections end with their next reply.
    pub leaving: Arc<Leaving>,
    /// Requests that are being answered.
    pub busy: AtomicUsize,
}

impl Api {
    /// Serves one connection to its end.
    pub fn serve(&self, stream: Stream, address: SocketAddr) {
        let mut connection = Connection::new(stream, self.limits);
        loop {
            let _request = begin_request();
            let request = match connection.read() {
                Ok(request) => request,
                Err(End::Silent) => return,
                Err(End::Refused(refusal)) => {
                    log::info!("request refused unread status={}", refusal.status());
                    let _ = connection.write(&self.refuse(&refusal), false, false);
                    return connection.finish();
                }
            };
            let busy = Busy::new(&self.busy);
            let reply = self.answer(&request, self.proxies.client(address.ip(), &request));
            let keep = request.keeps_alive() && !self.leaving.is_set();
            let written = connection.write(&reply, keep, request.method == Method::Head);
            drop(busy);
            if written.is_err() || !keep {
                return connection.finish();
            }
        }
    }

    fn answer(&self, request: &Request, address: IpAddr) -> Reply {
        let origin = self.origins.get().judge(request.header("origin"));
        let mut reply = match (&request.method, &origin) {
            (Method::Options, Origin::Foreign) => self.refuse(&Refusal::Origin),
            (Method::Options, _) => preflight(),
            _ => self.dispatch(request, address).unwrap_or_else(|refusal| self.refuse(&refusal)),
        };
        // A cache must not give one origin's answer to another's page.
        reply.headers.push(("Vary", "Origin".to_owned()));
        if let Some(seconds) = self.hsts {
            reply.headers.push(("Strict-Transport-Security", format!("max-age={seconds}")));
        }
        if let Origin::Allowed(origin) = origin {
            reply.headers.push(("Access-Control-Allow-Origin", origin.to_owned()));
            reply.headers.push(("Access-Control-Allow-Credentials", "true".to_owned()));
        }
        reply
    }

    fn refuse(&self, refusal: &Refusal) -> Reply {
        self.services.metrics.refused(refusal);
        Reply::refusal(refusal)
    }

    fn dispatch(&self, request: &Request, address: IpAddr) -> Result<Reply, Refusal> {
        let peer = Peer::of(address);
        let start = Instant::now();
        match Route::find(&request.method, &request.target)? {
            Route::Root => Ok(self.root()),
            Route::Page(asset) => {
                let page = self.page.as_ref().ok_or(Refusal::Path)?;
                Ok(page.file(asset, &request.target, request.header("accept-language")))
            }
            Route::Qr => self.page.as_ref().ok_or(Refusal::Path)?.qr(peer, &request.body),
            Route::Session(user) => {
                let ticket = self.services.hub.issue(&user)?;
                log::debug!("session issued user={}", short(user.as_str()));
                Ok(text(wire::socket_url(&self.socket, &user, &ticket)))
            }
            Route::Handshake(user, session) => {
                let answer = self.services.handshake(&user, session, address, &request.body);
                log::info!(
                    "handshake user={} session={} status={} ms={}",
                    short(user.as_str()),
                    short(session),
                    status(&answer),
                    start.elapsed().as_millis()
                );
                Ok(json(&answer?))
            }
            Route::Verification => {
                let answer = self.counted(peer, || self.services.verify(peer, &request.body));
                let ms = start.elapsed().as_millis();
                log::info!("verification status={} ms={ms}", status(&answer));
                Ok(json(&answer?))
            }
            Route::Removal => {
                let answer = self.counted(peer, || self.services.remove(address, &request.body));
                log::info!("removal address={address} status={}", status(&answer));
                // The status is 200 and the body OK, as the predecessor has it.
                answer.map(|()| text("OK"))
            }
        }
    }

    /// What needs no session is counted by its refusals, so that nobody asks for the private key,
    /// or for the BE's, without end.
    fn counted<T>(
        &self,
        peer: Peer,
        work: impl FnOnce() -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let attempt = self.services.hub.try_password(None, peer)?;
        let answer = work();
        attempt.judge(match answer.as_ref().map_err(Refusal::status) {
            Err(400 | 403) => Judgement::Wrong,
            _ => Judgement::None,
        });
        answer
    }

    /// Phones want an answer below 400 here (contract §3); people go on to the page.
    fn root(&self) -> Reply {
        let mut reply = text("SMSWithoutBorders Gateway Server\n");
        if self.page.is_some() {
            reply.headers.push(("Refresh", "0; url=/sync".to_owned()));
        }
        reply
    }
}

fn status<T>(answer: &Result<T, Refusal>) -> u16 {
    answer.as_ref().map_or_else(Refusal::status, |_| 200)
}

fn json(body: &serde_json::Value) -> Reply {
    Reply::new(200, "application/json", body.to_string())
}

fn text(body: impl Into<Vec<u8>>) -> Reply {
    Reply::new(200, "text/plain", body)
}

/// What a page may send (Fetch standard, CORS protocol): the dashboard's `content-type`
/// (contract §1).
fn preflight() -> Reply {
    let mut reply = text("");
    reply.headers.push(("Access-Control-Allow-Methods", "GET, POST".to_owned()));
    reply.headers.push(("Access-Control-Allow-Headers", "content-type".to_owned()));
    reply.headers.push(("Access-Control-Max-Age", "600".to_owned()));
    reply
}

/// Counts a request while it is being answered, also through a panic.
struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Busy(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
