//! Databases that are gone, frozen or late: the server starts without them, says so at once, and
//! serves again when they are back; `GET` and sockets go on meanwhile.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::support::dashboard::Seen;
use crate::support::{
    Answer, Dashboard, Mariadb, PASSWORD, Phone, Schema, Server, USER, at_once, get, post, until,
};

/// The longest that a phone may wait where the database is gone.
const GONE: Duration = Duration::from_secs(3);
/// The longest that one may wait where it is frozen: the apps give up at 10 s.
const FROZEN: Duration = Duration::from_secs(9);
/// How soon the server serves when the database is back.
const BACK: Duration = Duration::from_secs(3);
/// What "at once" is on a machine that is busy.
const AT_ONCE: Duration = Duration::from_secs(1);

const SOCKETS: (&str, &str) = ("GATEWAY_LIMITS_MAX_SOCKETS_PER_USER_AND_ADDRESS", "100");

/// A session in which a phone has handed over its key; the password is what needs the database.
struct Scan {
    dashboard: Dashboard,
    url: String,
}

impl Scan {
    fn new(server: &Server, phone: &Phone) -> Self {
        let (mut dashboard, url) = server.code(USER);
        assert_eq!(post(&server.api, &url, &phone.key_body()).status, 200);
        assert_eq!(dashboard.next(), Seen::Text("201- pause".into()));
        Scan { dashboard, url }
    }

    fn password(&self, server: &Server) -> (Answer, Duration) {
        let body = Phone::password_body(PASSWORD);
        let start = Instant::now();
        (post(&server.api, &self.url, &body), start.elapsed())
    }

    /// The password is refused for the database's sake.
    fn is_sent_away(&self, server: &Server, within: Duration) -> Duration {
        let (answer, took) = self.password(server);
        assert_eq!((answer.status, answer.body.len()), (503, 0), "{answer:?}");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        assert!(took < within, "{took:?}");
        took
    }

    fn finish(mut self, server: &Server) {
        assert_eq!(self.password(server).0.status, 200);
        self.dashboard.expect(&[Seen::Text("200- ack".into())]);
    }
}

/// Of three phones one after the other, all but the one that finds out whether the database is
/// back are sent away at once: the shortest wait.
fn one_is_sent_away_at_once(server: &Server, scans: &[Scan]) -> Duration {
    let waits = scans[..3].iter().map(|scan| scan.is_sent_away(server, FROZEN));
    let shortest = waits.min().unwrap();
    assert!(shortest < AT_ONCE, "{shortest:?}");
    shortest
}

/// Many phones at once: the longest wait of one.
fn all_are_sent_away(server: &Server, scans: &[Scan], within: Duration) -> Duration {
    at_once(scans, |scan| scan.is_sent_away(server, within)).into_iter().max().unwrap()
}

/// Every connection of the server's pool is open and idle.
fn warm(server: &Server, phone: &Phone) {
    let scans: Vec<_> = (0..16).map(|_| Scan::new(server, phone)).collect();
    at_once(scans, |scan| scan.finish(server));
}

/// What needs no database is served as ever: a session opens, a phone begins.
fn goes_on(server: &Server, phone: &Phone) -> Scan {
    let start = Instant::now();
    assert_eq!(get(&server.api, "/").status, 200);
    let scan = Scan::new(server, phone);
    assert!(start.elapsed() < GONE, "{:?}", start.elapsed());
    scan
}

/// From now, how long until a phone is served.
fn back(server: &Server, phone: &Phone) -> Duration {
    let start = Instant::now();
    let scan = Scan::new(server, phone);
    until("the server serves again", || scan.password(server).0.status == 200);
    start.elapsed()
}

#[test]
fn a_database_that_is_gone_or_frozen_costs_no_phone_its_patience() {
    let mut mariadb = Mariadb::start();
    let schema = Schema::on(&mariadb);
    let server = Server::start(&schema, &[SOCKETS]);
    let phone = Phone::new();
    warm(&server, &phone);
    let scans: Vec<_> = (0..20).map(|_| Scan::new(&server, &phone)).collect();

    mariadb.freeze();
    let first = scans[0].is_sent_away(&server, FROZEN);
    let open = one_is_sent_away_at_once(&server, &scans);
    drop(goes_on(&server, &phone));
    mariadb.thaw();
    let thawed = back(&server, &phone);
    println!("frozen: first {first:?}, then {open:?}, back after {thawed:?}");
    assert!(thawed < BACK, "{thawed:?}");

    warm(&server, &phone);
    mariadb.freeze();
    let crowd = all_are_sent_away(&server, &scans, FROZEN);
    mariadb.thaw();
    let thawed = back(&server, &phone);
    println!("frozen, 20 at once: {crowd:?}, back after {thawed:?}");
    assert!(thawed < BACK, "{thawed:?}");

    warm(&server, &phone);
    mariadb.kill();
    let crowd = all_are_sent_away(&server, &scans, GONE);
    let open = one_is_sent_away_at_once(&server, &scans);
    drop(goes_on(&server, &phone));
    mariadb.launch();
    mariadb.await_up();
    let returned = back(&server, &phone);
    println!("killed, 20 at once: {crowd:?}, then {open:?}, back after {returned:?}");
    assert!(returned < BACK, "{returned:?}");

    mariadb.shut_down();
    let crowd = all_are_sent_away(&server, &scans, GONE);
    mariadb.launch();
    mariadb.await_up();
    let returned = back(&server, &phone);
    println!("shut down, 20 at once: {crowd:?}, back after {returned:?}");
    assert!(returned < BACK, "{returned:?}");

    // The sessions that were sent away are still good, and nothing was stored for them.
    for scan in scans {
        scan.finish(&server);
    }
}

#[test]
fn the_server_starts_without_a_database_says_so_and_serves_when_it_comes() {
    let mut mariadb = Mariadb::start();
    let schema = Schema::on(&mariadb);
    mariadb.kill();
    let server = Server::start(&schema, &[SOCKETS]);
    let said = server.log();
    assert!(said.contains("gateway database not ready"), "{said}");
    assert!(said.contains("BE database not ready"), "{said}");
    let phone = Phone::new();
    let scan = goes_on(&server, &phone);
    scan.is_sent_away(&server, GONE);
    mariadb.launch();
    mariadb.await_up();
    let returned = back(&server, &phone);
    assert!(returned < BACK, "{returned:?}");
    scan.finish(&server);
}

/// A host that is switched off answers no SYN. Here a listener whose backlog is full plays it.
#[test]
fn a_database_whose_host_is_silent_is_gone() {
    let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    silent.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    silent.listen(0).unwrap();
    let silent = TcpListener::from(silent);
    let address = silent.local_addr().unwrap();
    let patience = Duration::from_millis(200);
    let filling: Vec<_> =
        (0..8).map_while(|_| TcpStream::connect_timeout(&address, patience).ok()).collect();
    assert!(filling.len() < 8, "the backlog has no end");

    let schema = Schema::at(&address.ip().to_string(), &address.port().to_string());
    let server = Server::start(&schema, &[SOCKETS]);
    let phone = Phone::new();
    let scans: Vec<_> = (0..20).map(|_| Scan::new(&server, &phone)).collect();
    let crowd = all_are_sent_away(&server, &scans, GONE);
    println!("silent, 20 at once: {crowd:?}");
}
