//! The other side of the wire, for trials and for support: `qr` stands for a dashboard, `phone`
//! for a phone, and `status` looks at a server from its own machine.
//!
//! Owns the connections to a running server, its own or a stranger's, and what the terminal shows
//! of them. It speaks the contract as the programs in the field do, and shares with the server
//! only the words and the cryptography's names: what the server gets wrong must show here.

pub mod exchange;
pub mod link;
pub mod phone;
pub mod qr;
pub mod status;
mod terminal;
pub mod url;

use std::{error, fmt, io};

use openssl::error::ErrorStack;

pub use link::Trust;
pub use terminal::Style;

/// Why a command does not reach its end; one line, with its remedy where there is one.
#[derive(Debug)]
pub enum ClientError {
    /// A word of the command line cannot be used.
    Word(String),
    /// The server is not reached, or breaks off.
    Away(String, io::Error),
    /// There is no trusted TLS connection.
    Tls(String, String),
    /// The sync socket does not open, or breaks the protocol.
    Socket(tungstenite::Error),
    /// The server answers with this status and reason.
    Refused(&'static str, u16, String),
    /// The server answers what the contract does not have.
    Answer(&'static str),
    /// A file, or the terminal, does not give what is needed.
    Input(String, io::Error),
    /// OpenSSL fails.
    OpenSsl(ErrorStack),
    /// The session ends without an ack; the text says why.
    Ended(&'static str),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Word(text) => f.write_str(text),
            ClientError::Away(place, _) => {
                write!(f, "{place} is not reached; is the server running there?")
            }
            ClientError::Tls(place, why) => write!(
                f,
                "{place} is not trusted: {why}; --insecure goes on with a certificate made by hand"
            ),
            ClientError::Socket(_) => write!(f, "the sync socket does not open or broke off"),
            ClientError::Refused(what, status, reason) => {
                write!(f, "{what} refused: {status} {reason}")
            }
            ClientError::Answer(what) => write!(f, "the server's answer is not understood: {what}"),
            ClientError::Input(what, _) => f.write_str(what),
            ClientError::OpenSsl(_) => write!(f, "OpenSSL does not do as it is told"),
            ClientError::Ended(why) => f.write_str(why),
        }
    }
}

impl error::Error for ClientError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            ClientError::Away(_, error) | ClientError::Input(_, error) => Some(error),
            ClientError::Socket(error) => Some(error),
            ClientError::OpenSsl(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ErrorStack> for ClientError {
    fn from(error: ErrorStack) -> Self {
        ClientError::OpenSsl(error)
    }
}
