//! The whole way of a dashboard, again and again: GET, connect the socket, first frame, close;
//! against hyper and tokio-tungstenite sending one frame.

use std::net::{Ipv4Addr, SocketAddr};

use crate::Done;
use crate::gateway::{Installation, user};
use crate::get::duel;
use crate::http::Http;
use crate::reference::Reference;
use crate::report::Report;
use crate::websocket::WebSocket;

pub fn run(installation: &Installation, report: &mut Report) -> Done {
    let (gateway, _) = installation.start(&[])?;
    let reference = Reference::start()?;
    let (ours, theirs) = ((&gateway.process, gateway.api), (&reference.process, reference.api));
    let duel = duel(ours, theirs, &dashboard)?;
    let names = ["gateway", "tokio-tungstenite", "share of tokio-tungstenite", "gateway CPU"];
    duel.tell("open", report, names, "a second");
    Ok(())
}

/// One dashboard after the other, from changing addresses, since each has 28,000 ports.
fn dashboard(n: u8, api: SocketAddr) -> Done<impl FnMut() -> Done> {
    let mut http = Http::new(Ipv4Addr::LOCALHOST, api)?;
    let request = Http::request("GET", &format!("/v2/sync/users/{}", user(n.into())), "");
    let mut turn = 0_u8;
    Ok(move || {
        turn = turn.wrapping_add(1);
        let url = std::str::from_utf8(http.expect(&request)?)?;
        let mut socket = WebSocket::open(Ipv4Addr::new(127, 1, n, turn.max(1)), url)?;
        socket.text()?;
        socket.close()
    })
}
