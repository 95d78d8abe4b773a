//! The accounting: what the phones and dashboards saw against what the database kept.
//!
//! Pure: it is given everything, and names each wrong answer.

use std::collections::HashMap;
use std::ops::AddAssign;
use std::time::{Duration, Instant};

/// The server's patience with its database: a request that lasted as long may have met the end of
/// it without any fault of ours, on a machine that is busy.
const TIMEOUT: Duration = Duration::from_secs(2);

/// One QR code and the phones that scanned it: one, or two at once.
pub struct Scan {
    pub user: usize,
    pub begun: Instant,
    pub ended: Instant,
    /// The dashboard saw `200- ack`.
    pub acked: bool,
    /// Several requests came at once, of which one could win.
    pub contested: bool,
    pub phones: Vec<Attempt>,
}

/// One phone's requests that could store, each with its own text of a public key.
pub struct Attempt {
    pub serial: u32,
    /// MGF1 and OAEP digest of its password.
    pub digests: [&'static str; 2],
    pub requests: Vec<Request>,
}

pub struct Request {
    pub sent: Instant,
    pub ended: Instant,
    pub outcome: Outcome,
}

#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// 200, with the key that it held.
    Stored(String),
    /// Any other status.
    Refused(u16),
    /// No answer, or not all of it.
    Cut,
}

/// A row as it was committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// `None` for a number that no user has.
    pub user: Option<usize>,
    /// `None` for a key that no phone has sent.
    pub serial: Option<u32>,
    pub shared_key: String,
    pub digests: [String; 2],
}

/// When something was done to one side, until it served again.
#[derive(Default)]
pub struct Faults {
    pub gateway: Vec<(Instant, Instant)>,
    pub database: Vec<(Instant, Instant)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    pub handshakes: usize,
    pub stored: usize,
    pub refused: usize,
    pub lost_race: usize,
    pub cut: usize,
    /// Committed rows whose 200 was cut off, or that were answered 503 without an outcome.
    pub untold: usize,
    pub acks: usize,
    pub longest: Duration,
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.handshakes += other.handshakes;
        self.stored += other.stored;
        self.refused += other.refused;
        self.lost_race += other.lost_race;
        self.cut += other.cut;
        self.untold += other.untold;
        self.acks += other.acks;
        self.longest = self.longest.max(other.longest);
    }
}

fn overlap(faults: &[(Instant, Instant)], from: Instant, to: Instant) -> bool {
    faults.iter().any(|(begun, ended)| *begun <= to && from <= *ended)
}

impl Request {
    /// Whether it may have stored although it was not answered 200 (contract §3).
    fn may_have_stored(&self, faults: &Faults) -> bool {
        match self.outcome {
            Outcome::Cut => true,
            Outcome::Refused(503) => {
                overlap(&faults.database, self.sent, self.ended)
                    || self.ended - self.sent >= TIMEOUT
            }
            _ => false,
        }
    }
}

/// Everything that is wrong, and the figures. `journal` holds all commits in their order, `rows`
/// the table as it is at the end; `scans` are in order for each user.
pub fn judge(
    scans: &[Scan],
    journal: &[Entry],
    rows: &[Entry],
    faults: &Faults,
) -> (Figures, Vec<String>) {
    let mut wrong = Vec::new();
    let mut figures = Figures::default();
    let mut commits: HashMap<u32, Vec<&Entry>> = HashMap::new();
    for entry in journal {
        if let Some(serial) = entry.serial {
            commits.entry(serial).or_default().push(entry);
        }
    }
    let mut owners = HashMap::new();
    for (n, scan) in scans.iter().enumerate() {
        for attempt in &scan.phones {
            owners.insert(attempt.serial, (n, scan, attempt));
        }
        figures += judge_scan(scan, &commits, faults, &mut wrong);
    }

    // In the order of the commits: whose they are, and that none undoes a later 200.
    let mut last: HashMap<usize, &Entry> = HashMap::new();
    let mut confirmed: HashMap<usize, usize> = HashMap::new();
    for entry in journal {
        let owner = entry.serial.and_then(|serial| owners.get(&serial));
        let (Some(user), Some((n, scan, attempt))) = (entry.user, owner) else {
            wrong.push(format!("a row belongs to no handshake: {entry:?}"));
            continue;
        };
        if scan.user != user {
            wrong.push(format!("a phone of user {} is stored for user {user}", scan.user));
        }
        if entry.digests != attempt.digests {
            wrong.push(format!("phone {}: digests {:?}", attempt.serial, entry.digests));
        }
        if confirmed.get(&user).is_some_and(|later| later >= n) {
            wrong.push(format!("user {user}: a late COMMIT undoes a 200: {entry:?}"));
        }
        let told = |request: &Request| request.outcome == Outcome::Stored(entry.shared_key.clone());
        if attempt.requests.iter().any(told) {
            confirmed.insert(user, *n);
        }
        last.insert(user, entry);
    }
    let count = rows.len();
    for row in rows {
        let user = row.user.and_then(|user| last.remove(&user));
        if user != Some(row) {
            wrong.push(format!("the table holds {row:?}, the last commit was {user:?}"));
        }
    }
    if !last.is_empty() {
        wrong.push(format!("{} of {} rows are gone", last.len(), last.len() + count));
    }
    (figures, wrong)
}

