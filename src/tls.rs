//! The site's certificate: read, judged, and exchanged while connections live.
//!
//! Its private key is the server's own (contract §3) and comes from [`crate::keyring`], so that
//! no phone meets a certificate whose key does not decrypt yet. Connections are
//! [`crate::net`]'s.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};
use std::{error, fmt, io};

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::pkey::{Id, PKey, Private};
use openssl::ssl::{Ssl, SslAcceptor, SslMethod, SslOptions, SslSessionCacheMode};
use openssl::x509::{X509, X509Ref, X509VerifyResult};

use crate::file::{self, Stamp, stamp};
use crate::log::cause;

/// In seconds.
const DAY: i64 = 24 * 3600;

/// What a certificate is served with.
pub struct Tls {
    certificate: PathBuf,
    acceptor: RwLock<SslAcceptor>,
    /// The file and the key as they were when the file was last read; held while it is.
    seen: Mutex<Seen>,
}

struct Seen {
    file: Stamp,
    key: PKey<Private>,
}

/// Why a certificate is not served.
#[derive(Debug)]
pub enum TlsError {
    /// The file cannot be read.
    File(PathBuf, io::Error),
    /// The file holds no certificate in PEM.
    Pem(PathBuf, ErrorStack),
    /// The certificate's key is no RSA key.
    Kind(PathBuf),
    /// The certificate is for another key than the server's.
    Foreign(PathBuf),
    /// OpenSSL refuses something else.
    OpenSsl(ErrorStack),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::File(path, _) => write!(
                f,
                "the certificate {} is out of reach; name the chain's file in [tls] certificate",
                path.display()
            ),
            TlsError::Pem(path, _) => write!(
                f,
                "{} is no chain of certificates in PEM; certbot calls it fullchain.pem",
                path.display()
            ),
            TlsError::Kind(path) => write!(
                f,
                "the certificate {} is not for an RSA key, which phones need; certbot makes one \
                 with --key-type rsa, Caddy with key_type rsa2048",
                path.display()
            ),
            TlsError::Foreign(path) => write!(
                f,
                "the certificate {} is for another key than the server's; name its own in [tls] \
                 private_key",
                path.display()
            ),
            TlsError::OpenSsl(_) => write!(f, "OpenSSL refuses the certificate"),
        }
    }
}

impl error::Error for TlsError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            TlsError::File(_, error) => Some(error),
            TlsError::Pem(_, error) | TlsError::OpenSsl(error) => Some(error),
            TlsError::Kind(_) | TlsError::Foreign(_) => None,
        }
    }
}

impl From<ErrorStack> for TlsError {
    fn from(error: ErrorStack) -> Self {
        TlsError::OpenSsl(error)
    }
}

impl Tls {
    /// Reads the certificate, which must be for `key`, and the chain behind it.
    ///
    /// # Errors
    /// [`TlsError`], with its remedy.
    pub fn load(certificate: &Path, key: PKey<Private>) -> Result<Self, TlsError> {
        let seen = Seen { file: stamp(certificate), key };
        Ok(Tls {
            certificate: certificate.to_owned(),
            acceptor: RwLock::new(read(certificate, &seen.key)?),
            seen: Mutex::new(seen),
        })
    }

    /// What one new connection needs; those that are open keep what they have.
    ///
    /// # Errors
    /// Where OpenSSL has no memory.
    pub fn session(&self) -> Result<Ssl, ErrorStack> {
        Ssl::new(self.acceptor.read().unwrap_or_else(PoisonError::into_inner).context())
    }

    /// From when until when the certificate holds, in seconds since 1970.
    pub fn validity(&self) -> Option<(i64, i64)> {
        let acceptor = self.acceptor.read().unwrap_or_else(PoisonError::into_inner);
        let leaf = acceptor.context().certificate()?;
        let epoch = Asn1Time::from_unix(0).ok()?;
        let seconds = |time| seconds(&epoch, time).ok();
        Some((seconds(leaf.not_before())?, seconds(leaf.not_after())?))
    }

    /// Reads the certificate anew, for `key`; where it is wrong, the old one stays and the log
    /// says why.
    pub fn reload(&self, key: PKey<Private>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.reread(&mut seen, key);
    }

    /// The same, if the file or the key is another than at the last time.
    pub fn refresh(&self, key: PKey<Private>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if stamp(&self.certificate) != seen.file || !key.public_eq(&seen.key) {
            self.reread(&mut seen, key);
        }
    }

    fn reread(&self, seen: &mut Seen, key: PKey<Private>) {
        // Taken before the file is read: a change in between is found at the next look.
        *seen = Seen { file: stamp(&self.certificate), key };
        match read(&self.certificate, &seen.key) {
            Ok(acceptor) => {
                *self.acceptor.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
            }
            Err(error) => {
                log::error!("the TLS certificate stays as it was cause=\"{}\"", cause(&error));
            }
        }
    }
}

/// A certificate for the server's key, and the chain behind it.
pub struct Certificate {
    leaf: X509,
    issuers: Vec<X509>,
}

