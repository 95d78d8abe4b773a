//! The name: where it leads, and whether somebody answers there.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::recipe::Topic;
use super::{Doctor, PATIENCE, spell};
use crate::client::link::resolve;
use crate::finding::Finding;

/// What an attempt to connect tells.
#[derive(Debug, PartialEq)]
enum Silence {
    /// The machine is there, the port is closed.
    Closed,
    /// Nothing comes back.
    Deaf,
    /// This machine itself has no way there, as many have none to IPv6.
    NoWay,
}

impl Silence {
    fn of(error: io::ErrorKind) -> Self {
        match error {
            io::ErrorKind::ConnectionRefused => Silence::Closed,
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => Silence::NoWay,
            _ => Silence::Deaf,
        }
    }
}

impl Doctor<'_> {
    /// Whether the API can be reached at all; from then on only the addresses that answer count.
    pub(super) fn name(&mut self) -> bool {
        let host = self.order.api.host.clone();
        let found = match self.order.address {
            Some(address) => Ok(vec![address]),
            None => resolve(&host, self.by(PATIENCE)),
        };
        let mut addresses = match found {
            Ok(addresses) => addresses,
            Err(error) => {
                self.tell(
                    "name",
                    Finding::problem(
                        format!("{host} leads nowhere: {error}"),
                        "let the DNS of the domain have an A record (and AAAA for IPv6) with this \
                         server's address; until then --address examines it",
                    ),
                    vec![],
                );
                return false;
            }
        };
        addresses.sort_unstable();
        addresses.dedup();
        let mut told = Vec::new();
        for address in addresses {
            match self.knock(address) {
                Ok(took) => {
                    told.push(format!("{address} ({})", spell(took)));
                    self.addresses.push(address);
                }
                Err(error) => self.unanswered(address, &error),
            }
        }
        let port = self.order.api.port;
        if !told.is_empty() {
            let told = told.join(", ");
            self.good("name", format!("{host} leads to {told}, where port {port} answers"));
        }
        !self.addresses.is_empty()
    }

    fn knock(&self, address: IpAddr) -> io::Result<Duration> {
        let start = Instant::now();
        let most = self.by(PATIENCE / 2).saturating_duration_since(start);
        let at = SocketAddr::new(address, self.order.api.port);
        TcpStream::connect_timeout(&at, most.max(Duration::from_millis(1)))?;
        Ok(start.elapsed())
    }

    fn unanswered(&mut self, address: IpAddr, error: &io::Error) {
        let port = self.order.api.port;
        let why = match Silence::of(error.kind()) {
            Silence::Closed => "nobody listens there",
            Silence::Deaf => "it does not answer",
            Silence::NoWay => {
                return self.note(
                    "name",
                    format!("{address} is not examined: this machine has no way there ({error})"),
                );
            }
        };
        let listen = format!("listen = 0.0.0.0:{port}, [::]:{port}");
        self.tell(
            "name",
            Finding::problem(
                format!("{address} port {port} is not reached: {why} ({error})"),
                "check that the port in the URL is right, that the proxy or the gateway runs and \
                 listens there, and that the firewall lets the port in; a record of the DNS that \
                 leads astray has to go",
            ),
            self.lines(Topic::Listen, &["[http]", &listen]),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_ipv6_says_nothing_of_the_server() {
        let check = |kind, expected| assert_eq!(Silence::of(kind), expected, "{kind:?}");
        check(io::ErrorKind::NetworkUnreachable, Silence::NoWay);
        check(io::ErrorKind::AddrNotAvailable, Silence::NoWay);
        check(io::ErrorKind::ConnectionRefused, Silence::Closed);
        check(io::ErrorKind::TimedOut, Silence::Deaf);
        check(io::ErrorKind::HostUnreachable, Silence::Deaf);
    }
}
