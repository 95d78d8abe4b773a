//! The server's life in order: settings, log, keys, stores, listeners, ready, run, drain.

mod listener;
mod reload;
mod settings;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{error, fmt, io, thread};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::admin::Admin;
use crate::api::Api;
use crate::config::{Config, ConfigError, Overview};
use crate::hub::Hub;
use crate::keyring::Keyring;
use crate::log::cause;
use crate::net::{self, Crew, Leaving};
use crate::proxy::Proxies;
use crate::services::{Live, Services};
use crate::socket::Sockets;
use crate::store::at_rest::Keys;
use crate::store::backend::{self, Backend};
use crate::store::{Database, gateway};
use crate::systemd::{self, Pulse};
use crate::tls::Tls;
use crate::wire::Endpoint;
use crate::workers::Workers;
use listener::Ports;
use reload::Reload;
use settings::{API_STACK, SOCKET_STACK};

/// How long a server that goes down waits for handshakes in flight and sockets that close.
const DRAIN: Duration = Duration::from_secs(4);
/// How often the files of keys and certificate are looked at.
const LOOK: Duration = Duration::from_secs(2);

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
            ServeError::Listen(section, address, error) => {
                let remedy = net::remedy(error);
                write!(f, "[{section}] listen = {address} cannot be had; {remedy}")
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

/// Serves until SIGTERM or SIGINT, with the settings that `load` gives, at SIGHUP again.
///
/// # Errors
/// Whatever stops the start, with its remedy.
pub fn run(load: &dyn Fn() -> Result<Overview, ConfigError>) -> Result<(), Box<dyn error::Error>> {
    // Signals are caught before the first thread is there, so that none is lost.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(ServeError::System)?;
    let started = load()?;
    let config = started.config()?;
    crate::log::start(&config.log)?;
    let keyring = Arc::new(Keyring::load(&config.keys)?);
    let tls = config.tls.certificate.as_ref();
    let tls = tls.map(|file| Tls::load(file, keyring.private_key())).transpose()?.map(Arc::new);
    let services = Arc::new(services(config, &keyring)?);
    let ports = Ports::open(config, tls.is_some())?;
    settings::warn_of_open_ways(config);
    let front = Front::new(config, &services, &ports)?;
    let (hub, api, page_at) =
        (Arc::clone(&services.hub), Arc::clone(&front.api), front.page_at.clone());

    let mut pulse = Pulse::default();
    let timer = Arc::clone(&hub);
    spawn("timer", move || timer.keep_time())?;
    let (watched, beat) = (tls.clone(), pulse.beat("watcher"));
    spawn("watcher", move || watch(&keyring, watched.as_deref(), &beat))?;
    let loops = accept(config, ports, front, tls.as_ref(), &mut pulse)?;
    systemd::ready();
    spawn("greeter", move || greet(&services))?;
    let watched = Arc::clone(&hub);
    spawn("pulse", move || pulse.run(|deadline| watched.live(deadline), || watched.sockets()))?;

    let started = &started;
    let reload = Reload { load, started, latest: None, api: Arc::clone(&api), tls, page_at };
    let signal = wait_for_end(&mut signals, reload);
    log::info!("leaving signal={signal} sockets={}", hub.sockets());
    leave(loops, &hub, &api);
    Ok(())
}

/// Who serves the connections of the public ports.
struct Front {
    api: Arc<Api>,
    sockets: Sockets,
    /// The sync page's address, where it is served.
    page_at: Option<Endpoint>,
}

impl Front {
    fn new(config: &Config, services: &Arc<Services>, ports: &Ports) -> Result<Self, ServeError> {
        let (api_at, socket_at) = (&ports.apis.at, &ports.dashboards.at);
        let limits = settings::limits(config);
        let page = settings::page(config, api_at, socket_at);
        let page_at = page.as_ref().map(|_| api_at.clone());
        let allowed = config.http.allowed_origins.clone();
        let origins = Arc::new(Live::new(settings::origins(config, allowed, page_at.as_ref())));
        let proxies = Arc::new(Proxies::new(config.http.trusted_proxies.clone()));
        let api = Api {
            services: Arc::clone(services),
            socket: socket_at.clone(),
            page,
            origins: Arc::clone(&origins),
            proxies: Arc::clone(&proxies),
            hsts: Some(config.tls.hsts).filter(|seconds| *seconds > 0 && api_at.secure),
            limits,
            leaving: Arc::new(Leaving::new().map_err(ServeError::System)?),
            busy: AtomicUsize::new(0),
        };
        let sockets = Sockets {
            hub: Arc::clone(&services.hub),
            api: api_at.clone(),
            origins,
            proxies,
            metrics: Arc::clone(&services.metrics),
            limits,
            socket_limits: settings::socket_limits(config),
            owners: Crew::new("owner", SOCKET_STACK),
        };
        Ok(Front { api: Arc::new(api), sockets, page_at })
    }
}

/// Begins to serve on all ports, as many connections as the machine carries.
fn accept(
    config: &Config,
    ports: Ports,
    front: Front,
    tls: Option<&Arc<Tls>>,
    pulse: &mut Pulse,
) -> Result<Vec<JoinHandle<()>>, ServeError> {
    let capacity = settings::capacity(config);
    let Front { api, sockets, .. } = front;
    let (services, leaving) = (Arc::clone(&api.services), Arc::clone(&api.leaving));
    let serve = move |stream, peer| api.serve(stream, peer);
    let for_api = settings::acceptor(config, "api", capacity.api, API_STACK, tls, serve);
    let serve = move |stream, peer| sockets.serve(stream, peer);
    let for_socket =
        settings::acceptor(config, "socket", capacity.sockets, SOCKET_STACK, tls, serve);
    let gates = [&for_api, &for_socket].map(|it| (it.name, Arc::clone(&it.gate)));
    let for_admin = settings::admin_acceptor(Admin::new(&services, tls, gates.into()));

    let (api_at, socket_at) = (ports.apis.at.clone(), ports.dashboards.at.clone());
    let mut loops = ports.admins.accept(for_admin, &leaving, pulse)?;
    loops.extend(ports.apis.accept(for_api, &leaving, pulse)?);
    loops.extend(ports.dashboards.accept(for_socket, &leaving, pulse)?);
    log::info!("ready api={} sockets={}", api_at.url("http", ""), socket_at.url("ws", ""));
    Ok(loops)
}

/// Brings renewed keys and then the certificate in, so that no phone meets a certificate whose
/// key does not decrypt yet; never returns.
fn watch(keyring: &Keyring, tls: Option<&Tls>, beat: &AtomicBool) -> ! {
    loop {
        beat.store(true, Ordering::Relaxed);
        thread::sleep(LOOK);
        keyring.refresh();
        if let Some(tls) = tls {
            tls.refresh(keyring.private_key());
        }
    }
}

/// Reloads at each SIGHUP until another signal comes, which it returns.
fn wait_for_end(signals: &mut Signals, mut reload: Reload<'_>) -> i32 {
    for signal in signals.forever() {
        if signal != SIGHUP {
            return signal;
        }
        systemd::reloading();
        reload.run();
        systemd::ready();
    }
    SIGTERM
}

/// What the use cases share; the databases are not yet asked for anything.
fn services(config: &Config, keyring: &Arc<Keyring>) -> Result<Services, Box<dyn error::Error>> {
    let hub =
        Hub::new(settings::rules(config), settings::admission(config), settings::rates(config));
    let listed = backend::listed_platforms(config.sync.platforms_file.as_ref())?;
    let at_rest = Keys::load(config.keys.at_rest_keys.as_deref())?;
    let gateway = Arc::new(Database::new(&config.mysql).sealed_under(at_rest));
    let shared = || Arc::clone(&gateway);
    let backend = config.mysql_be.as_ref().map_or_else(shared, |be| Arc::new(Database::new(be)));
    Ok(Services {
        hub: Arc::new(hub.map_err(ServeError::Random)?),
        keyring: Arc::clone(keyring),
        workers: Workers::new(),
        backend: Backend::new(backend, &config.keys, listed),
        gateway,
        metrics: Arc::default(),
        removers: Live::new(config.limits.removal_allowed_addresses.clone()),
    })
}

/// Accepts nobody any more; lets handshakes in flight finish and sockets close, for a while.
fn leave(loops: Vec<JoinHandle<()>>, hub: &Hub, api: &Api) {
    let leaving = &api.leaving;
    systemd::stopping();
    leaving.set();
    for accepts in loops {
        // Until all have ended, a connection may be neither in a listener nor counted.
        let _ = accepts.join();
    }
    hub.leave();
    let deadline = Instant::now() + DRAIN;
    let left = || (hub.sockets(), api.busy.load(Ordering::Relaxed), leaving.unanswered());
    while left() != (0, 0, 0) {
        if Instant::now() >= deadline {
            let (sockets, requests, unanswered) = left();
            return log::warn!(
                "left with sockets={sockets} requests={requests} unanswered={unanswered}"
            );
        }
        thread::sleep(Duration::from_millis(10));
    }
    log::info!("left");
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, ServeError> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(work).map_err(ServeError::System)
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
