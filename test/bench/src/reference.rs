//! The servers to compare with, in a process of their own: hyper answering the bytes that the
//! gateway answers, and tokio-tungstenite sending one frame as long as the gateway's first.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::Done;
use crate::process::Process;

/// As many bytes as the ticket in a session's URL.
const TICKET: usize = 75;
const USER: &str = "dead3662-5f78-11ed-b8e7-6d06c3aaf3c6";

/// A running reference server.
pub struct Reference {
    pub process: Process,
    pub api: SocketAddr,
}

impl Reference {
    pub fn start() -> Done<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = Process::start(command.arg("reference").stdout(Stdio::piped()))?;
        let api = process.first_line()?.trim().parse()?;
        Ok(Reference { process, api })
    }
}

/// Serves until the standard input ends; prints the address of its API.
pub fn run() -> Done {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_io().build()?;
    runtime.spawn(async {
        if let Err(error) = listen().await {
            eprintln!("swob-bench: reference: {error}");
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

async fn listen() -> Done {
    let http = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let sockets = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let at = sockets.local_addr()?;
    let url = format!("ws://{at}/v2/sync/init/{USER}/{}", "t".repeat(TICKET));
    let (api, body) = (http.local_addr()?, Bytes::from(url));
    writeln!(std::io::stdout(), "{api}")?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = sockets.accept().await {
            tokio::spawn(socket(stream, api));
        }
    });
    loop {
        let (stream, _) = http.accept().await?;
        stream.set_nodelay(true)?;
        let body = body.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |_: Request<Incoming>| answer(body.clone()));
            let stream = TokioIo::new(stream);
            hyper::server::conn::http1::Builder::new().serve_connection(stream, answer).await
        });
    }
}

/// The headers and the body that the gateway answers; hyper adds date and length by itself.
#[expect(clippy::unused_async, reason = "a service is a future")]
async fn answer(body: Bytes) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(body));
    for (name, value) in [
        ("server", "swob-gateway"),
        ("connection", "keep-alive"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("content-type", "text/plain"),
        ("vary", "Origin"),
    ] {
        let value = hyper::header::HeaderValue::from_static(value);
        response.headers_mut().insert(hyper::header::HeaderName::from_static(name), value);
    }
    Ok(response)
}

async fn socket(stream: TcpStream, api: SocketAddr) -> Done {
    stream.set_nodelay(true)?;
    let mut socket = tokio_tungstenite::accept_async(stream).await?;
    let path = format!("{api}/v2/sync/users/{USER}/sessions/{}/handshake", "0".repeat(32));
    let frame = format!("{{\"mobile_url\":\"app://{path}\",\"qr_url\":\"http://{path}\"}}");
    socket.send(Message::text(frame)).await?;
    // Until the closing handshake is over.
    while let Some(Ok(_)) = socket.next().await {}
    Ok(())
}
