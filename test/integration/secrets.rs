//! What no log, no metric and no memory may hold afterwards.

use openssl::symm::{Cipher, encrypt};
use serde_json::json;

use crate::support::{
    Answer, Dashboard, PASSWORD, Phone, Schema, Server, USER, get, post, request, until,
};

const WRONG: &str = "a wrong secret";
/// The development data's `credentials`.
const SALT: &str = "b7c1c9605b98de2b055b5a13ac22765e";
const SHARED_KEY: &str = "adacd644b58e19a8d35a5405ac2c6755";

/// Every flow on one server, each with its refusals: the secrets that were used, and the answers
/// that were no 200.
struct Flows<'a> {
    server: &'a Server,
    number: String,
    secrets: Vec<String>,
    refusals: Vec<Answer>,
}

impl Flows<'_> {
    fn tell(&mut self, answer: Answer, status: u16) -> Answer {
        assert_eq!(answer.status, status, "{answer:?}");
        if status != 200 {
            self.refusals.push(answer.clone());
        }
        answer
    }

    /// A dashboard; the ids that open its socket and that stand in its code are secrets.
    fn code(&mut self) -> (Dashboard, String) {
        let socket = self.server.session(USER);
        let mut dashboard = Dashboard::open(&socket);
        let url = dashboard.url();
        let id = |url: &str, at| url.split('/').nth(at).unwrap().to_owned();
        self.secrets.extend([id(&socket, 7), id(&url, 8)]);
        (dashboard, url)
    }

    fn post(&mut self, path: &str, body: &str, status: u16) -> Answer {
        self.tell(post(&self.server.api, path, body), status)
    }

    fn keep(&mut self, phone: &Phone, answer: &Answer) {
        self.secrets.push(phone.open(&answer.json()["shared_key"], "sha256", "sha1"));
    }

    fn handshakes(&mut self) {
        let (_dashboard, url) = self.code();
        let android = Phone::new();
        self.post(&url, &android.key_body(), 200);
        self.post(&url, &Phone::password_body(WRONG), 401);
        let answer = self.post(&url, &Phone::password_body(PASSWORD), 200);
        self.keep(&android, &answer);
        self.post(&url, &Phone::password_body(PASSWORD), 404);
        let (_dashboard, url) = self.code();
        let phone = Phone::new();
        self.post(&url, &phone.one_step_body(WRONG), 401);
        let closed = phone.one_step_body(PASSWORD).replace("mgf1ParameterSpec", "other");
        self.post(&url, &closed, 400);
        let answer = self.post(&url, &phone.one_step_body(PASSWORD), 200);
        self.keep(&phone, &answer);
        self.verifications(&phone, &android);
    }

    /// A code that was scanned when the next one was shown.
    fn late_handshake(&mut self) {
        let (mut dashboard, url) = self.code();
        let next = dashboard.url();
        self.secrets.push(next.split('/').nth(8).unwrap().to_owned());
        self.post(&url, &Phone::new().key_body(), 404);
    }

    fn verifications(&mut self, phone: &Phone, stranger: &Phone) {
        const PATH: &str = "/v2/sync/users/verification";
        let number = self.number.clone();
        let answer = self.post(PATH, &phone.verification_body(&number), 200);
        self.keep(phone, &answer);
        self.post(PATH, &stranger.verification_body(&number), 403);
        let clear = json!({ "msisdn": number, "msisdn_signature": phone.sign(&number) });
        self.post(PATH, &clear.to_string(), 400);
    }

    fn removals(&mut self) {
        let iv = "k3JxZf9QmEaB+/09";
        for (key, status) in [(SALT, 403), (SHARED_KEY, 200)] {
            let (cipher, number) = (Cipher::aes_256_cbc(), self.number.as_bytes());
            let sealed = encrypt(cipher, key.as_bytes(), Some(iv.as_bytes()), number).unwrap();
            let sealed = sealed.iter().fold(iv.to_owned(), |hex, byte| format!("{hex}{byte:02x}"));
            let body = json!({ "msisdn_hashed": sealed }).to_string();
            let answer =
                request(&self.server.api, "DELETE", "/v2/sync/users", &[], body.as_bytes());
            self.tell(answer, status);
        }
    }
}

