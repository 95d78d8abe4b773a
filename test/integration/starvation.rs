//! Out of descriptors, out of threads, a full disk, peers that send half a request, never read or
//! never stop: the accept loops live, who is served stays served, and service returns by itself.
//!
//! Each attack tells its figures on the screen. `TEST_LONG=1` attacks with 9,000 connections and a
//! million requests, as `make attacks` does, else with as many as a test run has time for.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, getuid, setrlimit};
use tungstenite::Message;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};

use crate::support::dashboard::Seen;
use crate::support::http::{PATIENCE, connect_from};
use crate::support::server::{Folder, command};
use crate::support::{
    Answer, Dashboard, PASSWORD, Phone, Schema, Server, USER, at_once, get, post, request, until,
};

/// A dashboard that is served during an attack has as many codes as it needs.
const SETTINGS: [(&str, &str); 3] = [
    ("GATEWAY_SYNC_SESSION_SLEEP_TIMEOUT", "1"),
    ("GATEWAY_SYNC_SESSION_CHANGE_LIMIT", "1000"),
    ("GATEWAY_LOG_LEVEL", "info"),
];

#[expect(clippy::disallowed_methods, reason = "the long form is asked for in the environment")]
fn long() -> bool {
    std::env::var("TEST_LONG").is_ok()
}

/// This process holds the other end of each connection.
fn raise_descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    limit.maximum.map_or(usize::MAX, |most| usize::try_from(most).unwrap())
}

/// One of many: 50 connections an address, below what one address may hold.
fn attacker(n: usize, address: &str) -> io::Result<TcpStream> {
    let [.., high, low] = (n / 50 + 1).to_be_bytes();
    connect_from(Ipv4Addr::new(127, 2, high, low), address)
}

/// Many connections that have each sent half a request.
fn half_open(address: &str, number: usize) -> Vec<TcpStream> {
    let open = |n| {
        let mut stream = attacker(n, address).ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: ").ok()?;
        Some(stream)
    };
    (0..number).map_while(open).collect()
}

/// Whether the server, or the kernel in its place, keeps this connection and says nothing.
fn is_held(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Someone who is served while others attack: a phone on one connection, and a dashboard.
struct Bystander {
    phone: TcpStream,
    dashboard: Dashboard,
}

/// The figures of one attack; memory in bytes.
struct Figures {
    before: usize,
    peak: usize,
    longest: Duration,
}

impl Bystander {
    fn new(server: &Server) -> Self {
        let phone = connect_from(Ipv4Addr::new(127, 1, 0, 1), &server.api).unwrap();
        let mut dashboard = Dashboard::open(&server.session(USER));
        dashboard.url();
        Bystander { phone, dashboard }
    }

    /// Runs an attack and asks all the while, on the connection that was there before; then sees
    /// that the dashboard's codes went on.
    fn watch(&mut self, server: &Server, attack: impl FnOnce()) -> Figures {
        let before = server.resident();
        let (over, peak) = (AtomicBool::new(false), AtomicUsize::new(before));
        let phone = &mut self.phone;
        let longest = thread::scope(|scope| {
            let ask = || {
                let mut longest = Duration::ZERO;
                while !over.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    phone.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
                    let answer = Answer::read(phone).expect("who is served stays served");
                    assert_eq!(answer.status, 200);
                    longest = longest.max(start.elapsed());
                    peak.fetch_max(server.resident(), Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(20));
                }
                longest
            };
            let asking = thread::Builder::new().spawn_scoped(scope, ask).unwrap();
            attack();
            over.store(true, Ordering::Relaxed);
            asking.join().unwrap()
        });
        self.dashboard.url();
        Figures { before, peak: peak.load(Ordering::Relaxed), longest }
    }
}

/// A row of the table, also where the output of tests is captured.
fn tell(attack: &str, held: usize, figures: &Figures, after: usize) {
    let longest = figures.longest;
    let [before, peak, after] = [figures.before, figures.peak, after].map(|bytes| bytes / 1024);
    let _ = writeln!(
        io::stderr(),
        "attack: {attack}: {held} held, longest answer to a bystander {longest:.1?}, \
         RSS {before} KiB before, {peak} at the peak, {after} after"
    );
}

/// Both ports answer someone new, and a whole handshake succeeds.
fn serves_newcomers(server: &Server, phone: &Phone) {
    for (address, expected) in [(&server.api, 200), (&server.sockets, 404)] {
        until("a newcomer is answered", || {
            let own = Ipv4Addr::new(127, 1, 0, 2);
            let answer = connect_from(own, address).and_then(|mut stream| {
                stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
                Ok(Answer::read(&mut stream))
            });
            answer.is_ok_and(|answer| answer.is_some_and(|answer| answer.status == expected))
        });
    }
    // A busy machine may be slower than the code on the screen.
    until("a newcomer syncs", || {
        let (_dashboard, url) = server.code(USER);
        let status = post(&server.api, &url, &phone.one_step_body(PASSWORD)).status;
        assert!([200, 404].contains(&status), "{status}");
        status == 200
    });
}

