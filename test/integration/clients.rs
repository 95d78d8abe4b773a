//! The requests of the apps in the field, byte for byte as contract §8 prints them.

use crate::support::http::path_of;
use crate::support::phone::is_shared_key;
use crate::support::{Answer, PASSWORD, Phone, Schema, Server, USER, post, request};

/// A string as Android's JSON writer writes it: with `/` escaped too.
fn android(text: &str) -> String {
    serde_json::to_string(text).unwrap().replace('/', "\\/")
}

fn members(answer: &Answer) -> Vec<String> {
    let mut names: Vec<_> = answer.json().as_object().unwrap().keys().cloned().collect();
    names.sort();
    names
}

#[test]
fn two_step_android_syncs() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let (_dashboard, url) = server.code(USER);
    let phone = Phone::new();
    let kind = [("Content-Type", "application/json; charset=utf-8")];
    let first = format!("{{\"public_key\":{}}}", android(&phone.pem));
    let first = request(&server.api, "POST", path_of(&url), &kind, first.as_bytes());
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(members(&first), ["public_key", "verification_url"]);
    assert!(first.json().as_object().unwrap().values().all(serde_json::Value::is_string));
    let verification = first.json()["verification_url"].as_str().unwrap().to_owned();
    assert!(path_of(&url).starts_with(&verification), "{verification}");

    let password = Phone::password(PASSWORD, "sha256", "sha1");
    let second = format!("{{\"password\":{}}}", android(&password));
    let second = request(&server.api, "POST", &verification, &kind, second.as_bytes());
    assert_eq!(second.status, 200, "{second:?}");
    assert_eq!(
        members(&second),
        ["gateway_clients", "msisdn_hash", "seeds_url", "shared_key", "user_platforms"]
    );
    let answer = second.json();
    assert_eq!(answer["user_platforms"][0]["name"], "gmail");
    assert_eq!(answer["gateway_clients"], serde_json::json!([]));
    let key = phone.open(&answer["shared_key"], "sha256", "sha1");
    assert!(is_shared_key(&key));
    let rows = schema.rows();
    assert_eq!(rows.len(), 1);
    assert_eq!((&rows[0].shared_key, &rows[0].public_key), (&key, &phone.pem));
    assert_eq!(rows[0].msisdn_hash, answer["msisdn_hash"].as_str().unwrap());
    assert_eq!(rows[0].msisdn_hash, schema.msisdn_hash());
}

#[test]
fn ios_syncs() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let (_dashboard, url) = server.code(USER);
    let phone = Phone::new();
    assert_eq!(post(&server.api, &url, &phone.key_body()).status, 200);
    let password = Phone::password(PASSWORD, "sha256", "sha256").replace('\n', "");
    let body = format!(
        "{{\"password\":\"{password}\",\"encryption_hash\":\"sha256\",\"decryption_hash\":\"sha256\"}}"
    );
    let answer = post(&server.api, &url, &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(is_shared_key(&phone.open(&answer.json()["shared_key"], "sha256", "sha256")));
    assert_eq!(schema.rows()[0].mgf1, "sha256");
}

#[test]
fn one_step_android_syncs() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let (_dashboard, url) = server.code(USER);
    let phone = Phone::new();
    let body = format!(
        "{{\"public_key\":{},\"mgf1ParameterSpec\":\"sha256\",\"password\":{}}}",
        android(&phone.pem),
        android(&Phone::password(PASSWORD, "sha256", "sha256"))
    );
    let answer = post(&server.api, &url, &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(members(&answer), ["msisdn_hash", "shared_key", "user_platforms"]);
    assert!(is_shared_key(&phone.open(&answer.json()["shared_key"], "sha256", "sha1")));
}

#[test]
fn a_shell_pastes_a_pem_with_raw_newlines_and_no_content_type() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let (_dashboard, url) = server.code(USER);
    let phone = Phone::new();
    let body = format!("{{\"public_key\":\"{}\"}}", phone.pem);
    assert!(body.contains('\n'));
    for headers in [&[][..], &[("Content-Type", "application/x-www-form-urlencoded")]] {
        let answer = request(&server.api, "POST", path_of(&url), headers, body.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[test]
fn the_three_paths_of_a_session_are_one_resource() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let (_dashboard, url) = server.code(USER);
    let base = url.strip_suffix("/handshake").unwrap();
    let phone = Phone::new();
    for form in [base.to_owned(), format!("{base}/"), format!("{base}/handshake")] {
        assert_eq!(post(&server.api, &form, &phone.key_body()).status, 200, "{form}");
    }
}