#[test]
fn no_secret_is_told_to_the_log_the_metrics_or_in_a_refusal() {
    let schema = Schema::new();
    let settings = [("GATEWAY_LOG_LEVEL", "trace"), ("GATEWAY_SYNC_SESSION_SLEEP_TIMEOUT", "9")];
    let server = Server::start(&schema, &settings);
    let known = [PASSWORD, WRONG, SALT, SHARED_KEY, USER, &schema.password];
    let mut flows = Flows {
        server: &server,
        number: schema.msisdn_hash(),
        secrets: known.map(str::to_owned).to_vec(),
        refusals: Vec::new(),
    };
    flows.handshakes();
    flows.late_handshake();
    flows.removals();
    let Flows { number, mut secrets, refusals, .. } = flows;
    secrets.push(number);
    assert_eq!((secrets.len(), refusals.len()), (17, 8));
    until("the last flow is logged", || server.log().matches("removal address=").count() > 1);
    let log = server.log();
    for secret in &secrets {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
        for Answer { headers, body, .. } in &refusals {
            let told = format!("{headers:?}{}", String::from_utf8_lossy(body));
            assert!(!told.contains(secret), "{secret} is in a refusal: {told}");
        }
    }
    assert!(log.contains(&USER[..8]), "{log}");
    let metrics = server.metrics();
    for secret in &secrets {
        // Not even as much of an id as the log tells.
        assert!(!metrics.contains(&secret[..8]), "{secret} is in the metrics:\n{metrics}");
    }
    counted(&metrics);
    words_alone(&metrics);
}

/// What was looked through is what the flows have left.
fn counted(metrics: &str) {
    for sample in [
        "handshakes_total{outcome=\"begun\"} 1",
        "handshakes_total{outcome=\"complete\"} 2",
        "handshakes_total{outcome=\"credentials\"} 2",
        "handshakes_total{outcome=\"session\"} 2",
        "handshake_late_seconds_count{after=\"rotation\"} 1",
        "sessions_ended_total{outcome=\"acked\"} 2",
        "refusals_total{reason=\"forged\"} 1",
        "refusals_total{reason=\"removal\"} 1",
    ] {
        assert!(metrics.contains(&format!("\nswob_gateway_{sample}\n")), "{sample}:\n{metrics}");
    }
}

/// A label's value is one of a few words: no address, no number, nothing from outside.
fn words_alone(metrics: &str) {
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let labels = line.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
        for (name, value) in labels.split(',').filter_map(|label| label.split_once('=')) {
            let value = value.trim_matches('"');
            let word = value.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(matches!(name, "le" | "version") || (word && value.len() < 20), "{line}");
        }
    }
}

#[test]
fn the_reason_of_a_database_that_refuses_the_account_holds_no_password() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[("GATEWAY_MYSQL_PASSWORD", "no-such-password")]);
    let mut answer = String::new();
    until("the reason is told", || {
        answer = get(&server.admin, "/readyz").text();
        answer.contains("denied")
    });
    assert!(!answer.contains("no-such-password") && !answer.contains(&schema.password), "{answer}");
}

#[test]
fn no_password_stays_in_the_memory_of_the_process() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    // Passwords that stand nowhere else in this machine's memory but in the phone's.
    let right = format!("right-{:032x}", rand::random::<u128>());
    let wrong = format!("wrong-{:032x}", rand::random::<u128>());
    let hash = swob_gateway::crypto::hmac_sha512_hex(SALT.as_bytes(), right.as_bytes());
    schema.execute(&format!("UPDATE users SET password = '{hash}' WHERE id = '{USER}'"));
    for (password, status) in [(&wrong, 401), (&right, 200), (&wrong, 401), (&right, 200)] {
        let (_dashboard, url) = server.code(USER);
        let phone = Phone::new();
        assert_eq!(post(&server.api, &url, &phone.one_step_body(password)).status, status);
        let (_dashboard, url) = server.code(USER);
        assert_eq!(post(&server.api, &url, &phone.key_body()).status, 200);
        assert_eq!(post(&server.api, &url, &Phone::password_body(password)).status, status);
    }
    let memory = server.memory();
    let holds = |text: &str| memory.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(holds("SMSWithoutBorders Gateway Server"), "the memory is not read");
    for password in [&right, &wrong] {
        assert!(!holds(password), "a password is in the memory of the process");
    }
}
