//! The SMSWithoutBorders Gateway Server: hands phones the secret that they encrypt their SMS with.
//!
//! A dashboard opens a session and shows a QR code; a phone scans it, proves its owner's password
//! against the Backend's (BE) database and receives an AES key under its own RSA key.
//!
//! ```text
//!                    ┌ accept loop (api) ──▶ a thread a connection: http ─▶ api ─▶ handshake,
//!   serve (main) ────┤                                        verification, removal │    │
//!   waits for        ├ accept loop (socket) ▶ a thread a socket: socket ─┐  keyring ◀    ▶ store
//!   signals          │                                    poll(2) ▲      │     ▲         (MySQL)
//!                    ├ timer ─────────▶ hub: Mutex<Sessions> ─────┴──────┘     │
//!                    │                    every change's events leave through the sockets
//!                    └ keys: looks whether the key files have changed ─────────┘
//! ```
//!
//! README has the modules in reading order. Those of the core come first; they do no I/O and know
//! neither clock nor chance.
#![forbid(unsafe_code)]

pub mod capacity;
pub mod crypto;
pub mod histogram;
pub mod limit;
pub mod metrics;
pub mod password;
pub mod qr;
pub mod refusal;
pub mod route;
pub mod session;
pub mod ticket;
pub mod wire;

// The use cases decide the order of core, keys and store.
pub mod handshake;
pub mod removal;
pub mod services;
pub mod verification;

// The shells own one outside thing each.
pub mod admin;
pub mod api;
pub mod file;
pub mod http;
pub mod hub;
pub mod keyring;
pub mod log;
pub mod machine;
pub mod net;
pub mod page;
pub mod proxy;
pub mod socket;
pub mod store;
pub mod systemd;
pub mod tls;
pub mod workers;

// The other side of the wire, for trials.
pub mod client;

// The frame around them.
pub mod check;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod finding;
pub mod serve;
pub mod takeover;
