//! What the loopback listener tells: alive, ready, and the metrics; also while all else is stuck.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::http::{Answer, connect};
use crate::support::{
    Dashboard, Mariadb, PASSWORD, Phone, Schema, Server, USER, get, post, request, until,
};

/// An answer is found within a second; a busy machine gets some more.
const AT_ONCE: Duration = Duration::from_secs(4);

fn timely(server: &Server, path: &str) -> Answer {
    let start = Instant::now();
    let answer = get(&server.admin, path);
    assert!(start.elapsed() < AT_ONCE, "{path} took {:?}", start.elapsed());
    answer
}

/// Waits until both databases are as expected, by the reasons told.
fn ready(server: &Server, gateway: &str, backend: &str) {
    let holds = |text: &str, name: &str, expected: &str| {
        text.lines().any(|line| line.starts_with(&format!("{name} database {expected}")))
    };
    let mut last = String::new();
    until(&format!("gateway {gateway}, BE {backend}"), || {
        let answer = timely(server, "/readyz");
        last = answer.text();
        let well = gateway == "ready" && backend == "ready";
        assert_eq!(answer.status == 200, !last.contains("not ready"), "{last}");
        holds(&last, "gateway", gateway)
            && holds(&last, "BE", backend)
            && (answer.status == 200) == well
    });
}

#[test]
fn it_is_alive_ready_and_counts() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let answer = get(&server.admin, "/livez");
    assert_eq!((answer.status, &*answer.text()), (200, "alive\n"));
    let answer = get(&server.admin, "/readyz");
    let expected = "gateway database ready\nBE database ready\n";
    assert_eq!((answer.status, &*answer.text()), (200, expected));
    let answer = get(&server.admin, "/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));

    assert_eq!(get(&server.admin, "/").status, 404);
    assert_eq!(get(&server.admin, "/v2/sync/users/111").status, 404);
    assert_eq!(request(&server.admin, "POST", "/metrics", &[], b"").status, 405);
    assert_eq!(request(&server.admin, "POST", "/metrics", &[], b"x").status, 413);
    // What the administrator reads is nothing for the world.
    for path in ["/metrics", "/livez", "/readyz"] {
        assert_eq!(get(&server.api, path).status, 404);
    }

    let dashboard = Dashboard::open(&server.session(USER));
    assert_eq!(server.metric("swob_gateway_sockets"), 1.0);
    assert_eq!(server.metric("swob_gateway_connections{listener=\"socket\"}"), 1.0);
    assert!(server.metric("swob_gateway_connections_limit{listener=\"api\"}") > 0.0);
    drop(dashboard);
    until("the session is abandoned", || {
        server.metric("swob_gateway_sessions_ended_total{outcome=\"abandoned\"}") == 1.0
    });
    let mut dashboard = Dashboard::open(&server.session(USER));
    let answer = Phone::new().sync(&server.api, &dashboard.url());
    assert_eq!(answer.status, 200);
    for (sample, expected) in [
        ("codes_shown_total", 2.0),
        ("codes_scanned_total", 1.0),
        ("sessions", 0.0),
        ("handshakes_total{outcome=\"begun\"}", 1.0),
        ("handshakes_total{outcome=\"complete\"}", 1.0),
        ("handshake_duration_seconds_count", 2.0),
        ("private_key_duration_seconds_count", 1.0),
        ("private_key_wait_seconds_count", 1.0),
        ("private_key_queue", 0.0),
        ("database_ready{database=\"gateway\"}", 1.0),
        ("database_ready{database=\"be\"}", 1.0),
        ("keys_retired", 0.0),
    ] {
        assert_eq!(server.metric(&format!("swob_gateway_{sample}")), expected, "{sample}");
    }
    let now = server.metric("swob_gateway_handshake_last_timestamp_seconds{outcome=\"complete\"}");
    assert!(now > server.metric("process_start_time_seconds"));
    assert!(server.metric("process_resident_memory_bytes") > 1e6);
    assert!(
        server.metric("swob_gateway_database_duration_seconds_count{database=\"gateway\"}") > 3.0
    );
    assert!(!server.metrics().contains("certificate"), "without TLS there is none");
}

