//! The server's life in order: settings, log, keys, stores, listeners, ready, run, drain.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{error, fmt, io, thread};

use rustix::net::Shutdown;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::api::Api;
use crate::config::{self, Config};
use crate::http::{Limits, Reply};
use crate::hub::{Admission, Hub};
use crate::keyring::Keyring;
use crate::log::cause;
use crate::net::{self, Acceptor, Gate};
use crate::page::Page;
use crate::password::PasswordRates;
use crate::proxy::Proxies;
use crate::route::Origins;
use crate::services::Services;
use crate::session::Rules;
use crate::socket::{SocketLimits, Sockets};
use crate::store::at_rest::Keys;
use crate::store::backend::{self, Backend};
use crate::store::{Database, gateway};
use crate::tls::Tls;
use crate::wire::Endpoint;
use crate::workers::Workers;

/// How long a closing handshake may take.
const LINGER: Duration = Duration::from_secs(5);
/// How long a server that goes down waits for handshakes in flight and sockets that close.
const DRAIN: Duration = Duration::from_secs(4);
/// How often the files of keys and certificate are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// A request's thread runs the database driver and RSA; only what it touches becomes memory.
const API_STACK: usize = 512 * 1024;
const SOCKET_STACK: usize = if cfg!(debug_assertions) { 256 * 1024 } else { 128 * 1024 };

/// Why the server does not start.
#[derive(Debug)]
pub enum ServeError {
    /// An address cannot be listened on.
    Listen(&'static str, SocketAddr, io::Error),
    /// A thread or a signal handler is not to be had.
    System(io::Error),
    /// The kernel gives no random bytes.
    Random(rand::rngs::SysError),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Listen(section, address, _) => {
                write!(
                    f,
                    "[{section}] listen = {address} cannot be had; is another server running?"
                )
            }
            ServeError::System(_) => write!(f, "the system refuses a thread or a signal handler"),
            ServeError::Random(_) => write!(f, "the system gives no random bytes"),
        }
    }
}

impl error::Error for ServeError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            ServeError::Listen(_, _, error) | ServeError::System(error) => Some(error),
            ServeError::Random(error) => Some(error),
        }
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// Whatever stops the start, with its remedy.
pub fn run(config: &Config) -> Result<(), Box<dyn error::Error>> {
    // Signals are caught before the first thread is there, so that none is lost.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(ServeError::System)?;
    crate::log::start(&config.log)?;
    let keyring = Arc::new(Keyring::load(&config.keys)?);
    let tls = config.tls.certificate.as_ref();
    let tls = tls.map(|file| Tls::load(file, keyring.private_key())).transpose()?.map(Arc::new);
    let hub = Arc::new(
        Hub::new(rules(config), admission(config), rates(config)).map_err(ServeError::Random)?,
    );
    let services = services(config, &hub, &keyring)?;

    let api_listeners = listen("http", &config.http.listen)?;
    let socket_listeners = listen("websocket", &config.websocket.listen)?;
    let api_at = endpoint(config.http.public_url.as_ref(), &api_listeners, tls.is_some());
    let socket_at =
        endpoint(config.websocket.public_url.as_ref(), &socket_listeners, tls.is_some());
    warn_of_plain_ways(config, &api_at);

    let limits = limits(config);
    let page = page(config, &api_at, &socket_at);
    let origins = origins(config, page.as_ref().map(|_| &api_at));
    let proxies = Arc::new(Proxies::new(config.http.trusted_proxies.clone()));
    let leaving = Arc::new(AtomicBool::new(false));
    let api = Arc::new(Api {
        services,
        socket: socket_at.clone(),
        page,
        origins: origins.clone(),
        proxies: Arc::clone(&proxies),
        hsts: Some(config.tls.hsts).filter(|seconds| *seconds > 0 && api_at.secure),
        limits,
        leaving: Arc::clone(&leaving),
        busy: AtomicUsize::new(0),
    });
    let sockets = Sockets {
        hub: Arc::clone(&hub),
        api: api_at.clone(),
        origins,
        proxies,
        limits,
        socket_limits: socket_limits(config),
    };

    let timer = Arc::clone(&hub);
    spawn("timer", move || timer.keep_time())?;
    let watched = (Arc::clone(&keyring), tls.clone());
    spawn("watcher", move || watch(&watched.0, watched.1.as_deref()))?;
    let serve = Arc::clone(&api);
    let serve = Box::new(move |stream, peer| serve.serve(stream, peer));
    let mut listeners = accept(config, "api", API_STACK, &tls, serve, api_listeners, &leaving)?;
    let serve = Box::new(move |stream, peer| sockets.serve(stream, peer));
    listeners.extend(accept(
        config,
        "socket",
        SOCKET_STACK,
        &tls,
        serve,
        socket_listeners,
        &leaving,
    )?);
    log::info!("ready api={} sockets={}", api_at.url("http", ""), socket_at.url("ws", ""));
    let greeter = Arc::clone(&api);
    spawn("greeter", move || greet(&greeter.services))?;

    let signal = wait_for_end(&mut signals, &keyring, tls.as_deref());
    log::info!("leaving signal={signal} sockets={}", hub.sockets());
    leaving.store(true, Ordering::Relaxed);
    for listener in &listeners {
        // This wakes its accept loop, which sees that the server is leaving.
        let _ = rustix::net::shutdown(listener, Shutdown::Both);
    }
    drain(&hub, &api);
    Ok(())
}

