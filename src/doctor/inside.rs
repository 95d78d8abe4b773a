//! What only the server's own machine can tell: its key file beside the certificate, how the
//! running server finds its databases, and what is wrong with them by name.
//!
//! A machine counts as the server's when the settings lead to a private key there.

use std::net::SocketAddr;

use openssl::pkey::{PKey, Public};

use super::{Doctor, PATIENCE};
use crate::check::database;
use crate::client::Trust;
use crate::client::exchange::{Request, exchange};
use crate::client::link::Link;
use crate::finding::{Finding, Mark};
use crate::keyring::ServerKey;
use crate::keyring::ring::Ring;
use crate::log::cause;
use crate::wire::Endpoint;

impl Doctor<'_> {
    pub(super) fn inside(&mut self, certificate: Option<&PKey<Public>>) {
        let settings = self.settings;
        if !settings.keys.private_key.exists() {
            return;
        }
        self.screen.wait("the settings are the server's: looking at its key and databases", true);
        self.key_file(certificate);
        // The account of the server may be another than that of whoever runs this.
        let running = settings.admin.listen.is_some_and(|listen| self.running(listen));
        let mut findings = database::gateway(&settings.mysql);
        findings.extend(database::backend(settings));
        // One database for both is told once.
        findings.dedup();
        findings.retain(|finding| matches!(finding.mark, Mark::Problem | Mark::Warning));
        let sound = findings.iter().all(|finding| finding.mark != Mark::Problem);
        if sound && running {
            self.good("settings", "what they say of the databases holds");
        }
        findings.into_iter().for_each(|finding| self.tell("settings", finding, vec![]));
    }

    fn key_file(&mut self, certificate: Option<&PKey<Public>>) {
        let keys = &self.settings.keys;
        let file = keys.private_key.display();
        let current = match ServerKey::read(&keys.private_key) {
            Ok(key) => key,
            Err(error) => return self.note("key file", cause(&error)),
        };
        let Some(certificate) = certificate else { return };
        if current.is_of(certificate) {
            return self.good("key file", format!("{file} is the certificate's key"));
        }
        let ring = Ring::new(&keys.ring).keys();
        let kept = ring.is_ok_and(|ring| ring.kept.iter().any(|kept| kept.key.is_of(certificate)));
        let ring = if kept { "but the ring has that" } else { "nor does the ring have it" };
        let what = format!("{file} is not the certificate's key, {ring}");
        let remedy = format!(
            "copy the certificate's private key to {file}, as doc/proxy/renewal-hook does, and \
             let that run after each renewal"
        );
        let finding =
            if kept { Finding::warning(what, remedy) } else { Finding::problem(what, remedy) };
        self.tell("key file", finding, vec![]);
    }

    /// How the running server finds its databases; whether all is well there.
    fn running(&mut self, listen: SocketAddr) -> bool {
        let at = Endpoint::at(listen, false);
        let deadline = self.by(PATIENCE);
        let asked = Link::dial(&[listen.ip()], &at, Trust::Any, deadline)
            .and_then(|mut link| exchange(&mut link, &at, &Request::new("GET", "/readyz", &[])));
        let said = match asked {
            Ok(answer) if matches!(answer.status, 200 | 503) => answer.body,
            _ => {
                self.note("running", format!("nobody answers at [admin] listen, {listen}"));
                return true;
            }
        };
        let said = String::from_utf8_lossy(&said).into_owned();
        let mut well = true;
        for line in said.lines().filter(|line| line.contains("not ready")) {
            well = false;
            self.tell(
                "running",
                Finding::problem(
                    format!("the running server says: {line}"),
                    "mend what is said of the settings; where nothing is, restart the \
                     server, whose settings or environment may be older",
                ),
                vec![],
            );
        }
        if well {
            self.good("running", "the running server says that its databases are ready");
        }
        well
    }
}