impl Certificate {
    /// Reads a file with the certificate, which must be for `key`, and the chain behind it.
    ///
    /// # Errors
    /// [`TlsError`], with its remedy.
    pub fn read(path: &Path, key: &PKey<Private>) -> Result<Self, TlsError> {
        let pem = file::read(path).map_err(|error| TlsError::File(path.to_owned(), error))?;
        let broken = |error| TlsError::Pem(path.to_owned(), error);
        let mut issuers = X509::stack_from_pem(&pem).map_err(broken)?;
        if issuers.is_empty() {
            return Err(broken(ErrorStack::get()));
        }
        let leaf = issuers.remove(0);
        let public = leaf.public_key()?;
        if public.id() != Id::RSA {
            return Err(TlsError::Kind(path.to_owned()));
        }
        if !public.public_eq(key) {
            return Err(TlsError::Foreign(path.to_owned()));
        }
        Ok(Certificate { leaf, issuers })
    }

    /// When it expires.
    pub fn until(&self) -> String {
        self.leaf.not_after().to_string()
    }

    /// Whether another one has issued it and is not behind it, so that phones cannot go from it to
    /// an authority that they know.
    pub fn is_alone(&self) -> bool {
        self.issuers.is_empty() && self.leaf.issued(&self.leaf) != X509VerifyResult::OK
    }

    /// The time that it has left.
    ///
    /// # Errors
    /// [`TlsError::OpenSsl`]
    pub fn left(&self) -> Result<Left, TlsError> {
        Ok(Left::of(&self.leaf)?)
    }
}

/// The time that a certificate has left.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    /// In seconds; below 0 it has expired.
    seconds: i64,
    /// The seconds of its whole life.
    whole: i64,
}

impl Left {
    /// As this machine's clock has it.
    ///
    /// # Errors
    /// Where OpenSSL cannot tell.
    pub fn of(certificate: &X509Ref) -> Result<Self, ErrorStack> {
        let (from, until) = (certificate.not_before(), certificate.not_after());
        let now = Asn1Time::days_from_now(0)?;
        Ok(Left { seconds: seconds(&now, until)?, whole: seconds(from, until)? })
    }

    /// Of a certificate that holds from one time until another, in seconds of one clock.
    pub fn at(now: f64, from: f64, until: f64) -> Self {
        Left { seconds: (until - now) as i64, whole: (until - from) as i64 }
    }

    /// Whether none is left.
    pub fn is_over(self) -> bool {
        self.seconds < 0
    }

    /// Whether the certificate should have been renewed by now: less than a sixth of its life is
    /// left, and fewer than 14 days. Clients renew with a third or more, which of some
    /// authorities' is two days; of certificates for years a sixth is a matter of months.
    pub fn is_late(self) -> bool {
        self.seconds < (self.whole / 6).min(14 * DAY)
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seconds {
            few if few < 3 * DAY => write!(f, "{} hours", few / 3600),
            many => write!(f, "{} days", many / DAY),
        }
    }
}

fn seconds(from: &Asn1TimeRef, until: &Asn1TimeRef) -> Result<i64, ErrorStack> {
    let time = from.diff(until)?;
    Ok(i64::from(time.days) * DAY + i64::from(time.secs))
}

fn read(path: &Path, key: &PKey<Private>) -> Result<SslAcceptor, TlsError> {
    let certificate = Certificate::read(path, key)?;
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    // Every connection proves the certificate's key: a resumed one would hold on to a ticket's,
    // which lives as long as the process. Renegotiation is a private operation for the asking.
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder.set_options(SslOptions::NO_TICKET | SslOptions::NO_RENEGOTIATION);
    builder.set_num_tickets(0)?;
    builder.set_private_key(key)?;
    builder.set_certificate(&certificate.leaf)?;
    let until = certificate.until();
    if certificate.left()?.is_over() {
        log::warn!("the TLS certificate has expired until=\"{until}\" file={}", path.display());
    } else {
        log::info!("TLS certificate until=\"{until}\"");
    }
    for issuer in certificate.issuers {
        builder.add_extra_chain_cert(issuer)?;
    }
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_is_late_when_clients_would_have_renewed_long_ago() {
        let check = |whole: f64, left: f64, late: bool| {
            let left = Left::at(whole - left, 0.0, whole);
            assert_eq!(left.is_late(), late, "{left} of {whole} days");
        };
        let day = DAY as f64;
        // Certbot and Caddy renew with a third left, of six days with half and a third.
        check(90.0 * day, 30.0 * day, false);
        check(90.0 * day, 14.0 * day, false);
        check(90.0 * day, 13.9 * day, true);
        check(6.0 * day, 2.0 * day, false);
        check(6.0 * day, 23.0 * 3600.0, true);
        check(day / 2.0, 4.0 * 3600.0, false);
        check(day / 2.0, 3600.0, true);
        // A year's and a private authority's.
        check(365.0 * day, 60.0 * day, false);
        check(3650.0 * day, 13.0 * day, true);
    }
}
