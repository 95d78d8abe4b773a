//! The phone: a pause with a session of its own, bodies as the apps send them, and what the
//! answers to a password and to a verification tell of the key and the databases.
//!
//! Nothing can be stored: the user cannot exist, so that no password is right.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::pkey::{PKey, Private, Public};
use serde_json::json;

use super::Doctor;
use super::recipe::{Lines, Topic};
use super::socket::Dashboard;
use crate::client::ClientError;
use crate::client::exchange::{Answer, Request};
use crate::client::phone::{android, pem, wrap};
use crate::crypto::{Digests, Hash, hmac_sha512_hex};
use crate::finding::Finding;
use crate::keyring::oaep;
use crate::log::cause;

/// As the one-step app encrypts (contract §3).
const ONE_STEP: Digests = Digests { oaep: Hash::Sha256, mgf1: Hash::Sha256 };

/// The ways in which content is declared: Android's, curl's, none, and what other clients do.
const WAYS: [(&str, &[(&str, &str)]); 4] = [
    ("as Android sends it", &[("Content-Type", "application/json; charset=utf-8")]),
    ("form-encoded, as curl sends it", &[("Content-Type", "application/x-www-form-urlencoded")]),
    ("without a content type", &[]),
    ("as plain text", &[("Content-Type", "text/plain;charset=UTF-8")]),
];

/// What was learnt from outside.
#[derive(Default)]
pub struct Outside {
    /// The key that step 1 hands out.
    server: Option<PKey<Public>>,
    /// The answer to a password for the user who cannot exist: status and `Retry-After`.
    password: Option<(u16, u64)>,
    /// The answer to a verification of a phone that cannot exist.
    verification: Option<(u16, u64)>,
    /// Whether a ciphertext under the certificate's key is opened.
    opened: Option<bool>,
}

