//! Starting, stopping, and settings that are wrong, as an administrator meets them.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::support::dashboard::Seen;
use crate::support::http::connect;
use crate::support::server::{Folder, command};
use crate::support::{Answer, Dashboard, PASSWORD, Phone, Schema, Server, USER, get, post, until};

#[test]
fn without_a_key_the_start_is_refused_with_the_command_that_makes_one() {
    let folder = Folder::new();
    let output = command(&folder).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("swob-gateway keys generate"), "{said}");
}

#[test]
fn a_key_that_is_none_is_refused_by_name() {
    let folder = Folder::new();
    fs::write(folder.0.join("server.key"), "hello").unwrap();
    let output = command(&folder).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("server.key holds no RSA private key"), "{said}");
}

#[test]
fn all_mistakes_in_the_settings_are_told_at_once_with_their_lines() {
    let folder = Folder::new();
    let text =
        "[http]\nlisten = nowhere\n[sync]\nsession_sleep_timout = 15\nsession_change_limit = 0\n";
    fs::write(folder.0.join("gateway.ini"), text).unwrap();
    let output = command(&folder).env("GATEWAY_LIMITS_MAX_CONNECTIONS", "many").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for told in ["gateway.ini:2", "gateway.ini:4", "session_sleep_timeout", "gateway.ini:5"] {
        assert!(said.contains(told), "{told} is missing in {said}");
    }
    assert!(said.contains("GATEWAY_LIMITS_MAX_CONNECTIONS"), "{said}");
}

#[test]
fn a_mistake_in_the_command_line_exits_with_2() {
    let folder = Folder::new();
    for arguments in [&["serv"][..], &["--config"], &["keys"], &["--colour"], &["serve", "now"]] {
        let output = command(&folder).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
    let help = command(&folder).arg("--help").output().unwrap();
    assert!(help.status.success() && !help.stdout.is_empty());
}

#[test]
fn a_port_that_is_not_to_be_had_is_named_with_its_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (address, remedy) in [(taken.as_str(), "ss -ltnp"), ("192.0.2.1:15000", "ip address")] {
        let output =
            command(&Folder::furnished()).env("GATEWAY_HTTP_LISTEN", address).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains(&format!("[http] listen = {address}")), "{said}");
        assert!(said.contains(remedy), "{said}");
    }
}

#[test]
fn a_log_file_that_cannot_be_written_is_named_with_its_setting() {
    for file in ["no/such/log", "."] {
        let folder = Folder::furnished();
        let output = command(&folder).env("GATEWAY_LOG_FILE", file).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains(&format!("the log file {file} cannot be written")), "{said}");
        assert!(said.contains("[log] file"), "{said}");
    }
}

#[test]
fn a_taken_admin_port_keeps_no_phone_out() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let schema = Schema::new();
    let server = Server::start(&schema, &[("GATEWAY_ADMIN_LISTEN", &address)]);
    assert!(server.serves());
    let told = format!("cause=\"[admin] listen = {address} cannot be had");
    until("the log says so", || server.log().contains(&told));
}

#[test]
fn migrate_makes_the_database_and_the_table_and_may_be_repeated() {
    let schema = Schema::empty();
    let folder = Folder::new();
    for _ in 0..2 {
        let output = command(&folder).arg("migrate").envs(schema.variables()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    assert!(schema.rows().is_empty());
}

#[test]
fn a_server_that_goes_down_closes_its_sockets_and_exits_cleanly() {
    let schema = Schema::new();
    let mut server = Server::start(&schema, &[]);
    let mut dashboard = Dashboard::open(&server.session(USER));
    dashboard.url();
    // A quiet connection must not hold the exit up.
    let mut quiet = connect(&server.api);
    quiet.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    Answer::read(&mut quiet).unwrap();
    let start = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(dashboard.next(), Seen::Close(CloseCode::Away));
    assert_eq!(server.wait().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_server_starts_without_its_database_and_serves_when_it_comes() {
    let schema = Schema::empty();
    let server = Server::start(&schema, &[]);
    assert!(server.log().contains("database not ready"), "{}", server.log());
    let (_dashboard, url) = server.code(USER);
    let phone = Phone::new();
    let away = phone.sync(&server.api, &url);
    assert_eq!((away.status, away.body.len()), (503, 0), "{away:?}");
    assert!(away.header("retry-after").is_some());
    assert_eq!(get(&server.api, "/").status, 200);

    let full = Schema::new();
    let full_name = full.name.clone();
    schema.execute_anywhere(&format!("CREATE DATABASE {}", schema.name));
    for table in
        ["gateway_server_users", "users", "usersInfos", "platforms", "wallets", "credentials"]
    {
        let copy =
            format!("CREATE TABLE {}.{table} AS SELECT * FROM {full_name}.{table}", schema.name);
        schema.execute_anywhere(&copy);
    }
    until("the handshake is served", || {
        post(&server.api, &url, &Phone::password_body(PASSWORD)).status == 200
    });
}

#[test]
fn a_request_under_way_is_answered_when_the_server_was_stopped_for_a_moment() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let mut stream = connect(&server.api);
    stream.write_all(b"GET / HTTP/1.1\r\nHo").unwrap();
    // As when a container is paused: the read that waits for the rest is broken off.
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(50));
        server.signal(Signal::STOP);
        server.signal(Signal::CONT);
    }
    stream.write_all(b"st: x\r\n\r\n").unwrap();
    assert_eq!(Answer::read(&mut stream).map(|answer| answer.status), Some(200));
}

#[test]
fn a_variable_that_is_not_utf_8_is_told_rather_than_passed_over() {
    let folder = Folder::new();
    let latin1 = std::ffi::OsStr::from_bytes(b"p\xe4ss");
    let output = command(&folder).env("MYSQL_PASSWORD", latin1).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("MYSQL_PASSWORD: is not UTF-8") && !said.contains("ss\n"), "{said}");
}

#[test]
fn a_settings_file_that_is_not_utf_8_is_told_by_its_line() {
    let folder = Folder::new();
    let text = b"# caf\xe9\n[http]\nlisten = 127.0.0.1:0\n[mysql]\npassword = p\xe4ss\n";
    std::fs::write(folder.0.join("gateway.ini"), text).unwrap();
    let output = command(&folder).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("gateway.ini:5: this line is not UTF-8") && !said.contains("ss\n"));
}
