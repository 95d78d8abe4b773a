//! The real binary on a real MariaDB with real sockets: one file a topic, a fresh schema a test.

mod at_rest;
mod attacks;
mod away;
mod check;
mod clients;
mod databases;
mod framing;
mod handshake;
mod lifecycle;
mod limits;
mod one_answer;
mod page;
mod proxy;
mod refusals;
mod removal;
mod ring;
mod rsa;
mod secrets;
mod starvation;
mod support;
mod takeover;
mod tls;
mod trial;
mod users;
mod verification;
mod websocket;
