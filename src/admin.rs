//! The loopback listener, for whoever looks after the server: is it alive, is it ready, and what
//! it has counted.
//!
//! It has a gate of its own, so that a flood on the public ports leaves it free, and every answer
//! comes within a deadline of its own, whatever is stuck. Nothing here changes anything.

mod probe;
mod process;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tiny_http::Method;

use crate::http::{Connection, End, Limits, Reply};
use crate::hub::Stuck;
use crate::metrics::{self, Listener, Reading, Store};
use crate::net::{Gate, Stream};
use crate::refusal::Refusal;
use crate::services::Services;
use crate::store::{Record, gateway};
use crate::tls::Tls;
use probe::Probe;

/// How long an answer may take to find.
const PATIENCE: Duration = Duration::from_secs(1);
/// Connections at once: a person and their tools.
pub const CONNECTIONS: usize = 16;
/// A request of these paths is short, and comes from this machine.
const LIMITS: Limits = Limits {
    idle: Duration::from_secs(5),
    head: Duration::from_secs(2),
    body: Duration::from_secs(2),
    request: Duration::from_secs(5),
    max_head: 8192,
    max_body: 0,
};

/// What the answers are found in.
pub struct Admin {
    services: Arc<Services>,
    tls: Option<Arc<Tls>>,
    /// The public listeners' gates, with what the listeners are called.
    gates: Vec<(&'static str, Arc<Gate>)>,
    started: SystemTime,
    gateway: Arc<Probe>,
    backend: Arc<Probe>,
}

impl Admin {
    /// Begins now.
    pub fn new(
        services: &Arc<Services>,
        tls: Option<&Arc<Tls>>,
        gates: Vec<(&'static str, Arc<Gate>)>,
    ) -> Self {
        let (gateway, backend) = (Arc::clone(services), Arc::clone(services));
        Admin {
            services: Arc::clone(services),
            tls: tls.cloned(),
            gates,
            started: SystemTime::now(),
            gateway: Probe::new("gateway", move || gateway::greet(&gateway.gateway)),
            backend: Probe::new("be", move || backend.backend.ready()),
        }
    }

    /// Answers one request.
    pub fn serve(&self, stream: Stream) {
        let mut connection = Connection::new(stream, LIMITS);
        let (reply, head_only) = match connection.read() {
            Ok(request) => {
                (self.answer(&request.method, &request.target), request.method == Method::Head)
            }
            Err(End::Refused(refusal)) => (Reply::refusal(&refusal), false),
            Err(End::Silent) => return,
        };
        let _ = connection.write(&reply, false, head_only);
        connection.finish();
    }

    fn answer(&self, method: &Method, target: &str) -> Reply {
        let deadline = Instant::now() + PATIENCE;
        if !matches!(method, Method::Get | Method::Head) {
            return Reply::refusal(&Refusal::Method("GET, HEAD"));
        }
        match target {
            "/livez" => match self.services.hub.live(deadline) {
                Ok(()) => text(200, "alive\n"),
                Err(stuck) => text(503, name(stuck)),
            },
            "/readyz" => self.readiness(deadline),
            "/metrics" => match self.reading(deadline) {
                Ok(reading) => Reply::new(200, metrics::CONTENT_TYPE, metrics::render(&reading)),
                Err(stuck) => text(503, name(stuck)),
            },
            _ => Reply::refusal(&Refusal::Path),
        }
    }

    /// One line a database, with the reason where it is not ready.
    fn readiness(&self, deadline: Instant) -> Reply {
        let mut status = 200;
        let mut lines = String::new();
        let named = ["gateway database", "BE database"];
        for (name, probe) in named.into_iter().zip(self.probes()) {
            let said = match probe.verdict(deadline) {
                Ok(()) => "ready".to_owned(),
                Err(reason) => {
                    status = 503;
                    format!("not ready: {reason}")
                }
            };
            lines.push_str(&format!("{name} {said}\n"));
        }
        text(status, lines)
    }

    /// Of the gateway's database and of the BE's; both are asked at once.
    fn probes(&self) -> [&Probe; 2] {
        self.gateway.start();
        self.backend.start();
        [&self.gateway, &self.backend]
    }

    fn reading(&self, deadline: Instant) -> Result<Reading, Stuck> {
        let services = &self.services;
        let view = services.hub.view(deadline)?;
        // A curve is better than a gap where a database is slow.
        let soon = Instant::now() + PATIENCE / 5;
        let [gateway, backend] = self.probes().map(|probe| probe.last(soon));
        let queue = services.workers.queue();
        let ages = services.keyring.ages();
        let listener = |(name, gate): &(&'static str, Arc<Gate>)| Listener {
            name,
            live: gate.live(),
            most: gate.most(),
            turned_away: gate.turned_away(),
        };
        Ok(Reading {
            version: env!("CARGO_PKG_VERSION"),
            started: self.started,
            counters: services.metrics.counters(),
            sockets: view.sockets,
            sessions: view.sessions,
            tally: view.tally,
            listeners: self.gates.iter().map(listener).collect(),
            workers: [queue.workers, queue.busy, queue.waiting],
            key_waits: queue.waits,
            stores: self.stores(gateway, backend),
            key_written: ages.current,
            key_retired: ages.retired,
            keys_retired: ages.number_retired,
            certificate: self.tls.as_ref().and_then(|tls| tls.validity()),
            process: process::read(),
        })
    }

    fn stores(&self, gateway: bool, backend: bool) -> Vec<Store> {
        let services = &self.services;
        let store = |name, ready, record: Option<Record>| Store {
            name,
            ready,
            waits: record.map(|record| record.waits),
            failures: record.map_or([0, 0], |record| [record.away, record.faults]),
        };
        vec![
            store("gateway", gateway, Some(services.gateway.record())),
            store("be", backend, services.backend.record(&services.gateway)),
        ]
    }
}

fn name(stuck: Stuck) -> &'static str {
    match stuck {
        Stuck::Table => "the session table is locked for longer than a second\n",
        Stuck::Timer => "the timer does not run\n",
    }
}

fn text(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    Reply::new(status, "text/plain; charset=utf-8", body)
}
