//! `qr` and `phone`, as a newcomer uses them: the whole flow in two terminals.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use crate::support::front::Proxy;
use crate::support::server::{Folder, KEY, command};
use crate::support::{PASSWORD, Schema, Server, USER};

const QUICK: (&str, &str) = ("GATEWAY_SYNC_SESSION_SLEEP_TIMEOUT", "0.3");

/// A running `qr`.
struct Qr {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Qr {
    fn start(folder: &Folder, api: &str, more: &[&str]) -> Self {
        let mut command = command(folder);
        command.args(["qr", USER, "--url", api]).args(more);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Qr { child, lines }
    }

    /// The next line; empty at the end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// How it ended, and what it said of that.
    fn end(mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap(), said)
    }
}

impl Drop for Qr {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `phone` with these words after the URL and this on its standard input.
fn phone(folder: &Folder, url: &str, words: &[&str], input: &str) -> (bool, String) {
    let mut command = command(folder);
    command.args(["phone", url]).args(words);
    run(&mut command, input)
}

fn run(command: &mut Command, input: &str) -> (bool, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end without asking.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// What follows a step's name in the output.
fn step<'a>(said: &'a str, name: &str) -> &'a str {
    let line = said.lines().find(|line| line.contains(&format!(" s  {name}")));
    line.unwrap_or_else(|| panic!("no step {name}: {said}")).split_once(name).unwrap().1.trim()
}

#[test]
fn a_newcomer_sees_the_whole_flow_with_every_app() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let api = format!("http://{}", server.api);
    let folder = Folder::new();
    fs::write(folder.0.join("password"), format!("{PASSWORD}\n")).unwrap();
    fs::write(folder.0.join("server.pub"), KEY.public_key_to_pem().unwrap()).unwrap();
    for (words, steps) in [
        (&["--user", USER][..], &["scanned", "step 1", "server key", "step 2", "synced"][..]),
        (&["--app", "ios"], &["step 1", "step 2", "synced"]),
        (&["--app", "one-step"], &["no TLS", "step 1", "handshake", "synced"]),
        (&["--app", "one-step", "--server-key", "server.pub"], &["handshake", "synced"]),
    ] {
        let mut qr = Qr::start(&folder, &api, &[]);
        let url = qr.line();
        let words = [words, &["--password-file", "password"]].concat();
        let (done, said) = phone(&folder, &url, &words, "");
        assert!(done, "{words:?}: {said}");
        for name in steps {
            step(&said, name);
        }
        assert!(step(&said, "synced").ends_with("platforms saved: gmail"), "{said}");
        assert_eq!(step(&said, "verified"), "phone and server hold the same key");
        assert_eq!((qr.line(), qr.line(), qr.line()), ("paused".into(), "done".into(), "".into()));
        assert!(qr.end().0.success());
    }
}

#[test]
fn a_wrong_password_is_typed_again_and_no_secret_is_shown() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let folder = Folder::new();
    let mut qr = Qr::start(&folder, &format!("http://{}", server.api), &[]);
    let url = qr.line();
    let (done, said) = phone(&folder, &url, &[], &format!("not that\n{PASSWORD}\n"));
    assert!(done, "{said}");
    assert!(said.contains("401 in ") && said.contains("the user or the password is wrong"));
    assert!(!said.contains(PASSWORD) && !said.contains(&schema.rows()[0].shared_key), "{said}");

    let mut qr = Qr::start(&folder, &format!("http://{}", server.api), &[]);
    let (done, said) = phone(&folder, &qr.line(), &[], "");
    assert!(!done && said.contains("no password came; type one, or"), "{said}");
    fs::write(folder.0.join("wrong"), "not that\n").unwrap();
    let mut qr = Qr::start(&folder, &format!("http://{}", server.api), &[]);
    let (done, said) = phone(&folder, &qr.line(), &["--password-file", "wrong"], "");
    assert!(!done && said.contains("the password was refused: 401 the user or the"), "{said}");
    let (done, said) = phone(&folder, &url, &["--password-file", "wrong"], "");
    assert!(!done && said.contains("step 1 was refused: 404 this session is"), "{said}");
    let (done, said) = phone(&folder, &url, &["--user", "another"], "");
    assert!(!done && said.contains("belongs to user"), "{said}");
}

#[test]
fn codes_that_nobody_scans_end_with_a_sentence() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[QUICK]);
    let folder = Folder::new();
    let mut qr = Qr::start(&folder, &format!("http://{}", server.api), &[]);
    let urls = [qr.line(), qr.line(), qr.line()];
    assert!(urls.iter().all(|url| url.contains("/sessions/")) && urls[0] != urls[1], "{urls:?}");
    assert_eq!(qr.line(), "");
    let (status, said) = qr.end();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("no phone scanned in time"), "{said}");
}

