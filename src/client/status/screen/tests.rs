//! Screens of servers that are well, and of servers that are not.

use std::time::Duration;

use super::*;

const README: &str = include_str!("../../../../README.md");
const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;
const READY: &str = "gateway database ready\nBE database ready\n";

/// What a server in use tells, with these samples instead of its own.
fn told(other: &[(&str, f64)]) -> String {
    let start = NOW - 12 * DAY;
    let mut text = format!(
        "swob_gateway_build_info{{version=\"0.1.0\"}} 1\nprocess_start_time_seconds {start}\n\
         swob_gateway_codes_scanned_total 231\nswob_gateway_codes_shown_total 540\n\
         swob_gateway_key_timestamp_seconds{{key=\"current\"}} {}\nswob_gateway_keys_retired 1\n\
         swob_gateway_certificate_not_before_timestamp_seconds {}\n\
         swob_gateway_certificate_not_after_timestamp_seconds {}\n\
         swob_gateway_private_key_queue 0\nswob_gateway_private_key_workers 2\n\
         process_open_fds 61\nprocess_max_fds 65536\nprocess_resident_memory_bytes 14700000\n",
        NOW - 41 * DAY,
        NOW - 41 * DAY,
        NOW + 49 * DAY,
    );
    for (listener, live) in [("socket", 23), ("api", 2)] {
        text.push_str(&format!(
            "swob_gateway_connections{{listener=\"{listener}\"}} {live}\n\
             swob_gateway_connections_limit{{listener=\"{listener}\"}} 10000\n"
        ));
    }
    for outcome in HANDSHAKES {
        let (number, ago) = match outcome {
            "begun" => (231, 130),
            "complete" => (204, 100),
            "credentials" => (19, 4000),
            "session" => (6, 2 * DAY),
            _ => (0, NOW),
        };
        text.push_str(&format!(
            "swob_gateway_handshakes_total{{outcome=\"{outcome}\"}} {number}\n\
             swob_gateway_handshake_last_timestamp_seconds{{outcome=\"{outcome}\"}} {}\n",
            NOW - ago
        ));
    }
    for (name, value) in other {
        let own =
            text.lines().filter(|line| !line.starts_with(name)).map(|line| format!("{line}\n"));
        text = own.chain([format!("{name} {value}\n")]).collect();
    }
    text
}

fn screen(other: &[(&str, f64)], ready: &str) -> Screen {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    Screen::of(&Samples::parse(&told(other)), ready, now).unwrap()
}

#[test]
fn the_example_of_the_readme_is_what_is_shown() {
    let shown = screen(&[], READY);
    assert_eq!(shown.attention(), 0);
    let example = format!("$ sudo swob-gateway status\n{shown}```\n");
    assert!(README.contains(&example), "README lacks this:\n{example}");
}

#[test]
fn what_needs_attention_is_told_with_its_remedy() {
    let check = |other: &[(&str, f64)], ready: &str, mark, what: &str, remedy: &str| {
        let screen = screen(other, ready);
        let [finding] = &screen.findings[..] else { panic!("{screen}") };
        assert_eq!((finding.mark, finding.what.as_str()), (mark, what), "{screen}");
        assert!(finding.remedy.contains(remedy), "{screen}");
        assert_eq!(screen.attention(), usize::from(mark != Mark::Note), "{screen}");
        assert!(!screen.to_string().contains("All is well"), "{screen}");
    };
    let now = NOW as f64;
    let (until, day) = ("swob_gateway_certificate_not_after_timestamp_seconds", DAY as f64);
    let warning = "the certificate has only 7 days 0 hours left";
    check(&[(until, now + 7.0 * day)], READY, Mark::Warning, warning, "renew it");
    check(
        &[(until, now - day)],
        READY,
        Mark::Problem,
        "the certificate expired 1 day 0 hours ago",
        "renew",
    );
    check(
        &[],
        "gateway database ready\nBE database not ready: it is away: for a reason\n",
        Mark::Problem,
        "the BE database is not ready: it is away: for a reason",
        "[mysql_be]",
    );
    check(
        &[("swob_gateway_connections{listener=\"socket\"}", 8000.0)],
        READY,
        Mark::Warning,
        "sync sockets: 8000 of 10000 are in use",
        "max_connections",
    );
    check(
        &[("process_open_fds", 65000.0)],
        READY,
        Mark::Warning,
        "open files: 65000 of 65536 are in use",
        "LimitNOFILE=",
    );
    check(
        &[("swob_gateway_handshake_late_seconds_count{after=\"rotation\"}", 30.0)],
        READY,
        Mark::Note,
        "30 phones came a moment too late: the QR code had changed",
        "[sync] session_sleep_timeout",
    );
    check(
        &[("swob_gateway_handshake_late_seconds_count{after=\"pause\"}", 30.0)],
        READY,
        Mark::Note,
        "30 phones came a moment too late: the time after the scan was over",
        "[sync] session_paused_timeout",
    );
    let stuck = Screen::stuck("the timer does not run\n");
    assert_eq!(stuck.attention(), 1);
    assert!(stuck.to_string().contains("does not live: the timer does not run"));
}

#[test]
fn a_few_that_are_late_or_a_server_without_certificate_are_no_matter() {
    let late = ("swob_gateway_handshake_late_seconds_count{after=\"rotation\"}", 4.0);
    assert_eq!(screen(&[late], READY).findings, []);
    let plain: String = told(&[])
        .lines()
        .filter(|line| !line.contains("certificate"))
        .map(|l| format!("{l}\n"))
        .collect();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let screen = Screen::of(&Samples::parse(&plain), READY, now).unwrap();
    assert_eq!(screen.findings, []);
    assert!(screen.to_string().contains("none here"), "{screen}");
}

#[test]
fn a_stranger_is_none_of_ours() {
    for text in ["", "<html>", "process_start_time_seconds 3\n"] {
        assert!(Screen::of(&Samples::parse(text), "", SystemTime::now()).is_none(), "{text}");
    }
}

#[test]
fn times_as_people_say_them() {
    let check = |seconds: f64, expected: &str| assert_eq!(span(seconds), expected);
    check(-3.0, "0 seconds");
    check(1.9, "1 second");
    check(59.0, "59 seconds");
    check(60.0, "1 minute");
    check(3599.0, "59 minutes");
    check(3660.0, "1 hour 1 minute");
    check(36_000.0, "10 hours");
    check(86_400.0 * 3.5, "3 days 12 hours");
    check(86_400.0 * 40.9, "40 days");
}
