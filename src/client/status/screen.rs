//! How a server is, in words for whoever looks after it without being a programmer.

use std::fmt;
use std::time::SystemTime;

use super::samples::Samples;
use crate::finding::{Finding, Mark};
use crate::metrics::HANDSHAKES;
use crate::tls::Left;

/// From how full a limit is worth a word.
const FULL: f64 = 0.8;
/// From how many codes that came too late, and from which share of all, people lack time.
const LATE: (f64, f64) = (5.0, 0.1);

/// What is shown, and what of it needs an administrator.
#[derive(Debug)]
pub struct Screen {
    lines: Vec<String>,
    findings: Vec<Finding>,
}

impl Screen {
    /// How many things need attention.
    pub fn attention(&self) -> usize {
        let needs = |finding: &&Finding| matches!(finding.mark, Mark::Warning | Mark::Problem);
        self.findings.iter().filter(needs).count()
    }

    /// The screen of a server that does not live, by its own words.
    pub fn stuck(said: &str) -> Self {
        let what = format!("the server answers, but does not live: {}", said.trim());
        let remedy = "restart it, for example with systemctl restart swob-gateway; its log may \
                      tell why";
        Screen { lines: Vec::new(), findings: vec![Finding::problem(what, remedy)] }
    }

    /// The screen of a server that told this; `None` where it was none of ours.
    pub fn of(samples: &Samples, ready: &str, now: SystemTime) -> Option<Self> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
        let mut screen = Screen { lines: Vec::new(), findings: Vec::new() };
        let version = samples.label("build_info")?;
        let since = span(now - samples.get("process_start_time_seconds")?);
        screen.lines.push(format!("SMSWithoutBorders Gateway Server {version}, up for {since}"));
        screen.handshakes(samples, now)?;
        screen.databases(ready);
        screen.keys(samples, now)?;
        screen.limits(samples)?;
        screen.hint_at_times(samples);
        Some(screen)
    }

    fn head(&mut self, text: &str) {
        self.lines.extend([String::new(), text.to_owned()]);
    }

    fn row(&mut self, name: &str, what: impl fmt::Display) {
        self.lines.push(format!("  {name:<28}  {what}"));
    }

    fn handshakes(&mut self, samples: &Samples, now: f64) -> Option<()> {
        self.head("Phones, since the start");
        let (scanned, shown) =
            (samples.get("codes_scanned_total")?, samples.get("codes_shown_total")?);
        self.row("QR codes scanned", format!("{scanned:>6} of {shown} shown"));
        // The first step is no outcome yet, and the one-step app knows none.
        for outcome in HANDSHAKES.into_iter().filter(|outcome| *outcome != "begun") {
            let number = samples.get(&format!("handshakes_total{{outcome=\"{outcome}\"}}"))?;
            // What works is always told, whatever else only where it happened.
            if number == 0.0 && outcome != "complete" {
                continue;
            }
            let last = format!("handshake_last_timestamp_seconds{{outcome=\"{outcome}\"}}");
            let last = samples.get(&last).filter(|last| *last > 0.0);
            let last =
                last.map_or(String::new(), |last| format!("  last {} ago", span(now - last)));
            self.row(words(outcome), format!("{number:>6}{last}"));
        }
        Some(())
    }

    /// The server's own lines, one a database.
    fn databases(&mut self, ready: &str) {
        self.head("Databases");
        for line in ready.lines() {
            let (name, said) = line.split_once(" database ").unwrap_or(("?", line));
            self.row(name, said.split(':').next().unwrap_or(said));
            if said != "ready" {
                let section = if name == "BE" { "[mysql_be]" } else { "[mysql]" };
                let remedy = format!(
                    "look whether it runs, and at {section}; swob-gateway check tells more"
                );
                let what = format!("the {name} database is {said}");
                self.findings.push(Finding::problem(what, remedy));
            }
        }
    }

    fn keys(&mut self, samples: &Samples, now: f64) -> Option<()> {
        self.head("Keys");
        let written = samples.get("key_timestamp_seconds{key=\"current\"}")?;
        self.row("server key", format!("in use, its file written {} ago", span(now - written)));
        let retired = samples.get("keys_retired")?;
        if retired > 0.0 {
            self.row("retired keys", format!("{retired}, whose phones are still served"));
        }
        let until = samples.get("certificate_not_after_timestamp_seconds");
        let from = samples.get("certificate_not_before_timestamp_seconds");
        let (Some(from), Some(until)) = (from, until) else {
            self.row("certificate", "none here; a proxy in front may have one");
            return Some(());
        };
        let remedy = "renew it, and look why it was not renewed by itself (certbot renew, or \
                      the proxy's log)";
        if until <= now {
            let what = format!("the certificate expired {} ago", span(now - until));
            self.row("certificate", "expired");
            self.findings.push(Finding::problem(what, remedy));
            return Some(());
        }
        let left = span(until - now);
        self.row("certificate", format!("{left} left"));
        if Left::at(now, from, until).is_late() {
            let what = format!("the certificate has only {left} left");
            self.findings.push(Finding::warning(what, remedy));
        }
        Some(())
    }

    fn limits(&mut self, samples: &Samples) -> Option<()> {
        const CONNECTIONS: &str = "raise [limits] max_connections where the machine carries more \
                                   (the log says so at the start), or look who holds them";
        const FILES: &str = "raise LimitNOFILE= of the service, and restart it";
        self.head("Limits");
        let get = |name: &str, limit: &str| Some((samples.get(name)?, samples.get(limit)?));
        let connections = |listener: &str| {
            let label = format!("{{listener=\"{listener}\"}}");
            get(&format!("connections{label}"), &format!("connections_limit{label}"))
        };
        self.limit("sync sockets", connections("socket")?, CONNECTIONS);
        self.limit("connections to the API", connections("api")?, CONNECTIONS);
        if let Some(files) = get("process_open_fds", "process_max_fds") {
            self.limit("open files", files, FILES);
        }
        let (queue, workers) = get("private_key_queue", "private_key_workers")?;
        self.row("waiting for the server key", format!("{queue:>6}, served {workers} at once"));
        if let Some(bytes) = samples.get("process_resident_memory_bytes") {
            let mebibytes = (bytes / f64::from(1 << 20)).ceil();
            self.row("memory", format!("{mebibytes:>6} MiB"));
        }
        Some(())
    }

    fn limit(&mut self, name: &str, (used, most): (f64, f64), remedy: &str) {
        let share = used / most.max(1.0);
        self.row(name, format!("{used:>6} of {most}"));
        if share >= FULL {
            let what = format!("{name}: {used} of {most} are in use");
            self.findings.push(Finding::warning(what, remedy));
        }
    }

    /// What no alarm is, but worth knowing: people are too slow for the times that are set.
    fn hint_at_times(&mut self, samples: &Samples) {
        let Some(scanned) = samples.get("codes_scanned_total") else { return };
        for (after, setting, what) in [
            ("rotation", "session_sleep_timeout", "the QR code had changed"),
            ("pause", "session_paused_timeout", "the time after the scan was over"),
        ] {
            let late = samples.get(&format!("handshake_late_seconds_count{{after=\"{after}\"}}"));
            let late = late.unwrap_or(0.0);
            if late >= LATE.0 && late >= (scanned + late) * LATE.1 {
                let what = format!("{late} phones came a moment too late: {what}");
                let remedy = format!("lengthen [sync] {setting}");
                self.findings.push(Finding { mark: Mark::Note, what, remedy });
            }
        }
    }
}

