//! Whether a 401, or a 400 for a ciphertext, tells by its time what it must not: `make timing`.
//!
//! Samples of all groups are taken in turn, in random order, on one server; each group is compared
//! with the first of its status by the Mann-Whitney test, which asks nothing of the shape of the
//! noise. The second of each status is the same by construction and shows what noise alone gives.

use std::process::ExitCode;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::rsa::Padding;
use rand::seq::SliceRandom as _;

use support::server::KEY;
use support::{PASSWORD, Phone, Schema, Server, USER, post};

#[path = "integration/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the harness is shared with the integration tests")]
mod support;

/// A difference this sure is one: by chance it comes once in three million comparisons.
const SURE: f64 = 5.0;

struct Group {
    name: &'static str,
    status: u16,
    user: &'static str,
    password: fn() -> String,
    micros: Vec<f64>,
}

fn main() -> ExitCode {
    let rounds = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(1500);
    let schema = Schema::new();
    prepare(&schema);
    let server = Server::start(
        &schema,
        &[
            ("GATEWAY_LOG_LEVEL", "info"),
            ("GATEWAY_LIMITS_PASSWORD_ATTEMPTS", ""),
            ("GATEWAY_LIMITS_PASSWORD_ATTEMPTS_PER_USER", ""),
            // Each 401 leaves a paused session behind, whose dashboard has gone.
            ("GATEWAY_SYNC_SESSION_PAUSED_TIMEOUT", "1"),
            ("GATEWAY_LIMITS_MAX_CONNECTIONS_PER_ADDRESS", "1000"),
        ],
    );
    let mut groups = groups();
    let phone = Phone::new();
    for round in 0..rounds {
        if round % 100 == 0 {
            eprintln!("round {round} of {rounds}");
        }
        let mut order: Vec<_> = (0..groups.len()).collect();
        order.shuffle(&mut rand::rng());
        for at in order {
            let micros = sample(&server, &phone, &groups[at]);
            groups[at].micros.push(micros);
        }
    }
    let told = [401, 400].map(|status| report(&mut groups, status)).contains(&true);
    println!("{}", if told { "a group can be told by its time" } else { "no group can be told" });
    if told { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn groups() -> [Group; 10] {
    let group =
        |status, name, user, password| Group { name, status, user, password, micros: Vec::new() };
    let wrong = || Phone::password("wrong", "sha256", "sha256");
    let right = || Phone::password(PASSWORD, "sha256", "sha256");
    [
        group(401, "wrong password", USER, wrong),
        group(401, "wrong password, another user", "twin", wrong),
        group(401, "unknown user", "nobody", right),
        group(401, "unverified phone", "unverified", right),
        group(401, "two verified phones", "double", right),
        group(401, "no password stored", "empty", right),
        group(400, "of other digests", USER, || Phone::password(PASSWORD, "sha1", "sha1")),
        group(400, "of other digests, another user", "twin", || {
            Phone::password(PASSWORD, "sha1", "sha1")
        }),
        group(400, "its first byte is 0", USER, || number(0)),
        // To tell these two apart is Manger's way to decrypt without the key (Crypto 2001).
        group(400, "its first byte is not 0", USER, || number(1)),
    ]
}

/// A number under the server's key that is no OAEP encoding.
fn number(first: u8) -> String {
    let mut number: [u8; 256] = rand::random();
    number[0] = first;
    let mut sealed = [0; 256];
    let key = KEY.rsa().expect("the server's key is RSA");
    key.public_encrypt(&number, &mut sealed, Padding::NONE).expect("it is below the modulus");
    STANDARD.encode(sealed)
}

/// One user more for each way in which a right password is refused.
fn prepare(schema: &Schema) {
    let users = [("twin", 1), ("unverified", 0), ("double", 2), ("empty", 1)];
    for (user, verified) in users {
        schema.execute(&format!(
            "INSERT INTO users (id, password) SELECT '{user}', password FROM users WHERE id = '{USER}'"
        ));
        for (n, status) in [(0, verified > 0), (1, verified > 1)] {
            let status = if status { "verified" } else { "unverified" };
            schema.execute(&format!(
                "INSERT INTO usersInfos (name, country_code, full_phone_number, status, userId) \
                 VALUES ('n', 'c', '{user}{n}', '{status}', '{user}')"
            ));
        }
    }
    schema.execute("UPDATE users SET password = NULL WHERE id = 'empty'");
}

fn sample(server: &Server, phone: &Phone, group: &Group) -> f64 {
    let (_dashboard, url) = server.code(group.user);
    let body = serde_json::json!({
        "public_key": phone.pem,
        "mgf1ParameterSpec": "sha256",
        "password": (group.password)(),
    });
    let body = body.to_string();
    let start = Instant::now();
    let answer = post(&server.api, &url, &body);
    let micros = start.elapsed().as_secs_f64() * 1e6;
    assert_eq!(answer.status, group.status, "{}", group.name);
    micros
}

/// Whether a group of this status can be told from the first one.
fn report(groups: &mut [Group], status: u16) -> bool {
    let mut of_status: Vec<_> = groups.iter_mut().filter(|group| group.status == status).collect();
    let (first, others) = of_status.split_first_mut().expect("each status has groups");
    println!("{:<32} {:>10} {:>8}", format!("{status}:"), "median us", "z");
    println!("{:<32} {:>10.0} {:>8}", first.name, median(&mut first.micros), "");
    let mut told = false;
    for group in others {
        let z = mann_whitney(&first.micros, &group.micros);
        told |= z.abs() > SURE;
        println!("{:<32} {:>10.0} {:>8.2}", group.name, median(&mut group.micros), z);
    }
    told
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The standard score of the Mann-Whitney U; ties do not occur among such times.
#[expect(clippy::cast_precision_loss, reason = "a few thousand samples")]
fn mann_whitney(a: &[f64], b: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> = a.iter().map(|v| (*v, true)).collect();
    all.extend(b.iter().map(|v| (*v, false)));
    all.sort_by(|x, y| x.0.total_cmp(&y.0));
    let ranks: f64 =
        all.iter().enumerate().filter(|(_, (_, of_a))| *of_a).map(|(i, _)| i as f64 + 1.0).sum();
    let (n, m) = (a.len() as f64, b.len() as f64);
    let u = ranks - n * (n + 1.0) / 2.0;
    (u - n * m / 2.0) / (n * m * (n + m + 1.0) / 12.0).sqrt()
}
