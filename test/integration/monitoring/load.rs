//! People and phones in all their ways: some sync, some type a wrong password, some are slow, some
//! leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::dashboard::Seen;
use crate::support::prometheus::Prometheus;
use crate::support::{Dashboard, PASSWORD, Phone, Server, USER, get, post};

/// Codes and pauses so short that one can wait for their ends.
pub const SETTINGS: [(&str, &str); 4] = [
    ("GATEWAY_SYNC_SESSION_SLEEP_TIMEOUT", "2"),
    ("GATEWAY_SYNC_SESSION_CHANGE_LIMIT", "2"),
    ("GATEWAY_SYNC_SESSION_PAUSED_TIMEOUT", "2"),
    ("GATEWAY_LIMITS_MAX_SOCKETS_PER_USER_AND_ADDRESS", "1000"),
];

/// The threads that make it.
pub struct Load {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

struct Crowd {
    api: String,
    phone: Phone,
    strangers: AtomicUsize,
}

impl Load {
    pub fn start(server: &Server) -> Self {
        let crowd = Arc::new(Crowd {
            api: server.api.clone(),
            phone: Phone::new(),
            strangers: AtomicUsize::new(0),
        });
        let over = Arc::new(AtomicBool::new(false));
        let ways: [fn(&Crowd); 7] = [
            Crowd::syncs,
            Crowd::mistypes,
            Crowd::is_late_for_the_code,
            Crowd::is_late_for_the_password,
            Crowd::leaves,
            Crowd::never_scans,
            Crowd::checks_its_key,
        ];
        let threads = ways.map(|way| {
            let (crowd, over) = (Arc::clone(&crowd), Arc::clone(&over));
            let work = move || {
                while !over.load(Ordering::Relaxed) {
                    way(&crowd);
                    thread::sleep(Duration::from_millis(rand::random_range(50..400)));
                }
            };
            thread::Builder::new().spawn(work).unwrap()
        });
        Load { over, threads: threads.into() }
    }

    pub fn stop(self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

/// What the load is made for was met, and was told apart.
pub fn met(prometheus: &Prometheus) {
    let check = |name: &str| {
        let found = prometheus.query(&format!("sum(swob_gateway_{name})"));
        assert!(found.iter().any(|(_, value)| *value > 0.0), "{name} was not met");
    };
    for end in ["acked", "expired", "abandoned", "paused_out"] {
        check(&format!("sessions_ended_total{{outcome=\"{end}\"}}"));
    }
    for outcome in ["begun", "complete", "credentials", "session"] {
        check(&format!("handshakes_total{{outcome=\"{outcome}\"}}"));
    }
    for after in ["rotation", "pause"] {
        check(&format!("handshake_late_seconds_count{{after=\"{after}\"}}"));
    }
    check("refusals_total{reason=\"forged\"}");
}

/// On a machine that is slow a step may come too late for its code, which is load as well; so
/// nothing is asserted here.
impl Crowd {
    fn dashboard(&self, user: &str) -> Dashboard {
        Dashboard::open(&get(&self.api, &format!("/v2/sync/users/{user}")).text())
    }

    /// Nobody whom the BE knows, and each time another, so that no limit on passwords is met.
    fn stranger(&self) -> Dashboard {
        self.dashboard(&format!("nobody-{}", self.strangers.fetch_add(1, Ordering::Relaxed)))
    }

    fn syncs(&self) {
        let mut dashboard = self.dashboard(USER);
        if let Seen::Show(url) = dashboard.next() {
            post(&self.api, &url, &self.phone.key_body());
            post(&self.api, &url, &Phone::password_body(PASSWORD));
        }
    }

    fn mistypes(&self) {
        let mut dashboard = self.stranger();
        if let Seen::Show(url) = dashboard.next() {
            post(&self.api, &url, &self.phone.one_step_body("mistyped"));
        }
    }

    fn is_late_for_the_code(&self) {
        let mut dashboard = self.stranger();
        if let (Seen::Show(url), Seen::Show(_)) = (dashboard.next(), dashboard.next()) {
            post(&self.api, &url, &self.phone.key_body());
        }
    }

    fn is_late_for_the_password(&self) {
        let mut dashboard = self.stranger();
        if let Seen::Show(url) = dashboard.next() {
            post(&self.api, &url, &self.phone.key_body());
            while matches!(dashboard.next(), Seen::Text(_)) {}
            post(&self.api, &url, &Phone::password_body(PASSWORD));
        }
    }

    fn leaves(&self) {
        drop(self.stranger());
    }

    fn never_scans(&self) {
        let mut dashboard = self.stranger();
        while matches!(dashboard.next(), Seen::Show(_)) {}
    }

    fn checks_its_key(&self) {
        let path = "/v2/sync/users/verification";
        let body = self.phone.verification_body(&"0".repeat(128));
        post(&self.api, path, &body);
    }
}
