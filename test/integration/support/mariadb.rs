//! A MariaDB of one test's own, for tests that kill it, freeze it and bring it back.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

use mysql::Conn;
use rustix::process::{Pid, Signal, kill_process};

use super::schema::connect;
use super::server::Folder;
use super::until;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/test/support/mariadb.sh");

pub struct Mariadb {
    child: Child,
    /// How to launch it, the same each time.
    command: Vec<String>,
    pub host: String,
    pub port: String,
    pub username: String,
    pub password: String,
    /// Goes last, with the data.
    _folder: Folder,
}

impl Mariadb {
    pub fn start() -> Self {
        let folder = Folder::new();
        let script = |verb| {
            let status = Command::new("sh").arg(SCRIPT).arg(verb).arg(&folder.0).status().unwrap();
            assert!(status.success(), "mariadb.sh {verb}");
        };
        script("start");
        let read = |name: &str| fs::read_to_string(folder.0.join(name)).unwrap();
        let settings = read("env");
        let setting = |name: &str| {
            let value = settings.split(&format!("TEST_MYSQL_{name}='")).nth(1).unwrap();
            value.split('\'').next().unwrap().to_owned()
        };
        let command = fs::read(format!("/proc/{}/cmdline", read("pid").trim())).unwrap();
        let mut command: Vec<String> =
            String::from_utf8(command).unwrap().split_terminator('\0').map(str::to_owned).collect();
        let (port, username, password) =
            (setting("PORT"), setting("USERNAME"), setting("PASSWORD"));
        script("stop");
        // An address of its own, for on 127.0.0.1 any client may be given the port as its own
        // while the database is down.
        let pid = std::process::id();
        let host = format!("127.{}.{}.1", 100 + pid / 256 % 100, pid % 256);
        for word in &mut command {
            if word.starts_with("--bind-address=") {
                *word = format!("--bind-address={host}");
            }
        }
        // What is committed stays, also through a kill -9.
        command.push("--innodb-flush-log-at-trx-commit=1".to_owned());
        let child = launch(&command);
        let mariadb = Mariadb { child, command, host, port, username, password, _folder: folder };
        mariadb.await_up();
        mariadb
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "MariaDB had ended before: {status}");
    }

    /// Ends it in order.
    pub fn shut_down(&mut self) {
        self.signal(Signal::TERM);
        assert!(self.child.wait().unwrap().success());
    }

    /// Starts it again where it was, and does not wait for it.
    pub fn launch(&mut self) {
        self.child = launch(&self.command);
    }

    /// It keeps its connections and answers nothing.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    pub fn await_up(&self) {
        until("MariaDB is up", || self.try_connect().is_ok());
    }

    pub fn try_connect(&self) -> mysql::Result<Conn> {
        connect(&self.host, &self.port, &self.username, &self.password)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// It ends with the thread that launches it, also where that one has no time to clean up.
fn launch(command: &[String]) -> Child {
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL"])
        .args(command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
