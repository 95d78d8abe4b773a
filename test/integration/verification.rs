//! A phone checks its key: genuine, forged, or nobody can tell (contract §4).

use openssl::hash::MessageDigest;
use openssl::rsa::Rsa;
use serde_json::json;

use crate::support::phone::seal;
use crate::support::server::KEY;
use crate::support::{
    Answer, Dashboard, PASSWORD, Phone, Schema, Server, USER, post, request, until,
};

const PATH: &str = "/v2/sync/users/verification";

/// A phone that has synced, with the key that it was given.
fn synced(server: &Server) -> (Phone, String) {
    let mut dashboard = Dashboard::open(&server.session(USER));
    let phone = Phone::new();
    let answer = post(&server.api, &dashboard.url(), &phone.one_step_body(PASSWORD));
    assert_eq!(answer.status, 200, "{answer:?}");
    let key = phone.open(&answer.json()["shared_key"], "sha256", "sha1");
    (phone, key)
}

fn ask(server: &Server, msisdn: &str, signature: &str) -> Answer {
    let body = json!({ "msisdn": msisdn, "msisdn_signature": signature });
    post(&server.api, PATH, &body.to_string())
}

fn sealed(text: &str) -> String {
    seal(&KEY, text, "sha256", "sha1")
}

#[test]
fn a_genuine_phone_gets_its_key_again() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let (phone, key) = synced(&server);
    let number = schema.msisdn_hash();
    let body = phone.verification_body(&number);
    assert!(body.contains("\\n") && body.contains("\\/"), "{body}");
    for headers in [&[][..], &[("Content-Type", "application/json; charset=utf-8")]] {
        let answer = request(&server.api, "POST", PATH, headers, body.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json().as_object().unwrap().len(), 1);
        assert_eq!(phone.open(&answer.json()["shared_key"], "sha256", "sha1"), key);
    }
    for oaep in ["sha1", "sha256"] {
        for mgf1 in ["sha1", "sha256"] {
            let body = json!({
                "msisdn": seal(&KEY, &number, oaep, mgf1),
                "msisdn_signature": phone.sign(&number),
                "hashingAlgorithm": oaep,
                "mgf1ParameterSpec": mgf1,
            });
            let answer = post(&server.api, PATH, &body.to_string());
            assert_eq!(answer.status, 200, "{oaep} {mgf1}: {answer:?}");
            assert_eq!(phone.open(&answer.json()["shared_key"], "sha256", "sha1"), key);
        }
    }
    let log = server.log();
    assert!(!log.contains(&number[..16]) && !log.contains(&key), "{log}");
}

#[test]
fn the_answer_is_sealed_with_the_digest_of_the_row() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let (phone, key) = synced(&server);
    schema.execute("UPDATE gateway_server_users SET hashingAlgorithm = 'sha1'");
    let number = schema.msisdn_hash();
    let answer = ask(&server, &sealed(&number), &phone.sign(&number));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(phone.open(&answer.json()["shared_key"], "sha1", "sha1"), key);
}

