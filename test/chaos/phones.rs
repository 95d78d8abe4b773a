//! Phones and dashboards by the dozen, which take what comes: each drives its own users, one at a
//! time, and writes down what it saw.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Barrier;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use tungstenite::{Message, WebSocket};

use crate::ledger::{Attempt, Outcome, Request, Scan};
use crate::stage::{Stage, USERS_EACH, user};
use crate::support::http::{PATIENCE, connect_from};
use crate::support::{Answer, PASSWORD, Phone};

/// Where in the base64 of a public key a serial number's bits are written, as line ends.
const STEP: usize = 12;

/// The text of a public key that tells which handshake sent it: the key is the phone's, the
/// places where its lines end are the serial's bits.
pub fn marked(pem: &str, serial: u32) -> String {
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let mut text = "-----BEGIN PUBLIC KEY-----\n".to_owned();
    for (n, piece) in base64.as_bytes().chunks(STEP).enumerate() {
        text.push_str(str::from_utf8(piece).unwrap());
        if n < 32 && serial >> n & 1 == 1 {
            text.push('\n');
        }
    }
    text + "\n-----END PUBLIC KEY-----"
}

/// The serial of a text that [`marked`] made of one of these keys.
pub fn serial(phones: &[Phone], text: &str) -> Option<u32> {
    let body = text.strip_prefix("-----BEGIN PUBLIC KEY-----\n")?;
    let (mut serial, mut bytes) = (0, 0_usize);
    for byte in body.strip_suffix("\n-----END PUBLIC KEY-----")?.bytes() {
        match (byte, bytes / STEP) {
            (b'\n', n @ 1..=32) => serial |= 1 << (n - 1),
            (b'\n', _) => return None,
            _ => bytes += 1,
        }
    }
    phones.iter().any(|phone| marked(&phone.pem, serial) == text).then_some(serial)
}

/// One worker: scans until the stage closes.
pub fn work(stage: &Stage, worker: usize, seed: u64) -> Vec<Scan> {
    let mut worker = Worker { stage, worker, rng: SmallRng::seed_from_u64(seed) };
    let mut scans = Vec::new();
    while !stage.closed.load(Ordering::Relaxed) {
        match worker.scan() {
            Some(scan) => scans.push(scan),
            None => thread::sleep(Duration::from_millis(worker.rng.random_range(5..50))),
        }
    }
    scans
}

struct Worker<'a> {
    stage: &'a Stage,
    worker: usize,
    rng: SmallRng,
}

#[derive(Clone, Copy)]
enum Form {
    TwoStep,
    OneStep,
    /// The same request twice at once, as Android repeats it.
    Repeat,
    /// Two phones at one URL.
    Race,
}

