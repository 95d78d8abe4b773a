//! The BE removes a user; nobody else does, and nobody learns anything by trying (contract §5).

use std::fs;

use openssl::symm::{Cipher, encrypt};
use serde_json::json;

use crate::support::server::Folder;
use crate::support::{
    Answer, Dashboard, PASSWORD, Phone, Schema, Server, USER, post, request, until,
};

/// The development data's `credentials.shared_key`.
const SHARED_KEY: &str = "adacd644b58e19a8d35a5405ac2c6755";
const IV: &str = "k3JxZf9QmEaB+/09";

fn seal(key: &str, plain: &str) -> String {
    let (key, iv) = (&key.as_bytes()[..32], Some(IV.as_bytes()));
    let sealed = encrypt(Cipher::aes_256_cbc(), key, iv, plain.as_bytes()).unwrap();
    sealed.iter().fold(IV.to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn remove(server: &Server, text: &str) -> Answer {
    let body = json!({ "msisdn_hashed": text }).to_string();
    let headers = [("Content-Type", "application/json")];
    request(&server.api, "DELETE", "/v2/sync/users", &headers, body.as_bytes())
}

fn sync(server: &Server) -> Phone {
    let mut dashboard = Dashboard::open(&server.session(USER));
    let phone = Phone::new();
    let answer = post(&server.api, &dashboard.url(), &phone.one_step_body(PASSWORD));
    assert_eq!(answer.status, 200, "{answer:?}");
    phone
}

#[test]
fn the_be_removes_a_user_and_may_repeat_it() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let phone = sync(&server);
    let number = schema.msisdn_hash();
    let unknown = remove(&server, &seal(SHARED_KEY, &"0".repeat(128)));
    assert_eq!((unknown.status, &*unknown.text()), (200, "OK"));
    assert_eq!(schema.rows().len(), 1);
    for _ in 0..2 {
        let answer = remove(&server, &seal(SHARED_KEY, &number));
        assert_eq!((answer.status, &*answer.text()), (200, "OK"));
        assert!(schema.rows().is_empty());
    }
    // The phone hears of it when it next asks, and may sync again.
    let body = phone.verification_body(&number);
    assert_eq!(post(&server.api, "/v2/sync/users/verification", &body).status, 403);
    sync(&server);
    assert_eq!(schema.rows().len(), 1);
    assert!(!server.log().contains(&number[..16]), "{}", server.log());
}

#[test]
fn whatever_else_is_sealed_is_one_403_and_removes_nothing() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    sync(&server);
    let number = schema.msisdn_hash();
    let good = seal(SHARED_KEY, &number);
    let texts = [
        String::new(),
        IV.to_owned(),
        number.clone(),
        good[16..].to_owned(),
        good[..good.len() - 2].to_owned(),
        good[..good.len() - 32].to_owned(),
        format!("{good}00"),
        format!("{good}\n"),
        good.replacen(&good[40..41], "g", 1),
        format!("{}{}", "é".repeat(8), &good[16..]),
        // The first block, and so the first characters of the text, are the IV's to change.
        format!("x{}", &good[1..]),
        seal("another key of just 32 bytes!!!!", &number),
        seal(SHARED_KEY, ""),
        seal(SHARED_KEY, &number[1..]),
        seal(SHARED_KEY, &format!("{number}0")),
        seal(SHARED_KEY, &number.to_uppercase()),
        seal(SHARED_KEY, &number.replacen(&number[..1], "g", 1)),
        seal(SHARED_KEY, "+237123456789"),
    ];
    let mut answers: Vec<_> = texts.iter().map(|text| remove(&server, text)).collect();
    // What a padding oracle asks; none of these is the text as it was sealed.
    let at = good.len() - 34;
    let asked = (0..=255_u8).filter(|byte| format!("{byte:02x}") != good[at..at + 2]);
    answers.extend(
        asked.map(|byte| remove(&server, &format!("{}{byte:02x}{}", &good[..at], &good[at + 2..]))),
    );
    for answer in &answers {
        assert_eq!(answer.status, 403, "{answer:?}");
        assert_eq!(answer.body, answers[0].body);
        let names =
            |answer: &Answer| answer.headers.iter().map(|h| h.0.clone()).collect::<Vec<_>>();
        assert_eq!(names(answer), names(&answers[0]));
    }
    for body in ["", "{", "[]", "{}", r#"{"msisdn_hashed":5}"#, r#"{"msisdn_hashed":null}"#] {
        let answer = request(&server.api, "DELETE", "/v2/sync/users", &[], body.as_bytes());
        assert_eq!(answer.status, 400, "{body}");
    }
    assert_eq!(request(&server.api, "POST", "/v2/sync/users", &[], b"{}").status, 405);
    assert_eq!(schema.rows().len(), 1);
}

#[test]
fn a_shared_key_that_is_missing_or_short_is_a_503() {
    for short in ["NULL", "''", "'adacd644b58e19a8d35a5405ac2c675'"] {
        let schema = Schema::new();
        schema.execute(&format!("UPDATE credentials SET shared_key = {short}"));
        let server = Server::start(&schema, &[]);
        for text in [seal(SHARED_KEY, &schema.msisdn_hash()), String::new()] {
            let answer = remove(&server, &text);
            assert_eq!((answer.status, answer.body.len()), (503, 0), "{short}: {answer:?}");
            assert!(answer.header("retry-after").is_some());
        }
        until("the log tells", || server.log().contains("shared key is missing"));
    }
    let away = Server::start(&Schema::empty(), &[]);
    assert_eq!(remove(&away, &seal(SHARED_KEY, &"0".repeat(128))).status, 503);
}

#[test]
fn the_key_is_the_first_32_bytes_of_the_row_or_of_the_files_first_line() {
    let schema = Schema::new();
    schema.execute(&format!("UPDATE credentials SET shared_key = '{SHARED_KEY}and more'"));
    let server = Server::start(&schema, &[]);
    sync(&server);
    assert_eq!(remove(&server, &seal(SHARED_KEY, &schema.msisdn_hash())).status, 200);
    assert!(schema.rows().is_empty());

    let folder = Folder::new();
    let own = "0123456789abcdef0123456789abcdef";
    let file = folder.0.join("shared.key");
    fs::write(&file, format!("{own}\nsecond line\n")).unwrap();
    let server = Server::start(&schema, &[("SHARED_KEY", file.to_str().unwrap())]);
    sync(&server);
    assert_eq!(remove(&server, &seal(SHARED_KEY, &schema.msisdn_hash())).status, 403);
    assert_eq!(remove(&server, &seal(own, &schema.msisdn_hash())).status, 200);
    assert!(schema.rows().is_empty());
}

#[test]
fn only_listed_addresses_may_remove_where_any_are_listed() {
    let schema = Schema::new();
    let name = "GATEWAY_LIMITS_REMOVAL_ALLOWED_ADDRESSES";
    let server = Server::start(&schema, &[(name, "192.0.2.7")]);
    sync(&server);
    let good = seal(SHARED_KEY, &schema.msisdn_hash());
    let (refused, wrong) = (remove(&server, &good), remove(&server, "x"));
    assert_eq!((refused.status, wrong.status), (403, 403));
    assert_eq!(refused.body, wrong.body);
    let told = "removal_allowed_addresses address=127.0.0.1";
    until("the log tells", || server.log().contains(told));
    assert_eq!(schema.rows().len(), 1);
    let server = Server::start(&schema, &[(name, "192.0.2.7, 127.0.0.1")]);
    assert_eq!(remove(&server, &good).status, 200);
    assert!(schema.rows().is_empty());
}
