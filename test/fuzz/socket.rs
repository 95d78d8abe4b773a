//! What a dashboard sends: the upgrade, then frames. The first byte is the room that its peer
//! leaves for answers, the second whether an upgrade comes before the frames.

use std::io;
use std::time::Duration;

use swob_gateway::http::Connection;
use swob_gateway::net::Metered;
use swob_gateway::route::Origins;
use swob_gateway::socket::{Heard, SocketLimits, admit, line, reject};
use tungstenite::protocol::Role;
use tungstenite::{Error, Message, WebSocket};

use super::transport::{Bytes, LIMITS};

const SOCKET_LIMITS: SocketLimits = SocketLimits {
    ping_interval: Duration::from_secs(25),
    missed_pings: 2,
    max_messages: 4,
    max_message: 200,
    lifetime: Duration::from_secs(600),
};

pub fn holds(input: &[u8]) {
    let [room, upgrade, input @ ..] = input else { return };
    let mut stream = Bytes::new(input, 7);
    stream.open = true;
    let mut ahead = Vec::new();
    if upgrade % 2 == 1 {
        let mut connection = Connection::new(stream, LIMITS);
        let Ok(request) = connection.read() else { return };
        let Ok((user, ticket, key)) = admit(&Origins::default(), &request) else { return };
        assert!(request.target.starts_with(&format!("/v2/sync/init/{}/{ticket}", user.as_str())));
        assert!(request.body.is_empty() && request.header("origin").is_none());
        assert_eq!(key.len(), 24, "16 bytes in base64, and nothing else");
        (stream, ahead) = connection.into_parts();
        stream.output.clear();
    }
    stream.room = if *room == 0 { usize::MAX } else { usize::from(*room) };
    let sent = ahead.len() + stream.input.len();
    let mut line = line(Metered::new(stream), ahead, &SOCKET_LIMITS);
    let mut heard = Heard { misses: 2, ..Heard::default() };
    let error = loop {
        if let Err(error) = heard.listen(&mut line, &SOCKET_LIMITS) {
            break error;
        }
    };
    // A turn may go that far beyond, and no farther.
    assert!(heard.messages <= SOCKET_LIMITS.max_messages + 16, "{heard:?}");
    assert!(heard.controls <= 25 + SOCKET_LIMITS.max_messages + 16, "{heard:?}");
    let waits = matches!(&error, Error::Io(e) if e.kind() == io::ErrorKind::WouldBlock);
    if !waits {
        let _ = reject(&mut line, &error);
    }
    // A pong is as long as its ping; a close has ten bytes at most beside the peer's own reason.
    assert!(line.get_ref().get_ref().output.len() <= sent + 256, "more is answered than was sent");
    if *room == 0 {
        answers(&line.get_ref().get_ref().output);
    }
}

/// What was sent to the peer are whole frames of the protocol, and nothing follows a close.
fn answers(output: &[u8]) {
    let mut stream = Bytes::new(output, usize::MAX);
    stream.open = true;
    let mut peer = WebSocket::from_raw_socket(stream, Role::Client, None);
    let mut closed = false;
    loop {
        match peer.read() {
            Ok(message) => {
                assert!(!closed, "{message:?} after a close");
                closed = matches!(message, Message::Close(_));
                assert!(closed || matches!(message, Message::Pong(_)), "{message:?}");
            }
            Err(Error::Io(_) | Error::ConnectionClosed) => break,
            Err(error) => panic!("the server breaks the protocol: {error}"),
        }
    }
    assert!(peer.get_ref().input.is_empty(), "bytes behind the last frame");
}