#[test]
fn what_is_not_to_be_had_is_said_with_its_remedy() {
    let folder = Folder::new();
    let check = |words: &[&str], expected: &str| {
        let (done, said) = run(command(&folder).args(words), "");
        assert!(!done && said.contains(expected), "{words:?}: {said}");
    };
    // A port that nobody listens on: taken, and given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = format!("http://127.0.0.1:{port}");
    check(&["qr", "ada", "--url", &nobody], "is the server running there?");
    check(&["qr", "a b", "--url", &nobody], "user id");
    check(&["qr", "ada", "--url", "hello"], "is not the URL of a server; write for example");
    check(&["phone", "hello"], "is not what a QR code holds");
}

#[test]
fn tls_is_trusted_by_the_systems_authorities_or_not_at_all() {
    let schema = Schema::new();
    let (api, sockets) = (Proxy::new(&KEY), Proxy::new(&KEY));
    let public = [
        ("GATEWAY_HTTP_PUBLIC_URL", &*api.url("https")),
        ("GATEWAY_WEBSOCKET_PUBLIC_URL", &*sockets.url("wss")),
    ];
    let server = Server::start(&schema, &public);
    api.lead_to(&server.api);
    sockets.lead_to(&server.sockets);
    let folder = Folder::new();
    fs::write(folder.0.join("password"), PASSWORD).unwrap();

    let (status, said) = Qr::start(&folder, &api.url("https"), &[]).end();
    assert!(!status.success() && said.contains("is not trusted"), "{said}");
    assert!(said.contains("--insecure goes on"), "{said}");

    let certificate = api.url("https");
    for words in [&[][..], &["--app", "one-step", "--server-key", &certificate]] {
        let mut qr = Qr::start(&folder, &api.url("https"), &["--insecure"]);
        let url = qr.line();
        assert!(url.starts_with(&api.url("https")), "{url}");
        let words = [words, &["--insecure", "--password-file", "password"]].concat();
        let (done, said) = phone(&folder, &url, &words, "");
        assert!(done, "{said}");
        assert_eq!(said.contains("certificate"), words.contains(&"one-step"), "{said}");
        assert_eq!((qr.line(), qr.line()), ("paused".to_owned(), "done".to_owned()));
    }
}

/// At a terminal, which script(1) makes. The answer is typed when the question is there.
fn at_a_terminal(
    folder: &Folder,
    line: &str,
    variables: &[(&str, &str)],
    (question, answer): (&str, &str),
) -> String {
    let mut command = Command::new("script");
    let line = format!("stty cols 100 rows 60; {} {line}", env!("CARGO_BIN_EXE_swob-gateway"));
    command.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]);
    command.current_dir(&folder.0).env("TERM", "xterm").env_remove("NO_COLOR");
    command.envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    let (mut said, mut chunk, mut typed) = (Vec::new(), [0; 4096], false);
    while let Ok(n @ 1..) = output.read(&mut chunk) {
        said.extend_from_slice(&chunk[..n]);
        if !typed && String::from_utf8_lossy(&said).contains(question) {
            input.write_all(answer.as_bytes()).unwrap();
            typed = true;
        }
    }
    child.wait().unwrap();
    String::from_utf8(said).unwrap()
}

#[test]
fn a_terminal_shows_each_code_over_the_last_and_hides_the_password() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[QUICK]);
    let folder = Folder::new();
    let line = format!("qr {USER} --url http://{}", server.api);
    let said = at_a_terminal(&folder, &line, &[], ("", ""));
    assert!(said.contains("\x1b[97;40m█") && said.contains("s left."), "{said}");
    // 49 columns make 25 lines, and the URL wraps.
    assert_eq!(said.matches("\x1b[27A\x1b[J").count(), 3, "{said}");
    let said = at_a_terminal(&folder, &line, &[("NO_COLOR", "1")], ("", ""));
    assert!(said.contains('█') && !said.contains("\x1b[97"), "{said}");
    let said = at_a_terminal(&folder, &line, &[("TERM", "dumb")], ("", ""));
    assert!(!said.contains('█') && said.contains("/handshake"), "{said}");

    let server = Server::start(&schema, &[]);
    let mut qr = Qr::start(&folder, &format!("http://{}", server.api), &[]);
    let line = format!("phone {}", qr.line());
    let answer = ("password: ", &*format!("{PASSWORD}\n"));
    let said = at_a_terminal(&folder, &line, &[], answer);
    assert!(said.contains("synced") && !said.contains(PASSWORD), "{said}");
}