/// Brings renewed keys and then the certificate in, so that no phone meets a certificate whose
/// key does not decrypt yet; never returns.
fn watch(keyring: &Keyring, tls: Option<&Tls>) -> ! {
    loop {
        thread::sleep(LOOK);
        keyring.refresh();
        if let Some(tls) = tls {
            tls.refresh(keyring.private_key());
        }
    }
}

/// Reloads keys and certificate at each SIGHUP until another signal comes, which it returns.
fn wait_for_end(signals: &mut Signals, keyring: &Keyring, tls: Option<&Tls>) -> i32 {
    for signal in signals.forever() {
        if signal != SIGHUP {
            return signal;
        }
        keyring.reload();
        if let Some(tls) = tls {
            tls.reload(keyring.private_key());
        }
    }
    SIGTERM
}

/// What the use cases share; the databases are not yet asked for anything.
fn services(
    config: &Config,
    hub: &Arc<Hub>,
    keyring: &Arc<Keyring>,
) -> Result<Services, Box<dyn error::Error>> {
    let listed = backend::listed_platforms(config.sync.platforms_file.as_ref())?;
    let at_rest = Keys::load(config.keys.at_rest_keys.as_deref())?;
    let gateway = Arc::new(Database::new(&config.mysql).sealed_under(at_rest));
    let shared = || Arc::clone(&gateway);
    let backend = config.mysql_be.as_ref().map_or_else(shared, |be| Arc::new(Database::new(be)));
    Ok(Services {
        hub: Arc::clone(hub),
        keyring: Arc::clone(keyring),
        workers: Workers::new(),
        backend: Backend::new(backend, &config.keys, listed),
        gateway,
        removers: config.limits.removal_allowed_addresses.clone(),
    })
}

/// Whose pages may use the server; the sync page is one of the API's own, however that is reached.
fn origins(config: &Config, page_at: Option<&Endpoint>) -> Origins {
    let mut listed = config.http.allowed_origins.clone();
    listed.extend(config.http.public_url.as_ref().map(Endpoint::origin));
    listed.extend(page_at.map(Endpoint::origin));
    Origins { listed, localhost: config.sync.accept_unissued_sessions }
}

fn warn_of_plain_ways(config: &Config, api_at: &Endpoint) {
    let databases = [Some(&config.mysql), config.mysql_be.as_ref()];
    databases.into_iter().flatten().for_each(warn_of_plain_database);
    warn_of_plain_http(&config.http, api_at);
}

/// Lets handshakes in flight finish and sockets close, for a while.
fn drain(hub: &Hub, api: &Api) {
    hub.leave();
    let deadline = Instant::now() + DRAIN;
    while Instant::now() < deadline {
        if hub.sockets() == 0 && api.busy.load(Ordering::Relaxed) == 0 {
            return log::info!("left");
        }
        thread::sleep(Duration::from_millis(10));
    }
    log::warn!("left with sockets={} requests={}", hub.sockets(), api.busy.load(Ordering::Relaxed));
}

fn rules(config: &Config) -> Rules {
    Rules {
        sleep: config.sync.session_sleep_timeout,
        changes: config.sync.session_change_limit,
        paused: config.sync.session_paused_timeout,
        linger: LINGER,
        attempts: config.limits.session_attempts,
        detached: config.limits.max_connections,
    }
}

fn page(config: &Config, api: &Endpoint, socket: &Endpoint) -> Option<Page> {
    if !config.page.enabled {
        return None;
    }
    if api.secure && !socket.secure {
        log::warn!(
            "browsers open no plain socket from the sync page on https; set [websocket] \
             public_url to a wss URL"
        );
    }
    let sync = &config.sync;
    Some(Page::new(api, socket, sync.session_sleep_timeout, sync.session_change_limit))
}

fn admission(config: &Config) -> Admission {
    Admission {
        unissued: config.sync.accept_unissued_sessions,
        per_user_and_address: config.limits.max_sockets_per_user_and_address,
    }
}

fn rates(config: &Config) -> PasswordRates {
    PasswordRates {
        pair: config.limits.password_attempts.clone(),
        address: config.limits.password_attempts_per_address.clone(),
        user: config.limits.password_attempts_per_user.clone(),
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        idle: config.limits.idle_timeout,
        head: config.limits.head_timeout,
        body: config.limits.body_timeout,
        request: config.limits.request_timeout,
        max_head: config.limits.max_head,
        max_body: config.limits.max_body,
    }
}

