//! The server's RSA keys: the secrets that phones trust, and what OpenSSL does with them.
//!
//! The current key is the one that step 1 hands out. Phones go on encrypting under the key that
//! they saw when they synced (contract §4), so every key that was ever current stays in the
//! [`ring`], and ciphertexts are tried under the current and then the retired ones.
//!
//! OpenSSL, not the `rsa` crate, because every release of that one has an open timing advisory
//! (RUSTSEC-2023-0071) and this key is the site's TLS identity as well (contract §3).

pub mod command;
mod error;
mod key;
pub mod oaep;
pub mod ring;
#[cfg(test)]
mod tests;

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::mem;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use openssl::pkey::{PKey, Private};
use zeroize::Zeroizing;

pub use error::KeyError;
pub use key::ServerKey;
use ring::Ring;

use crate::config;
use crate::crypto::Digests;
use crate::file::{Stamp, stamp};
use crate::log::{cause, short};
use crate::refusal::Refusal;

/// How many keys decrypt, the current one counted: each costs a private operation at every
/// ciphertext that opens under none.
pub const MOST: usize = 8;

/// The server's keys.
pub struct Keyring {
    private_key: PathBuf,
    ring: Ring,
    keys: RwLock<Arc<Keys>>,
    /// The current key's file and the ring's folder as they were when they were last read; held
    /// while they are.
    seen: Mutex<[Stamp; 2]>,
}

struct Keys {
    current: ServerKey,
    /// The newest first.
    retired: Vec<ServerKey>,
    ages: Ages,
}

/// How old the keys are.
#[derive(Clone, Copy, Debug)]
pub struct Ages {
    /// When the current key's file was written.
    pub current: SystemTime,
    /// When the newest of the retired keys was last known to be current.
    pub retired: Option<SystemTime>,
    /// How many retired keys decrypt.
    pub number_retired: usize,
}

impl Keyring {
    /// Reads the current key and the ring, and copies the one into the other before it serves.
    ///
    /// # Errors
    /// [`KeyError`], with its remedy.
    pub fn load(settings: &config::Keys) -> Result<Self, KeyError> {
        let ring = Ring::new(&settings.ring);
        let seen = stamps(&settings.private_key, &ring);
        let keys = read(&settings.private_key, &ring)?;
        log_keys(&keys);
        Ok(Keyring {
            private_key: settings.private_key.clone(),
            ring,
            keys: RwLock::new(Arc::new(keys)),
            seen: Mutex::new(seen),
        })
    }

    /// Makes a server key, for its owner's eyes alone (mode 0600), where no file is.
    ///
    /// # Errors
    /// [`KeyError`], with its remedy; a file half written is taken away.
    pub fn generate(path: &Path) -> Result<(), KeyError> {
        let exists = || KeyError::Exists(path.to_owned());
        if path.exists() {
            return Err(exists());
        }
        // Before the file is there, so that whoever grows impatient leaves no empty one.
        let pem = ServerKey::generate()?.private_pem()?;
        let at = |error| KeyError::File(path.to_owned(), error);
        let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
        {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists()),
            file => file.map_err(at)?,
        };
        let written = file.write_all(&pem).and_then(|()| file.sync_all()).map_err(at);
        written.inspect_err(|_| drop(fs::remove_file(path)))
    }

    /// The current key's public half, as step 1 hands it out.
    pub fn public_pem(&self) -> Arc<str> {
        self.keys().current.public_pem()
    }

    /// The current key itself, for TLS.
    pub fn private_key(&self) -> PKey<Private> {
        self.keys().current.private_key()
    }

    /// How old the keys are.
    pub fn ages(&self) -> Ages {
        self.keys().ages
    }

    /// Opens what a phone has encrypted under any of the keys: the one way to the private
    /// operations, each of which costs half a millisecond.
    ///
    /// # Errors
    /// [`Refusal::Undecipherable`], whatever is wrong and after the same work: told apart, the
    /// causes would decrypt for a stranger (Manger 2001).
    pub fn open(&self, ciphertext: &[u8], digests: Digests) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let keys = self.keys();
        let mut tried = std::iter::once(&keys.current).chain(&keys.retired);
        tried.find_map(|key| key.open(ciphertext, digests)).ok_or(Refusal::Undecipherable)
    }

    /// Reads the files anew; where they are wrong, the keys stay and the log says why.
    pub fn reload(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.reread(&mut seen);
    }

    /// The same, if the files are others than at the last time.
    pub fn refresh(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if stamps(&self.private_key, &self.ring) != *seen {
            self.reread(&mut seen);
        }
    }

    fn reread(&self, seen: &mut [Stamp; 2]) {
        // Taken before the files are read: a change in between is found at the next look.
        *seen = stamps(&self.private_key, &self.ring);
        let old = self.keys();
        // The key that retires is dated now, for it is the newest of the retired.
        let keys = self
            .ring
            .admit(&old.current, &self.private_key)
            .and_then(|()| read(&self.private_key, &self.ring));
        match keys {
            Ok(keys) => {
                if keys.fingerprints() != old.fingerprints() {
                    log_keys(&keys);
                }
                let mut place = self.keys.write().unwrap_or_else(PoisonError::into_inner);
                drop(mem::replace(&mut *place, Arc::new(keys)));
            }
            Err(error) => log::error!(
                "the server keys stay as they were current={} cause=\"{}\"",
                short(old.current.fingerprint()),
                cause(&error)
            ),
        }
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Keys {
    fn fingerprints(&self) -> Vec<&str> {
        let all = std::iter::once(&self.current).chain(&self.retired);
        all.map(ServerKey::fingerprint).collect()
    }
}

fn read(private_key: &Path, ring: &Ring) -> Result<Keys, KeyError> {
    let current = ServerKey::read(private_key)?;
    ring.admit(&current, private_key)?;
    let content = ring.keys()?;
    for useless in &content.useless {
        log::error!("a file of the ring is of no use cause=\"{}\"", cause(useless));
    }
    let mut retired = content.kept;
    retired.retain(|kept| kept.key.fingerprint() != current.fingerprint());
    for unused in retired.iter().skip(MOST - 1) {
        log::warn!(
            "an old server key is not used, since {MOST} newer ones are key={} ring={}",
            short(unused.key.fingerprint()),
            ring.folder().display()
        );
    }
    retired.truncate(MOST - 1);
    let written = fs::metadata(private_key).and_then(|file| file.modified());
    let ages = Ages {
        current: written.map_err(|error| KeyError::File(private_key.to_owned(), error))?,
        retired: retired.first().map(|kept| kept.date),
        number_retired: retired.len(),
    };
    let retired = retired.into_iter().map(|kept| kept.key).collect();
    Ok(Keys { current, retired, ages })
}

fn log_keys(keys: &Keys) {
    let current = short(keys.current.fingerprint());
    log::info!("server keys current={current} retired={}", keys.retired.len());
}

fn stamps(private_key: &Path, ring: &Ring) -> [Stamp; 2] {
    [stamp(private_key), stamp(ring.folder())]
}
