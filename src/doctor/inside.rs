//! What only the server's own machine can tell: its key files beside the certificate.
//!
//! A machine counts as the server's when the settings lead to a private key there.

use openssl::pkey::{PKey, Public};

use super::Doctor;
use crate::finding::Finding;
use crate::keyring::ServerKey;
use crate::keyring::ring::Ring;

impl Doctor<'_> {
    pub(super) fn inside(&mut self, certificate: Option<&PKey<Public>>) {
        let settings = self.settings;
        if !settings.keys.private_key.exists() {
            return;
        }
        let file = settings.keys.private_key.display();
        let current = match ServerKey::read(&settings.keys.private_key) {
            Ok(key) => key,
            Err(error) => return self.note("key file", format!("{file} is not read: {error}")),
        };
        let Some(certificate) = certificate else { return };
        if current.is_of(certificate) {
            return self.good("key file", format!("{file} is the certificate's key"));
        }
        let ring = Ring::new(&settings.keys.ring).keys();
        let kept = ring.is_ok_and(|ring| ring.kept.iter().any(|kept| kept.key.is_of(certificate)));
        let where_ = if kept { "but the ring has that" } else { "nor does the ring have it" };
        let what = format!("{file} is not the certificate's key, {where_}");
        let remedy = format!(
            "copy the certificate's private key to {file}, as doc/proxy/renewal-hook does, and \
             let that run after each renewal"
        );
        let finding =
            if kept { Finding::warning(what, remedy) } else { Finding::problem(what, remedy) };
        self.tell("key file", finding, vec![]);
    }
}
