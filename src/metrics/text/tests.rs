use std::time::Duration;

use super::*;
use crate::histogram::WAITS;
use crate::metrics::Metrics;

fn reading(counters: Counters) -> Reading {
    Reading {
        version: "1.2.3",
        started: SystemTime::UNIX_EPOCH + Duration::from_millis(1_500),
        counters,
        sockets: 7,
        sessions: 6,
        tally: Tally::default(),
        listeners: vec![Listener { name: "api", live: 3, most: 10_000, turned_away: 1 }],
        workers: [2, 1, 0],
        key_waits: Histogram::new(WAITS),
        stores: vec![
            Store {
                name: "gateway",
                ready: true,
                waits: Some(Histogram::new(WAITS)),
                failures: [4, 5],
            },
            Store { name: "be", ready: false, waits: None, failures: [0, 0] },
        ],
        key_written: SystemTime::UNIX_EPOCH,
        key_retired: None,
        keys_retired: 0,
        certificate: Some((1, 2)),
        process: Process { threads: Some(9), ..Process::default() },
    }
}

#[test]
fn every_sample_stands_under_its_help_and_its_type() {
    let text = render(&reading(Counters::default()));
    let mut family = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap();
            assert_eq!(text.matches(&format!("# HELP {family} ")).count(), 1, "{family}");
            continue;
        }
        assert!(line.trim_start_matches("# TYPE ").starts_with(family), "{line}");
        let number = line.rsplit(' ').next().unwrap();
        assert!(line.starts_with("# TYPE ") || number.parse::<f64>().is_ok(), "{line}");
    }
}

#[test]
fn what_happened_is_told() {
    let metrics = Metrics::default();
    metrics.refused(&Refusal::Malformed("anything"));
    metrics.refused(&Refusal::Credentials);
    metrics.refused(&Refusal::Credentials);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(77);
    metrics.handshake("complete", Duration::from_millis(3), now);
    metrics.handshake("upgrade", Duration::from_millis(30), now);
    metrics.key_worked(Duration::from_micros(600));
    let text = render(&reading(metrics.counters()));
    let check = |line: &str| assert!(text.contains(&format!("\n{line}\n")), "{line}\n{text}");
    check("swob_gateway_sockets 7");
    check("swob_gateway_refusals_total{reason=\"malformed\"} 1");
    check("swob_gateway_refusals_total{reason=\"credentials\"} 2");
    check("swob_gateway_refusals_total{reason=\"unsure\"} 0");
    check("swob_gateway_handshakes_total{outcome=\"complete\"} 1");
    check("swob_gateway_handshakes_total{outcome=\"fault\"} 1");
    check("swob_gateway_handshake_last_timestamp_seconds{outcome=\"complete\"} 77");
    check("swob_gateway_handshake_last_timestamp_seconds{outcome=\"begun\"} 0");
    check("swob_gateway_handshake_duration_seconds_bucket{le=\"0.0025\"} 0");
    check("swob_gateway_handshake_duration_seconds_bucket{le=\"0.005\"} 1");
    check("swob_gateway_handshake_duration_seconds_bucket{le=\"+Inf\"} 2");
    check("swob_gateway_handshake_duration_seconds_sum 0.033");
    check("swob_gateway_handshake_duration_seconds_count 2");
    check("swob_gateway_private_key_duration_seconds_count 1");
    check("swob_gateway_database_ready{database=\"be\"} 0");
    check("swob_gateway_database_failures_total{database=\"gateway\",kind=\"fault\"} 5");
    check("swob_gateway_build_info{version=\"1.2.3\"} 1");
    check("process_start_time_seconds 1.5");
    check("process_threads 9");
    assert!(!text.contains("database_duration_seconds_sum{database=\"be\"}"));
    assert!(!text.contains("process_open_fds"));
}
