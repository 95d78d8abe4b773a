//! Debian's Prometheus with the settings of doc/monitoring, looking every second at servers under
//! test; it ends with its test.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::http::connect;
use super::server::Folder;
use super::until;

const SETTINGS: &str = include_str!("../../../doc/monitoring/prometheus.yml");
const ALERTS: &str = include_str!("../../../doc/monitoring/alerts.yml");

pub struct Prometheus {
    child: Child,
    address: String,
    /// Goes last, with the data.
    _folder: Folder,
}

/// What Debian's package has, or a word on how to get it.
pub fn command(program: &str) -> Command {
    let found = Command::new(program).arg("--version").output();
    assert!(found.is_ok(), "{program} is missing; make setup installs it");
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

impl Prometheus {
    /// Looks at these addresses.
    pub fn start(targets: &[&str]) -> Self {
        drop(command("prometheus"));
        let folder = Folder::new();
        let targets: Vec<_> = targets.iter().map(|target| format!("\"{target}\"")).collect();
        let settings = SETTINGS
            .replace("\"127.0.0.1:15001\"", &targets.join(", "))
            .replace("interval: 15s", "interval: 1s");
        assert_eq!(settings.matches("interval: 1s").count(), 2, "{settings}");
        fs::write(folder.0.join("prometheus.yml"), settings).unwrap();
        fs::write(folder.0.join("alerts.yml"), ALERTS).unwrap();
        // An address of its own, since it does not tell a port that the kernel chose.
        let pid = std::process::id();
        let address = format!("127.{}.{}.3:9090", 100 + pid / 256 % 100, pid % 256);
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "prometheus", "--log.level=warn"])
            .arg(format!("--web.listen-address={address}"))
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .current_dir(&folder.0)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut prometheus = Prometheus { child, address, _folder: folder };
        until("Prometheus is ready", || {
            assert!(prometheus.child.try_wait().unwrap().is_none(), "Prometheus has ended");
            std::net::TcpStream::connect(&prometheus.address).is_ok()
                && prometheus.get("/-/ready").0 == 200
        });
        prometheus
    }

    /// The `data` of an answer of its interface.
    pub fn ask(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        assert_eq!((status, &answer["status"]), (200, &Value::from("success")), "{path}: {answer}");
        answer["data"].clone()
    }

    /// What a query finds now: labels, and a value that is a number.
    pub fn query(&self, query: &str) -> Vec<(Value, f64)> {
        let found = self.ask(&format!("/api/v1/query?query={}", encoded(query)));
        let sample = |sample: &Value| {
            let value: f64 = sample["value"][1].as_str()?.parse().ok()?;
            value.is_finite().then(|| (sample["metric"].clone(), value))
        };
        found["result"].as_array().unwrap().iter().filter_map(sample).collect()
    }

    /// By HTTP/1.0, to which nobody answers in chunks.
    fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let mut stream = connect(&self.address);
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let head = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap_or(0);
        let status = std::str::from_utf8(&answer[..head]).unwrap().split(' ').nth(1);
        (status.map_or(0, |status| status.parse().unwrap()), answer.split_off(head))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A query in a URL.
pub fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| {
        if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(one).collect()
}
