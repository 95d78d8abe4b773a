//! The log: its two forms, the lines of one request, and wrong passwords for fail2ban.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustix::process::Signal;

use crate::support::server::Folder;
use crate::support::{Dashboard, PASSWORD, Phone, Schema, Server, USER, post, request, until};

/// A server whose standard error is systemd's journal, as far as it can tell.
fn journalled(schema: &Schema, settings: &[(&str, &str)]) -> Server {
    let wrapper = ["sh", "-c", "JOURNAL_STREAM=$(stat -Lc %d:%i /dev/stderr) exec \"$0\" \"$@\""];
    Server::start_under(&wrapper.map(str::to_owned), schema, settings)
}

/// Types a wrong password at a new session, twice as Android does.
fn fail(server: &Server) {
    let mut dashboard = Dashboard::open(&server.session(USER));
    let body = Phone::new().one_step_body("a wrong password");
    let url = dashboard.url();
    for _ in 0..2 {
        assert_eq!(post(&server.api, &url, &body).status, 401);
    }
}

fn lines(server: &Server, with: &str) -> Vec<String> {
    server.log().lines().filter(|line| line.contains(with)).map(str::to_owned).collect()
}

const TELL: (&str, &str) = ("GATEWAY_LOG_FAILED_PASSWORDS", "yes");

#[test]
fn the_journal_is_given_priorities_and_no_times() {
    let schema = Schema::empty();
    let server = journalled(&schema, &[]);
    server.session(USER);
    until("the session is told", || server.log().contains("session issued"));
    let log = server.log();
    for line in log.lines() {
        let (priority, text) = line.split_at(3);
        assert!(["<3>", "<4>", "<6>", "<7>"].contains(&priority), "{line}");
        assert!(text.starts_with(|c: char| c.is_alphabetic()), "{line}");
    }
    for told in ["<6>ready api=", "<3>gateway database not ready", "<7>session issued user="] {
        assert!(log.contains(told), "{told} is missing in {log}");
    }
    // A child of a service has the variable too, but its own standard error.
    let wrapper = ["env", "JOURNAL_STREAM=8:12345"].map(str::to_owned);
    let server = Server::start_under(&wrapper, &schema, &[]);
    assert!(server.log().lines().all(|line| line.starts_with("20")), "{}", server.log());
}

#[test]
fn the_lines_of_a_request_are_joined_by_a_word_that_no_answer_has() {
    let schema = Schema::empty();
    let server = Server::start(&schema, &[]);
    let mut dashboard = Dashboard::open(&server.session(USER));
    let answer = post(&server.api, &dashboard.url(), &Phone::new().one_step_body(PASSWORD));
    assert_eq!(answer.status, 503);
    until("the handshake is told", || !lines(&server, "handshake user=").is_empty());
    let of = |with: &str| {
        let line = lines(&server, with).remove(0);
        line.rsplit_once(" request=").unwrap_or_else(|| panic!("{line}")).1.to_owned()
    };
    let id = of("handshake user=");
    assert_eq!(of("handshake not served"), id);
    assert!(id.len() == 8 && of("session issued") != id && of("socket opened") != id);
    let told = format!("{answer:?}");
    assert!(!told.contains(&id), "{told}");
    drop(dashboard);
    until("the socket is closed", || !lines(&server, "socket lost").is_empty());
    assert_eq!(of("socket lost"), of("socket opened"));
    // What is of no request has none.
    assert!(lines(&server, "ready api=").iter().all(|line| !line.contains("request=")));
}

#[test]
fn a_wrong_password_leaves_one_line_with_the_address_where_that_is_asked_for() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    fail(&server);
    until("the handshakes are told", || lines(&server, "status=401").len() == 2);
    assert!(!server.log().contains("password refused"), "{}", server.log());

    let server = Server::start(&schema, &[TELL, ("GATEWAY_HTTP_TRUSTED_PROXIES", "127.0.0.1")]);
    fail(&server);
    let mut dashboard = Dashboard::open(&server.session(USER));
    let body = Phone::new().one_step_body("wrong");
    let path = dashboard.url().split_once("/v2").unwrap().1.to_owned();
    let forwarded = [("X-Forwarded-For", "192.0.2.9, 2001:db8::7")];
    let answer = request(&server.api, "POST", &format!("/v2{path}"), &forwarded, body.as_bytes());
    assert_eq!(answer.status, 401);
    until("the handshakes are told", || lines(&server, "status=401").len() == 3);
    let told: Vec<String> = lines(&server, "password refused")
        .iter()
        .map(|line| line.split_once(' ').unwrap().1.to_owned())
        .collect();
    // The line is fail2ban's, whose filters are in the field: it stays as it is.
    assert_eq!(
        told,
        [
            "[WARN] password refused address=127.0.0.1",
            "[WARN] password refused address=2001:db8::7"
        ]
    );
}

