//! From the settings to the rules of each module, and what the log warns of when they do not fit
//! together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::admin::{self, Admin};
use crate::capacity::{Bound, Capacity};
use crate::check;
use crate::config::Config;
use crate::finding::Finding;
use crate::http::{Limits, Reply};
use crate::hub::Admission;
use crate::machine;
use crate::net::{Acceptor, Crew, Gate, Stream};
use crate::page::Page;
use crate::password::PasswordRates;
use crate::route::Origins;
use crate::session::Rules;
use crate::socket::SocketLimits;
use crate::tls::Tls;
use crate::wire::Endpoint;

/// A request's thread runs the database driver and RSA; only what it touches becomes memory.
pub(super) const API_STACK: usize = 512 * 1024;
/// A socket's thread mostly sleeps.
pub(super) const SOCKET_STACK: usize = if cfg!(debug_assertions) { 256 * 1024 } else { 128 * 1024 };
/// How long a closing handshake may take.
const LINGER: Duration = Duration::from_secs(5);

pub(super) fn rules(config: &Config) -> Rules {
    Rules {
        sleep: config.sync.session_sleep_timeout,
        changes: config.sync.session_change_limit,
        paused: config.sync.session_paused_timeout,
        linger: LINGER,
        attempts: config.limits.session_attempts,
        detached: config.limits.max_connections,
        detached_per_peer: config.limits.max_connections_per_address,
    }
}

/// How many connections each port takes: as set, or fewer where the machine does not carry them.
/// The log names the limit that gives way first, and how to raise it to what is set.
pub(super) fn capacity(config: &Config) -> Capacity {
    machine::raise_descriptors();
    let asked = config.limits.max_connections;
    let capacity = Capacity::of(&machine::limits(), asked);
    let Some(smallest) = capacity.smallest else { return capacity };
    let Bound { limit, figure, used } = smallest;
    let Capacity { api, sockets, .. } = capacity;
    let lowered = api < asked || sockets < asked;
    // Where all fits, the remedy is for twice as many.
    let more = if lowered { asked } else { usize::try_from(smallest.fits()).unwrap_or(asked) };
    let (level, done) =
        if lowered { (log::Level::Warn, "lowered") } else { (log::Level::Info, "fits") };
    log::log!(
        level,
        "max_connections {done} asked={asked} api={api} sockets={sockets} smallest={} \
         figure={figure} used={used} remedy=\"{}\"",
        limit.name(),
        limit.remedy(smallest.wanted(more)),
    );
    capacity
}

pub(super) fn page(config: &Config, api: &Endpoint, socket: &Endpoint) -> Option<Page> {
    if !config.page.enabled {
        return None;
    }
    let sync = &config.sync;
    Some(Page::new(api, socket, sync.session_sleep_timeout, sync.session_change_limit))
}

pub(super) fn admission(config: &Config) -> Admission {
    Admission {
        unissued: config.sync.accept_unissued_sessions,
        per_user_and_address: config.limits.max_sockets_per_user_and_address,
    }
}

pub(super) fn rates(config: &Config) -> PasswordRates {
    PasswordRates {
        pair: config.limits.password_attempts.clone(),
        address: config.limits.password_attempts_per_address.clone(),
        user: config.limits.password_attempts_per_user.clone(),
    }
}

pub(super) fn limits(config: &Config) -> Limits {
    Limits {
        idle: config.limits.idle_timeout,
        head: config.limits.head_timeout,
        body: config.limits.body_timeout,
        request: config.limits.request_timeout,
        max_head: config.limits.max_head,
        max_body: config.limits.max_body,
    }
}

pub(super) fn socket_limits(config: &Config) -> SocketLimits {
    SocketLimits {
        ping_interval: config.limits.ping_interval,
        missed_pings: config.limits.missed_pings,
        max_messages: config.limits.max_messages,
        max_message: config.limits.max_message,
        lifetime: config.limits.max_socket_lifetime,
    }
}

/// Whose pages may use the server; the sync page is one of the API's own, however that is reached.
pub(super) fn origins(
    config: &Config,
    allowed: Vec<String>,
    page_at: Option<&Endpoint>,
) -> Origins {
    let mut listed = allowed;
    listed.extend(config.http.public_url.as_ref().map(Endpoint::origin));
    listed.extend(page_at.map(Endpoint::origin));
    Origins { listed, localhost: config.sync.accept_unissued_sessions }
}

/// What of the settings lets others read or change what they carry, as `check` finds it.
pub(super) fn warn_of_open_ways(config: &Config) {
    for Finding { what, remedy, .. } in check::open_ways(config) {
        log::warn!("open way cause=\"{what}\" remedy=\"{remedy}\"");
    }
}

/// Who takes the connections of one kind, so many at most, each in a thread with a stack of so many
/// bytes.
pub(super) fn acceptor(
    config: &Config,
    name: &'static str,
    most: usize,
    stack: usize,
    tls: Option<&Arc<Tls>>,
    serve: impl Fn(Stream, SocketAddr) + Send + Sync + 'static,
) -> Acceptor {
    let gate = Gate::new(
        most,
        config.limits.max_connections_per_address,
        config.http.trusted_proxies.clone(),
    );
    let tls = tls.map(|tls| (Arc::clone(tls), config.limits.request_timeout));
    let refuse = |refusal: &_| Reply::refusal(refusal).bytes(false, false);
    let crew = Crew::new(name, stack);
    Acceptor { name, gate, tls, crew, serve: Box::new(serve), refuse }
}

/// The same for the administrator: few, from this machine, in plain HTTP.
pub(super) fn admin_acceptor(admin: Admin) -> Acceptor {
    Acceptor {
        name: "admin",
        gate: Gate::new(admin::CONNECTIONS, admin::CONNECTIONS, Vec::new()),
        tls: None,
        crew: Crew::new("admin", API_STACK),
        serve: Box::new(move |stream, _| admin.serve(stream)),
        refuse: |refusal| Reply::refusal(refusal).bytes(false, false),
    }
}
