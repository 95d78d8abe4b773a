//! What no log and no memory may hold afterwards.

use crate::support::{Dashboard, PASSWORD, Phone, Schema, Server, USER, post, until};

#[test]
fn the_log_tells_no_secret() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[("GATEWAY_LOG_LEVEL", "trace")]);
    let mut dashboard = Dashboard::open(&server.session(USER));
    let url = dashboard.url();
    let phone = Phone::new();
    assert_eq!(post(&server.api, &url, &phone.one_step_body("a wrong secret")).status, 401);
    let answer = post(&server.api, &url, &phone.one_step_body(PASSWORD)).json();
    let key = phone.open(&answer["shared_key"], "sha256", "sha1");
    let session = url.split('/').nth(8).unwrap().to_owned();
    until("the handshake is logged", || server.log().contains("status=200"));
    let log = server.log();
    let number = schema.msisdn_hash();
    for secret in [PASSWORD, "a wrong secret", &key, &session, USER, &number, &schema.password] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
    assert!(log.contains(&session[..8]) && log.contains(&USER[..8]), "{log}");
}

#[test]
fn no_password_stays_in_the_memory_of_the_process() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    // Passwords that stand nowhere else in this machine's memory but in the phone's.
    let right = format!("right-{:032x}", rand::random::<u128>());
    let wrong = format!("wrong-{:032x}", rand::random::<u128>());
    let salt = b"b7c1c9605b98de2b055b5a13ac22765e";
    let hash = swob_gateway::crypto::hmac_sha512_hex(salt, right.as_bytes());
    schema.execute(&format!("UPDATE users SET password = '{hash}' WHERE id = '{USER}'"));
    for (password, status) in [(&wrong, 401), (&right, 200), (&wrong, 401), (&right, 200)] {
        let mut dashboard = Dashboard::open(&server.session(USER));
        let url = dashboard.url();
        let body = Phone::new().one_step_body(password);
        assert_eq!(post(&server.api, &url, &body).status, status);
    }
    let memory = server.memory();
    let holds = |text: &str| memory.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(holds("SMSWithoutBorders Gateway Server"), "the memory is not read");
    for password in [&right, &wrong] {
        assert!(!holds(password), "a password is in the memory of the process");
    }
}
