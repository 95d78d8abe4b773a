//! The text that Prometheus reads: each metric with its help, its type and its samples.

use std::fmt::Write as _;
use std::time::SystemTime;

use super::{Counters, HANDSHAKES};
use crate::histogram::Histogram;
use crate::refusal::Refusal;
use crate::session::{End, Tally};

/// What the text is, for the answer's head.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All that is told, at one moment.
pub struct Reading {
    pub version: &'static str,
    pub started: SystemTime,
    pub counters: Counters,
    pub sockets: usize,
    pub sessions: usize,
    pub tally: Tally,
    pub listeners: Vec<Listener>,
    /// How many operations of the private key run at once at most, run, and wait.
    pub workers: [usize; 3],
    /// How long those waited that had their turn.
    pub key_waits: Histogram,
    pub stores: Vec<Store>,
    pub key_written: SystemTime,
    pub key_retired: Option<SystemTime>,
    pub keys_retired: usize,
    /// From when until when it holds, in seconds since 1970.
    pub certificate: Option<(i64, i64)>,
    pub process: Process,
}

/// The connections of one kind of listener.
pub struct Listener {
    pub name: &'static str,
    pub live: usize,
    pub most: usize,
    pub turned_away: u64,
}

/// One database.
pub struct Store {
    pub name: &'static str,
    pub ready: bool,
    /// `None` where another has the same connections and tells them.
    pub waits: Option<Histogram>,
    /// To how many it was away, and how many met a fault.
    pub failures: [u64; 2],
}

/// What the kernel tells of the process; what it does not tell is left out.
#[derive(Default)]
pub struct Process {
    /// In bytes.
    pub resident: Option<u64>,
    pub threads: Option<u64>,
    pub descriptors: Option<u64>,
    pub most_descriptors: Option<u64>,
    /// In seconds.
    pub processor: Option<f64>,
}

/// The whole text.
pub fn render(reading: &Reading) -> String {
    let mut text = Text::default();
    sessions(&mut text, reading);
    handshakes(&mut text, &reading.counters);
    connections(&mut text, &reading.listeners);
    keys(&mut text, reading);
    stores(&mut text, &reading.stores);
    process(&mut text, reading);
    text.written
}

fn sessions(text: &mut Text, reading: &Reading) {
    let tally = &reading.tally;
    text.gauge("swob_gateway_sockets", "Sync sockets that are open.", count(reading.sockets));
    text.gauge(
        "swob_gateway_sessions",
        "Sessions under way: a QR code is shown, or was scanned.",
        count(reading.sessions),
    );
    text.begin(
        "swob_gateway_codes_shown_total",
        "counter",
        "QR codes shown, each rotation counted.",
    );
    text.sample(&[], tally.shown as f64);
    text.begin(
        "swob_gateway_codes_scanned_total",
        "counter",
        "QR codes that a phone has scanned in time.",
    );
    text.sample(&[], tally.scanned as f64);
    text.begin(
        "swob_gateway_sessions_ended_total",
        "counter",
        "Sessions by their outcome: acked (the phone has its key), expired (no phone came), \
         abandoned (the dashboard left before the scan), paused_out (scanned, but not finished in \
         session_paused_timeout), stopped (the server went down).",
    );
    for (end, number) in End::ALL.into_iter().zip(tally.ended) {
        text.sample(&[("outcome", end.name())], number as f64);
    }
    text.begin(
        "swob_gateway_handshake_late_seconds",
        "histogram",
        "How long after the rotation of its QR code (lengthen session_sleep_timeout), or after the \
         end of its pause (session_paused_timeout), a handshake came that came less than a minute \
         too late; one a code.",
    );
    text.histogram(&[("after", "rotation")], &tally.after_rotation);
    text.histogram(&[("after", "pause")], &tally.after_pause);
}

fn handshakes(text: &mut Text, counters: &Counters) {
    text.begin(
        "swob_gateway_handshakes_total",
        "counter",
        "Answers to phones that sync: begun (step 1), complete (the phone has its key), or the \
         reason of the refusal.",
    );
    for (outcome, (number, _)) in HANDSHAKES.into_iter().zip(counters.handshakes) {
        text.sample(&[("outcome", outcome)], number as f64);
    }
    text.begin(
        "swob_gateway_handshake_last_timestamp_seconds",
        "gauge",
        "When the last handshake had this outcome; 0 where none had.",
    );
    for (outcome, (_, last)) in HANDSHAKES.into_iter().zip(counters.handshakes) {
        let last = last.map_or(0.0, unix);
        text.sample(&[("outcome", outcome)], last);
    }
    text.begin(
        "swob_gateway_handshake_duration_seconds",
        "histogram",
        "How long phones waited for the answer to a step of their handshake; they give up after \
         10 s.",
    );
    text.histogram(&[], &counters.handshake_waits);
    text.begin(
        "swob_gateway_refusals_total",
        "counter",
        "Refused requests and sockets, by their reason.",
    );
    for (reason, number) in Refusal::NAMES.into_iter().zip(counters.refusals) {
        text.sample(&[("reason", reason)], number as f64);
    }
}

