//! What an unauthenticated peer does to end a server, to starve it or to fill its memory: each
//! attack has ended or deafened a server of this kind, and prints what it came to here.
//!
//! Smuggling is in [`crate::framing`], drips and floods of `GET` are in [`crate::limits`].

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::support::http::{connect, raw};
use crate::support::{Answer, PASSWORD, Phone, Schema, Server, USER, get, until};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
/// What an attack may add to the resident memory; the attacks on memory send many times as much.
const GROWTH: usize = 4 << 20;

/// The server's memory before, at its peak and after.
struct Memory<'a> {
    server: &'a Server,
    before: usize,
    peak: usize,
}

impl<'a> Memory<'a> {
    fn of(server: &'a Server) -> Self {
        // The first request allocates what stays.
        assert!(server.serves());
        let before = server.resident();
        Memory { server, before, peak: before }
    }

    fn look(&mut self) {
        self.peak = self.peak.max(self.server.resident());
    }

    /// Prints the figures, and fails where the peak is too high.
    fn report(mut self, attack: &str, most: usize) {
        self.look();
        let after = self.server.resident();
        let [before, peak, after] = [self.before, self.peak, after].map(|bytes| bytes >> 10);
        println!("{attack}; memory {before} KiB before, {peak} at the peak, {after} after");
        assert!(self.peak - self.before < most, "{attack} fills the memory");
        assert!(self.server.serves());
    }
}

/// Does something while bystanders ask again and again; the longest that one of them waited.
fn beside(server: &Server, attack: impl FnOnce()) -> Duration {
    let over = AtomicBool::new(false);
    let bystander = || {
        let (mut longest, mut answers) = (Duration::ZERO, 0);
        while answers < 20 || !over.load(Ordering::Relaxed) {
            let asked = Instant::now();
            assert_eq!(get(&server.api, "/").status, 200);
            longest = longest.max(asked.elapsed());
            answers += 1;
        }
        longest
    };
    thread::scope(|scope| {
        let bystander = scope.spawn(bystander);
        attack();
        over.store(true, Ordering::Relaxed);
        bystander.join().unwrap()
    })
}

/// Nothing that the server said tells of a panic.
fn calm(server: &Server) {
    let log = server.log();
    let panic = log.lines().find(|line| line.contains("panic"));
    assert_eq!(panic, None);
}

#[test]
fn a_huge_content_length_is_refused_and_allocates_nothing() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let mut memory = Memory::of(&server);
    let lengths = ["100000000000000", "9223372036854775808", "18446744073709551616"];
    for length in lengths {
        for path in ["/", &format!("/v2/sync/users/{USER}/sessions/{}", "0".repeat(32))] {
            let post =
                format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\nabc");
            assert_eq!(raw(&server.api, post.as_bytes()).unwrap().status, 413, "{length}");
            assert_eq!(raw(&server.sockets, post.as_bytes()).unwrap().status, 413, "{length}");
            memory.look();
        }
    }
    calm(&server);
    memory.report("Content-Length up to 2^64", GROWTH);
}

#[test]
fn a_chunk_of_four_gigabytes_is_refused_and_allocates_nothing() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let memory = Memory::of(&server);
    let post = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\nabc";
    assert_eq!(raw(&server.api, post).unwrap().status, 413);
    calm(&server);
    memory.report("a chunk of 4 GiB", GROWTH);
}

