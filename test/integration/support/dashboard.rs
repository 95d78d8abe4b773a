//! A dashboard: opens the URL it was given and reads frames.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

pub struct Dashboard {
    pub socket: WebSocket<TcpStream>,
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
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        match tungstenite::client(url, stream) {
            Ok((socket, _)) => Ok(Dashboard { socket }),
            Err(tungstenite::HandshakeError::Failure(Error::Http(answer))) => {
                Err(answer.status().as_u16())
            }
            Err(error) => panic!("{url}: {error}"),
        }
    }

    pub fn open(url: &str) -> Self {
        Dashboard::try_open(url).unwrap_or_else(|status| panic!("{url}: {status}"))
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
