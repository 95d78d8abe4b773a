//! What the use cases share: the session table, the server's keys and both databases.
//!
//! Each use case is one function here, in a module of its own that decides the order of things.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::crypto::{Digests, PhoneKey, SharedKey};
use crate::hub::Hub;
use crate::keyring::{Keyring, oaep};
use crate::limit::Peer;
use crate::log::cause;
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::store::backend::Backend;
use crate::store::{Database, StoreError};
use crate::workers::Workers;

/// What a SIGHUP may exchange while the server runs.
pub struct Live<T>(RwLock<Arc<T>>);

impl<T> Live<T> {
    /// As it is at first.
    pub fn new(value: T) -> Self {
        Live(RwLock::new(Arc::new(value)))
    }

    /// As it is now; who holds it keeps it.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// As it is from now on.
    pub fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

/// Everything that the use cases work with.
pub struct Services {
    /// The session table.
    pub hub: Arc<Hub>,
    /// The server's keys.
    pub keyring: Arc<Keyring>,
    /// Who may use the keys, and when.
    pub workers: Workers,
    /// The BE.
    pub backend: Backend,
    /// Where the gateway's own table is.
    pub gateway: Arc<Database>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The addresses that may remove users; empty is everyone.
    pub removers: Live<Vec<IpAddr>>,
}

impl Services {
    /// Opens what a phone at `peer` has encrypted, when it is its turn.
    ///
    /// # Errors
    /// As [`Workers::enter`] and [`Keyring::open`].
    pub fn open(
        &self,
        peer: Peer,
        ciphertext: &[u8],
        digests: Digests,
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let _turn = self.workers.enter(peer)?;
        log::trace!("private key used");
        let start = Instant::now();
        let opened = self.keyring.open(ciphertext, digests);
        self.metrics.key_worked(start.elapsed());
        opened
    }
}

/// A phone's shared key, sealed for that phone, in base64.
///
/// # Errors
/// [`Refusal::Fault`], with its cause in the log.
pub fn seal(shared_key: &SharedKey, phone: &PhoneKey, digests: Digests) -> Result<String, Refusal> {
    let message = shared_key.as_str().as_bytes();
    let sealed = phone.public().and_then(|key| oaep::seal(&key, message, digests));
    sealed.map(|sealed| STANDARD.encode(sealed)).map_err(|error| {
        log::error!("a shared key was not sealed cause=\"{}\"", cause(&error));
        Refusal::Fault
    })
}

/// A fault of a store during `work`, told to the log with its cause and to the client without.
pub fn refuse(work: &'static str) -> impl Fn(StoreError) -> Refusal {
    move |error| {
        let refusal = error.refusal();
        log::error!("{work} not served status={} cause=\"{}\"", refusal.status(), cause(&error));
        refusal
    }
}
