//! The real binary on a real MariaDB with real sockets: one file a topic, a fresh schema a test.

mod clients;
mod framing;
mod handshake;
mod lifecycle;
mod limits;
mod refusals;
mod rsa;
mod support;
mod users;
mod websocket;
