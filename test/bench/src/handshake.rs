//! Whole handshakes a second, and their CPU against one private operation of `openssl speed`.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::hash::MessageDigest;
use openssl::md::{Md, MdRef};
use openssl::pkey::{PKey, Private};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::{Padding, Rsa};
use serde_json::{Value, json};

use crate::Done;
use crate::gateway::{self, Installation, PASSWORD, USERS, user};
use crate::get::{CLIENTS, crowd};
use crate::http::Http;
use crate::report::{Report, Target, median};
use crate::websocket::{Kind, WebSocket};

const ROUNDS: usize = 4;
const ROUND: Duration = Duration::from_secs(4);
/// To make a key takes longer than a handshake; phones may share one.
const KEYS: usize = 8;

/// Which app.
#[derive(Clone, Copy, PartialEq)]
pub enum Form {
    TwoStep,
    OneStep,
}

pub fn run(installation: &Installation, report: &mut Report) -> Done {
    let (gateway, _) = installation.start(&[])?;
    let phones = Phones::new(installation)?;
    // The first ones connect to the database.
    crowd(CLIENTS, Duration::from_millis(500), &|n| phones.phone(n, gateway.api, Form::TwoStep))?;
    let mut figures: HashMap<&str, Vec<f64>> = HashMap::new();
    for round in 1..=ROUNDS {
        let operation = private_operation()?;
        let mut told = format!("  round {round}: a private operation {:.0} µs", operation * 1e6);
        for (form, names) in [
            (Form::TwoStep, ["two-step", "two-step, CPU", "two-step, private operations"]),
            (Form::OneStep, ["one-step", "one-step, CPU", "one-step, private operations"]),
        ] {
            let before = gateway.process.cpu()?;
            let (number, took) = crowd(CLIENTS, ROUND, &|n| phones.phone(n, gateway.api, form))?;
            let cpu = (gateway.process.cpu()? - before).as_secs_f64() / number as f64;
            let rate = number as f64 / took.as_secs_f64();
            told += &format!(", {} {rate:.0} a second at {:.0} µs", names[0], cpu * 1e6);
            for (name, figure) in names.iter().zip([rate, cpu * 1e6, cpu / operation]) {
                figures.entry(name).or_default().push(figure);
            }
        }
        figures.entry("a private operation").or_default().push(operation * 1e6);
        eprintln!("{told}");
    }
    phones.check()?;
    for (name, unit, target) in [
        ("two-step", "a second", Target::None),
        ("one-step", "a second", Target::None),
        ("a private operation", "µs (openssl speed)", Target::None),
        ("two-step, CPU", "µs each", Target::None),
        ("one-step, CPU", "µs each", Target::None),
        ("two-step, private operations", "(median of the rounds)", Target::AtMost(2.2)),
        ("one-step, private operations", "(median of the rounds)", Target::AtMost(2.2)),
    ] {
        report.add(
            "handshake",
            name,
            median(figures.remove(name).unwrap_or_default()),
            unit,
            target,
        );
    }
    Ok(())
}