/// Holds half-open connections on each port in turn until the server has none to give.
fn exhaust(name: &str, settings: &[(&str, &str)], number: usize) {
    starve(name, &[], settings, None, number);
}

/// The same with a limit that comes when the server runs: it stays below those that it starts with.
fn starve(
    name: &str,
    apart: &[String],
    settings: &[(&str, &str)],
    limit: Option<&str>,
    number: usize,
) {
    let schema = Schema::new();
    let phone = Phone::new();
    let server = Server::start_under(apart, &schema, &[&SETTINGS, settings].concat());
    if let Some(limit) = limit {
        // From outside of its namespace the server's user is this one.
        server.limit(if getuid().is_root() { apart } else { &[] }, limit);
    }
    serves_newcomers(&server, &phone);
    for (port, address) in [("API", &server.api), ("sockets", &server.sockets)] {
        let mut bystander = Bystander::new(&server);
        let mut held = 0;
        let figures = bystander.watch(&server, || {
            let attackers = half_open(address, number);
            // Long enough for the bystander to ask a few times and to see codes change.
            thread::sleep(Duration::from_secs(1));
            held = attackers.into_iter().filter(is_held).count();
        });
        serves_newcomers(&server, &phone);
        tell(&format!("{name}, {number} half-open, {port}"), held, &figures, server.resident());
        assert!(held > 0);
    }
}

#[test]
fn out_of_descriptors() {
    raise_descriptors();
    starve("out of descriptors (100)", &[], &[], Some("nofile=100:100"), 300);
}

