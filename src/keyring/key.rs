//! One RSA key of the server: judged, named by its fingerprint, and what OpenSSL does with it.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use openssl::error::ErrorStack;
use openssl::pkey::{Id, PKey, Private, Public};
use openssl::rsa::Rsa;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{KeyError, oaep};
use crate::crypto::Digests;
use crate::file;

/// The size of a new key, in bits: 4096 would cost seven times the time at each handshake.
const BITS: u32 = 2048;

/// A private key that phones may encrypt for.
pub struct ServerKey {
    private: PKey<Private>,
    public_pem: Arc<str>,
    fingerprint: String,
}

impl ServerKey {
    /// Makes a key.
    ///
    /// # Errors
    /// [`KeyError::OpenSsl`]
    pub fn generate() -> Result<Self, KeyError> {
        let private = Rsa::generate(BITS).and_then(PKey::from_rsa).map_err(KeyError::OpenSsl)?;
        ServerKey::new(private).map_err(KeyError::OpenSsl)
    }

    /// Reads a key, PKCS#8 or PKCS#1 in PEM.
    ///
    /// # Errors
    /// [`KeyError`], with its remedy.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let at = |error| KeyError::File(path.to_owned(), error);
        let pem = Zeroizing::new(file::read(path).map_err(at)?);
        let mode = fs::metadata(path).map_err(at)?.permissions().mode();
        if mode & 0o007 != 0 {
            log::warn!(
                "the server key is open to every user of this machine file={} mode={:o} remedy=\"chmod 600\"",
                path.display(),
                mode & 0o777
            );
        }
        // OpenSSL asks here for a passphrase, else at the terminal.
        let locked = Cell::new(false);
        let ask = |_: &mut [u8]| {
            locked.set(true);
            Ok(0)
        };
        let private = PKey::private_key_from_pem_callback(&pem, ask).map_err(|error| {
            if locked.get() {
                KeyError::Locked(path.to_owned())
            } else {
                KeyError::Pem(path.to_owned(), error)
            }
        })?;
        if private.id() != Id::RSA || private.bits() < BITS {
            return Err(KeyError::Unfit(path.to_owned()));
        }
        ServerKey::new(private).map_err(|error| KeyError::Pem(path.to_owned(), error))
    }

    fn new(private: PKey<Private>) -> Result<Self, ErrorStack> {
        let public_pem = private.public_key_to_pem()?;
        let digest = Sha256::digest(private.public_key_to_der()?);
        Ok(ServerKey {
            public_pem: String::from_utf8_lossy(&public_pem).into(),
            fingerprint: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            private,
        })
    }

    /// The key itself, which is counted, not copied.
    pub fn private_key(&self) -> PKey<Private> {
        self.private.clone()
    }

    /// SHA-256 of the SubjectPublicKeyInfo, in lower-case hexadecimal.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The size of the modulus.
    pub fn bits(&self) -> u32 {
        self.private.bits()
    }

    /// The public half, as step 1 hands it out.
    pub fn public_pem(&self) -> Arc<str> {
        Arc::clone(&self.public_pem)
    }

    /// Whether this is the private half of `public`.
    pub fn is_of(&self, public: &PKey<Public>) -> bool {
        self.private.public_eq(public)
    }

    /// The private key in PKCS#8 and PEM, for a file.
    ///
    /// # Errors
    /// [`KeyError::OpenSsl`]
    pub fn private_pem(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.private.private_key_to_pem_pkcs8().map(Zeroizing::new).map_err(KeyError::OpenSsl)
    }

    /// Opens a ciphertext, which must be as long as the modulus (RFC 8017 §7.1.2). `None`,
    /// whatever is wrong.
    pub fn open(&self, ciphertext: &[u8], digests: Digests) -> Option<Zeroizing<Vec<u8>>> {
        // The length is the sender's own and no secret; a wrong one costs no private operation.
        if ciphertext.len() != self.private.size() {
            return None;
        }
        oaep::open(&self.private, ciphertext, digests).ok()
    }
}