/// Seconds of CPU for one RSA private operation of 2048 bits.
fn private_operation() -> Done<f64> {
    let output = Command::new("openssl").args(["speed", "-seconds", "1", "rsa2048"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().rfind(|line| line.starts_with("rsa")).ok_or("openssl speed is mute")?;
    let seconds = line.split_whitespace().find_map(|word| word.strip_suffix('s')?.parse().ok());
    Ok(seconds.ok_or("openssl speed tells no time")?)
}

/// What all phones share, and what they were told last.
pub struct Phones {
    keys: Vec<(PKey<Private>, String)>,
    password: String,
    one_step: Vec<String>,
    told: Mutex<HashMap<usize, Value>>,
}

impl Phones {
    pub fn new(installation: &Installation) -> Done<Self> {
        gateway::clear_rows()?;
        let mut keys = Vec::new();
        for _ in 0..KEYS {
            let key = PKey::from_rsa(Rsa::generate(2048)?)?;
            let pem = String::from_utf8(key.public_key_to_pem()?)?;
            keys.push((key, pem));
        }
        let seal = |mgf1: &MdRef| {
            let mut context = PkeyCtx::new(&installation.key)?;
            context.encrypt_init()?;
            context.set_rsa_padding(Padding::PKCS1_OAEP)?;
            context.set_rsa_oaep_md(Md::sha256())?;
            context.set_rsa_mgf1_md(mgf1)?;
            let mut sealed = Vec::new();
            context.encrypt_to_vec(PASSWORD.as_bytes(), &mut sealed)?;
            Done::Ok(STANDARD.encode(sealed))
        };
        let password = json!({ "password": seal(Md::sha1())? }).to_string();
        let sealed = seal(Md::sha256())?;
        let both = |(_, pem): &(_, String)| {
            json!({ "public_key": pem, "mgf1ParameterSpec": "sha256", "password": sealed })
                .to_string()
        };
        Ok(Phones {
            password,
            one_step: keys.iter().map(both).collect(),
            keys,
            told: Mutex::new(HashMap::new()),
        })
    }

    /// One phone after the other for the n-th user, each on a connection of its own, with the
    /// dashboard that it scans.
    pub fn phone(&self, n: u8, api: SocketAddr, form: Form) -> Done<impl FnMut() -> Done> {
        let n = usize::from(n) % USERS;
        let mut http = Http::new(Ipv4Addr::LOCALHOST, api)?;
        let ask = Http::request("GET", &format!("/v2/sync/users/{}", user(n)), "");
        let key = json!({ "public_key": self.keys[n % KEYS].1 }).to_string();
        let bodies = match form {
            Form::TwoStep => vec![key, self.password.clone()],
            Form::OneStep => vec![self.one_step[n % KEYS].clone()],
        };
        let mut turn = 0_u8;
        Ok(move || {
            turn = turn.wrapping_add(1);
            let own = Ipv4Addr::new(127, 3, u8::try_from(n)?, turn.max(1));
            let url = std::str::from_utf8(http.expect(&ask)?)?;
            let mut socket = WebSocket::open(own, url)?;
            let frame: Value = serde_json::from_str(&socket.text()?)?;
            let url = frame["qr_url"].as_str().and_then(|url| url.get("http://".len()..));
            let path = url.and_then(|rest| rest.find('/').map(|at| &rest[at..]));
            let path = path.ok_or("no qr_url")?;
            let mut phone = Http::new(own, api)?;
            for body in &bodies {
                let answer = phone.expect(&Http::request("POST", path, body))?;
                if body == &bodies[bodies.len() - 1] {
                    let answer = serde_json::from_slice(answer)?;
                    self.told.lock().map_err(|_| "a client panicked")?.insert(n, answer);
                }
            }
            for expected in ["201- pause", "200- ack"] {
                let seen = socket.text()?;
                if seen != expected {
                    return Err(format!("{seen} where {expected} should come").into());
                }
            }
            match socket.next()?.0 {
                Kind::Close => socket.answer_close(),
                kind => Err(format!("{kind:?} where a close should come").into()),
            }
        })
    }

    /// Whether the last key that each phone was told is the one in its row, for a commit that is
    /// lost or skipped would be a fast one.
    pub fn check(&self) -> Done {
        let committed = gateway::sql("", "SELECT @@innodb_flush_log_at_trx_commit")?;
        if committed != "1" {
            return Err(format!("innodb_flush_log_at_trx_commit = {committed}").into());
        }
        let rows: HashMap<_, _> = gateway::rows()?.into_iter().collect();
        let told = self.told.lock().map_err(|_| "a client panicked")?;
        if told.is_empty() || told.len() != rows.len() {
            return Err(format!("{} phones, {} rows", told.len(), rows.len()).into());
        }
        for (n, answer) in told.iter() {
            let sealed = STANDARD.decode(answer["shared_key"].as_str().ok_or("no shared_key")?)?;
            let mut context = PkeyCtx::new(&self.keys[n % KEYS].0)?;
            context.decrypt_init()?;
            context.set_rsa_padding(Padding::PKCS1_OAEP)?;
            context.set_rsa_oaep_md(Md::sha256())?;
            context.set_rsa_mgf1_md(Md::sha1())?;
            let mut plain = Vec::new();
            context.decrypt_to_vec(&sealed, &mut plain)?;
            let number = openssl::hash::hash(MessageDigest::sha512(), n.to_string().as_bytes())?;
            let number: String = number.iter().map(|byte| format!("{byte:02x}")).collect();
            if rows.get(&number).map(String::as_bytes) != Some(&plain) {
                return Err(format!("the row of phone {n} has another key").into());
            }
        }
        eprintln!("  the row of each phone holds the key that it was told last");
        Ok(())
    }
}
