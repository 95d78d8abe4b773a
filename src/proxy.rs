//! Who the client is, where proxies stand in front.
//!
//! The rule is [`limit::client`]'s; this module feeds it from requests and tells the
//! administrator of proxies that the settings do not name.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::http::Request;
use crate::limit::{self, Network, Peer};

/// How many peers are reported: strangers send the header too, and must not fill the log.
const REPORTS: usize = 16;

/// The proxies of `[http] trusted_proxies`.
#[derive(Default)]
pub struct Proxies {
    trusted: Vec<Network>,
    reported: Mutex<Vec<Peer>>,
}

impl Proxies {
    /// Trusts these alone.
    pub fn new(trusted: Vec<Network>) -> Self {
        Proxies { trusted, reported: Mutex::default() }
    }

    /// Whom a request counts for.
    pub fn client(&self, address: IpAddr, request: &Request) -> IpAddr {
        let told: Vec<&str> = request.items("x-forwarded-for").collect();
        if !told.is_empty() && !self.trusted.iter().any(|network| network.holds(address)) {
            self.report(address);
        }
        limit::client(address, &self.trusted, told.into_iter())
    }

    fn report(&self, address: IpAddr) {
        let peer = Peer::of(address);
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.len() < REPORTS && !reported.contains(&peer) {
            reported.push(peer);
            log::warn!(
                "X-Forwarded-For from a peer that is not trusted is not believed peer={address} \
                 remedy=\"if it is your proxy, name it in [http] trusted_proxies, else all its \
                 clients share one client's limits\""
            );
        }
    }
}
