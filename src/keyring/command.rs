//! What an administrator does with the keys: list, rotate, add. A running server notices by itself.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use httpdate::fmt_http_date;
use openssl::x509::X509;

use super::ring::{Ring, replace};
use super::{KeyError, MOST, ServerKey};
use crate::config;

/// Every key, one a line: use, bits, date, fingerprint; then the files of the ring that hold none.
///
/// # Errors
/// [`KeyError`], with its remedy.
pub fn list(settings: &config::Keys) -> Result<String, KeyError> {
    let current = ServerKey::read(&settings.private_key)?;
    let mut lines = String::new();
    let mut line = |word: &str, date: SystemTime, key: &ServerKey| {
        let (bits, date) = (key.bits(), fmt_http_date(date));
        writeln!(lines, "{word:<8} {bits} bits  {date}  {}", key.fingerprint())
            .expect("a String takes every line");
    };
    let content = Ring::new(&settings.ring).keys()?;
    let (own, retired): (Vec<_>, Vec<_>) =
        content.kept.iter().partition(|kept| kept.key.fingerprint() == current.fingerprint());
    let changed = || fs::metadata(&settings.private_key).and_then(|file| file.modified());
    let date = match own.first() {
        Some(kept) => kept.date,
        None => changed().map_err(|error| KeyError::File(settings.private_key.clone(), error))?,
    };
    line("current", date, &current);
    for (place, kept) in retired.iter().enumerate() {
        line(if place + 1 < MOST { "retired" } else { "unused" }, kept.date, &kept.key);
    }
    for useless in &content.useless {
        writeln!(lines, "useless  {useless}").expect("a String takes every line");
    }
    Ok(lines)
}

/// Makes a new current key in place of the one before, which stays in the ring; gives the new
/// one's fingerprint. `certificate` is the file with the TLS certificate, where the server has one.
///
/// # Errors
/// [`KeyError::Foreign`] where the current key is a certificate's: phones that take the key from
/// the certificate would have another than the server. Else [`KeyError`], with its remedy.
pub fn rotate(settings: &config::Keys, certificate: Option<&Path>) -> Result<String, KeyError> {
    let path = &settings.private_key;
    let at = |error| KeyError::File(path.clone(), error);
    let old = ServerKey::read(path)?;
    let link = fs::symlink_metadata(path).map_err(at)?.is_symlink();
    // Certificates stand in the key's own file, or where Caddy puts them beside it.
    let beside = path.with_extension("crt");
    let files = [Some(path.as_path()), Some(&beside), certificate];
    if link || files.into_iter().flatten().any(|file| certifies(file, &old)) {
        return Err(KeyError::Foreign(path.clone()));
    }
    let ring = Ring::new(&settings.ring);
    let new = ServerKey::generate()?;
    // In this order no moment has a current key that the ring does not have.
    ring.admit(&old, path)?;
    ring.admit(&new, path)?;
    let like = fs::metadata(path).map_err(at)?;
    replace(path, &new.private_pem()?, like.mode() & 0o660, &like).map_err(at)?;
    Ok(new.fingerprint().to_owned())
}

/// Takes a key into the ring, such as an old installation's; gives its fingerprint.
///
/// # Errors
/// [`KeyError`], with its remedy.
pub fn add(settings: &config::Keys, file: &Path) -> Result<String, KeyError> {
    fs::metadata(file).map_err(|error| KeyError::Added(file.to_owned(), error))?;
    let key = ServerKey::read(file)?;
    let like = if settings.private_key.exists() { &settings.private_key } else { file };
    Ring::new(&settings.ring).admit(&key, like)?;
    Ok(key.fingerprint().to_owned())
}

fn certifies(file: &Path, key: &ServerKey) -> bool {
    let certificates = fs::read(file).ok().and_then(|pem| X509::stack_from_pem(&pem).ok());
    certificates
        .unwrap_or_default()
        .iter()
        .any(|certificate| certificate.public_key().is_ok_and(|public| key.is_of(&public)))
}