/// How many of the lines fail2ban's own tool finds with the filter.
fn matched(lines: &[String]) -> usize {
    let folder = Folder::new();
    let file = folder.0.join("lines");
    fs::write(&file, lines.join("\n") + "\n").unwrap();
    let filter = concat!(env!("CARGO_MANIFEST_DIR"), "/doc/fail2ban/filter.d/swob-gateway.conf");
    let output = Command::new("fail2ban-regex")
        .arg(&file)
        .arg(filter)
        .output()
        .expect("fail2ban is installed: `make setup` does it");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = said.lines().find_map(|line| line.strip_prefix("Lines: "));
    let found = found.unwrap_or_else(|| panic!("{said} {output:?}"));
    let matched = found.split(", ").find_map(|part| part.strip_suffix(" matched"));
    matched.unwrap_or_else(|| panic!("{said}")).parse().unwrap()
}

#[test]
fn fail2ban_finds_the_lines_that_the_server_wrote() {
    let schema = Schema::new();
    let folder = Arc::new(Folder::furnished());
    let file = folder.0.join("gateway.log");
    // A file, which the server is asked to open anew meanwhile, as by logrotate.
    let settings = [TELL, ("GATEWAY_LIMITS_PASSWORD_ATTEMPTS", "")];
    let server = Server::start_in(&folder, &schema, &settings);
    fail(&server);
    fail(&server);
    until("both are told", || lines(&server, "status=401").len() == 4);
    let log: Vec<String> = server.log().lines().map(str::to_owned).collect();
    assert!(log.len() > 10 && !file.exists());
    assert_eq!(matched(&log), 2, "{}", log.join("\n"));

    let server = journalled(&schema, &settings);
    fail(&server);
    until("it is told", || lines(&server, "status=401").len() == 2);
    // As journald keeps a line, and fail2ban reads it.
    let kept = |line: &str| {
        let text = line.split_once('>').unwrap().1;
        format!("2026-11-22T19:00:00.123456 gateway swob-gateway[4242]: {text}")
    };
    let log: Vec<String> = server.log().lines().map(kept).collect();
    assert_eq!(matched(&log), 1, "{}", log.join("\n"));
    // Nobody else's line counts.
    let foreign = |text: &str| format!("2026-11-22T19:00:00 gateway {text}");
    for text in [
        "sshd[1]: password refused address=192.0.2.7",
        "swob-gateway[1]: x password refused address=192.0.2.7",
        "swob-gateway[1]: password refused address=192.0.2.7 request=00000001",
    ] {
        assert_eq!(matched(&[foreign(text)]), 0, "{text}");
    }
}

#[test]
fn fail2ban_takes_the_jail() {
    let folder = Folder::new();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("doc/fail2ban");
    let copy = |from: &Path| {
        let copied = Command::new("cp").arg("-r").arg(from).arg(&folder.0).status().unwrap();
        assert!(copied.success(), "fail2ban is installed: `make setup` does it");
    };
    copy(Path::new("/etc/fail2ban/."));
    copy(&shipped.join("filter.d"));
    copy(&shipped.join("jail.d"));
    let output =
        Command::new("fail2ban-client").arg("-c").arg(&folder.0).arg("-d").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    for told in ["['set', 'swob-gateway', 'maxretry', 20]", "password refused"] {
        assert!(said.contains(told), "{told} is missing in {said}");
    }
}

#[test]
fn the_file_is_opened_anew_at_sighup() {
    let schema = Schema::new();
    let folder = Folder::furnished();
    let (file, moved) = (folder.0.join("gateway.log"), folder.0.join("gateway.log.1"));
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let mut child = crate::support::server::command(&folder)
        .envs(schema.variables())
        .env("GATEWAY_HTTP_LISTEN", "127.0.0.1:0")
        .env("GATEWAY_WEBSOCKET_LISTEN", "127.0.0.1:0")
        .env("GATEWAY_ADMIN_LISTEN", "")
        .env("GATEWAY_LOG_FILE", &file)
        .spawn()
        .unwrap();
    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until("the server is ready", || read(&file).contains("ready api="));
        fs::rename(&file, &moved).unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, Signal::HUP).unwrap();
        until("the new file is written", || read(&file).contains("settings read again"));
        assert!(!read(&moved).contains("settings read again"));
    }));
    child.kill().unwrap();
    child.wait().unwrap();
    told.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}
