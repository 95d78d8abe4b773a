//! The handshake under contention, repetition and faults (contract §3).

use std::sync::Barrier;
use std::thread;

use tungstenite::protocol::frame::coding::CloseCode;

use crate::support::dashboard::Seen;
use crate::support::phone::is_shared_key;
use crate::support::{Dashboard, PASSWORD, Phone, Schema, Server, USER, at_once, post, until};

#[test]
fn of_two_phones_at_one_url_at_once_exactly_one_syncs() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    for _ in 0..8 {
        let (mut dashboard, url) = server.code(USER);
        let phones = [Phone::new(), Phone::new()];
        let bodies = phones.each_ref().map(|phone| phone.one_step_body(PASSWORD));
        let start = Barrier::new(2);
        let answers = thread::scope(|scope| {
            let sync = |body: String| {
                let (start, api, url) = (&start, &server.api, &url);
                scope.spawn(move || {
                    start.wait();
                    post(api, url, &body)
                })
            };
            bodies.map(sync).map(|thread| thread.join().unwrap())
        });
        let mut statuses = answers.each_ref().map(|answer| answer.status);
        let winner = statuses.iter().position(|status| *status == 200).unwrap();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 404]);
        let key = phones[winner].open(&answers[winner].json()["shared_key"], "sha256", "sha1");
        assert_eq!(schema.rows()[0].shared_key, key);
        dashboard.expect(&[
            Seen::Text("201- pause".into()),
            Seen::Text("200- ack".into()),
            Seen::Close(CloseCode::Normal),
        ]);
    }
}

#[test]
fn an_exact_repeat_at_the_same_moment_is_answered_and_stored_once() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let (_dashboard, url) = server.code(USER);
    let phone = Phone::new();
    let body = phone.one_step_body(PASSWORD);
    let statuses = at_once(0..6, |_| post(&server.api, &url, &body).status);
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 404].contains(status)), "{statuses:?}");
    assert_eq!(post(&server.api, &url, &body).status, 404);
}

#[test]
fn a_password_sent_many_times_at_once_is_not_judged_once_the_tries_are_used_up() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[("GATEWAY_LIMITS_PASSWORD_ATTEMPTS", "1/1h")]);
    let phone = Phone::new();
    let mut dashboard = Dashboard::open(&server.session(USER));
    let wrong = phone.one_step_body("wrong");
    assert_eq!(post(&server.api, &dashboard.url(), &wrong).status, 401);
    for _ in 0..5 {
        let (_dashboard, url) = server.code(USER);
        let right = phone.one_step_body(PASSWORD);
        let statuses = at_once(0..40, |_| post(&server.api, &url, &right).status);
        assert!(statuses.iter().all(|status| *status == 429), "{statuses:?}");
    }
    assert!(schema.rows().is_empty());
}

#[test]
fn a_wrong_password_is_repeated_and_then_corrected_at_the_same_url() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let (mut dashboard, url) = server.code(USER);
    let phone = Phone::new();
    let wrong = phone.one_step_body("wrong");
    let answers: Vec<_> = (0..20).map(|_| post(&server.api, &url, &wrong)).collect();
    assert!(answers.iter().all(|answer| answer.status == 401 && answer.body == answers[0].body));
    let wrong = phone.one_step_body("wrong again");
    assert_eq!(at_once(0..6, |_| post(&server.api, &url, &wrong).status), [401; 6]);
    assert!(schema.rows().is_empty());
    let answer = post(&server.api, &url, &phone.one_step_body(PASSWORD));
    assert_eq!(answer.status, 200, "{answer:?}");
    dashboard.expect(&[Seen::Text("201- pause".into()), Seen::Text("200- ack".into())]);
}

#[test]
fn six_different_wrong_passwords_are_one_too_many_for_a_session() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[("GATEWAY_LIMITS_PASSWORD_ATTEMPTS", "")]);
    let (_dashboard, url) = server.code(USER);
    let phone = Phone::new();
    assert_eq!(post(&server.api, &url, &phone.key_body()).status, 200);
    for n in 0..5 {
        assert_eq!(post(&server.api, &url, &Phone::password_body("wrong")).status, 401, "{n}");
    }
    let sixth = post(&server.api, &url, &Phone::password_body(PASSWORD));
    assert_eq!(sixth.status, 429);
    assert!(sixth.header("retry-after").is_some());
    assert!(schema.rows().is_empty());
}

#[test]
fn many_phones_sync_at_once_and_each_gets_its_own_key() {
    let schema = Schema::new();
    let server =
        Server::start(&schema, &[("GATEWAY_LIMITS_MAX_SOCKETS_PER_USER_AND_ADDRESS", "40")]);
    let phone = Phone::new();
    let keys = at_once(0..24, |_| {
        let (mut dashboard, url) = server.code(USER);
        let answer = phone.sync(&server.api, &url);
        assert_eq!(answer.status, 200, "{answer:?}");
        dashboard.expect(&[Seen::Text("201- pause".into()), Seen::Text("200- ack".into())]);
        phone.open(&answer.json()["shared_key"], "sha256", "sha1")
    });
    assert!(keys.iter().all(|key| is_shared_key(key)));
    let mut distinct = keys.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), keys.len());
    let rows = schema.rows();
    assert_eq!(rows.len(), 1);
    assert!(keys.contains(&rows[0].shared_key));
}

#[test]
fn a_table_that_is_gone_stores_nothing_acknowledges_nothing_and_says_so_in_the_log() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let (mut dashboard, url) = server.code(USER);
    let phone = Phone::new();
    schema.execute("RENAME TABLE gateway_server_users TO elsewhere");
    let answer = phone.sync(&server.api, &url);
    assert_eq!((answer.status, answer.body.len()), (500, 0));
    until("the log says so", || server.log().contains("handshake not served"));
    schema.execute("RENAME TABLE elsewhere TO gateway_server_users");
    let answer = post(&server.api, &url, &Phone::password_body(PASSWORD));
    assert_eq!(answer.status, 200, "the session is still paused");
    dashboard.expect(&[Seen::Text("201- pause".into()), Seen::Text("200- ack".into())]);
}