#[test]
fn out_of_threads() {
    raise_descriptors();
    // The limit does not bind root, and counts all threads of a user in a user namespace: root
    // lends the server a user of its own, others a namespace.
    let apart: &[&str] = if getuid().is_root() {
        &["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
    } else {
        &["unshare", "--user"]
    };
    let apart: Vec<_> = apart.iter().map(|word| (*word).to_owned()).collect();
    starve("out of threads (40)", &apart, &[], Some("nproc=40:40"), 200);
}

#[test]
fn more_connections_than_the_limit() {
    raise_descriptors();
    let limit = [("GATEWAY_LIMITS_MAX_CONNECTIONS", "60")];
    exhaust("over max_connections = 60", &limit, 300);
}

#[test]
fn half_open_connections_in_number() {
    let most = raise_descriptors().saturating_sub(1000);
    let number = if long() { 9000 } else { 1000 }.min(most);
    // Patient, so that the first one is still there when the last one comes.
    let patient = [("GATEWAY_LIMITS_HEAD_TIMEOUT", "60"), ("GATEWAY_LIMITS_REQUEST_TIMEOUT", "60")];
    exhaust("in number", &patient, number);
}

#[test]
fn a_half_open_connection_ends_with_its_deadline_and_a_byte_a_moment_changes_nothing() {
    let schema = Schema::new();
    let settings = [&SETTINGS[..], &[("GATEWAY_LIMITS_HEAD_TIMEOUT", "2")]].concat();
    let server = Server::start(&schema, &settings);
    for address in [&server.api, &server.sockets] {
        let mut silent = half_open(address, 1).remove(0);
        let mut dripping = half_open(address, 1).remove(0);
        let start = Instant::now();
        dripping.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut end = [0; 9];
        while dripping.write_all(b"x").is_ok() && dripping.read(&mut end).is_err() {
            assert!(start.elapsed() < PATIENCE, "a dripping peer is served for ever");
        }
        assert!(start.elapsed() >= Duration::from_secs(1));
        assert_eq!(Answer::read(&mut silent).unwrap().status, 408);
    }
}

#[test]
fn a_log_on_a_full_disk_stops_nobody() {
    let schema = Schema::new();
    let folder = Folder::furnished();
    // What cannot log cannot tell its ports: it gets an address of its own.
    let pid = std::process::id();
    let host = format!("127.{}.{}.2", 100 + pid / 256 % 100, pid % 256);
    let (api, sockets) = (format!("{host}:15000"), format!("{host}:6996"));
    let mut child = command(&folder)
        .envs(schema.variables())
        .envs([("GATEWAY_HTTP_LISTEN", &api), ("GATEWAY_WEBSOCKET_LISTEN", &sockets)])
        .envs([("GATEWAY_LOG_FILE", "/dev/full"), ("GATEWAY_LOG_LEVEL", "trace")])
        .env("GATEWAY_ADMIN_LISTEN", "")
        .spawn()
        .unwrap();
    until("the server listens", || TcpStream::connect(&sockets).is_ok());
    for _ in 0..3 {
        let url = get(&api, &format!("/v2/sync/users/{USER}")).text();
        let mut dashboard = Dashboard::open(&url);
        let url = dashboard.url();
        let answer = post(&api, &url, &Phone::new().one_step_body(PASSWORD));
        assert_eq!(answer.status, 200, "{answer:?}");
        dashboard.expect(&[Seen::Text("201- pause".into()), Seen::Text("200- ack".into())]);
    }
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn peers_that_never_read() {
    let phone = Phone::new();
    let schema = Schema::new();
    let server = Server::start(&schema, &SETTINGS);
    let mut bystander = Bystander::new(&server);
    let mut sent = 0;
    let figures = bystander.watch(&server, || {
        let requests = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
        let mut peers: Vec<_> = (0..20).map(|n| attacker(n, &server.api).unwrap()).collect();
        for peer in &mut peers {
            // Until its requests wait in the kernel, because their answers do.
            peer.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
            while let Ok(n @ 1..) = peer.write(&requests) {
                sent += n;
            }
        }
    });
    serves_newcomers(&server, &phone);
    tell(&format!("20 that never read, {} MB sent", sent >> 20), 20, &figures, server.resident());
}

#[test]
fn clients_that_flood_frames() {
    let phone = Phone::new();
    let schema = Schema::new();
    let server = Server::start(&schema, &SETTINGS);
    let mut bystander = Bystander::new(&server);
    let mut taken = 0;
    let figures = bystander.watch(&server, || {
        for (opening, frame) in floods() {
            let mut talker = Dashboard::open(&server.session(USER));
            talker.socket.get_ref().set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            // It reads nothing of what it is told.
            let mut frames = opening.into_iter().chain(std::iter::repeat(frame));
            while talker.socket.send(frames.next().unwrap()).is_ok() {
                taken += 1;
                assert!(taken < 20_000_000, "a flood has no end");
            }
        }
    });
    serves_newcomers(&server, &phone);
    tell(&format!("floods of frames ({taken} sent)"), 4, &figures, server.resident());
}

/// What each flood begins with, and what it then repeats.
fn floods() -> [(Option<Message>, Message); 4] {
    // A message without an end is never a message that could be counted.
    let part = |code| Message::Frame(Frame::message(Vec::new(), OpCode::Data(code), false));
    [
        (None, Message::text("x")),
        (None, Message::Ping(vec![0; 125].into())),
        (None, Message::Pong(Vec::new().into())),
        (Some(part(Data::Text)), part(Data::Continue)),
    ]
}

#[test]
fn a_flood_is_answered_with_a_close() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    // 16 messages in all; between two pings, 25 s apart, as many control frames as seconds more;
    // and of bytes what so many of the largest messages have.
    for ((opening, frame), enough) in floods().into_iter().zip([17, 42, 42, 90_000]) {
        let mut talker = Dashboard::open(&server.session(USER));
        talker.url();
        for frame in opening.into_iter().chain(std::iter::repeat_n(frame, enough)) {
            if talker.socket.send(frame).is_err() {
                break;
            }
        }
        assert_eq!(talker.next(), Seen::Close(CloseCode::Policy));
    }
}

#[test]
fn a_dashboard_that_pings_each_second_is_served() {
    let schema = Schema::new();
    let server = Server::start(&schema, &SETTINGS);
    let mut dashboard = Dashboard::open(&server.session(USER));
    dashboard.url();
    // A ping a second, and 16 more, all at once.
    for _ in 0..41 {
        dashboard.socket.send(Message::Ping(b"still there?".as_slice().into())).unwrap();
    }
    dashboard.url();
}

#[test]
fn a_flood_of_gets_leaves_the_memory_where_it_was() {
    const AT_ONCE: u8 = 4;
    let schema = Schema::new();
    let server = Server::start(&schema, &SETTINGS);
    let flood = |number: usize, time: Duration| {
        let begun = Instant::now();
        let one = |n| {
            let mut stream = connect_from(Ipv4Addr::new(127, 3, 0, n), &server.api).unwrap();
            let mut asked = 0;
            while asked < number / usize::from(AT_ONCE) && begun.elapsed() < time {
                let ask = format!("GET /v2/sync/users/{n}-{asked} HTTP/1.1\r\nHost: x\r\n\r\n");
                stream.write_all(ask.as_bytes()).unwrap();
                assert_eq!(Answer::read(&mut stream).unwrap().status, 200);
                asked += 1;
            }
            asked
        };
        at_once(1..=AT_ONCE, one).into_iter().sum::<usize>()
    };
    let mut bystander = Bystander::new(&server);
    // The first ones pay for threads, buffers and the allocator's own.
    flood(2000, PATIENCE);
    let (number, time) = if long() { (1_000_000, 60) } else { (20_000, 20) };
    let mut asked = 0;
    let figures = bystander.watch(&server, || asked = flood(number, Duration::from_secs(time)));
    let after = server.resident();
    tell(&format!("{asked} GETs"), AT_ONCE.into(), &figures, after);
    assert!(after < figures.before + (1 << 20), "{} bytes, then {after}", figures.before);
    assert_eq!(request(&server.api, "GET", "/", &[], b"").status, 200);
}
