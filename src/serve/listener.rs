//! The listeners: taken from systemd or opened, and accepted from; and where phones and dashboards
//! find them.

use std::error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::{ServeError, spawn};
use crate::config::Config;
use crate::log::cause;
use crate::net::{self, Acceptor, Door, Leaving};
use crate::systemd::{Inherited, Pulse};
use crate::wire::Endpoint;

/// All listeners, by who is expected there.
pub(super) struct Ports {
    pub(super) apis: Listeners,
    pub(super) dashboards: Listeners,
    pub(super) admins: Listeners,
}

impl Ports {
    /// Listens as the settings say, with what systemd holds.
    ///
    /// # Errors
    /// Whatever keeps phones or dashboards out; without `[admin]` the server serves all the same.
    pub(super) fn open(config: &Config, secure: bool) -> Result<Self, Box<dyn error::Error>> {
        let Config { http, websocket, admin, .. } = config;
        let (api_url, socket_url) = (http.public_url.as_ref(), websocket.public_url.as_ref());
        let mut inherited = Inherited::take()?;
        let apis = Listeners::open("http", &http.listen, api_url, secure, &mut inherited);
        let dashboards =
            Listeners::open("websocket", &websocket.listen, socket_url, secure, &mut inherited);
        let admins = Listeners::open("admin", admin.listen.as_slice(), None, false, &mut inherited)
            .unwrap_or_else(|error| {
                log::error!("nobody can ask how the server is cause=\"{}\"", cause(&error));
                Listeners { open: Vec::new(), at: endpoint(&[], false) }
            });
        // What systemd holds under another name, such as a wildcard, may be why an address is in use.
        inherited.finish()?;
        Ok(Ports { apis: apis?, dashboards: dashboards?, admins })
    }
}

/// The listeners of one kind.
pub(super) struct Listeners {
    open: Vec<TcpListener>,
    /// Where they are found: as set, else at the first one's own address.
    pub(super) at: Endpoint,
}

impl Listeners {
    /// Listens on all addresses of a section, with what systemd holds there.
    ///
    /// # Errors
    /// [`ServeError::Listen`] with the first address that is not to be had.
    fn open(
        section: &'static str,
        addresses: &[SocketAddr],
        public_url: Option<&Endpoint>,
        secure: bool,
        inherited: &mut Inherited,
    ) -> Result<Self, ServeError> {
        let open = |address: &SocketAddr| match inherited.at(*address) {
            Some(listener) => Ok(listener),
            None => {
                net::listen(*address).map_err(|error| ServeError::Listen(section, *address, error))
            }
        };
        let open = addresses.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let at = public_url.cloned().unwrap_or_else(|| endpoint(&open, secure));
        Ok(Listeners { open, at })
    }

    /// Starts an accept loop for each listener; they share the acceptor's gate, and close their
    /// listeners when the server leaves.
    ///
    /// # Errors
    /// [`ServeError::System`] where no thread is to be had.
    pub(super) fn accept(
        self,
        acceptor: Acceptor,
        leaving: &Arc<Leaving>,
        pulse: &mut Pulse,
    ) -> Result<Vec<JoinHandle<()>>, ServeError> {
        let acceptor = Arc::new(acceptor);
        let start = |listener: TcpListener| {
            if let Ok(address) = listener.local_addr() {
                log::info!("listening {}={address}", acceptor.name);
            }
            let beat = pulse.beat(acceptor.name);
            let door = Door::new(listener, Arc::clone(leaving), beat);
            let (acceptor, door) = (Arc::clone(&acceptor), door.map_err(ServeError::System)?);
            spawn("accept", move || acceptor.run(&door))
        };
        self.open.into_iter().map(start).collect()
    }
}

/// The first listener's own address; where that is every address, the machine's on its network.
fn endpoint(listeners: &[TcpListener], secure: bool) -> Endpoint {
    let local = listeners.first().and_then(|listener| listener.local_addr().ok());
    let local = local.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let ip = match local.ip() {
        IpAddr::V4(v4) if v4.is_unspecified() => {
            own_address((Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv4Addr::new(192, 0, 2, 1), 9).into())
        }
        IpAddr::V6(v6) if v6.is_unspecified() => {
            let far = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
            own_address((Ipv6Addr::UNSPECIFIED, 0).into(), (far, 9).into())
        }
        ip => ip,
    };
    Endpoint::at(SocketAddr::new(ip, local.port()), secure)
}

/// This machine's address on its network: the one from which it would reach the documentation
/// network (RFC 5737, RFC 3849). To connect a datagram socket sends nothing.
fn own_address(any: SocketAddr, far: SocketAddr) -> IpAddr {
    let probe = || {
        let socket = UdpSocket::bind(any)?;
        socket.connect(far)?;
        socket.local_addr()
    };
    let loopback: IpAddr = match any {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    probe().map_or(loopback, |address| address.ip())
}
