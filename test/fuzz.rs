//! Replays the corpus of the fuzzers through the properties that they look for breaches of, so
//! that plain `cargo test` holds what was once found. `make fuzz` looks for more.

#[path = "fuzz/properties.rs"]
mod properties;

use std::fs;
use std::path::Path;

use properties::{body, config, key, request, route, sessions, socket};

/// Every input in `test/fuzz/corpus/NAME`; an input that breaks its property fails by its name.
fn replay(name: &str, holds: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("test/fuzz/corpus").join(name);
    let mut inputs: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(inputs.len() > 2, "{} is no corpus", folder.display());
    for input in inputs {
        println!("{}", input.display());
        holds(&fs::read(&input).unwrap());
    }
}

#[test]
fn the_corpus_of_bodies() {
    replay("body", body::holds);
}

#[test]
fn the_corpus_of_settings() {
    replay("config", config::holds);
}

#[test]
fn the_corpus_of_keys() {
    replay("key", key::holds);
}

#[test]
fn the_corpus_of_requests() {
    replay("request", request::holds);
}

#[test]
fn the_corpus_of_paths() {
    replay("route", route::holds);
}

#[test]
fn the_corpus_of_histories() {
    replay("sessions", sessions::holds);
}

#[test]
fn the_corpus_of_frames() {
    replay("socket", socket::holds);
}

#[test]
fn a_line_over_the_limit_is_refused_however_it_arrives() {
    let line = "e".repeat(300);
    for body in [format!("2;{line}\r\n{{}}\r\n0\r\n\r\n"), format!("0\r\nA: {line}\r\n\r\n")] {
        let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        request::holds(format!("{head}{body}").as_bytes());
    }
}

#[test]
fn a_bare_line_feed_in_an_extension_or_a_trailer_hides_no_request() {
    let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let hidden = "GET / HTTP/1.1\r\nHost: x";
    for body in [
        format!("0;x\n\r\n{hidden}\r\n\r\n"),
        format!("0\r\nA: x\n\n{hidden}\r\n\r\n"),
        format!("0\r\nA: x\n\r\n\r {hidden}\r\n\r\n"),
    ] {
        request::holds(format!("{chunked}{body}").as_bytes());
    }
}
