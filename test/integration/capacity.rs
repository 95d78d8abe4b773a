//! The server takes no more connections than the machine carries, and says which limit that is.

use std::io::Write as _;
use std::net::TcpStream;

use crate::support::{Answer, Schema, Server, get, until};

/// The server under this limit of descriptors, which is soft and hard.
fn under(soft: u32, hard: u32, schema: &Schema, asked: &str) -> Server {
    let limit = ["prlimit".to_owned(), format!("--nofile={soft}:{hard}")];
    Server::start_under(&limit, schema, &[("GATEWAY_LIMITS_MAX_CONNECTIONS", asked)])
}

#[test]
fn fewer_descriptors_lower_max_connections_and_the_log_says_how_to_raise_them() {
    let schema = Schema::new();
    // 32 are the server's own; a quarter of the rest is the API's.
    let server = under(40, 72, &schema, "1000");
    let told = "max_connections lowered asked=1000 api=10 sockets=30 smallest=RLIMIT_NOFILE \
                figure=72 used=0 remedy=\"LimitNOFILE=2032 in the unit, or ulimit -Hn 2032\"";
    until("the log names the limit", || server.log().contains(told));
    for (address, most) in [(&server.api, 10), (&server.sockets, 30)] {
        let held: Vec<_> = (0..most).map(|_| TcpStream::connect(address).unwrap()).collect();
        // The connections are taken in their order, so this one comes after all of them.
        let mut newcomer = TcpStream::connect(address).unwrap();
        assert_eq!(Answer::read(&mut newcomer).unwrap().status, 503);
        drop(held);
        until("there is room again", || {
            let mut newcomer = TcpStream::connect(address).unwrap();
            newcomer.write_all(b"GET /x HTTP/1.0\r\n\r\n").unwrap();
            Answer::read(&mut newcomer).is_some_and(|answer| answer.status == 404)
        });
    }
    assert_eq!(get(&server.api, "/").status, 200);
}

#[test]
fn the_soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    let schema = Schema::new();
    let server = under(50, 272, &schema, "100");
    until("the log names the limit", || server.log().contains("max_connections fits asked=100"));
    let open = || TcpStream::connect(&server.api).unwrap();
    let mut held: Vec<_> = (0..100).map(|_| open()).collect();
    let mut newcomer = open();
    assert_eq!(Answer::read(&mut newcomer).unwrap().status, 503);
    held.truncate(90);
    until("all are served", || get(&server.api, "/").status == 200);
}
