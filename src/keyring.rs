//! The server's RSA key: the one secret that phones trust, and what OpenSSL does with it.
//!
//! OpenSSL, not the `rsa` crate, because every release of that one has an open timing advisory
//! (RUSTSEC-2023-0071) and this key is the site's TLS identity as well (contract §3).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::{error, fmt};

use openssl::error::ErrorStack;
use openssl::md::{Md, MdRef};
use openssl::pkey::{Id, PKey, Private};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::{Padding, Rsa};
use zeroize::Zeroizing;

use crate::crypto::{Digests, Hash};
use crate::refusal::Refusal;

/// The size of a new key, in bits: 4096 would cost seven times the time at each handshake.
const BITS: u32 = 2048;

/// The server's key.
pub struct Keyring {
    private: PKey<Private>,
    public_pem: String,
}

/// Why there is no key.
#[derive(Debug)]
pub enum KeyError {
    /// The file cannot be read or written.
    File(PathBuf, io::Error),
    /// `keys generate` replaces nothing.
    Exists(PathBuf),
    /// The file holds no private key in PEM, or one with a passphrase.
    Pem(PathBuf, ErrorStack),
    /// The file holds a key of another kind, or a short one.
    Unfit(PathBuf),
    /// OpenSSL fails at something else.
    OpenSsl(ErrorStack),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::File(path, error) if error.kind() == io::ErrorKind::NotFound => write!(
                f,
                "there is no server key at {}; make one with `swob-gateway keys generate`, or name \
                 yours in [keys] private_key",
                path.display()
            ),
            KeyError::File(path, _) => {
                write!(f, "the server key at {} is out of reach", path.display())
            }
            KeyError::Exists(path) => write!(
                f,
                "there is a file at {} already, and no phone would know a new key; to use it, start \
                 the server, else name another path in [keys] private_key",
                path.display()
            ),
            KeyError::Pem(path, _) => write!(
                f,
                "{} holds no RSA private key in PEM without a passphrase; make one with \
                 `swob-gateway keys generate`",
                path.display()
            ),
            KeyError::Unfit(path) => write!(
                f,
                "{} is not an RSA key of 2048 bits or more, which phones need; certbot makes one \
                 with --key-type rsa, Caddy with key_type rsa2048",
                path.display()
            ),
            KeyError::OpenSsl(_) => write!(f, "OpenSSL makes no key"),
        }
    }
}

impl error::Error for KeyError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            KeyError::File(_, error) => Some(error),
            KeyError::Pem(_, error) | KeyError::OpenSsl(error) => Some(error),
            KeyError::Exists(_) | KeyError::Unfit(_) => None,
        }
    }
}

impl Keyring {
    /// Reads the server's key, PKCS#8 or PKCS#1 in PEM.
    ///
    /// # Errors
    /// [`KeyError`], with its remedy.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let at = |error| KeyError::File(path.to_owned(), error);
        let pem = Zeroizing::new(fs::read(path).map_err(at)?);
        let mode = fs::metadata(path).map_err(at)?.permissions().mode();
        if mode & 0o007 != 0 {
            log::warn!(
                "the server key is open to every user of this machine file={} mode={:o} remedy=\"chmod 600\"",
                path.display(),
                mode & 0o777
            );
        }
        // The callback keeps OpenSSL from asking for a passphrase at the terminal.
        let private = PKey::private_key_from_pem_callback(&pem, |_| Ok(0))
            .map_err(|error| KeyError::Pem(path.to_owned(), error))?;
        if private.id() != Id::RSA || private.bits() < BITS {
            return Err(KeyError::Unfit(path.to_owned()));
        }
        let public_pem = private.public_key_to_pem().map_err(KeyError::OpenSsl)?;
        let public_pem =
            String::from_utf8(public_pem).map_err(|_| KeyError::Unfit(path.to_owned()))?;
        Ok(Keyring { private, public_pem })
    }

    /// Makes a server key, for its owner's eyes alone (mode 0600), where no file is.
    ///
    /// # Errors
    /// [`KeyError`], with its remedy; a file half written is taken away.
    pub fn generate(path: &Path) -> Result<(), KeyError> {
        let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
        {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(KeyError::Exists(path.to_owned()));
            }
            file => file.map_err(|error| KeyError::File(path.to_owned(), error))?,
        };
        fill(&mut file, path).inspect_err(|_| drop(fs::remove_file(path)))
    }

    /// The public half, as step 1 hands it out.
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }

    /// Opens what a phone has encrypted under this key.
    ///
    /// # Errors
    /// [`Refusal::Undecipherable`], whatever is wrong: told apart, the causes would decrypt for a
    /// stranger (Manger 2001).
    pub fn open(&self, ciphertext: &[u8], digests: Digests) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let open = || -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
            let mut context = PkeyCtx::new(&self.private)?;
            context.decrypt_init()?;
            context.set_rsa_padding(Padding::PKCS1_OAEP)?;
            context.set_rsa_oaep_md(md(digests.oaep))?;
            context.set_rsa_mgf1_md(md(digests.mgf1))?;
            let mut plain = Zeroizing::new(Vec::new());
            context.decrypt_to_vec(ciphertext, &mut plain)?;
            Ok(plain)
        };
        open().map_err(|_| Refusal::Undecipherable)
    }
}

fn fill(file: &mut File, path: &Path) -> Result<(), KeyError> {
    let key = Rsa::generate(BITS).and_then(PKey::from_rsa).map_err(KeyError::OpenSsl)?;
    let pem = Zeroizing::new(key.private_key_to_pem_pkcs8().map_err(KeyError::OpenSsl)?);
    file.write_all(&pem)
        .and_then(|()| file.sync_all())
        .map_err(|error| KeyError::File(path.to_owned(), error))
}

fn md(hash: Hash) -> &'static MdRef {
    match hash {
        Hash::Sha1 => Md::sha1(),
        Hash::Sha256 => Md::sha256(),
    }
}