#[test]
fn bodies_that_never_come_hold_nobody_else_up() {
    let schema = Schema::new();
    let more = ("GATEWAY_LIMITS_MAX_CONNECTIONS_PER_ADDRESS", "600");
    let server = Server::start(&schema, &[more]);
    let mut memory = Memory::of(&server);
    let mut held = Vec::new();
    let begun = Instant::now();
    let longest = beside(&server, || {
        for _ in 0..500 {
            let mut stream = connect(&server.api);
            stream
                .write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n{")
                .unwrap();
            held.push(stream);
        }
        // A whole handshake, too.
        let (_dashboard, url) = server.code(USER);
        let phone = Phone::new();
        let sealed = phone.one_step_body(PASSWORD);
        assert_eq!(crate::support::post(&server.api, &url, &sealed).status, 200);
    });
    memory.look();
    let held_for = begun.elapsed();
    assert!(longest < Duration::from_secs(3), "{longest:?}");
    assert_eq!(Answer::read(&mut held[0]).unwrap().status, 408, "the body has a deadline");
    drop(held);
    calm(&server);
    let told = format!("500 bodies withheld for {held_for:.1?}, a bystander waits {longest:.1?}");
    memory.report(&told, 500 * 64 * 1024);
}

#[test]
fn a_header_without_end_is_cut_at_the_limit() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let flood = |begin: &[u8]| {
        let mut memory = Memory::of(&server);
        let mut stream = connect(&server.api);
        stream.write_all(begin).unwrap();
        let mut sent = begin.len();
        let piece = [b'x'; 65536];
        while sent < 400 << 20 && stream.write_all(&piece).is_ok() {
            sent += piece.len();
            memory.look();
        }
        assert!(sent < 64 << 20, "the server has taken {sent} bytes of a head");
        memory.report(&format!("an endless head, cut after {} KiB", sent >> 10), GROWTH);
    };
    flood(b"GET / HTTP/1.1\r\nA: ");
    flood(b"GET /");
    flood(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;");
    flood(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: ");
    let refused = raw(&server.api, format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(8192)).as_bytes());
    assert_eq!(refused.unwrap().status, 431);
}

#[test]
fn requests_whose_answers_nobody_reads_are_not_queued() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[("GATEWAY_LIMITS_REQUEST_TIMEOUT", "2")]);
    let mut memory = Memory::of(&server);
    let mut stream = connect(&server.api);
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let many = GET.repeat(1000);
    let mut sent = 0;
    let longest = beside(&server, || {
        let end = Instant::now() + Duration::from_secs(6);
        while Instant::now() < end {
            match stream.write(&many) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
            memory.look();
        }
    });
    assert!(longest < Duration::from_secs(3), "{longest:?}");
    // Its deadline has let the connection go: what was answered is all that ever comes.
    let mut answered = 0;
    let mut sink = [0; 65536];
    while let Ok(n @ 1..) = stream.read(&mut sink) {
        answered += n;
    }
    calm(&server);
    let told = format!(
        "{} requests pipelined, {} KiB of answers unread, a bystander waits {longest:.1?}",
        sent / GET.len(),
        answered >> 10
    );
    memory.report(&told, GROWTH);
}

#[test]
fn a_burst_of_connections_that_stay_is_served_whole() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        let begun = Instant::now();
        let mut burst: Vec<TcpStream> = (0..40).map(|_| connect(&server.api)).collect();
        // The last come first, and all of them stay.
        for round in 0..2 {
            for stream in burst.iter_mut().rev() {
                stream.write_all(GET).unwrap();
            }
            for (n, stream) in burst.iter_mut().enumerate() {
                let answer = Answer::read(stream);
                let answer =
                    answer.unwrap_or_else(|| panic!("{n} was not served in round {round}"));
                assert_eq!(answer.status, 200);
            }
        }
        slowest = slowest.max(begun.elapsed());
        drop(burst);
        until("the burst is gone", || raw(&server.api, GET).is_some_and(|a| a.status == 200));
    }
    println!("5 bursts of 40 connections with 2 requests each, the slowest took {slowest:.1?}");
    calm(&server);
}

#[test]
fn thousands_of_resets_cause_no_panic() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let mut memory = Memory::of(&server);
    let reset = |address: &str, bytes: &[u8]| {
        let mut stream = connect(address);
        let _ = stream.write_all(bytes);
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    };
    let post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{";
    let longest = beside(&server, || {
        for n in 0..3000 {
            match n % 4 {
                0 => reset(&server.api, GET),
                1 => reset(&server.api, post),
                2 => reset(&server.sockets, GET),
                _ => reset(&server.api, b""),
            }
        }
    });
    memory.look();
    until("all places are free", || server.serves());
    calm(&server);
    let told = format!("3000 connections reset, a bystander waits {longest:.1?}");
    memory.report(&told, GROWTH);
}

#[test]
fn a_body_that_no_route_wants_is_no_second_request() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let mut stream = connect(&server.api);
    let hidden = "GET /v2/sync/users/hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    let post = format!(
        "POST /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{hidden}\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        hidden.len()
    );
    stream.write_all(post.as_bytes()).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    let statuses: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["404", "200"], "{answers}");
}
