//! RSA between phones and the server, with PEM files that the test makes (contract §3).

use std::fs;
use std::process::Command;

use crate::support::phone::is_shared_key;
use crate::support::server::{Folder, KEY, command};
use crate::support::{PASSWORD, Phone, Schema, Server, USER, post};

#[test]
fn each_pair_of_digests_goes_up_and_comes_down() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let phone = Phone::new();
    for oaep in ["sha1", "sha256"] {
        for up in ["sha1", "sha256"] {
            for down in ["sha1", "sha256"] {
                let (_dashboard, url) = server.code(USER);
                let body = serde_json::json!({
                    "public_key": phone.pem,
                    "password": Phone::password(PASSWORD, oaep, up),
                    "hashingAlgorithm": oaep,
                    "mgf1ParameterSpec": up,
                    "mgf1ParameterSpec_dec": down,
                });
                let answer = post(&server.api, &url, &body.to_string());
                assert_eq!(answer.status, 200, "{oaep} {up} {down}: {answer:?}");
                let key = phone.open(&answer.json()["shared_key"], oaep, down);
                assert!(is_shared_key(&key), "{key}");
                let rows = schema.rows();
                assert_eq!((&*rows[0].mgf1, &*rows[0].oaep), (up, oaep));
                assert_eq!(rows[0].shared_key, key);
            }
        }
    }
}

#[test]
fn the_servers_key_is_the_one_of_its_pem_file() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let (_dashboard, url) = server.code(USER);
    let answer = post(&server.api, &url, &Phone::new().key_body()).json();
    let pem = String::from_utf8(KEY.public_key_to_pem().unwrap()).unwrap();
    assert_eq!(answer["public_key"], pem);
}

#[test]
fn a_ciphertext_of_another_key_or_other_digests_is_one_400() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let right = Phone::password(PASSWORD, "sha256", "sha256");
    let bodies = [
        right.clone(),
        Phone::password(PASSWORD, "sha1", "sha1"),
        "AAAA".repeat(86),
        "YQ==".to_owned(),
        String::new(),
    ];
    let mut answers = Vec::new();
    for password in bodies {
        let (_dashboard, url) = server.code(USER);
        assert_eq!(post(&server.api, &url, &Phone::new().key_body()).status, 200);
        let body = serde_json::json!({ "password": password }).to_string();
        let answer = post(&server.api, &url, &body);
        assert_eq!(answer.status, 400, "{password}");
        answers.push(answer.text());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(schema.rows().is_empty());
}

#[test]
fn keys_generate_makes_a_key_for_its_owner_alone_and_replaces_none() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let generate = || command(&folder).args(["keys", "generate"]).output().unwrap();
    let first = generate();
    assert!(first.status.success(), "{first:?}");
    let path = folder.0.join("server.key");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let pem = fs::read(&path).unwrap();
    let judged = Command::new("openssl")
        .args(["rsa", "-noout", "-check", "-in"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(judged.status.success(), "{judged:?}");
    let second = generate();
    assert_eq!(second.status.code(), Some(1));
    assert_eq!(fs::read(&path).unwrap(), pem);
}
