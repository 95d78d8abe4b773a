//! Whether a 401 tells by its time what it must not tell: `make timing`.
//!
//! Samples of all groups are taken in turn, in random order, on one server; each group is compared
//! with the wrong password of a known user by the Mann-Whitney test, which asks nothing of the
//! shape of the noise. Two groups that are the same by construction show what noise alone gives.

use std::process::ExitCode;
use std::time::Instant;

use rand::seq::SliceRandom as _;

use support::{Dashboard, PASSWORD, Phone, Schema, Server, USER, post};

#[path = "integration/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the harness is shared with the integration tests")]
mod support;

/// A difference this sure is one: by chance it comes once in three million comparisons.
const SURE: f64 = 5.0;

struct Group {
    name: &'static str,
    user: &'static str,
    password: &'static str,
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
            ("GATEWAY_LIMITS_PASSWORD_ATTEMPTS_PER_ADDRESS", ""),
            ("GATEWAY_LIMITS_PASSWORD_ATTEMPTS_PER_USER", ""),
        ],
    );
    let group = |name, user, password| Group { name, user, password, micros: Vec::new() };
    let mut groups = [
        group("wrong password", USER, "wrong"),
        group("wrong password, another user", "twin", "wrong"),
        group("unknown user", "nobody", PASSWORD),
        group("unverified phone", "unverified", PASSWORD),
        group("two verified phones", "double", PASSWORD),
        group("no password stored", "empty", PASSWORD),
    ];
    let phone = Phone::new();
    for round in 0..rounds {
        if round % 100 == 0 {
            eprintln!("round {round} of {rounds}");
        }
        let mut order: Vec<_> = (0..groups.len()).collect();
        order.shuffle(&mut rand::rng());
        for at in order {
            let micros = sample(&server, &phone, groups[at].user, groups[at].password);
            groups[at].micros.push(micros);
        }
    }
    report(&mut groups)
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

fn sample(server: &Server, phone: &Phone, user: &str, password: &str) -> f64 {
    let mut dashboard = Dashboard::open(&server.session(user));
    let url = dashboard.url();
    let body = phone.one_step_body(password);
    let start = Instant::now();
    let answer = post(&server.api, &url, &body);
    let micros = start.elapsed().as_secs_f64() * 1e6;
    assert_eq!(answer.status, 401, "{user}");
    micros
}

fn report(groups: &mut [Group]) -> ExitCode {
    let (first, others) = groups.split_first_mut().expect("there are six");
    println!("{:<30} {:>10} {:>8}", "401 because of", "median us", "z");
    println!("{:<30} {:>10.0} {:>8}", first.name, median(&mut first.micros), "");
    let mut told = false;
    for group in others {
        let z = mann_whitney(&first.micros, &group.micros);
        told |= z.abs() > SURE;
        println!("{:<30} {:>10.0} {:>8.2}", group.name, median(&mut group.micros), z);
    }
    println!("{}", if told { "a group can be told by its time" } else { "no group can be told" });
    if told { ExitCode::FAILURE } else { ExitCode::SUCCESS }
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
