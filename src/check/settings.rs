//! What the settings say, each by itself and with the others.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::config::{Config, ConfigError, Overview};
use crate::finding::Finding;

/// All mistakes; where there are none, what an administrator should know.
pub fn judge(overview: &Overview) -> Vec<Finding> {
    let mut findings = vec![source(overview)];
    findings.extend(readers(overview));
    match overview.config() {
        Err(ConfigError::Mistakes(lines)) => {
            findings.extend(lines.iter().map(|line| Finding::sentence(line)));
        }
        Err(error) => findings.push(Finding::error(&error)),
        Ok(config) => {
            findings.extend(open_ways(config));
            findings.extend(trial(config));
        }
    }
    findings
}

fn source(overview: &Overview) -> Finding {
    let file = overview.file.display();
    let set = overview.settings.iter().filter(|shown| shown.is_set()).count();
    if overview.has_file {
        Finding::good(format!("{file} is read; settings that it and the environment give: {set}"))
    } else {
        Finding::note(format!(
            "there is no {file} here, so that defaults count, and the environment, which gives \
             {set}; another place is named by --config FILE"
        ))
    }
}

/// Who may read a file that holds a password.
fn readers(overview: &Overview) -> Option<Finding> {
    let file = overview.file.display();
    let mode = fs::metadata(&overview.file).ok()?.permissions().mode();
    (overview.file_holds_secret() && mode & 0o004 != 0).then(|| {
        Finding::warning(
            format!("{file} holds a password, and every user of this machine may read it"),
            format!("chmod 640 {file}, with the group of the server's account"),
        )
    })
}

/// What only a trial should have.
fn trial(config: &Config) -> Option<Finding> {
    config.sync.accept_unissued_sessions.then(|| {
        Finding::warning(
            "[sync] accept_unissued_sessions = yes lets anyone open sockets with made-up sessions",
            "take it out, unless this is a trial",
        )
    })
}

/// The ways in and out that are open to others. The server warns of them, too, when it starts.
pub fn open_ways(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let http = &config.http;
    let secure = |url: &Option<crate::wire::Endpoint>| url.as_ref().map(|url| url.secure);
    let tls = config.tls.certificate.is_some();
    if http.is_public() && !secure(&http.public_url).unwrap_or(tls) {
        findings.push(Finding::warning(
            "plain HTTP on a public address: whoever carries it can read and change it",
            "set [tls], or put a TLS proxy in front and its https URL into [http] public_url",
        ));
    }
    if config.page.enabled
        && secure(&http.public_url).unwrap_or(tls)
        && !secure(&config.websocket.public_url).unwrap_or(tls)
    {
        findings.push(Finding::warning(
            "browsers open no plain socket from the sync page on https",
            "set [websocket] public_url to a wss URL",
        ));
    }
    for (name, database) in [("mysql", Some(&config.mysql)), ("mysql_be", config.mysql_be.as_ref())]
    {
        if database.is_some_and(|database| database.is_exposed()) {
            findings.push(Finding::warning(
                format!("[{name}] connects to another machine in clear, phones' keys and all"),
                format!("set [{name}] tls = yes"),
            ));
        }
    }
    findings
}