impl Doctor<'_> {
    /// Step 1 in all ways, and a password that cannot be right.
    pub(super) fn handshake(
        &mut self,
        dashboard: &mut Dashboard,
        phone: &PKey<Private>,
        certificate: Option<&PKey<Public>>,
        outside: &mut Outside,
    ) -> Result<(), ClientError> {
        let path = dashboard.qr.path.clone();
        let pem = pem(phone)?;
        let Some(first) = self.pause(dashboard, &path, &pem) else { return Ok(()) };
        let told = first.json();
        let server = told["public_key"].as_str().unwrap_or_default();
        outside.server = PKey::public_key_from_pem(server.as_bytes()).ok();
        self.bodies(&path, &pem, &first);
        let Some(server) = &outside.server else { return Ok(()) };
        // Where the certificate's key is the current one, its ciphertext tells both at once.
        let same = certificate.is_some_and(|key| key.public_eq(server));
        outside.password = self.password(&path, &pem, server)?;
        outside.opened = match certificate {
            None => None,
            Some(_) if same => opened(outside.password),
            Some(other) => opened(self.password(&path, &pem, other)?),
        };
        Ok(())
    }

    fn pause(&mut self, dashboard: &mut Dashboard, path: &str, pem: &str) -> Option<Answer> {
        let body = android(&json!({ "public_key": pem }));
        let answer = match self.ask(&Request::post(path, WAYS[0].1, &body)) {
            Ok(answer) if answer.status == 200 => answer,
            other => {
                let told = other.as_ref().map_or_else(|error| cause(error), Answer::told);
                self.tell(
                    "pause",
                    Finding::problem(
                        format!("a phone's key is refused at the QR code's path: {told}"),
                        "let the proxy pass every POST on as it is; a filter such as mod_security \
                         has to spare this host",
                    ),
                    self.recipe(Topic::Api),
                );
                return None;
            }
        };
        if dashboard.pauses(self.end) {
            self.good("pause", "a phone's key is taken, and the dashboard sees the pause");
        } else {
            self.tell(
                "pause",
                Finding::problem(
                    "a phone's key is taken, but the dashboard does not see the pause",
                    "let the proxy pass frames at once, without buffering, and both ports lead \
                     to one and the same gateway",
                ),
                self.recipe(Topic::Sockets),
            );
        }
        Some(answer)
    }

    /// The same key in other ways: each has the same answer, byte for byte (contract §3).
    fn bodies(&mut self, path: &str, pem: &str, first: &Answer) {
        let raw = format!("{{\"public_key\":\"{pem}\"}}");
        let mut odd = Vec::new();
        for (way, headers) in &WAYS[1..] {
            let answer = self.ask(&Request::post(path, headers, &raw));
            odd.extend(differs(&answer, first).map(|how| format!("raw newlines, {way}: {how}")));
        }
        let expects = Request { expects: true, ..Request::post(path, WAYS[1].1, &raw) };
        let answer = self.ask(&expects);
        odd.extend(differs(&answer, first).map(|how| format!("after Expect: 100-continue: {how}")));
        let continued = answer.map_or(true, |answer| answer.continued);
        let user = &self.user;
        let session = path.trim_end_matches("/handshake");
        if first.json()["verification_url"] != session || !session.contains(user.as_str()) {
            odd.push("the answer's verification_url is not the QR code's path".to_owned());
        }
        if first.chunked {
            odd.push("answers come in chunks, without their Content-Length".to_owned());
        }
        if odd.is_empty() {
            self.good("bodies", "they pass byte for byte, with raw newlines and odd content types");
        } else {
            self.tell(
                "bodies",
                Finding::problem(
                    format!("bodies do not pass as they are: {}", odd.join("; ")),
                    "let the proxy neither judge nor change bodies, whatever their content type \
                     says",
                ),
                self.recipe(Topic::Bodies),
            );
        }
        if !continued {
            self.note(
                "bodies",
                "nobody answers Expect: 100-continue, so that old clients wait a second",
            );
        }
    }

    /// A password for the user who cannot exist; the status and how long to stay away.
    fn password(
        &mut self,
        path: &str,
        pem: &str,
        key: &PKey<Public>,
    ) -> Result<Option<(u16, u64)>, ClientError> {
        let password = format!("{:032x}", rand::random::<u128>());
        let sealed = wrap(&oaep::seal(key, password.as_bytes(), ONE_STEP)?);
        let body = android(&json!({
            "public_key": pem, "mgf1ParameterSpec": "sha256", "password": sealed,
        }));
        Ok(self.outcome("password", path, &body))
    }

    /// The verification of a phone that cannot exist, which needs no session.
    pub(super) fn verification(
        &mut self,
        certificate: Option<&PKey<Public>>,
        outside: &mut Outside,
    ) -> Result<(), ClientError> {
        let Some(key) = outside.server.as_ref().or(certificate) else { return Ok(()) };
        let nobody = hmac_sha512_hex(&rand::random::<[u8; 32]>(), b"");
        let body = android(&json!({
            "msisdn": wrap(&oaep::seal(key, nobody.as_bytes(), ONE_STEP)?),
            "msisdn_signature": STANDARD.encode(rand::random::<[u8; 256]>()),
            "mgf1ParameterSpec": "sha256",
        }));
        outside.verification = self.outcome("verification", "/v2/sync/users/verification", &body);
        if outside.server.is_none() {
            outside.opened = opened(outside.verification);
        }
        Ok(())
    }

    fn outcome(&mut self, check: &'static str, path: &str, body: &str) -> Option<(u16, u64)> {
        match self.ask(&Request::post(path, WAYS[0].1, body)) {
            Ok(answer) => {
                let after = answer.header("retry-after").and_then(|text| text.parse().ok());
                Some((answer.status, after.unwrap_or(0)))
            }
            Err(error) => {
                self.tell(
                    check,
                    Finding::problem(
                        format!("it gets no answer: {}", cause(&error)),
                        "see the log of the gateway, and that the proxy waits 30 seconds for it",
                    ),
                    self.recipe(Topic::Api),
                );
                None
            }
        }
    }

    /// Whether the certificate's key is the server's.
    pub(super) fn ring(&mut self, certificate: Option<&PKey<Public>>, outside: &Outside) {
        let Some(certificate) = certificate else { return };
        let same = outside.server.as_ref().is_some_and(|server| server.public_eq(certificate));
        match outside.opened {
            Some(true) if same => {
                self.good("ring", "the certificate's key is the server's current key")
            }
            Some(true) => self.good("ring", "the certificate's key is in the server's ring"),
            Some(false) => self.tell(
                "ring",
                Finding::problem(
                    "the certificate's key is not in the server's ring: the one-step app, which \
                     encrypts under it, is answered 400",
                    "let the server have the certificate's own private key, which \
                     doc/proxy/renewal-hook copies there after each renewal, or take it in by hand \
                     with swob-gateway keys add",
                ),
                vec![Lines::settings(&[
                    "[keys]",
                    "private_key = /etc/swob-gateway/tls/privkey.pem",
                ])],
            ),
            None => self.note("ring", "whether the certificate's key is in the ring is not known"),
        }
    }

    /// What the two answers tell of the databases.
    pub(super) fn databases(&mut self, outside: &Outside) {
        let at = |section: &str, outcome: Option<(u16, u64)>, good: u16, which: &str| {
            let (status, after) = outcome?;
            Some(match status {
                status if status == good => Finding::good(format!("{which} answers")),
                400 | 404 | 405 => Finding::note(format!("{which} is not examined ({status})")),
                429 => Finding::note(format!(
                    "{which} is not examined: too many wrong tries came from this address (429), \
                     wait {} minutes",
                    after.div_ceil(60)
                )),
                503 if (1..=AWAY.as_secs()).contains(&after) => Finding::problem(
                    format!("{which} is away, or refuses the server's account"),
                    format!(
                        "see that it runs, and that host, username, password and database in \
                         {section} are right; sql/grants.sql makes the account"
                    ),
                ),
                503 if (1..=MISSING.as_secs()).contains(&after) => Finding::problem(
                    format!("{which} answers, but the hashing salt is not there"),
                    "let credentials row 1 of the BE have its hashing_salt, or name the file that \
                     holds it in [keys] hashing_salt_file",
                ),
                500 | 503 if status == 500 || after > 0 => Finding::problem(
                    format!("{which} refuses a statement: a table is missing, or is another's"),
                    format!(
                        "see the log of the gateway for the statement, and {section} database; \
                         swob-gateway migrate makes the gateway's table, swob-gateway takeover \
                         --dry-run judges one that is there, sql/grants.sql gives the rights"
                    ),
                ),
                status => Finding::problem(
                    format!("{which} cannot be judged: the answer is {status}"),
                    "let the proxy pass the gateway's answers as they are",
                ),
            })
        };
        let be = at("[mysql_be]", outside.password, 401, "the BE's database");
        let own = at("[mysql]", outside.verification, 403, "the gateway's database");
        for finding in [be, own].into_iter().flatten() {
            self.tell("database", finding, vec![]);
        }
    }
}

/// What the server says while a database is away, and while a secret of the BE is missing
/// ([`crate::store::StoreError::refusal`]).
const AWAY: Duration = Duration::from_secs(5);
const MISSING: Duration = Duration::from_secs(20);

/// What is wrong with an answer that must be the first one again.
fn differs(answer: &Result<Answer, ClientError>, first: &Answer) -> Option<String> {
    match answer {
        Ok(answer) if answer.status != 200 => Some(answer.told()),
        Ok(answer) if answer.body != first.body => Some("another answer".to_owned()),
        Ok(_) => None,
        Err(error) => Some(cause(error)),
    }
}

/// Whether an answer proves that a ciphertext was opened, or that it was not.
fn opened(outcome: Option<(u16, u64)>) -> Option<bool> {
    match outcome?.0 {
        400 => Some(false),
        401 | 403 | 500 | 503 => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_proves_whether_a_ciphertext_was_opened() {
        let check = |status, expected| assert_eq!(opened(Some((status, 1))), expected, "{status}");
        check(401, Some(true));
        check(403, Some(true));
        check(503, Some(true));
        check(400, Some(false));
        check(404, None);
        check(429, None);
        check(502, None);
    }
}
