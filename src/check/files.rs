//! The files that the settings name: whether they are there, fit each other, and who may read
//! them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::{Access, access};
use rustix::process::geteuid;

use crate::config::{self, Config};
use crate::finding::Finding;
use crate::keyring::ring::Ring;
use crate::keyring::{MOST, ServerKey};
use crate::log::{LogError, cause, short};
use crate::store::at_rest::Keys;
use crate::store::backend::listed_platforms;
use crate::tls::Certificate;

/// What there is to say of all files.
pub fn judge(config: &Config) -> Vec<Finding> {
    let keys = &config.keys;
    let mut findings = Vec::new();
    // Whom the kernel lets write everything finds nothing out about the server's account.
    if geteuid().is_root() {
        findings.push(Finding::note(
            "this is root, who may read and write everything; to see what the server's account \
             may, run the command as that account",
        ));
    }
    match ServerKey::read(&keys.private_key) {
        Err(error) => findings.push(Finding::error(&error)),
        Ok(key) => {
            let path = keys.private_key.display();
            let (bits, id) = (key.bits(), short(key.fingerprint()));
            findings.push(Finding::good(format!("{path} is an RSA key of {bits} bits, {id}")));
            findings.extend(open_to_others(&keys.private_key));
            findings.extend(ring(&keys.ring, &key, &keys.private_key));
            findings.extend(config.tls.certificate.as_deref().map(|file| certificate(file, &key)));
        }
    }
    findings.extend(at_rest(keys));
    if let Some(file) = &config.sync.platforms_file {
        findings.push(match listed_platforms(Some(file)) {
            Ok(list) => Finding::good(format!("{} lists {} platforms", file.display(), list.len())),
            Err(error) => Finding::error(&error),
        });
    }
    findings.extend(config.log.file.as_deref().map(log_file));
    let databases = [Some(&config.mysql), config.mysql_be.as_ref()];
    let mut authorities: Vec<&PathBuf> =
        databases.into_iter().flatten().filter_map(|d| d.tls.as_ref()?.ca.as_ref()).collect();
    authorities.dedup();
    findings.extend(authorities.into_iter().filter_map(|file| unreadable(file, "tls_ca")));
    findings
}

/// Who beside the owner and the group may touch a secret file.
fn open_to_others(file: &Path) -> Option<Finding> {
    let mode = fs::metadata(file).ok()?.permissions().mode();
    let file = file.display();
    if mode & 0o007 != 0 {
        return Some(Finding::warning(
            format!("{file} is open to every user of this machine, mode {:o}", mode & 0o777),
            format!("chmod o= {file}"),
        ));
    }
    (mode & 0o020 != 0).then(|| {
        Finding::warning(
            format!("{file} can be changed by its group, mode {:o}", mode & 0o777),
            format!("chmod g-w {file}"),
        )
    })
}

fn ring(folder: &Path, current: &ServerKey, private_key: &Path) -> Vec<Finding> {
    let shown = folder.display();
    let content = match Ring::new(folder).keys() {
        Ok(content) => content,
        Err(error) => return vec![Finding::error(&error)],
    };
    // The server makes the folder where it is missing.
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    let place = if folder.is_dir() { folder } else { parent.unwrap_or(Path::new(".")) };
    let kept = content.kept.iter().any(|kept| kept.key.fingerprint() == current.fingerprint());
    let retired = content.kept.len() - usize::from(kept);
    let remedy = format!(
        "let the server's account, that of {}, own {shown}, or name another folder in [keys] ring",
        private_key.display()
    );
    let mut findings = vec![match access(place, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => {
            Finding::good(format!("the ring {shown} can be written, retired keys: {retired}"))
        }
        Err(error) if kept => Finding::warning(
            format!("the ring {shown} cannot be written ({error}): the next renewal is not kept"),
            remedy,
        ),
        Err(error) => Finding::problem(
            format!("the ring {shown} cannot be written ({error}), and lacks the current key"),
            remedy,
        ),
    }];
    findings.extend(content.useless.iter().map(|useless| {
        Finding::warning(
            format!("a file of the ring is of no use: {}", cause(useless)),
            "take it out of the folder, after a look at what it is",
        )
    }));
    if retired >= MOST {
        findings.push(Finding::note(format!(
            "the ring {shown} has more keys than the {MOST} that decrypt; the oldest are not used"
        )));
    }
    findings.extend(content.kept.iter().filter_map(|kept| {
        open_to_others(&folder.join(format!("{}.pem", kept.key.fingerprint())))
    }));
    findings
}

fn certificate(file: &Path, key: &ServerKey) -> Finding {
    let read = Certificate::read(file, &key.private_key());
    let read = read.and_then(|it| Ok((it.until(), it.left()?, it.is_alone())));
    let shown = file.display();
    match read {
        Err(error) => Finding::error(&error),
        Ok((until, left, _)) if left.is_over() => Finding::problem(
            format!("the certificate {shown} has expired, {until}"),
            "renew it, such as with certbot renew",
        ),
        Ok((until, left, _)) if left.is_late() => Finding::warning(
            format!("the certificate {shown} expires in {left}, {until}"),
            "look why its renewal fails, such as with certbot renew --dry-run",
        ),
        Ok((_, _, true)) => Finding::warning(
            format!("the certificate {shown} comes without the chain behind it"),
            "name the file with both, which certbot calls fullchain.pem",
        ),
        Ok((until, ..)) => {
            Finding::good(format!("the certificate {shown} is for the server's key, until {until}"))
        }
    }
}

fn at_rest(keys: &config::Keys) -> Vec<Finding> {
    let Some(file) = keys.at_rest_keys.as_deref() else { return Vec::new() };
    let mut findings = vec![match Keys::load(Some(file)) {
        Err(error) => Finding::error(&error),
        Ok(keys) if keys.seals() => {
            Finding::good(format!("{} encrypts phones' keys in the table", file.display()))
        }
        Ok(_) => Finding::note(format!(
            "{} begins with \"plain\": phones' keys are written in clear",
            file.display()
        )),
    }];
    findings.extend(open_to_others(file));
    findings
}

fn log_file(file: &Path) -> Finding {
    let shown = file.display();
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let place = if file.exists() { file } else { parent.unwrap_or(Path::new(".")) };
    let writable = if file.is_dir() {
        Err(io::ErrorKind::IsADirectory.into())
    } else {
        access(place, Access::WRITE_OK).map_err(io::Error::from)
    };
    match writable {
        Ok(()) => Finding::good(format!("the log file {shown} can be written")),
        Err(error) => Finding::error(&LogError(file.to_owned(), error)),
    }
}

/// A file that is read later on.
pub fn unreadable(file: &Path, key: &str) -> Option<Finding> {
    let error = fs::File::open(file).err()?;
    Some(Finding::problem(
        format!("{key} names {}, which cannot be read ({error})", file.display()),
        "name a file that the server's account may read",
    ))
}
