//! As a service: what systemd hands over and hears, and restarts that refuse nobody.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::support::dashboard::Seen;
use crate::support::http::connect;
use crate::support::server::{Folder, command};
use crate::support::{Answer, Dashboard, PASSWORD, Phone, Schema, Server, USER, get, post, until};

/// How many phones connect while the server restarts.
const PHONES: usize = 100;

/// The server with these listeners as systemd would hand them over, as descriptors 3 and 4; the
/// shell in between knows the process id.
fn handed(folder: &Folder, listeners: [&TcpListener; 2]) -> Command {
    let script = "exec 3<&0 4<&1 </dev/null >&2; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$0\"";
    let [input, output] =
        listeners.map(|held| Stdio::from(OwnedFd::from(held.try_clone().unwrap())));
    let program = command(folder).get_program().to_owned();
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script).arg(program).current_dir(&folder.0).env_clear();
    command.env("GATEWAY_ADMIN_LISTEN", "127.0.0.1:0").stdin(input).stdout(output);
    command
}

/// Two listeners, with the settings that name them.
fn held() -> ([TcpListener; 2], [String; 2]) {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = [0, 1].map(|n: usize| listeners[n].local_addr().unwrap().to_string());
    (listeners, addresses)
}

#[test]
fn systemd_hears_that_the_server_is_ready_lives_reloads_and_leaves() {
    let schema = Schema::new();
    let folder = Arc::new(Folder::furnished());
    let path = folder.0.join("notify");
    let notified = UnixDatagram::bind(&path).unwrap();
    notified.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let settings = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "6000000")];
    let hear = || {
        let mut buffer = [0; 256];
        let n = notified.recv(&mut buffer).expect("the server says something within 20 s");
        String::from_utf8(buffer[..n].to_vec()).unwrap()
    };
    let mut server = Server::start_in(&folder, &schema, &settings);
    assert_eq!(hear(), "READY=1\n");
    let mut dashboard = Dashboard::open(&server.session(USER));
    dashboard.url();
    for _ in 0..2 {
        assert_eq!(hear(), "WATCHDOG=1\nSTATUS=1 sockets open\n");
    }
    server.signal(Signal::HUP);
    assert_eq!(hear(), "RELOADING=1\n");
    assert_eq!(hear(), "READY=1\n");
    server.signal(Signal::TERM);
    assert_eq!(hear(), "STOPPING=1\n");
    dashboard.expect(&[Seen::Close(CloseCode::Away)]);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_listener_that_no_setting_names_is_refused_with_its_remedy() {
    let (listeners, [api, stray]) = held();
    let folder = Arc::new(Folder::furnished());
    // As a wildcard of systemd's takes the address that the settings name.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    for other in ["127.0.0.1:0", &taken.local_addr().unwrap().to_string()] {
        let mut command = handed(&folder, [&listeners[0], &listeners[1]]);
        command.env("GATEWAY_HTTP_LISTEN", &api).env("GATEWAY_WEBSOCKET_LISTEN", other);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("systemd listens on {stray}")), "{said}");
        assert!(said.contains("systemctl edit swob-gateway.socket"), "{said}");
    }
}

#[test]
fn who_was_accepted_before_the_end_is_answered() {
    let schema = Schema::new();
    let mut server = Server::start(&schema, &[]);
    let mut late = connect(&server.api);
    let mut slow = connect(&server.api);
    slow.write_all(b"GET / HTTP/1.1\r\nHo").unwrap();
    // Both are accepted when a later one is answered.
    assert!(server.serves());
    server.signal(Signal::TERM);
    until("the listener is closed", || TcpStream::connect(&server.api).is_err());
    late.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    slow.write_all(b"st: x\r\n\r\n").unwrap();
    for stream in [&mut late, &mut slow] {
        let answer = Answer::read(stream).expect("the server owes an answer");
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    }
    assert_eq!(server.wait().code(), Some(0));
}

/// Phones that ask for their key again and again, each on a new connection.
struct Crowd {
    over: AtomicBool,
    served: AtomicUsize,
    refused: Mutex<Vec<String>>,
    longest: Mutex<Duration>,
}

