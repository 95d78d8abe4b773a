//! The handshake: a phone proves its owner's password and receives its key (contract §3).
//!
//! Decides the order of things. The session and the body are judged before the private key is
//! touched, the phone's answer is ready before anything is stored, and whoever claims the session
//! stores; so nothing is stored unless the answer is 200.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use subtle::ConstantTimeEq as _;

use crate::crypto::{self, PhoneKey, SharedKey};
use crate::hub;
use crate::limit::Peer;
use crate::log::password_refused;
use crate::password::Judgement;
use crate::refusal::Refusal;
use crate::services::{self, Services};
use crate::session::{SessionId, UserId};
use crate::store::backend::Candidate;
use crate::store::{StoreError, gateway};
use crate::wire::{self, Grant, Handshake, Password};

/// What compares with the hash of no password: it is not hexadecimal.
const NO_HASH: [u8; 128] = [b'-'; 128];

/// After so long nothing is stored any more: the apps give up after 10 s, of which the COMMIT needs
/// some, and keep the key that they had (contract §3).
const LATEST: Duration = Duration::from_secs(7);

impl Services {
    /// Answers a phone at `address`, of whatever generation, and counts the answer.
    ///
    /// # Errors
    /// The refusals of contract §3.
    pub fn handshake(
        &self,
        user: &UserId,
        session: SessionId,
        address: IpAddr,
        body: &[u8],
    ) -> Result<Value, Refusal> {
        let start = Instant::now();
        let answer = self.step(start, user, session, address, body);
        let outcome = answer.as_ref().map_or_else(Refusal::name, |(step, _)| *step);
        self.metrics.handshake(outcome, start.elapsed(), SystemTime::now());
        answer.map(|(_, answer)| answer)
    }

    /// The answer, with the name of its step.
    fn step(
        &self,
        start: Instant,
        user: &UserId,
        session: SessionId,
        address: IpAddr,
        body: &[u8],
    ) -> Result<(&'static str, Value), Refusal> {
        let digest = crypto::body_digest(body);
        match Handshake::parse(body)? {
            Handshake::Key(key) => {
                self.hub.begin(session, user, &Arc::new(key))?;
                Ok(("begun", wire::key_answer(&self.keyring.public_pem(), user, session)))
            }
            Handshake::Password(password) => {
                let key = self.hub.attempt(session, user, digest, None)?;
                let exchange =
                    Exchange { start, user, session, address, password, one_step: false };
                let grant = self.attempt(&key, digest, &exchange)?;
                Ok(("complete", grant.two_step()))
            }
            Handshake::Both(key, password) => {
                let key = self.hub.attempt(session, user, digest, Some(&Arc::new(key)))?;
                let exchange = Exchange { start, user, session, address, password, one_step: true };
                let grant = self.attempt(&key, digest, &exchange)?;
                Ok(("complete", grant.one_step()))
            }
        }
    }

    fn attempt(
        &self,
        key: &Arc<PhoneKey>,
        digest: [u8; 32],
        exchange: &Exchange<'_>,
    ) -> Result<Grant, Refusal> {
        let answer = self.counted(exchange, key);
        answer.inspect_err(|refusal| self.hub.refuse(exchange.session, digest, *refusal))
    }

    /// The exchange as one try for the user's password.
    fn counted(&self, exchange: &Exchange<'_>, key: &Arc<PhoneKey>) -> Result<Grant, Refusal> {
        let peer = Peer::of(exchange.address);
        let attempt = self.hub.try_password(Some(exchange.user), peer)?;
        let answer = self.exchange(exchange, key);
        if let Err(Refusal::Credentials) = &answer {
            password_refused(exchange.address);
        }
        attempt.judge(match &answer {
            Ok(_) => Judgement::Right,
            Err(Refusal::Credentials) => Judgement::Wrong,
            Err(_) => Judgement::None,
        });
        answer
    }

    fn exchange(&self, exchange: &Exchange<'_>, key: &Arc<PhoneKey>) -> Result<Grant, Refusal> {
        let Exchange { start, user, session, address, ref password, one_step } = *exchange;
        let plain = self.open(Peer::of(address), &password.ciphertext, password.sent)?;
        if one_step {
            self.hub.begin(session, user, key)?;
        }
        let salt = self.backend.salt().map_err(refuse)?;
        let candidate = self.backend.candidate(user).map_err(refuse)?;
        let judged = |salt: &str| {
            log::trace!("password hashed");
            judge(&candidate, &crypto::hmac_sha512_hex(salt.as_bytes(), &plain))
        };
        // A BE that was set up anew has another salt, under which every password is wrong.
        let msisdn_hash = judged(&salt)
            .or_else(|| self.backend.renewed_salt().and_then(|salt| judged(&salt)))
            .ok_or(Refusal::Credentials)?;

        let shared_key = SharedKey::new(hub::random().map_err(|_| Refusal::Fault)?);
        let sealed = services::seal(&shared_key, key, password.wanted)?;
        let (saved, unsaved) = self.backend.platforms(user).map_err(refuse)?;

        if start.elapsed() > LATEST {
            return Err(Refusal::Full(LATEST));
        }
        let won = self.hub.claim(session, user)?;
        let row = gateway::User {
            msisdn_hash: &msisdn_hash,
            shared_key: &shared_key,
            public_key: key,
            digests: password.sent,
        };
        gateway::save(&self.gateway, &row).map_err(refuse)?;
        won.complete();
        Ok(Grant { shared_key: sealed, msisdn_hash, saved, unsaved })
    }
}

struct Exchange<'a> {
    start: Instant,
    user: &'a UserId,
    session: SessionId,
    address: IpAddr,
    password: Password,
    one_step: bool,
}

/// The user's `msisdn_hash`, if the password is right and one verified phone is theirs. Every
/// wrong way out costs the same and says the same: else a stranger could tell which ids exist.
fn judge(candidate: &Candidate, hash: &str) -> Option<String> {
    let stored = candidate.password.as_ref().map_or(&NO_HASH[..], |stored| stored.as_bytes());
    let right = bool::from(stored.ct_eq(hash.as_bytes()));
    let phone = match candidate.msisdn_hashes.as_slice() {
        [phone] => phone.as_ref().filter(|hash| !hash.is_empty()),
        _ => None,
    };
    phone.filter(|_| right).cloned()
}

fn refuse(error: StoreError) -> Refusal {
    services::refuse("handshake")(error)
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    #[test]
    fn a_right_password_needs_exactly_one_verified_phone() {
        let check = |password: Option<&str>, phones: &[Option<&str>], expected: Option<&str>| {
            let candidate = Candidate {
                password: password.map(|text| Zeroizing::new(text.to_owned())),
                msisdn_hashes: phones.iter().map(|phone| phone.map(str::to_owned)).collect(),
            };
            assert_eq!(judge(&candidate, "ab").as_deref(), expected, "{password:?} {phones:?}");
        };
        check(Some("ab"), &[Some("60")], Some("60"));
        check(Some("ac"), &[Some("60")], None);
        check(Some(""), &[Some("60")], None);
        check(None, &[Some("60")], None);
        check(Some("ab"), &[], None);
        check(Some("ab"), &[None], None);
        check(Some("ab"), &[Some("")], None);
        check(Some("ab"), &[Some("60"), Some("61")], None);
    }
}