fn connections(text: &mut Text, listeners: &[Listener]) {
    let mut each = |name, kind, help, value: fn(&Listener) -> f64| {
        text.begin(name, kind, help);
        for listener in listeners {
            text.sample(&[("listener", listener.name)], value(listener));
        }
    };
    each("swob_gateway_connections", "gauge", "Connections that are open.", |l| count(l.live));
    let help = "How many may be: max_connections, or what the machine carries.";
    each("swob_gateway_connections_limit", "gauge", help, |l| count(l.most));
    let help = "Connections refused at max_connections or max_connections_per_address.";
    each("swob_gateway_connections_turned_away_total", "counter", help, |l| l.turned_away as f64);
}

fn keys(text: &mut Text, reading: &Reading) {
    let [workers, busy, waiting] = reading.workers.map(count);
    text.gauge(
        "swob_gateway_private_key_workers",
        "How many private-key operations run at once.",
        workers,
    );
    text.gauge("swob_gateway_private_key_busy", "Private-key operations that run now.", busy);
    text.gauge(
        "swob_gateway_private_key_queue",
        "Private-key operations that wait for their turn.",
        waiting,
    );
    let help = "How long private-key operations waited that had their turn.";
    text.begin("swob_gateway_private_key_wait_seconds", "histogram", help);
    text.histogram(&[], &reading.key_waits);
    let help = "How long private-key operations took, each with all keys that it tried.";
    text.begin("swob_gateway_private_key_duration_seconds", "histogram", help);
    text.histogram(&[], &reading.counters.key_work);

    let help = "When the server key's file was written (current), and when the newest retired key \
                was last in use (retired).";
    text.begin("swob_gateway_key_timestamp_seconds", "gauge", help);
    text.sample(&[("key", "current")], unix(reading.key_written));
    if let Some(retired) = reading.key_retired {
        text.sample(&[("key", "retired")], unix(retired));
    }
    text.gauge(
        "swob_gateway_keys_retired",
        "Retired server keys that phones are still served with.",
        count(reading.keys_retired),
    );
    if let Some((from, until)) = reading.certificate {
        text.gauge(
            "swob_gateway_certificate_not_before_timestamp_seconds",
            "The certificate's start.",
            from as f64,
        );
        text.gauge(
            "swob_gateway_certificate_not_after_timestamp_seconds",
            "The certificate's end.",
            until as f64,
        );
    }
}

fn stores(text: &mut Text, stores: &[Store]) {
    text.begin(
        "swob_gateway_database_ready",
        "gauge",
        "1 where the database answers as it must, else 0.",
    );
    for store in stores {
        text.sample(&[("database", store.name)], f64::from(store.ready));
    }
    text.begin(
        "swob_gateway_database_duration_seconds",
        "histogram",
        "How long the database was waited for.",
    );
    for store in stores {
        if let Some(waits) = &store.waits {
            text.histogram(&[("database", store.name)], waits);
        }
    }
    text.begin(
        "swob_gateway_database_failures_total",
        "counter",
        "Requests of the server that the database did not serve: away, or fault (it answered \
         otherwise than it must; the log has the cause).",
    );
    for store in stores.iter().filter(|store| store.waits.is_some()) {
        for (kind, number) in ["away", "fault"].into_iter().zip(store.failures) {
            let labels = [("database", store.name), ("kind", kind)];
            text.sample(&labels, number as f64);
        }
    }
}

fn process(text: &mut Text, reading: &Reading) {
    text.begin("swob_gateway_build_info", "gauge", "1, with the version.");
    text.sample(&[("version", reading.version)], 1.0);
    let process = &reading.process;
    let number = |value: Option<u64>| value.map(|value| value as f64);
    // These names are the same for all programs.
    let told = [
        ("process_start_time_seconds", "When the server began.", Some(unix(reading.started))),
        ("process_resident_memory_bytes", "Resident memory.", number(process.resident)),
        ("process_threads", "Threads.", number(process.threads)),
        ("process_open_fds", "Open descriptors.", number(process.descriptors)),
        ("process_max_fds", "How many may be open.", number(process.most_descriptors)),
    ];
    for (name, help, value) in told {
        let Some(value) = value else { continue };
        text.gauge(name, help, value);
    }
    if let Some(seconds) = process.processor {
        let help = "Processor time, the system's included.";
        text.begin("process_cpu_seconds_total", "counter", help);
        text.sample(&[], seconds);
    }
}

fn count(number: usize) -> f64 {
    number as f64
}

fn unix(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The text in the making.
#[derive(Default)]
struct Text {
    written: String,
    /// The metric whose samples come.
    name: &'static str,
}

impl Text {
    fn begin(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        let _ = writeln!(self.written, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A gauge of one sample.
    fn gauge(&mut self, name: &'static str, help: &str, value: f64) {
        self.begin(name, "gauge", help);
        self.sample(&[], value);
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.line("", labels, value);
    }

    fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram) {
        let mut all = 0;
        for (bound, number) in histogram.cumulated() {
            let bound = bound.map_or("+Inf".to_owned(), |bound| bound.to_string());
            self.line("_bucket", &[labels, &[("le", bound.as_str())]].concat(), number as f64);
            all = number;
        }
        self.line("_sum", labels, histogram.sum());
        self.line("_count", labels, all as f64);
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        self.written.extend([self.name, suffix]);
        for (at, (label, text)) in labels.iter().enumerate() {
            let open = if at == 0 { '{' } else { ',' };
            let _ = write!(self.written, "{open}{label}=\"{text}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.written, "{close} {value}");
    }
}

#[cfg(test)]
mod tests;
