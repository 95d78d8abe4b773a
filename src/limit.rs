//! Counting what one address holds, so that none can take everything.
//!
//! The tables here hold what is live and nothing else; they know no clock and no socket.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

/// Who counts as one peer: an IPv4 address, or an IPv6 network of /64, which is what one
/// customer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(IpAddr);

impl Peer {
    /// The peer that an address belongs to; an IPv4-mapped address is the IPv4 one.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Peer(v4.into()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Peer(std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
        }
    }
}

/// Counts live things by their key, up to a number each.
#[derive(Debug)]
pub struct Counts<K> {
    most: usize,
    live: HashMap<K, usize>,
}

impl<K: Eq + Hash> Counts<K> {
    /// No key may count more than `most`.
    pub fn new(most: usize) -> Self {
        Counts { most, live: HashMap::new() }
    }

    /// Counts one more, or says no.
    pub fn enter(&mut self, key: K) -> bool {
        let count = self.live.entry(key).or_insert(0);
        let room = *count < self.most;
        *count += usize::from(room);
        room
    }

    /// Counts one less; a key at zero costs no memory.
    pub fn leave(&mut self, key: &K) {
        if let Some(count) = self.live.get_mut(key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.live.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_an_ipv4_address_or_an_ipv6_network() {
        let same = |a: &str, b: &str| Peer::of(a.parse().unwrap()) == Peer::of(b.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:1"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
    }

    #[test]
    fn a_key_counts_to_its_number_and_back_to_nothing() {
        let mut counts = Counts::new(2);
        assert!(counts.enter('a') && counts.enter('a') && counts.enter('b'));
        assert!(!counts.enter('a'));
        counts.leave(&'a');
        assert!(counts.enter('a'));
        for key in ['a', 'a', 'b', 'b'] {
            counts.leave(&key);
        }
        assert!(counts.live.is_empty());
    }
}
