//! What SIGHUP does: keys and certificate at once, the settings that need no restart, the log's
//! file opened anew. Where the new settings are wrong, the old ones stay, all of them.

use std::io::ErrorKind;
use std::sync::Arc;

use super::settings;
use crate::api::Api;
use crate::config::{Config, ConfigError, Overview};
use crate::log::{self as records, cause};
use crate::tls::Tls;
use crate::wire::Endpoint;

/// The running server's settings, and where they come from.
pub(super) struct Reload<'a> {
    pub(super) load: &'a dyn Fn() -> Result<Overview, ConfigError>,
    /// Those of the start, which hold for whatever is not taken over.
    pub(super) started: &'a Overview,
    /// Those that were taken over last.
    pub(super) latest: Option<Overview>,
    pub(super) api: Arc<Api>,
    pub(super) tls: Option<Arc<Tls>>,
    /// Where the sync page is, where it is served.
    pub(super) page_at: Option<Endpoint>,
}

impl Reload<'_> {
    /// Does it.
    pub(super) fn run(&mut self) {
        records::reopen();
        let keyring = &self.api.services.keyring;
        keyring.reload();
        if let Some(tls) = &self.tls {
            tls.reload(keyring.private_key());
        }
        let newer = match (self.load)() {
            Ok(newer) => newer,
            Err(error) => return stay(&error),
        };
        match newer.config() {
            // Defaults in place of a file that was moved away are nobody's wish.
            Ok(_) if self.started.has_file && !newer.has_file => {
                let file = self.started.file.clone();
                return stay(&ConfigError::Unreadable(file, ErrorKind::NotFound.into()));
            }
            Ok(config) => self.take(config),
            Err(error) => return stay(&error),
        }
        let before = self.latest.as_ref().unwrap_or(self.started);
        log::info!("settings read again taken=\"{}\"", newer.changed(before, true).join(", "));
        let waiting = newer.changed(self.started, false);
        if !waiting.is_empty() {
            log::warn!("settings wait for a restart settings=\"{}\"", waiting.join(", "));
        }
        self.latest = Some(newer);
    }

    fn take(&self, config: &Config) {
        records::set(&config.log);
        // The server's own origins are those of the start, as its addresses are.
        if let Ok(started) = self.started.config() {
            let allowed = config.http.allowed_origins.clone();
            self.api.origins.set(settings::origins(started, allowed, self.page_at.as_ref()));
        }
        self.api.services.removers.set(config.limits.removal_allowed_addresses.clone());
    }
}

fn stay(error: &ConfigError) {
    log::error!("the settings stay as they were cause=\"{}\"", cause(error));
}