#[test]
fn each_database_is_ready_or_has_its_reason() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    ready(&server, "ready", "ready");
    schema.execute("RENAME TABLE gateway_server_users TO hidden");
    ready(&server, "not ready: the database refuses a statement", "ready");
    schema.execute("RENAME TABLE hidden TO gateway_server_users, users TO hidden");
    ready(&server, "ready", "not ready: the database refuses a statement");
    assert_eq!(server.metric("swob_gateway_database_ready{database=\"be\"}"), 0.0);
    schema.execute("RENAME TABLE hidden TO users");
    ready(&server, "ready", "ready");

    let file = [("GATEWAY_KEYS_HASHING_SALT_FILE", "/nowhere/salt")];
    let server = Server::start(&schema, &file);
    ready(&server, "ready", "not ready: ");
}

#[test]
fn no_answer_waits_for_a_database_that_is_frozen_or_gone() {
    let mut mariadb = Mariadb::start();
    let schema = Schema::on(&mariadb);
    let server = Server::start(&schema, &[]);
    ready(&server, "ready", "ready");
    mariadb.freeze();
    let silent = "not ready: it gives no answer within a second";
    ready(&server, silent, silent);
    for _ in 0..3 {
        assert_eq!(timely(&server, "/livez").status, 200);
        assert_eq!(timely(&server, "/readyz").status, 503);
        let metrics = timely(&server, "/metrics").text();
        assert!(metrics.contains("database_ready{database=\"gateway\"} 0"), "{metrics}");
    }
    mariadb.thaw();
    ready(&server, "ready", "ready");
    mariadb.kill();
    ready(&server, "not ready: ", "not ready: ");
    assert_eq!(timely(&server, "/livez").status, 200);
    mariadb.launch();
    mariadb.await_up();
    ready(&server, "ready", "ready");
    assert!(
        server.metric("swob_gateway_database_failures_total{database=\"gateway\",kind=\"away\"}")
            > 0.0
    );
}

#[test]
fn a_flood_on_the_public_ports_leaves_it_free() {
    let schema = Schema::new();
    let server = Server::start(
        &schema,
        &[("GATEWAY_LIMITS_MAX_CONNECTIONS", "30"), ("GATEWAY_LIMITS_IDLE_TIMEOUT", "600")],
    );
    let floods: Vec<TcpStream> = [&server.api, &server.sockets]
        .into_iter()
        .flat_map(|at| (0..30).map(|_| connect(at)))
        .collect();
    for listener in ["api", "socket"] {
        let connections = format!("swob_gateway_connections{{listener=\"{listener}\"}}");
        until("the ports are full", || server.metric(&connections) == 30.0);
    }
    assert_eq!(get(&server.api, "/").status, 503);
    let turned = "swob_gateway_connections_turned_away_total{listener=\"api\"}";
    assert!(server.metric(turned) >= 1.0);
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(timely(&server, path).status, 200);
    }
    drop(floods);

    // Its own gate is small: silent peers of this machine take it for 5 s at most.
    let silent: Vec<_> = (0..16).map(|_| connect(&server.admin)).collect();
    let crowded = get(&server.admin, "/livez");
    assert!(matches!(crowded.status, 200 | 503), "{crowded:?}");
    until("the silent ones are gone", || get(&server.admin, "/livez").status == 200);
    drop(silent);
}

#[test]
fn the_listener_can_be_elsewhere_on_this_machine_or_nowhere() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[("GATEWAY_ADMIN_LISTEN", "127.9.9.9:0")]);
    assert!(server.admin.starts_with("127.9.9.9:"));
    assert_eq!(get(&server.admin, "/livez").status, 200);
    let server = Server::start(&schema, &[("GATEWAY_ADMIN_LISTEN", "")]);
    assert_eq!(server.admin, "");
    let mut dashboard = Dashboard::open(&server.session(USER));
    let answer = post(&server.api, &dashboard.url(), &Phone::new().one_step_body(PASSWORD));
    assert_eq!(answer.status, 200);
}