#[test]
fn a_key_that_the_server_does_not_hold_is_one_403() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let (phone, _) = synced(&server);
    let number = schema.msisdn_hash();
    let stranger = "0".repeat(128);
    let asked = [
        (&number, Phone::new().sign(&number)),
        (&number, phone.sign(&stranger)),
        (&number, phone.sign_with(&number, MessageDigest::sha256(), 32)),
        (&number, phone.sign_with(&number, MessageDigest::sha512(), 20)),
        (&number, "AAAA".to_owned()),
        (&stranger, phone.sign(&stranger)),
    ];
    let mut answers = Vec::new();
    for (number, signature) in asked {
        let answer = ask(&server, &sealed(number), &signature);
        assert_eq!(answer.status, 403, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        answers.push(answer.body);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
    // Another phone of the user has synced since: the first one's key opens nothing any more.
    synced(&server);
    assert_eq!(ask(&server, &sealed(&number), &phone.sign(&number)).status, 403);
    // MySQL takes A for a, this server does not.
    schema.execute("UPDATE gateway_server_users SET msisdn_hash = UPPER(msisdn_hash)");
    assert_eq!(ask(&server, &sealed(&number), &phone.sign(&number)).status, 403);
}

#[test]
fn a_row_that_proves_nothing_is_never_a_403() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let (phone, key) = synced(&server);
    let number = schema.msisdn_hash();
    let weak = Rsa::generate(1024).unwrap().public_key_to_pem().unwrap();
    let weak = String::from_utf8(weak).unwrap();
    let half = &phone.pem[..phone.pem.len() / 2];
    for (column, text) in [
        ("public_key", ""),
        ("public_key", "rubbish"),
        ("public_key", half),
        ("public_key", &weak),
        ("shared_key", ""),
        ("shared_key", &key[1..]),
        ("shared_key", "not a key of 32 hexadecimal ones"),
        ("hashingAlgorithm", "md5"),
    ] {
        schema.execute(&format!("UPDATE gateway_server_users SET {column} = '{text}'"));
        for signature in [phone.sign(&number), Phone::new().sign(&number)] {
            let answer = ask(&server, &sealed(&number), &signature);
            assert_eq!((answer.status, answer.body.len()), (503, 0), "{column} {text}");
            assert!(answer.header("retry-after").is_some());
        }
        schema.execute(&format!(
            "UPDATE gateway_server_users SET public_key = '{}', shared_key = '{key}', \
             hashingAlgorithm = 'sha256'",
            phone.pem
        ));
    }
    until("the log tells", || server.log().contains("verification cannot tell"));
    // As an old server kept it: on one line.
    let dense: String = phone.pem.split('\n').collect();
    schema.execute(&format!("UPDATE gateway_server_users SET public_key = '{dense}'"));
    assert_eq!(ask(&server, &sealed(&number), &phone.sign(&number)).status, 200);
    assert_eq!(ask(&server, &sealed(&number), &Phone::new().sign(&number)).status, 403);
}

#[test]
fn a_database_that_is_away_or_lacks_its_table_is_never_a_403() {
    let schema = Schema::empty();
    let server = Server::start(&schema, &[]);
    let number = "0".repeat(128);
    let answer = ask(&server, &sealed(&number), &Phone::new().sign(&number));
    assert_eq!((answer.status, answer.body.len()), (503, 0));
    assert!(answer.header("retry-after").is_some());

    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let (phone, _) = synced(&server);
    schema.execute("RENAME TABLE gateway_server_users TO elsewhere");
    let number = schema.msisdn_hash();
    let answer = ask(&server, &sealed(&number), &phone.sign(&number));
    assert_eq!((answer.status, answer.body.len()), (503, 0));
    assert!(answer.header("retry-after").is_some());
    until("the log tells", || server.log().contains("verification not served"));
    schema.execute("RENAME TABLE elsewhere TO gateway_server_users");
    assert_eq!(ask(&server, &sealed(&number), &phone.sign(&number)).status, 200);
}

#[test]
fn what_cannot_be_understood_is_a_400() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let (phone, _) = synced(&server);
    let number = schema.msisdn_hash();
    let (msisdn, signature) = (sealed(&number), phone.sign(&number));
    let check = |body: &str| {
        let answer = post(&server.api, PATH, body);
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        answer.text()
    };
    for body in ["", "{", "[]", "{}"] {
        check(body);
    }
    check(&json!({ "msisdn": msisdn }).to_string());
    check(&json!({ "msisdn_signature": signature }).to_string());
    check(&json!({ "msisdn": 5, "msisdn_signature": signature }).to_string());
    check(&json!({ "msisdn": msisdn, "msisdn_signature": "" }).to_string());
    check(&json!({ "msisdn": msisdn, "msisdn_signature": "***" }).to_string());
    let digest =
        json!({ "msisdn": msisdn, "msisdn_signature": signature, "hashingAlgorithm": "x" });
    check(&digest.to_string());
    // No key of the ring, other digests, and nothing encrypted at all are one answer.
    let other = openssl::pkey::PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let foreign = seal(&other, &number, "sha256", "sha1");
    let digests = seal(&KEY, &number, "sha1", "sha1");
    let mut told: Vec<_> = [&*foreign, &digests, "", "YQ==", &"AAAA".repeat(86)]
        .iter()
        .map(|msisdn| {
            check(&json!({ "msisdn": msisdn, "msisdn_signature": signature }).to_string())
        })
        .collect();
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    for text in
        ["", "hello", &number[1..], &number.to_uppercase(), "+237123456789", &"é".repeat(64)]
    {
        check(&json!({ "msisdn": sealed(text), "msisdn_signature": phone.sign(text) }).to_string());
    }
    let method = request(&server.api, "PUT", PATH, &[], b"{}");
    assert_eq!(method.status, 405);
}