fn judge_scan(
    scan: &Scan,
    commits: &HashMap<u32, Vec<&Entry>>,
    faults: &Faults,
    wrong: &mut Vec<String>,
) -> Figures {
    let mut figures = Figures { acks: usize::from(scan.acked), ..Figures::default() };
    let gateway_fell = overlap(&faults.gateway, scan.begun, scan.ended);
    let (mut winners, mut rows, mut uncertain) = (0, 0, false);
    for phone in &scan.phones {
        let name = format!("user {} phone {}", scan.user, phone.serial);
        let stored = commits.get(&phone.serial).map_or(&[][..], Vec::as_slice);
        let untold = phone.requests.iter().filter(|r| r.may_have_stored(faults)).count();
        let mut told = 0;
        for request in &phone.requests {
            figures.handshakes += 1;
            figures.longest = figures.longest.max(request.ended - request.sent);
            match &request.outcome {
                Outcome::Stored(key) => {
                    figures.stored += 1;
                    told += 1;
                    if stored.iter().filter(|entry| entry.shared_key == *key).count() != 1 {
                        wrong.push(format!("{name}: answered 200, but its key is not stored"));
                    }
                }
                Outcome::Refused(503) => figures.refused += 1,
                Outcome::Refused(404) if scan.contested || gateway_fell => figures.lost_race += 1,
                Outcome::Refused(status) => wrong.push(format!("{name}: answered {status}")),
                Outcome::Cut => {
                    figures.cut += 1;
                    if !overlap(&faults.gateway, request.sent, request.ended) {
                        wrong.push(format!("{name}: no answer, and nobody killed the gateway"));
                    }
                }
            }
        }
        if stored.len() > told + untold {
            wrong.push(format!("{name}: {} rows, {told} answers of 200", stored.len()));
        }
        figures.untold += stored.len().saturating_sub(told);
        winners += told;
        rows += stored.len();
        uncertain |= untold > 0;
    }
    if winners > 1 {
        wrong.push(format!("user {}: {winners} phones got 200 at one URL", scan.user));
    }
    if scan.acked && rows == 0 {
        wrong.push(format!("user {}: acknowledged, but nothing is stored", scan.user));
    }
    if scan.acked && winners == 0 && !uncertain {
        wrong.push(format!("user {}: acknowledged, but every phone was refused", scan.user));
    }
    if winners > 0 && !scan.acked && !gateway_fell {
        wrong.push(format!("user {}: answered 200, but the dashboard saw no ack", scan.user));
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: [&str; 2] = ["sha1", "sha256"];

    struct Case {
        at: Instant,
        faults: Faults,
    }

    impl Case {
        /// Each fault lasts from the first to the second second.
        fn new(gateway: bool, database: bool) -> Self {
            let at = Instant::now();
            let spell = (at + Duration::from_secs(1), at + Duration::from_secs(2));
            let spells = |there: bool| if there { vec![spell] } else { Vec::new() };
            Case { at, faults: Faults { gateway: spells(gateway), database: spells(database) } }
        }

        fn scan(&self, acked: bool, outcomes: &[(u32, Outcome)]) -> Scan {
            let ended = self.at + Duration::from_millis(1500);
            let phones = outcomes.iter().map(|(serial, outcome)| {
                let outcome = match outcome {
                    Outcome::Stored(key) => Outcome::Stored(key.clone()),
                    Outcome::Refused(status) => Outcome::Refused(*status),
                    Outcome::Cut => Outcome::Cut,
                };
                let requests = vec![Request { sent: self.at, ended, outcome }];
                Attempt { serial: *serial, digests: SHA, requests }
            });
            let contested = outcomes.len() > 1;
            Scan { user: 1, begun: self.at, ended, acked, contested, phones: phones.collect() }
        }

        fn check(&self, scans: &[Scan], journal: &[Entry], expected: &[&str]) {
            let rows: Vec<_> = journal.last().cloned().into_iter().collect();
            self.check_rows(scans, journal, &rows, expected);
        }

        fn check_rows(&self, scans: &[Scan], journal: &[Entry], rows: &[Entry], expected: &[&str]) {
            let (_, wrong) = judge(scans, journal, rows, &self.faults);
            assert_eq!(wrong.len(), expected.len(), "{wrong:?}");
            for (wrong, expected) in wrong.iter().zip(expected) {
                assert!(wrong.contains(expected), "{wrong}");
            }
        }
    }

    fn row(serial: u32, key: &str) -> Entry {
        let digests = SHA.map(str::to_owned);
        Entry { user: Some(1), serial: Some(serial), shared_key: key.to_owned(), digests }
    }

    fn stored(key: &str) -> Outcome {
        Outcome::Stored(key.to_owned())
    }

    #[test]
    fn a_200_has_its_row_and_its_ack() {
        let calm = Case::new(false, false);
        let ok = || calm.scan(true, &[(7, stored("ab"))]);
        calm.check(&[ok()], &[row(7, "ab")], &[]);
        calm.check(&[ok()], &[], &["not stored", "nothing is stored"]);
        calm.check(&[ok()], &[row(7, "cd")], &["not stored"]);
        calm.check(&[ok()], &[row(7, "ab"), row(7, "cd")], &["2 rows", "late COMMIT"]);
        calm.check(&[calm.scan(false, &[(7, stored("ab"))])], &[row(7, "ab")], &["saw no ack"]);
        let fell = Case::new(true, false);
        fell.check(&[fell.scan(false, &[(7, stored("ab"))])], &[row(7, "ab")], &[]);
        let two = [(7, stored("ab")), (8, stored("cd"))];
        let both = [row(7, "ab"), row(8, "cd")];
        calm.check(&[calm.scan(true, &two)], &both, &["2 phones", "late COMMIT"]);
    }

    #[test]
    fn what_was_not_answered_200_stores_nothing_without_an_excuse() {
        let calm = Case::new(false, false);
        let away = |case: &Case, acked| case.scan(acked, &[(7, Outcome::Refused(503))]);
        calm.check(&[away(&calm, false)], &[], &[]);
        calm.check(&[away(&calm, false)], &[row(7, "ab")], &["1 rows"]);
        calm.check(&[away(&calm, true)], &[], &["nothing is stored", "refused"]);
        let storm = Case::new(false, true);
        storm.check(&[away(&storm, false)], &[row(7, "ab")], &[]);
        storm.check(&[storm.scan(false, &[(7, Outcome::Cut)])], &[], &["nobody killed"]);
        let fell = Case::new(true, false);
        fell.check(&[fell.scan(false, &[(7, Outcome::Cut)])], &[row(7, "ab")], &[]);
        fell.check(&[fell.scan(true, &[(7, Outcome::Cut)])], &[], &["nothing is stored"]);
        for status in [400, 401, 404, 429, 500] {
            let scan = calm.scan(false, &[(7, Outcome::Refused(status))]);
            calm.check(&[scan], &[], &["answered"]);
        }
    }

    #[test]
    fn the_latest_200_wins_and_no_row_comes_from_nowhere() {
        let fell = Case::new(true, false);
        let cut = || fell.scan(false, &[(7, Outcome::Cut)]);
        let ok = || fell.scan(true, &[(8, stored("cd"))]);
        let (late, kept) = (row(7, "ab"), row(8, "cd"));
        fell.check(&[cut(), ok()], &[late.clone(), kept.clone()], &[]);
        fell.check(&[cut(), ok()], &[kept.clone(), late.clone()], &["late COMMIT"]);
        fell.check_rows(&[ok()], std::slice::from_ref(&kept), &[], &["1 of 1 rows"]);
        fell.check_rows(&[cut(), ok()], &[late.clone(), kept], &[late], &["the table holds"]);
        fell.check(&[], &[row(9, "ef")], &["no handshake", "the table holds"]);
    }
}
