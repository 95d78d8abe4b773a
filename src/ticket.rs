//! Tickets: the session ids of `GET`, which prove themselves and cost no memory until used.
//!
//! A ticket is 16 random bytes, its expiry and an HMAC-SHA256 over both and the user id, under a
//! key made at start. It opens one socket, once; the ids in QR codes are other ones
//! ([`crate::session::SessionId`]). A restart voids every ticket that is not yet used.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::refusal::Refusal;
use crate::session::UserId;

/// How long a ticket waits for its socket.
pub const LIFETIME: Duration = Duration::from_secs(60);

/// How many used tickets are remembered; each for [`LIFETIME`] at most.
const MAX_SPENT: usize = 1 << 20;

const NONCE: usize = 16;
const EXPIRY: usize = 8;
const SEAL: usize = 32;

/// Issues tickets and recognises its own.
pub struct Tickets {
    mac: Hmac<Sha256>,
    epoch: Instant,
}

/// The used tickets that are not yet expired.
#[derive(Default)]
pub struct Spent(BTreeSet<(u64, [u8; NONCE])>);

impl Tickets {
    /// A booth with a key of its own; tickets count their time from `epoch`.
    pub fn new(key: &[u8; 32], epoch: Instant) -> Self {
        let mac = Hmac::new_from_slice(key).expect("HMAC takes a key of any length");
        Tickets { mac, epoch }
    }

    /// A ticket for `user`, over 16 bytes that the caller drew from a cryptographic generator.
    pub fn issue(&self, now: Instant, user: &UserId, nonce: [u8; NONCE]) -> String {
        let mut ticket = Vec::with_capacity(NONCE + EXPIRY + SEAL);
        ticket.extend(nonce);
        ticket.extend(self.millis(now + LIFETIME).to_be_bytes());
        let seal = self.seal(&ticket, user).finalize().into_bytes();
        ticket.extend(seal);
        URL_SAFE_NO_PAD.encode(ticket)
    }

    /// Uses a ticket up.
    ///
    /// # Errors
    /// [`Refusal::Session`] for a foreign, expired or used ticket and any other text;
    /// [`Refusal::Full`] while the list of used ones is full.
    pub fn redeem(
        &self,
        now: Instant,
        user: &UserId,
        text: &str,
        spent: &mut Spent,
    ) -> Result<(), Refusal> {
        let ticket = URL_SAFE_NO_PAD.decode(text).map_err(|_| Refusal::Session)?;
        let (ticket, seal) = ticket.split_last_chunk::<SEAL>().ok_or(Refusal::Session)?;
        self.seal(ticket, user).verify_slice(seal).map_err(|_| Refusal::Session)?;
        // Only tickets of the length issued carry a seal, and the seal is good.
        let (nonce, expiry) = ticket.split_first_chunk::<NONCE>().ok_or(Refusal::Session)?;
        let expiry = expiry.first_chunk::<EXPIRY>().map(|bytes| u64::from_be_bytes(*bytes));
        let expiry = expiry.ok_or(Refusal::Session)?;
        let now = self.millis(now);
        if expiry <= now {
            return Err(Refusal::Session);
        }
        spent.0 = spent.0.split_off(&(now, [0; NONCE]));
        if spent.0.len() >= MAX_SPENT {
            return Err(Refusal::Full(LIFETIME));
        }
        if spent.0.insert((expiry, *nonce)) { Ok(()) } else { Err(Refusal::Session) }
    }

    fn seal(&self, ticket: &[u8], user: &UserId) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(ticket);
        mac.update(user.as_str().as_bytes());
        mac
    }

    /// Milliseconds since the epoch; they fit for half a milliard years.
    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> UserId {
        UserId::parse(text).unwrap()
    }

    #[test]
    fn a_ticket_opens_one_socket_of_its_user_within_a_minute() {
        let epoch = Instant::now();
        let tickets = Tickets::new(&[1; 32], epoch);
        let mut spent = Spent::default();
        let mut check = |after: Duration, user: &UserId, text: &str, expected| {
            assert_eq!(tickets.redeem(epoch + after, user, text, &mut spent), expected, "{text}");
        };
        let (ada, eve) = (user("ada"), user("eve"));
        let soon = Duration::from_secs(59);
        let ticket = tickets.issue(epoch, &ada, [2; 16]);
        let second = tickets.issue(epoch, &ada, [3; 16]);
        check(soon, &eve, &ticket, Err(Refusal::Session));
        check(soon, &ada, &ticket, Ok(()));
        check(soon, &ada, &ticket, Err(Refusal::Session));
        check(LIFETIME, &ada, &second, Err(Refusal::Session));
        check(soon, &ada, &second, Ok(()));
        for forged in ["", "000", &ticket[1..], &ticket.replacen(&ticket[..4], "AAAA", 1)] {
            check(soon, &ada, forged, Err(Refusal::Session));
        }
        let other = Tickets::new(&[9; 32], epoch).issue(epoch, &ada, [4; 16]);
        check(soon, &ada, &other, Err(Refusal::Session));
    }

    #[test]
    fn used_tickets_are_forgotten_when_they_expire() {
        let epoch = Instant::now();
        let tickets = Tickets::new(&[1; 32], epoch);
        let mut spent = Spent::default();
        let ada = user("ada");
        for n in 0..200_u8 {
            let now = epoch + Duration::from_secs(u64::from(n));
            let ticket = tickets.issue(now, &ada, [n; 16]);
            tickets.redeem(now, &ada, &ticket, &mut spent).unwrap();
            assert!(spent.0.len() <= 61);
        }
    }
}
