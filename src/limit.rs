//! Counting what one address holds, so that none can take everything.
//!
//! The tables here hold what is live and nothing else; they know no clock and no socket.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};

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

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    /// How many leading bits all its addresses share.
    length: u8,
}

impl Network {
    /// The addresses that share their first `length` bits with `first`; `None` where `first` has
    /// bits behind them, or not as many. An IPv4-mapped address is the IPv4 one.
    pub fn new(first: IpAddr, length: u8) -> Option<Self> {
        let (first, length) = match (first, first.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(v4)) => (v4.into(), length.checked_sub(96)?),
            _ => (first, length),
        };
        let network = Network { first, length };
        let most = if first.is_ipv4() { 32 } else { 128 };
        (length <= most && network.head(first) == bits(first)).then_some(network)
    }

    /// Whether an address lies in it.
    pub fn holds(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && self.head(address) == bits(self.first)
    }

    fn head(&self, address: IpAddr) -> u128 {
        bits(address) & u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0)
    }
}

/// An address with its first bit at the top.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The client behind trusted proxies: of the addresses that `X-Forwarded-For` tells, in its
/// order, the rightmost that is none of theirs, for whatever stands left of it is the client's
/// own word. Where a proxy tells no address, or none but proxies', the last one known.
pub fn client<'a>(
    peer: IpAddr,
    trusted: &[Network],
    told: impl DoubleEndedIterator<Item = &'a str>,
) -> IpAddr {
    let mut client = peer;
    let mut told = told.rev();
    while trusted.iter().any(|network| network.holds(client)) {
        let Some(next) = told.next().and_then(address) else { break };
        client = next;
    }
    client
}

/// An address as proxies write it: some add the port, and then brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    bare.parse().or_else(|_| with_port()).ok()
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

    /// How many a key counts.
    pub fn of(&self, key: &K) -> usize {
        self.live.get(key).copied().unwrap_or(0)
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

    fn networks(text: &str) -> Vec<Network> {
        let parse = |item: &str| {
            let (first, length) = item.split_once('/').unwrap();
            Network::new(first.parse().unwrap(), length.parse().unwrap()).unwrap()
        };
        text.split_whitespace().map(parse).collect()
    }

    #[test]
    fn a_network_holds_what_shares_its_bits() {
        let check = |network: &str, address: &str, expected: bool| {
            let holds = networks(network)[0].holds(address.parse().unwrap());
            assert_eq!(holds, expected, "{network} {address}");
        };
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.0", false);
        check("10.0.0.0/8", "::ffff:10.1.1.1", true);
        check("192.0.2.7/32", "192.0.2.7", true);
        check("192.0.2.7/32", "192.0.2.6", false);
        check("0.0.0.0/0", "203.0.113.1", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("::/0", "2001:db8::1", true);
        check("::/0", "203.0.113.1", false);
        check("fd00::/8", "fdff::1", true);
        check("fd00::/8", "fe00::1", false);
        check("::ffff:10.0.0.0/104", "10.1.1.1", true);
        let none = |first: &str, length| Network::new(first.parse().unwrap(), length).is_none();
        assert!(none("10.0.0.1", 8) && none("10.0.0.0", 33) && none("fd00::1", 64));
    }

    #[test]
    fn the_client_is_the_rightmost_that_is_no_proxy() {
        let check = |peer: &str, told: &str, expected: &str| {
            let trusted = networks("127.0.0.1/32 10.0.0.0/8 fd00::/8");
            let told = told.split(',').filter(|_| !told.is_empty());
            let found = client(peer.parse().unwrap(), &trusted, told);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer}");
        };
        check("127.0.0.1", "", "127.0.0.1");
        check("127.0.0.1", "203.0.113.1", "203.0.113.1");
        check("127.0.0.1", "1.1.1.1, 203.0.113.1", "203.0.113.1");
        check("127.0.0.1", "1.1.1.1, 203.0.113.1, 10.0.0.7", "203.0.113.1");
        check("127.0.0.1", "10.0.0.8, 10.0.0.7", "10.0.0.8");
        check("127.0.0.1", "1.1.1.1, unknown, 10.0.0.7", "10.0.0.7");
        check("127.0.0.1", "1.1.1.1,", "127.0.0.1");
        check("127.0.0.1", "203.0.113.1:4711", "203.0.113.1");
        check("127.0.0.1", "[2001:db8::1]:4711", "2001:db8::1");
        check("127.0.0.1", "[2001:db8::1]", "2001:db8::1");
        check("::ffff:10.0.0.1", "2001:db8::1", "2001:db8::1");
        check("198.51.100.1", "203.0.113.1", "198.51.100.1");
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