impl Crowd {
    fn ask(&self, api: SocketAddr, n: usize, body: &str) {
        // Each has an address of its own: no limit for one address is felt.
        let request = format!(
            "POST /v2/sync/users/verification HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 10.0.0.{n}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        while !self.over.load(Ordering::Relaxed) {
            let start = Instant::now();
            let outcome = once(api, request.as_bytes());
            let mut longest = self.longest.lock().unwrap();
            *longest = start.elapsed().max(*longest);
            match outcome {
                Ok(200) => _ = self.served.fetch_add(1, Ordering::Relaxed),
                other => self.refused.lock().unwrap().push(format!("{other:?}")),
            }
        }
    }

    fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }

    /// Until each phone may have been answered twice more.
    fn await_round(&self) {
        let before = self.served();
        until("the phones are served", || {
            self.served() >= before + 2 * PHONES || !self.refused.lock().unwrap().is_empty()
        });
    }
}

fn once(api: SocketAddr, request: &[u8]) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(api)?;
    // The apps' own patience (contract §3).
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(request)?;
    let lost = std::io::Error::other("the connection ended without an answer");
    Ok(Answer::read(&mut stream).ok_or(lost)?.status)
}

#[test]
fn a_restart_refuses_none_of_100_connecting_phones() {
    let schema = Schema::new();
    let (listeners, [api, sockets]) = held();
    let folder = Arc::new(Folder::furnished());
    let settings = [
        ("GATEWAY_HTTP_LISTEN", api.as_str()),
        ("GATEWAY_WEBSOCKET_LISTEN", sockets.as_str()),
        ("GATEWAY_HTTP_TRUSTED_PROXIES", "127.0.0.1"),
        ("GATEWAY_LOG_LEVEL", "info"),
    ];
    let start = || {
        let command = handed(&folder, [&listeners[0], &listeners[1]]);
        Server::launch(command, &folder, &schema, &settings)
    };
    let mut server = start();
    let mut dashboard = Dashboard::open(&server.session(USER));
    let phone = Phone::new();
    let synced = post(&server.api, &dashboard.url(), &phone.one_step_body(PASSWORD));
    assert_eq!(synced.status, 200, "{synced:?}");
    drop(dashboard);
    let body: Arc<str> = phone.verification_body(&schema.msisdn_hash()).into();

    let crowd = Arc::new(Crowd {
        over: AtomicBool::new(false),
        served: AtomicUsize::new(0),
        refused: Mutex::default(),
        longest: Mutex::default(),
    });
    let address: SocketAddr = api.parse().unwrap();
    let asking: Vec<_> = (0..PHONES)
        .map(|n| {
            let (crowd, body) = (Arc::clone(&crowd), Arc::clone(&body));
            thread::Builder::new().spawn(move || crowd.ask(address, n, &body)).unwrap()
        })
        .collect();
    let mut slowest = Duration::ZERO;
    for _ in 0..3 {
        crowd.await_round();
        let mut dashboard = Dashboard::open(&server.session(USER));
        dashboard.url();
        let leaving = Instant::now();
        server.signal(Signal::TERM);
        dashboard.expect(&[Seen::Close(CloseCode::Away)]);
        assert_eq!(server.wait().code(), Some(0), "{}", server.log());
        slowest = slowest.max(leaving.elapsed());
        // Whoever comes now waits in the listener.
        thread::sleep(Duration::from_millis(300));
        server = start();
    }
    crowd.await_round();
    crowd.over.store(true, Ordering::Relaxed);
    asking.into_iter().for_each(|phone| phone.join().unwrap());
    let refused = crowd.refused.lock().unwrap();
    println!(
        "{PHONES} phones, 3 restarts: {} served, {} refused; longest answer {:?}, longest leave {slowest:?}",
        crowd.served(),
        refused.len(),
        crowd.longest.lock().unwrap(),
    );
    assert!(refused.is_empty(), "{refused:?}");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    assert_eq!(get(&api, "/").status, 200);
}
