//! Every refusal of contract §3, from the input that causes it; the table is printed, and the
//! server serves after each.

use openssl::bn::{BigNum, BigNumRef};
use openssl::rsa::Rsa;
use serde_json::json;

use crate::support::{
    Answer, Dashboard, PASSWORD, Phone, Schema, Server, USER, get, post, request,
};

struct Table<'a> {
    server: &'a Server,
    lines: Vec<String>,
}

impl Table<'_> {
    fn enter(&mut self, input: &str, answer: &Answer, expected: u16) {
        assert_eq!(answer.status, expected, "{input}: {answer:?}");
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        if expected < 500 {
            let kind = answer.header("content-type");
            assert_eq!(kind, Some("application/problem+json"), "{input}");
            assert!(answer.json()["detail"].as_str().is_some_and(|text| !text.is_empty()));
        } else {
            assert!(body.is_empty(), "{input}");
        }
        assert!(self.server.serves(), "the server is gone after {input}");
        self.lines.push(format!("{input:<44} {expected} {body}"));
    }
}

fn public_pem(modulus: &BigNumRef, exponent: u32) -> String {
    let exponent = BigNum::from_u32(exponent).unwrap();
    let key = Rsa::from_public_components(modulus.to_owned().unwrap(), exponent).unwrap();
    String::from_utf8(key.public_key_to_pem().unwrap()).unwrap()
}

#[test]
fn every_refusal_has_its_status_and_its_reason() {
    let schema = Schema::new();
    let server =
        Server::start(&schema, &[("GATEWAY_LIMITS_MAX_SOCKETS_PER_USER_AND_ADDRESS", "200")]);
    let mut table = Table { server: &server, lines: Vec::new() };
    let api = &server.api;
    let (_shown, url) = server.code(USER);

    let mut body = |input: &str, body: &str| {
        table.enter(input, &post(api, &url, body), 400);
    };
    body("an empty body", "");
    body("half an object", "{\"public_key\":");
    body("5", "5");
    body("null", "null");
    body("a list", "[]");
    body("no member", "{}");
    body("public_key: 5", "{\"public_key\":5}");
    body("public_key: null", "{\"public_key\":null}");
    body("public_key: hello", "{\"public_key\":\"hello\"}");
    body("password alone, before any key", &Phone::password_body(PASSWORD));
    body("password: not base64", "{\"password\":\"***\"}");
    let pem = |bits| {
        let key = Rsa::generate(bits).unwrap();
        String::from_utf8(key.public_key_to_pem().unwrap()).unwrap()
    };
    let mut key = |input: &str, pem: &str| body(input, &json!({ "public_key": pem }).to_string());
    key("PEM with bad base64", "-----BEGIN PUBLIC KEY-----\n!!!!\n-----END PUBLIC KEY-----");
    key("PEM of nothing", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----");
    key("RSA of 1024 bits", &pem(1024));
    key("RSA of 4104 bits", &pem(4104));
    let rsa = Rsa::generate(2048).unwrap();
    for exponent in [0, 1, 2] {
        key(&format!("exponent {exponent}"), &public_pem(rsa.n(), exponent));
    }
    let mut even = rsa.n().to_owned().unwrap();
    even.sub_word(1).unwrap();
    key("even modulus", &public_pem(&even, 65537));
    let pkcs1 = String::from_utf8(rsa.public_key_to_pem_pkcs1().unwrap()).unwrap();
    key("PKCS#1 PEM", &pkcs1);
    let phone = Phone::new();
    let sealed = Phone::password(PASSWORD, "sha256", "sha1");
    let digest = json!({ "public_key": phone.pem, "password": sealed, "hashingAlgorithm": "md5" });
    body("unknown digest", &digest.to_string());
    let other = json!({ "public_key": phone.pem, "password": "YQ==" });
    body("one-step OAEP that does not open", &other.to_string());

    let big = format!("{{\"public_key\":\"{}\"}}", "x".repeat(70_000));
    table.enter("a body over 64 KiB", &post(api, &url, &big), 413);
    let long = "x".repeat(9000);
    let headers = [("X-Long", long.as_str())];
    table.enter("a head over 8 KiB", &request(api, "GET", "/", &headers, b""), 431);
    for user in ["a%41", "a b", "a*b", "..", &"x".repeat(256)] {
        let input = format!("user id {}", &user[..user.len().min(12)]);
        let answer = get(api, &format!("/v2/sync/users/{user}"));
        table.enter(&input, &answer, 400);
    }

    let path =
        |user: &str, session: &str| format!("/v2/sync/users/{user}/sessions/{session}/handshake");
    let live = url.split('/').nth(8).unwrap().to_owned();
    let unknown = "0".repeat(32);
    table.enter("unknown session", &post(api, &path(USER, &unknown), &phone.key_body()), 404);
    table.enter("no session id at all", &post(api, &path(USER, "x"), &phone.key_body()), 404);
    table.enter("foreign session", &post(api, &path("eve", &live), &phone.key_body()), 404);

    // Until here nothing has paused the session; now a phone does.
    assert_eq!(post(api, &url, &phone.key_body()).status, 200);
    let second = Phone::new();
    table.enter("a second key", &post(api, &url, &second.key_body()), 404);
    table.enter("a second key, one-step", &post(api, &url, &second.one_step_body(PASSWORD)), 404);
    table.enter("wrong password", &post(api, &url, &Phone::password_body("wrong")), 401);
    assert_eq!(post(api, &url, &Phone::password_body(PASSWORD)).status, 200);
    table.enter("used session", &post(api, &url, &phone.key_body()), 404);

    let mut nobody = Dashboard::open(&server.session("nobody"));
    let answer = post(api, &nobody.url(), &phone.one_step_body(PASSWORD));
    table.enter("unknown user", &answer, 401);
    table.enter("an unknown path", &get(api, "/v2/elsewhere"), 404);
    table.enter("a method of another path", &post(api, "/v2/sync/users/ada", "{}"), 405);
    assert_eq!(schema.rows().len(), 1, "one handshake was right");
    println!("{}", table.lines.join("\n"));
}

#[test]
fn a_rotated_and_an_expired_session_are_unknown() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[("GATEWAY_SYNC_SESSION_SLEEP_TIMEOUT", "0.3")]);
    let mut dashboard = Dashboard::open(&server.session(USER));
    let (first, _second, third) = (dashboard.url(), dashboard.url(), dashboard.url());
    let phone = Phone::new();
    assert_eq!(post(&server.api, &first, &phone.key_body()).status, 404);
    dashboard.next();
    assert_eq!(post(&server.api, &third, &phone.key_body()).status, 404);
    assert!(schema.rows().is_empty());
}

#[test]
fn a_body_that_is_refused_pauses_nothing() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let (_dashboard, url) = server.code(USER);
    let bad = json!({ "public_key": Phone::new().pem, "password": "YQ==" }).to_string();
    assert_eq!(post(&server.api, &url, &bad).status, 400);
    let other = Phone::new();
    assert_eq!(post(&server.api, &url, &other.key_body()).status, 200, "no key was bound");
}
