//! Why a server key is not to be had, each with its remedy.

use std::path::PathBuf;
use std::{error, fmt, io};

use openssl::error::ErrorStack;

/// Why there is no key.
#[derive(Debug)]
pub enum KeyError {
    /// The file cannot be read or written.
    File(PathBuf, io::Error),
    /// A file of the ring, or the ring itself, cannot be read or written.
    Ring(PathBuf, io::Error),
    /// The file that `keys add` names is not there.
    Added(PathBuf, io::Error),
    /// `keys generate` replaces nothing.
    Exists(PathBuf),
    /// The file holds no private key in PEM.
    Pem(PathBuf, ErrorStack),
    /// The key has a passphrase, which nobody types at a start.
    Locked(PathBuf),
    /// The file holds a key of another kind, or a short one.
    Unfit(PathBuf),
    /// `keys rotate` leaves a file alone that another program renews.
    Foreign(PathBuf),
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
                write!(
                    f,
                    "the server key at {} is out of reach; let the server's account read it",
                    path.display()
                )
            }
            KeyError::Ring(path, _) => write!(
                f,
                "the ring of server keys is out of reach at {}; name a folder in [keys] ring that \
                 the server's account can write",
                path.display()
            ),
            KeyError::Added(path, _) => write!(
                f,
                "there is no key to add at {}; name the file of an RSA private key in PEM",
                path.display()
            ),
            KeyError::Exists(path) => write!(
                f,
                "there is a file at {} already, and no phone would know a new key; to use it, start \
                 the server, else name another path in [keys] private_key",
                path.display()
            ),
            KeyError::Pem(path, _) => write!(
                f,
                "{} holds no RSA private key in PEM; make one with `swob-gateway keys generate`",
                path.display()
            ),
            KeyError::Locked(path) => write!(
                f,
                "{0} is locked with a passphrase; put a copy without one in its place, which \
                 `openssl pkey -in {0} -out COPY` writes",
                path.display()
            ),
            KeyError::Unfit(path) => write!(
                f,
                "{} is not an RSA key of 2048 bits or more, which phones need; certbot makes one \
                 with --key-type rsa, Caddy with key_type rsa2048",
                path.display()
            ),
            KeyError::Foreign(path) => write!(
                f,
                "{} is a certificate's key or a link to another program's file; let that program \
                 renew it, and the server takes the new key by itself",
                path.display()
            ),
            KeyError::OpenSsl(_) => write!(f, "OpenSSL makes no key"),
        }
    }
}

impl error::Error for KeyError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            KeyError::File(_, error) | KeyError::Ring(_, error) | KeyError::Added(_, error) => {
                Some(error)
            }
            KeyError::Pem(_, error) | KeyError::OpenSsl(error) => Some(error),
            KeyError::Exists(_)
            | KeyError::Locked(_)
            | KeyError::Unfit(_)
            | KeyError::Foreign(_) => None,
        }
    }
}