impl Worker<'_> {
    /// One QR code from its first byte to the dashboard's last; `None` where no phone came to
    /// send a password.
    fn scan(&mut self) -> Option<Scan> {
        let user_number = self.worker * USERS_EACH + self.rng.random_range(0..USERS_EACH);
        let begun = Instant::now();
        let doors = self.stage.doors.read().unwrap().clone();
        let path = format!("/v2/sync/users/{}", user(user_number));
        let opened = self.ask(&doors.api, "GET", &path, "")?;
        let stream = self.connect(&doors.sockets)?;
        let (mut dashboard, _) = tungstenite::client(opened.text(), stream).ok()?;
        let Ok(Message::Text(frame)) = dashboard.read() else { return None };
        let frame: serde_json::Value = serde_json::from_str(frame.as_str()).unwrap();
        let url = frame["qr_url"].as_str().unwrap();
        let path = &url[url.find("/v2/").unwrap()..];

        let form = match self.rng.random_range(0..10) {
            0..4 => Form::TwoStep,
            4..8 => Form::OneStep,
            8 => Form::Repeat,
            _ => Form::Race,
        };
        let phones = match form {
            Form::TwoStep => vec![self.two_step(&doors.api, path)?],
            Form::OneStep => vec![self.one_step(&doors.api, path)],
            Form::Repeat | Form::Race => self.at_once(&doors.api, path, form),
        };
        let stored = phones
            .iter()
            .flat_map(|phone| &phone.requests)
            .filter(|request| matches!(request.outcome, Outcome::Stored(_)))
            .count();
        self.stage.stored.fetch_add(stored, Ordering::Relaxed);
        let acked = watch(&mut dashboard, stored > 0);
        let contested = matches!(form, Form::Repeat | Form::Race);
        Some(Scan { user: user_number, begun, ended: Instant::now(), acked, contested, phones })
    }

    fn two_step(&mut self, api: &str, path: &str) -> Option<Attempt> {
        let (phone, serial) = self.phone();
        let key = json!({ "public_key": marked(&phone.pem, serial) }).to_string();
        if self.ask(api, "POST", path, &key)?.status != 200 {
            return None;
        }
        let body = Phone::password_body(PASSWORD);
        let requests = self.insist(|worker| worker.request(api, path, &body, phone));
        Some(Attempt { serial, digests: ["sha1", "sha256"], requests })
    }

    fn one_step(&mut self, api: &str, path: &str) -> Attempt {
        let (phone, serial) = self.phone();
        let body = one_step_body(phone, serial);
        let requests = self.insist(|worker| worker.request(api, path, &body, phone));
        Attempt { serial, digests: ["sha256", "sha256"], requests }
    }

    fn at_once(&mut self, api: &str, path: &str, form: Form) -> Vec<Attempt> {
        let (phone, serial) = self.phone();
        let mut pair = [(phone, serial); 2];
        let body = one_step_body(phone, serial);
        let mut bodies = [body.clone(), body];
        if let Form::Race = form {
            // Two texts of one key are one phone to the server.
            while std::ptr::eq(pair[1].0, phone) {
                pair[1] = self.phone();
            }
            bodies[1] = one_step_body(pair[1].0, pair[1].1);
        }
        let start = Barrier::new(2);
        let this = &*self;
        let [first, second] = thread::scope(|scope| {
            [0, 1]
                .map(|n| {
                    let (start, body, phone) = (&start, &bodies[n], pair[n].0);
                    scope.spawn(move || {
                        start.wait();
                        this.request(api, path, body, phone)
                    })
                })
                .map(|thread| thread.join().unwrap())
        });
        let attempt = |serial, requests| Attempt { serial, digests: ["sha256"; 2], requests };
        match form {
            Form::Race => {
                vec![attempt(pair[0].1, vec![first]), attempt(pair[1].1, vec![second])]
            }
            _ => vec![attempt(serial, vec![first, second])],
        }
    }

    /// Asks again while the database is away, as a user would.
    fn insist(&mut self, request: impl Fn(&Self) -> Request) -> Vec<Request> {
        let mut requests = Vec::new();
        loop {
            requests.push(request(self));
            let away = requests.last().unwrap().outcome == Outcome::Refused(503);
            if !away || requests.len() == 4 {
                return requests;
            }
            thread::sleep(Duration::from_millis(self.rng.random_range(50..900)));
        }
    }

    fn request(&self, api: &str, path: &str, body: &str, phone: &Phone) -> Request {
        let sent = Instant::now();
        let outcome = match self.ask(api, "POST", path, body) {
            None => Outcome::Cut,
            Some(answer) if answer.status == 200 => {
                // Both generations have the OAEP and MGF1 digests of their answers in common.
                Outcome::Stored(phone.open(&answer.json()["shared_key"], "sha256", "sha1"))
            }
            Some(answer) => Outcome::Refused(answer.status),
        };
        Request { sent, ended: Instant::now(), outcome }
    }

    fn phone(&mut self) -> (&'static Phone, u32) {
        let n = self.rng.random_range(0..self.stage.phones.len());
        (&self.stage.phones[n], self.stage.serials.fetch_add(1, Ordering::Relaxed))
    }

    /// Each worker has an address of its own, as phones have.
    fn connect(&self, address: &str) -> Option<TcpStream> {
        let own = Ipv4Addr::new(127, 1, 0, u8::try_from(self.worker + 1).unwrap());
        connect_from(own, address).ok()
    }

    /// The answer, or `None` where it does not come in full.
    fn ask(&self, address: &str, method: &str, path: &str, body: &str) -> Option<Answer> {
        let mut stream = self.connect(address)?;
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).ok()?;
        Answer::read(&mut stream)
    }
}

fn one_step_body(phone: &Phone, serial: u32) -> String {
    json!({
        "public_key": marked(&phone.pem, serial),
        "mgf1ParameterSpec": "sha256",
        "password": Phone::password(PASSWORD, "sha256", "sha256"),
    })
    .to_string()
}

/// Whether the dashboard sees `200- ack`: to the socket's end where it should, else for a moment.
fn watch(dashboard: &mut WebSocket<TcpStream>, expected: bool) -> bool {
    let patience = if expected { PATIENCE } else { Duration::from_millis(30) };
    dashboard.get_ref().set_read_timeout(Some(patience)).unwrap();
    loop {
        match dashboard.read() {
            Ok(Message::Text(text)) if text.as_str() == "200- ack" => return true,
            Ok(Message::Close(_)) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}

#[test]
fn a_serial_is_read_back_from_the_key_it_marks() {
    let phones = [Phone::new(), Phone::new()];
    for number in [0, 1, 2, 77, 1 << 31, u32::MAX] {
        assert_eq!(serial(&phones, &marked(&phones[1].pem, number)), Some(number));
    }
    assert_eq!(serial(&phones[..1], &marked(&phones[1].pem, 7)), None);
}
