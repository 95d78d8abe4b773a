//! `swob-gateway status`: what an administrator sees of a server, and the exit code that tools see.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use crate::support::server::{Folder, command};
use crate::support::{Phone, Schema, Server, USER, post, until};

fn status(listen: &str) -> (Option<i32>, String, String) {
    let folder = Folder::new();
    let output = command(&folder).arg("status").env("GATEWAY_ADMIN_LISTEN", listen).output();
    let Output { status, stdout, stderr } = output.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// The row of this name, without the spaces between name and value.
fn row<'a>(screen: &'a str, name: &str) -> &'a str {
    let row = screen.lines().find_map(|line| line.trim_start().strip_prefix(name));
    row.unwrap_or_else(|| panic!("no {name} in:\n{screen}")).trim()
}

#[test]
fn a_server_that_is_well_is_told_in_words() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let (_dashboard, url) = server.code(USER);
    let phone = Phone::new();
    assert_eq!(post(&server.api, &url, &phone.one_step_body("wrong")).status, 401);
    assert_eq!(phone.sync(&server.api, &url).status, 200);
    let (code, screen, errors) = status(&server.admin);
    assert_eq!((code, &*errors), (Some(0), ""), "{screen}");
    assert!(screen.starts_with("SMSWithoutBorders Gateway Server "), "{screen}");
    assert!(screen.ends_with("\nAll is well.\n"), "{screen}");
    assert_eq!(row(&screen, "QR codes scanned"), "1 of 1 shown");
    for name in ["synced", "wrong user or password"] {
        assert!(row(&screen, name).starts_with("1  last "), "{screen}");
    }
    assert_eq!((row(&screen, "gateway"), row(&screen, "BE")), ("ready", "ready"));
    assert!(row(&screen, "server key").starts_with("in use"), "{screen}");
    assert!(row(&screen, "certificate").starts_with("none here"), "{screen}");
    assert!(row(&screen, "sync sockets").starts_with("1 of "), "{screen}");
    assert!(!screen.contains(&USER[..8]), "{screen}");
}

#[test]
fn what_is_wrong_is_told_with_its_remedy_and_exits_with_1() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    schema.execute("RENAME TABLE gateway_server_users TO hidden");
    let (mut code, mut screen, mut errors) = status(&server.admin);
    until("the database is known not to be ready", || {
        (code, screen, errors) = status(&server.admin);
        code == Some(1)
    });
    assert_eq!(row(&screen, "gateway"), "not ready", "{screen}");
    assert!(row(&screen, "problem").starts_with("the gateway database is not ready: "), "{screen}");
    assert!(row(&screen, "remedy:").contains("[mysql]"), "{screen}");
    assert_eq!(errors, "swob-gateway: one thing needs attention\n");

    let check = |listen: &str, expected: &str| {
        let (code, screen, errors) = status(listen);
        assert_eq!((code, &*screen), (Some(1), ""), "{errors}");
        assert!(errors.contains(expected), "{errors}");
    };
    check("", "[admin] listen is empty");
    check(&server.api, "is no gateway server");
    let gone = server.admin.clone();
    server.stop();
    check(&gone, &format!("nobody answers at {gone}; is the server running, with this [admin]"));
    check("0.0.0.0:15001", "is reached from other machines");
}

#[test]
fn watch_looks_again_and_again_also_when_the_server_comes_back() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let admin = server.admin.clone();
    let folder = Folder::new();
    let mut watch = command(&folder)
        .args(["status", "--watch"])
        .env("GATEWAY_ADMIN_LISTEN", &admin)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut sees = |text: &str| assert!(lines.any(|line| line.contains(text)), "{text}");
    sees("All is well.");
    sees("All is well.");
    server.stop();
    sees("nobody answers");
    let _server = Server::start(&schema, &[("GATEWAY_ADMIN_LISTEN", &admin)]);
    sees("All is well.");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

/// The README's own lines for other tools, asked with the real curl.
#[test]
fn the_curl_lines_of_the_readme_are_answered() {
    const README: &str = include_str!("../../README.md");
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let default = swob_gateway::config::Config::default().admin.listen.unwrap().to_string();
    let start = format!("curl http://{default}/");
    let lines: Vec<_> = README.lines().filter_map(|line| line.strip_prefix(&*start)).collect();
    assert_eq!(lines.len(), 3);
    for line in lines {
        let path = line.split(' ').next().unwrap();
        let url = format!("http://{}/{path}", server.admin);
        let output = Command::new("curl").args(["--silent", "--fail", &url]).output().unwrap();
        assert!(output.status.success() && !output.stdout.is_empty(), "{path}: {output:?}");
    }
}