fn socket_limits(config: &Config) -> SocketLimits {
    SocketLimits {
        ping_interval: config.limits.ping_interval,
        missed_pings: config.limits.missed_pings,
        max_messages: config.limits.max_messages,
        max_message: config.limits.max_message,
        lifetime: config.limits.max_socket_lifetime,
    }
}

fn listen(section: &'static str, addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ServeError> {
    let open = |address: &SocketAddr| {
        net::listen(*address).map_err(|error| ServeError::Listen(section, *address, error))
    };
    addresses.iter().map(open).collect()
}

type Serve = Box<dyn Fn(net::Stream, SocketAddr) + Send + Sync>;

/// Starts an accept loop for each listener of one kind; they share one gate.
fn accept(
    config: &Config,
    name: &'static str,
    stack: usize,
    tls: &Option<Arc<Tls>>,
    serve: Serve,
    listeners: Vec<TcpListener>,
    leaving: &Arc<AtomicBool>,
) -> Result<Vec<Arc<TcpListener>>, ServeError> {
    let limits = &config.limits;
    let gate = Gate::new(
        limits.max_connections,
        limits.max_connections_per_address,
        config.http.trusted_proxies.clone(),
    );
    let tls = tls.clone().map(|tls| (tls, limits.request_timeout));
    let refuse = |refusal: &_| Reply::refusal(refusal).bytes(false, false);
    let acceptor = Arc::new(Acceptor { name, gate, tls, stack, serve, refuse });
    let mut kept = Vec::new();
    for listener in listeners {
        if let Ok(address) = listener.local_addr() {
            log::info!("listening {name}={address}");
        }
        let listener = Arc::new(listener);
        kept.push(Arc::clone(&listener));
        let (acceptor, leaving) = (Arc::clone(&acceptor), Arc::clone(leaving));
        spawn("accept", move || acceptor.run(&listener, &leaving))?;
    }
    Ok(kept)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), ServeError> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map(drop).map_err(ServeError::System)
}

/// Where phones and dashboards find a listener: as set, else at its own first address.
fn endpoint(public_url: Option<&Endpoint>, listeners: &[TcpListener], secure: bool) -> Endpoint {
    if let Some(public_url) = public_url {
        return public_url.clone();
    }
    let local = listeners.first().and_then(|listener| listener.local_addr().ok());
    let local = local.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let host = match local.ip() {
        IpAddr::V4(v4) if v4.is_unspecified() => {
            own_address((Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv4Addr::new(192, 0, 2, 1), 9).into())
        }
        IpAddr::V6(v6) if v6.is_unspecified() => {
            let far = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
            own_address((Ipv6Addr::UNSPECIFIED, 0).into(), (far, 9).into())
        }
        ip => ip,
    };
    let host = match host {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    Endpoint { secure, host, port: local.port() }
}

/// This machine's address on its network: the one from which it would reach the documentation
/// network (RFC 5737, RFC 3849). To connect a datagram socket sends nothing.
fn own_address(any: SocketAddr, far: SocketAddr) -> IpAddr {
    let probe = || {
        let socket = UdpSocket::bind(any)?;
        socket.connect(far)?;
        socket.local_addr()
    };
    let loopback: IpAddr = match any {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    probe().map_or(loopback, |address| address.ip())
}

fn warn_of_plain_database(settings: &config::Database) {
    let local = settings.host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        || settings.host == "localhost";
    if !local && settings.socket.is_none() && settings.tls.is_none() {
        log::warn!(
            "plain connection to the database at host={}: whoever carries it can read the phones' \
             keys; set tls = yes beside it",
            settings.host
        );
    }
}

fn warn_of_plain_http(settings: &config::Http, at: &Endpoint) {
    let public = settings.listen.iter().any(|address| !address.ip().is_loopback());
    if public && !at.secure {
        log::warn!(
            "plain HTTP on a public address: whoever carries it can read and change it; set [tls], \
             or put a TLS proxy in front and its https URL into [http] public_url"
        );
    }
}

/// Looks at both databases once, so that the administrator reads in the log what phones would
/// meet; the server serves meanwhile, and without them.
fn greet(services: &Services) {
    match gateway::greet(&services.gateway) {
        Ok(()) => log::info!("gateway database ready"),
        Err(error) => log::error!(
            "gateway database not ready cause=\"{}\" remedy=\"check [mysql]; `swob-gateway migrate` makes the table\"",
            cause(&error)
        ),
    }
    match services.backend.greet() {
        Ok(layout) => log::info!("BE database ready layout=\"{layout}\""),
        Err(error) => log::error!(
            "BE database not ready cause=\"{}\" remedy=\"check [mysql_be] and its grants\"",
            cause(&error)
        ),
    }
}
