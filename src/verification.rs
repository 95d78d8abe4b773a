//! A phone asks whether the server holds its key (contract §4).
//!
//! The app forgets its key at a 403, so there are three arms and not two:
//!
//! - *Genuine*: the row is sound and its public key has made the signature. 200.
//! - *Forged*: the row is sound and its public key has not made the signature; or there is no row,
//!   because the BE has removed the user, or another phone's sync is the last one. The one table
//!   that holds keys was read, so it is certain that no SMS of this phone can be read. 403.
//! - *Cannot tell*: whatever else. 503 where the server or its row is at fault: a database that is
//!   away, a public key that an old server stored though it is rubbish or too weak to prove
//!   anything, a shared key that is none. 400 where the request is: a ciphertext that no key of
//!   the ring opens, and one that holds no msisdn_hash.

use std::time::Duration;

use serde_json::Value;

use crate::crypto::{Digests, Hash, PhoneKey, SharedKey, is_msisdn_hash};
use crate::limit::Peer;
use crate::refusal::Refusal;
use crate::services::{Services, refuse, seal};
use crate::store::gateway::{self, Row};
use crate::wire::{self, Verification};

/// An administrator or a new sync must mend it, so that there is no hurry to ask again.
const UNSURE: Refusal = Refusal::Unsure(Duration::from_secs(60));

/// A row that can tell a genuine phone from another.
pub struct Fit {
    phone: PhoneKey,
    shared_key: SharedKey,
    oaep: Hash,
}

impl Fit {
    /// Judges a row; all of it, since a row that is damaged in one place proves nothing.
    ///
    /// # Errors
    /// What of it is unfit, in words for an administrator.
    pub fn read(row: &Row) -> Result<Self, &'static str> {
        let phone = PhoneKey::parse(&row.public_key)
            .map_err(|_| "its public key is not a sound RSA key of 2048 to 4096 bits")?;
        let shared_key = SharedKey::parse(&row.shared_key)
            .ok_or("its shared key is not 32 hexadecimal characters")?;
        let oaep = Hash::parse(&row.oaep)
            .map_err(|_| "its hashingAlgorithm is neither sha1 nor sha256")?;
        Ok(Fit { phone, shared_key, oaep })
    }

    /// The shared key, sealed for whoever has made the signature over `msisdn_hash`.
    ///
    /// # Errors
    /// [`Refusal::Forged`], and as [`seal`].
    fn answer(&self, msisdn_hash: &[u8], signature: &[u8]) -> Result<String, Refusal> {
        if !self.phone.has_signed(msisdn_hash, signature) {
            return Err(Refusal::Forged);
        }
        let digests = Digests { oaep: self.oaep, mgf1: Hash::Sha1 };
        seal(&self.shared_key, &self.phone, digests)
    }
}

impl Services {
    /// Answers a phone at `peer` that checks its key.
    ///
    /// # Errors
    /// The refusals of contract §4.
    pub fn verify(&self, peer: Peer, body: &[u8]) -> Result<Value, Refusal> {
        self.verdict(peer, body).map_err(|refusal| match refusal {
            // The three arms have no fourth: a server at fault cannot tell.
            Refusal::Fault => UNSURE,
            other => other,
        })
    }

    fn verdict(&self, peer: Peer, body: &[u8]) -> Result<Value, Refusal> {
        let Verification { msisdn, digests, signature } = Verification::parse(body)?;
        let plain = self.open(peer, &msisdn, digests)?;
        let msisdn_hash = std::str::from_utf8(&plain)
            .ok()
            .filter(|text| is_msisdn_hash(text.as_bytes()))
            .ok_or(Refusal::Malformed("msisdn does not hold an msisdn_hash"))?;
        let row = gateway::find(&self.gateway, msisdn_hash).map_err(refuse("verification"))?;
        let row = row.ok_or(Refusal::Forged)?;
        let fit = Fit::read(&row).map_err(|unfit| {
            log::warn!("verification cannot tell: the row of this user is unfit, {unfit}");
            UNSURE
        })?;
        Ok(wire::verification_answer(&fit.answer(&plain, &signature)?))
    }
}

#[cfg(test)]
mod tests {
    use openssl::rsa::Rsa;
    use zeroize::Zeroizing;

    use super::*;

    #[test]
    fn a_row_that_is_unfit_anywhere_proves_nothing() {
        let pem = |bits: u32| {
            String::from_utf8(Rsa::generate(bits).unwrap().public_key_to_pem().unwrap()).unwrap()
        };
        let (good, weak) = (pem(2048), pem(1024));
        let dense: String = good.lines().collect();
        let key = "0123456789abcdef0123456789abcdef";
        let check = |public_key: &str, shared_key: &str, algorithm: &str, expected: &str| {
            let row = Row {
                shared_key: Zeroizing::new(shared_key.to_owned()),
                public_key: public_key.to_owned(),
                oaep: algorithm.to_owned(),
                msisdn_hash: String::new(),
                mgf1: String::new(),
            };
            let unfit = Fit::read(&row).err().unwrap_or_default();
            assert!(unfit.contains(expected), "{unfit}");
            assert_eq!(unfit.is_empty(), expected.is_empty(), "{unfit}");
        };
        check(&good, key, "sha256", "");
        check(&good, key, "sha1", "");
        check(&dense, key, "sha256", "");
        check(&weak, key, "sha256", "public key");
        check("rubbish", key, "sha256", "public key");
        check("", key, "sha256", "public key");
        check(&good, "", "sha256", "shared key");
        check(&good, &key[1..], "sha256", "shared key");
        check(&good, key, "md5", "hashingAlgorithm");
    }
}
