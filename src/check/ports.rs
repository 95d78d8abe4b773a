//! The addresses to listen on: free, held by a running server of ours, or by another program.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::config::Config;
use crate::finding::Finding;
use crate::net;

/// How long whoever holds a port may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(2);

/// What there is to say of every address.
pub fn judge(config: &Config) -> Vec<Finding> {
    let api = config.http.listen.iter().map(|address| ("http", *address));
    let sockets = config.websocket.listen.iter().map(|address| ("websocket", *address));
    let admin = config.admin.listen.iter().map(|address| ("admin", *address));
    api.chain(sockets).chain(admin).map(|(section, address)| port(section, address)).collect()
}

fn port(section: &str, address: SocketAddr) -> Finding {
    let told = format!("[{section}] listen = {address}");
    let Err(error) = net::bind(address) else { return Finding::good(format!("{told} is free")) };
    let what = match error.kind() {
        io::ErrorKind::AddrInUse => return held(&told, address, &error),
        io::ErrorKind::PermissionDenied => {
            format!("{told} is a port below 1024, which this account may not have")
        }
        io::ErrorKind::AddrNotAvailable => format!("{told} is no address of this machine"),
        _ => format!("{told} cannot be had ({error})"),
    };
    Finding::problem(what, net::remedy(&error))
}

fn held(told: &str, address: SocketAddr, taken: &io::Error) -> Finding {
    match greeting(address) {
        Ok(answer) if answer.contains("\r\nServer: swob-gateway\r\n") => {
            Finding::good(format!("{told} is held by a running swob-gateway"))
        }
        Ok(_) => Finding::problem(format!("{told} is held by another program"), net::remedy(taken)),
        // A socket of systemd's waits for the service.
        Err(error) => Finding::warning(
            format!("{told} is held by someone who does not answer ({error})"),
            "`ss -ltnp` tells who; systemd's own socket for the service is as it should be",
        ),
    }
}

/// What is answered to a plain request; a server of ours says who it is under TLS as well.
fn greeting(mut address: SocketAddr) -> io::Result<String> {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: check\r\n\r\n")?;
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}
