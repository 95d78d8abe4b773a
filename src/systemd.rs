//! What systemd hands over, and what it is told: listeners (sd_listen_fds(3)), readiness, signs of
//! life and the end (sd_notify(3)).
//!
//! Without systemd nothing is handed over and nobody is told. What a sign of life proves is the
//! business of the loops that beat.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use std::{error, fmt, io, thread};

use listenfd::ListenFd;
use sd_notify::NotifyState;

/// The listeners that systemd holds for this server, through its restarts too.
///
/// They are told apart by their address: a setting that names one takes it, so that the settings
/// stay the one place that says which port is which.
pub struct Inherited(Vec<(SocketAddr, TcpListener)>);

/// Why a handed-over listener is not served.
#[derive(Debug)]
pub enum InheritedError {
    /// It is no TCP listener.
    Kind(io::Error),
    /// No setting names its address.
    Unnamed(SocketAddr),
}

impl fmt::Display for InheritedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InheritedError::Kind(_) => write!(
                f,
                "systemd hands over what is no TCP listener; write an address and a port behind \
                 ListenStream= of swob-gateway.socket"
            ),
            InheritedError::Unnamed(address) => write!(
                f,
                "systemd listens on {address}, which is neither [http] listen nor [websocket] \
                 listen, so that whoever connects there waits in vain; make them agree with \
                 `systemctl edit swob-gateway.socket`, or stop and disable that unit"
            ),
        }
    }
}

impl error::Error for InheritedError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            InheritedError::Kind(error) => Some(error),
            InheritedError::Unnamed(_) => None,
        }
    }
}

impl Inherited {
    /// Takes what systemd hands over; to be called once, before the first thread is there.
    ///
    /// # Errors
    /// [`InheritedError::Kind`].
    pub fn take() -> Result<Self, InheritedError> {
        let mut handed = ListenFd::from_env();
        let mut listeners = Vec::new();
        for index in 0..handed.len() {
            let listener = handed.take_tcp_listener(index).map_err(InheritedError::Kind)?;
            let Some(listener) = listener else { continue };
            listeners.push((listener.local_addr().map_err(InheritedError::Kind)?, listener));
        }
        Ok(Inherited(listeners))
    }

    /// The listener at this address, where there is one.
    pub fn at(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let place = self.0.iter().position(|(held, _)| *held == address)?;
        Some(self.0.swap_remove(place).1)
    }

    /// Ends the distribution.
    ///
    /// # Errors
    /// [`InheritedError::Unnamed`] where a listener is left.
    pub fn finish(self) -> Result<(), InheritedError> {
        self.0.first().map_or(Ok(()), |(address, _)| Err(InheritedError::Unnamed(*address)))
    }
}

/// The server serves.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The server reads its settings anew, until the next [`ready`].
pub fn reloading() {
    tell(&[NotifyState::Reloading]);
}

/// The server leaves.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::warn!("systemd does not hear this server cause={error}");
    }
}

/// The loops that must go on for the server to be alive.
#[derive(Default)]
pub struct Pulse(Vec<(&'static str, Arc<AtomicBool>)>);

impl Pulse {
    /// A beat for a loop of this name, which sets it again and again.
    pub fn beat(&mut self, name: &'static str) -> Arc<AtomicBool> {
        let beat = Arc::new(AtomicBool::new(true));
        self.0.push((name, Arc::clone(&beat)));
        beat
    }

    /// Takes all beats away and names a loop that has not beaten since the last time.
    pub fn silent(&self) -> Option<&'static str> {
        let taken = self.0.iter().map(|(name, beat)| (*name, beat.swap(false, Ordering::Relaxed)));
        taken.fold(None, |silent, (name, beaten)| if beaten { silent } else { Some(name) })
    }

    /// Tells systemd again and again that the server lives, with the number of its sockets, while
    /// all loops beat and `lives` finds nothing by its deadline. Returns where systemd does not ask.
    pub fn run<E: fmt::Debug>(
        &self,
        lives: impl Fn(Instant) -> Result<(), E>,
        sockets: impl Fn() -> usize,
    ) {
        let Some(patience) = sd_notify::watchdog_enabled() else { return };
        loop {
            thread::sleep(patience / 3);
            let stuck =
                lives(Instant::now() + patience / 3).err().map(|stuck| format!("{stuck:?}"));
            match stuck.or_else(|| self.silent().map(str::to_owned)) {
                None => {
                    let status = format!("{} sockets open", sockets());
                    tell(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
                }
                Some(stuck) => log::error!(
                    "no sign of life from={stuck}; systemd restarts the server after {} s of it",
                    patience.as_secs()
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stops_beating_is_named() {
        let mut pulse = Pulse::default();
        let [watcher, api] = ["watcher", "api"].map(|name| pulse.beat(name));
        let check = |beaten: &[&Arc<AtomicBool>], silent| {
            beaten.iter().for_each(|beat| beat.store(true, Ordering::Relaxed));
            assert_eq!(pulse.silent(), silent);
        };
        check(&[], None);
        check(&[&watcher, &api], None);
        check(&[&watcher], Some("api"));
        check(&[&api], Some("watcher"));
        check(&[], Some("api"));
        check(&[&watcher, &api], None);
    }

    #[test]
    fn listeners_go_to_the_setting_that_names_them() {
        let listeners: Vec<_> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let [one, two] = [0, 1].map(|n: usize| listeners[n].local_addr().unwrap());
        let pairs = listeners.into_iter().map(|l| (l.local_addr().unwrap(), l));
        let mut inherited = Inherited(pairs.collect());
        assert_eq!(inherited.at(two).unwrap().local_addr().unwrap(), two);
        assert!(inherited.at(two).is_none());
        assert!(matches!(inherited.finish(), Err(InheritedError::Unnamed(left)) if left == one));
    }
}