impl fmt::Display for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        if self.findings.is_empty() {
            return writeln!(f, "\nAll is well.");
        }
        writeln!(f)?;
        self.findings.iter().try_for_each(|finding| write!(f, "{finding}"))
    }
}

/// An outcome of a handshake as people say it.
fn words(outcome: &str) -> &str {
    match outcome {
        "complete" => "synced",
        "malformed" => "not understood",
        "undecipherable" => "used another server's key",
        "credentials" => "wrong user or password",
        "session" => "QR code unknown or over",
        "attempts" => "too many tries",
        "full" => "sent away, the server busy",
        "away" => "sent away, a database away",
        "fault" => "met a fault of the server",
        other => other,
    }
}

/// A time in its largest unit, or two where that is coarse.
fn span(seconds: f64) -> String {
    // Clocks may disagree by a moment.
    let seconds = seconds.max(0.0) as u64;
    let unit = |number: u64, name: &str| match number {
        1 => format!("1 {name}"),
        _ => format!("{number} {name}s"),
    };
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => unit(seconds, "second"),
        (0, 0, _) => unit(minutes, "minute"),
        (0, _, _) if hours < 10 => {
            format!("{} {}", unit(hours, "hour"), unit(minutes % 60, "minute"))
        }
        (0, _, _) => unit(hours, "hour"),
        _ if days < 10 => format!("{} {}", unit(days, "day"), unit(hours % 24, "hour")),
        _ => unit(days, "day"),
    }
}

#[cfg(test)]
mod tests;
