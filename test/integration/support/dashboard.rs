//! A dashboard: opens the URL it was given and reads frames.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use openssl::ssl::SslStream;
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

use super::http::{PATIENCE, connect};
use super::tls::Client;

pub struct Dashboard<S = TcpStream> {
    pub socket: WebSocket<S>,
}

/// What a dashboard sees next.
#[derive(Debug, PartialEq)]
pub enum Seen {
    Show(String),
    Text(String),
    Close(CloseCode),
    /// The connection ended without a closing handshake.
    Lost,
}

impl Dashboard {
    /// Opens a `ws` URL, or says with which status it was refused.
    pub fn try_open(url: &str) -> Result<Self, u16> {
        let address = url.strip_prefix("ws://").unwrap().split('/').next().unwrap();
        Dashboard::upgrade(url, connect(address))
    }

    pub fn open(url: &str) -> Self {
        Dashboard::try_open(url).unwrap_or_else(|status| panic!("{url}: {status}"))
    }
}

impl Dashboard<SslStream<TcpStream>> {
    /// Opens a `wss` URL, with these headers, or says with which status it was refused.
    pub fn try_open_tls(
        client: &Client,
        url: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, u16> {
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        Dashboard::upgrade(request, client.connect())
    }

    pub fn open_tls(client: &Client, url: &str) -> Self {
        Dashboard::try_open_tls(client, url, &[]).unwrap_or_else(|status| panic!("{url}: {status}"))
    }

    /// Answers pings for so long, and sees nothing else.
    pub fn idle(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            let left = left.max(Duration::from_millis(1));
            self.socket.get_ref().get_ref().set_read_timeout(Some(left)).unwrap();
            match self.socket.read() {
                Ok(Message::Ping(_)) => self.socket.flush().unwrap(),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => panic!("an idle socket saw {other:?}"),
            }
        }
        self.socket.get_ref().get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    }
}

impl<S: Read + Write> Dashboard<S> {
    fn upgrade(request: impl IntoClientRequest, stream: S) -> Result<Self, u16> {
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Dashboard { socket }),
            Err(tungstenite::HandshakeError::Failure(Error::Http(answer))) => {
                Err(answer.status().as_u16())
            }
            Err(error) => panic!("{error}"),
        }
    }

    pub fn next(&mut self) -> Seen {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    let text = text.as_str();
                    let frame = serde_json::from_str::<serde_json::Value>(text);
                    return match frame.ok().and_then(|f| Some(f["qr_url"].as_str()?.to_owned())) {
                        Some(url) => Seen::Show(url),
                        None => Seen::Text(text.to_owned()),
                    };
                }
                Ok(Message::Close(frame)) => {
                    let _ = self.socket.flush();
                    return Seen::Close(frame.map_or(CloseCode::Status, |frame| frame.code));
                }
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    panic!("the dashboard waited 20 s in vain")
                }
                Err(_) => return Seen::Lost,
            }
        }
    }

    /// The URL of the next QR code.
    pub fn url(&mut self) -> String {
        match self.next() {
            Seen::Show(url) => url,
            other => panic!("no QR code but {other:?}"),
        }
    }

    pub fn expect(&mut self, expected: &[Seen]) {
        for seen in expected {
            assert_eq!(self.next(), *seen);
        }
    }
}
