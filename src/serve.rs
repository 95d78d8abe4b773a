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
use crate::net::{Crew, Leaving};
use crate::proxy::Proxies;
use crate::services::{Live, Services};
use crate::socket::Sockets;
use crate::store::at_rest::Keys;
use crate::store::backend::{self, Backend};
use crate::store::{Database, gateway};
use crate::systemd::{self, Inherited, Pulse};
use crate::tls::Tls;
use crate::workers::Workers;
use listener::Listeners;
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
    let capacity = settings::capacity(config);
    let mut inherited = Inherited::take()?;
    let keyring = Arc::new(Keyring::load(&config.keys)?);
    let tls = config.tls.certificate.as_ref();
    let tls = tls.map(|file| Tls::load(file, keyring.private_key())).transpose()?.map(Arc::new);
    let hub = Arc::new(
        Hub::new(settings::rules(config), settings::admission(config), settings::rates(config))
            .map_err(ServeError::Random)?,
    );
    let services = Arc::new(services(config, &hub, &keyring)?);

    let secure = tls.is_some();
    let (http, websocket) = (&config.http, &config.websocket);
    let (api_url, socket_url) = (http.public_url.as_ref(), websocket.public_url.as_ref());
    let apis = Listeners::open("http", &http.listen, api_url, secure, &mut inherited)?;
    let dashboards =
        Listeners::open("websocket", &websocket.listen, socket_url, secure, &mut inherited)?;
    let admin_at = config.admin.listen.as_slice();
    let admins = Listeners::open("admin", admin_at, None, false, &mut inherited)?;
    inherited.finish()?;
    settings::warn_of_plain_ways(config, &apis.at);

    let limits = settings::limits(config);
    let page = settings::page(config, &apis.at, &dashboards.at);
    let page_at = page.as_ref().map(|_| apis.at.clone());
    let allowed = config.http.allowed_origins.clone();
    let origins = Arc::new(Live::new(settings::origins(config, allowed, page_at.as_ref())));
    let proxies = Arc::new(Proxies::new(config.http.trusted_proxies.clone()));
    let leaving = Arc::new(Leaving::new().map_err(ServeError::System)?);
    let api = Arc::new(Api {
        services: Arc::clone(&services),
        socket: dashboards.at.clone(),
        page,
        origins: Arc::clone(&origins),
        proxies: Arc::clone(&proxies),
        hsts: Some(config.tls.hsts).filter(|seconds| *seconds > 0 && apis.at.secure),
        limits,
        leaving: Arc::clone(&leaving),
        busy: AtomicUsize::new(0),
    });
    let sockets = Sockets {
        hub: Arc::clone(&hub),
        api: apis.at.clone(),
        origins,
        proxies,
        metrics: Arc::clone(&services.metrics),
        limits,
        socket_limits: settings::socket_limits(config),
        owners: Crew::new("owner", SOCKET_STACK),
    };

    let mut pulse = Pulse::default();
    let timer = Arc::clone(&hub);
    spawn("timer", move || timer.keep_time())?;
    let (watched, beat) = ((Arc::clone(&keyring), tls.clone()), pulse.beat("watcher"));
    spawn("watcher", move || watch(&watched.0, watched.1.as_deref(), &beat))?;
    let (api_at, socket_at) = (apis.at.clone(), dashboards.at.clone());
    let serve = Arc::clone(&api);
    let serve = move |stream, peer| serve.serve(stream, peer);
    let (most, tls_here) = (capacity.api, tls.as_ref());
    let for_api = settings::acceptor(config, "api", most, API_STACK, tls_here, serve);
    let serve = move |stream, peer| sockets.serve(stream, peer);
    let most = capacity.sockets;
    let for_socket = settings::acceptor(config, "socket", most, SOCKET_STACK, tls_here, serve);
    let gates = [&for_api, &for_socket].map(|it| (it.name, Arc::clone(&it.gate)));
    let admin = Admin::new(&services, tls_here, gates.into());
    let mut loops = admins.accept(settings::admin_acceptor(admin), &leaving, &mut pulse)?;
    loops.extend(apis.accept(for_api, &leaving, &mut pulse)?);
    loops.extend(dashboards.accept(for_socket, &leaving, &mut pulse)?);
    log::info!("ready api={} sockets={}", api_at.url("http", ""), socket_at.url("ws", ""));
    systemd::ready();
    spawn("greeter", move || greet(&services))?;
    let watched = Arc::clone(&hub);
    spawn("pulse", move || pulse.run(|deadline| watched.live(deadline), || watched.sockets()))?;

    let started = &started;
    let reload = Reload { load, started, latest: None, api: Arc::clone(&api), tls, page_at };
    let signal = wait_for_end(&mut signals, reload);
    log::info!("leaving signal={signal} sockets={}", hub.sockets());
    leave(loops, &hub, &api, &leaving);
    Ok(())
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
        metrics: Arc::default(),
        removers: Live::new(config.limits.removal_allowed_addresses.clone()),
    })
}

/// Accepts nobody any more; lets handshakes in flight finish and sockets close, for a while.
fn leave(loops: Vec<JoinHandle<()>>, hub: &Hub, api: &Api, leaving: &Leaving) {
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
