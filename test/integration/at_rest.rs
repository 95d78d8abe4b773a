//! Phones' keys encrypted in the table, and the conversion of a table that is in use.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use std::{process, thread};

use mysql::prelude::Queryable as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use swob_gateway::store::at_rest::{Beside, Keys};

use crate::support::phone::is_shared_key;
use crate::support::schema::Row;
use crate::support::server::{Folder, command};
use crate::support::{PASSWORD, Phone, Schema, Server, USER, post, until};

const FIRST: &str = "0101010101010101010101010101010101010101010101010101010101010101";
const SECOND: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
const SETTING: &str = "GATEWAY_KEYS_AT_REST_KEYS";

fn open(keys: &Keys, row: &Row) -> String {
    let Row { msisdn_hash, shared_key, public_key, mgf1, oaep } = row;
    let opened = keys.open(shared_key, Beside { msisdn_hash, public_key, mgf1, oaep });
    opened.unwrap_or_else(|error| panic!("{error:?}: {row:?}")).to_string()
}

/// Syncs with a phone and returns its key.
fn sync(server: &Server, user: &str, phone: &Phone) -> String {
    let (_dashboard, url) = server.code(user);
    let answer = post(&server.api, &url, &phone.one_step_body(PASSWORD));
    assert_eq!(answer.status, 200, "{answer:?}");
    phone.open(&answer.json()["shared_key"], "sha256", "sha1")
}

/// The binary with a table and a file of keys.
fn keys_command(verb: &str, schema: &Schema, folder: &Folder, file: &Path) -> process::Command {
    let mut command = command(folder);
    command.args(["keys", verb]).envs(schema.variables()).env(SETTING, file);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn a_phone_syncs_into_an_encrypted_row() {
    let (schema, folder) = (Schema::new(), Folder::new());
    let file = folder.0.join("at-rest.keys");
    fs::write(&file, FIRST).unwrap();
    let server = Server::start(&schema, &[(SETTING, file.to_str().unwrap())]);
    for _ in 0..2 {
        let key = sync(&server, USER, &Phone::new());
        let rows = schema.rows();
        assert_eq!(rows.len(), 1);
        assert!(rows[0].shared_key.starts_with("aes1:"), "{rows:?}");
        assert_eq!(open(&Keys::parse(FIRST).unwrap(), &rows[0]), key);
    }
    schema.execute("UPDATE gateway_server_users SET msisdn_hash = UPPER(msisdn_hash)");
    let key = sync(&server, USER, &Phone::new());
    let rows = schema.rows();
    assert_eq!((rows.len(), open(&Keys::parse(FIRST).unwrap(), &rows[0])), (1, key));
}

#[test]
fn plain_and_encrypted_rows_are_verified_side_by_side() {
    let (schema, folder) = (Schema::new(), Folder::new());
    let file = folder.0.join("at-rest.keys");
    fs::write(&file, format!("{SECOND}\n{FIRST}")).unwrap();
    let server = Server::start(&schema, &[(SETTING, file.to_str().unwrap())]);
    let phone = Phone::new();
    let key = sync(&server, USER, &phone);
    let body = phone.verification_body(&schema.msisdn_hash());
    let verify = |server: &Server| post(&server.api, "/v2/sync/users/verification", &body);
    let check = |column: &str| {
        schema.execute(&format!("UPDATE gateway_server_users SET shared_key = '{column}'"));
        let answer = verify(&server);
        assert_eq!(answer.status, 200, "{column}: {answer:?}");
        assert_eq!(phone.open(&answer.json()["shared_key"], "sha256", "sha1"), key);
    };
    let row = schema.rows().remove(0);
    let older = {
        let Row { msisdn_hash, public_key, mgf1, oaep, .. } = &row;
        let beside = Beside { msisdn_hash, public_key, mgf1, oaep };
        Keys::parse(FIRST).unwrap().seal(&key, beside, [5; 12]).to_string()
    };
    check(&row.shared_key);
    check(&key);
    check(&older);
    // Nobody can tell, which is never 403: the phone would forget its key.
    schema.execute("UPDATE gateway_server_users SET mgf1ParameterSpec = 'sha1'");
    assert_eq!(verify(&server).status, 503);
    let server = Server::start(&schema, &[]);
    assert_eq!(verify(&server).status, 503);
    until("the log says so", || server.log().contains("[keys] at_rest_keys does not have"));
}

#[test]
fn keys_that_are_none_are_refused_by_line() {
    let (schema, folder) = (Schema::new(), Folder::new());
    let check = |verb: &str, content: &str, expected: &str| {
        let file = folder.0.join("keys");
        fs::write(&file, content).unwrap();
        let output = keys_command(verb, &schema, &folder, &file).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains(content.trim()), "{said}");
    };
    check("encrypt", "0123\n", "keys:1 is no key");
    check("decrypt", "# nothing\n", "keys holds no key");
    check("encrypt", &format!("plain\n{FIRST}\n"), "there is no key to encrypt under");
}

#[test]
fn a_row_that_does_not_open_is_left_alone_and_told() {
    let (schema, folder) = (Schema::new(), Folder::new());
    let server = Server::start(&schema, &[]);
    sync(&server, USER, &Phone::new());
    let file = folder.0.join("keys");
    let run = |verb: &str, keys: &str| {
        fs::write(&file, keys).unwrap();
        let output = keys_command(verb, &schema, &folder, &file).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    let (done, said) = run("encrypt", FIRST);
    assert!(done && said.contains("rows changed: 1; rows that are not encrypted: 0"), "{said}");
    let before = schema.rows();
    for verb in ["encrypt", "decrypt"] {
        let (done, said) = run(verb, SECOND);
        assert!(!done && said.contains("1 rows do not open"), "{said}");
        assert_eq!(schema.rows(), before);
    }
    let (done, said) = run("encrypt", FIRST);
    assert!(done && said.contains("rows changed: 0"), "{said}");
    let (done, said) = run("decrypt", FIRST);
    assert!(done && said.contains("put a line \"plain\" before"), "{said}");
    assert!(is_shared_key(&schema.rows()[0].shared_key));
}

/// A table in use: what each row's key has to be, whatever is killed.
struct Trial {
    schema: Schema,
    folder: Folder,
    /// The key of each row but the users', by its `msisdn_hash`.
    rows: BTreeMap<String, String>,
    /// How many of them another server writes meanwhile, in their order.
    busy: usize,
    /// Users whose phones do.
    users: Vec<(String, String)>,
    /// Made once: a key takes as long as a conversion, which would meet no handshakes.
    phone: Phone,
    draw: StdRng,
}

impl Trial {
    fn new(rows: usize, seed: u64) -> Self {
        let mut draw = StdRng::seed_from_u64(seed);
        let schema = Schema::new();
        let mut hex = |digits: usize| {
            let digit = |_| char::from_digit(draw.random_range(0..16), 16).unwrap();
            (0..digits).map(digit).collect::<String>()
        };
        let phone = Phone::new();
        let pem = &phone.pem;
        let mut still = BTreeMap::new();
        while still.len() < rows {
            let mut values = String::new();
            for _ in 0..500.min(rows - still.len()) {
                let (hash, key) = (hex(128), hex(32));
                let comma = if values.is_empty() { "" } else { "," };
                write!(
                    values,
                    "{comma}('{hash}', '{key}', '{pem}', 'sha1', 'sha256', '2022-11-08')"
                )
                .unwrap();
                still.insert(hash, key);
            }
            schema.execute(&format!("INSERT INTO gateway_server_users VALUES {values}"));
        }
        let users: Vec<_> = (0..16).map(|n| (format!("user-{n}"), hex(128))).collect();
        for (n, (user, hash)) in users.iter().enumerate() {
            schema.execute(&format!(
                "INSERT INTO users (id, password) SELECT '{user}', password FROM users WHERE id = '{USER}'"
            ));
            schema.execute(&format!(
                "INSERT INTO usersInfos (id, full_phone_number, status, userId) \
                 VALUES ({}, '{hash}', 'verified', '{user}')",
                n + 10
            ));
        }
        Trial { schema, folder: Folder::new(), rows: still, busy: rows / 2, users, phone, draw }
    }

    /// Converts under handshakes, killed this often at random points, until all is converted.
    fn convert(&mut self, verb: &str, keys: &str, kills: usize) {
        let file = self.folder.0.join("keys");
        fs::write(&file, keys).unwrap();
        let server = Server::start(&self.schema, &[(SETTING, file.to_str().unwrap())]);
        let over = AtomicBool::new(false);
        let mut draw = StdRng::from_rng(&mut self.draw);
        let form = Keys::parse(keys).unwrap();
        let (synced, written) = thread::scope(|scope| {
            let halves = self.users.chunks(self.users.len() / 2);
            let phones: Vec<_> = halves
                .map(|users| {
                    let (server, phone, over) = (&server, &self.phone, &over);
                    scope.spawn(move || handshakes(server, phone, users, over))
                })
                .collect();
            let other = {
                let (trial, form, over) = (&*self, &form, &over);
                let draw = StdRng::from_rng(&mut draw);
                scope.spawn(move || trial.write(form, over, draw))
            };
            let mut midway = 0;
            for _ in 0..kills {
                let start = keys_command(verb, &self.schema, &self.folder, &file);
                midway += usize::from(self.kill(start, &form, kills / 2, &mut draw));
            }
            let output = keys_command(verb, &self.schema, &self.folder, &file).output().unwrap();
            over.store(true, Ordering::Relaxed);
            assert!(output.status.success(), "{output:?}");
            eprintln!("{verb}: of {kills} kills {midway} came midway");
            assert!(midway > 0, "no kill came midway");
            let all = phones.into_iter().flat_map(|phones| phones.join().unwrap());
            (all.collect::<BTreeMap<String, String>>(), other.join().unwrap())
        });
        drop(server);
        assert!(!written.is_empty());
        self.rows.extend(written);
        self.check(&form, &synced);
    }

    /// Starts the conversion, kills it when it has come some way, at most this share of what is
    /// left, and tells whether it left rows in the old form.
    fn kill(
        &self,
        mut start: process::Command,
        keys: &Keys,
        share: usize,
        draw: &mut StdRng,
    ) -> bool {
        let (mark, not) = (keys.mark(), if keys.seals() { "NOT" } else { "" });
        let left = || {
            let query = format!(
                "SELECT COUNT(*) FROM gateway_server_users WHERE {not} LEFT(shared_key, {}) = '{mark}'",
                mark.len()
            );
            self.schema.query(&query)[0][0].parse::<usize>().unwrap()
        };
        let before = left();
        let target = before - draw.random_range(0..=before / share);
        let mut child = start.spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while left() >= target && child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the conversion stands still");
        }
        thread::sleep(Duration::from_micros(draw.random_range(0..5_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        left() > 0
    }

    /// Gives rows new keys as fast as the database takes them, as another server would; the last
    /// of each.
    fn write(&self, form: &Keys, over: &AtomicBool, mut draw: StdRng) -> BTreeMap<String, String> {
        let mut connection = self.schema.connect();
        connection.query_drop(format!("USE {}", self.schema.name)).unwrap();
        let hashes: Vec<&String> = self.rows.keys().take(self.busy).collect();
        let public_key = &self
            .schema
            .query("SELECT public_key FROM gateway_server_users WHERE date = '2022-11-08' LIMIT 1")
            [0][0];
        let mut written = BTreeMap::new();
        while !over.load(Ordering::Relaxed) {
            let msisdn_hash = hashes[draw.random_range(0..hashes.len())];
            let key = format!("{:032x}", draw.random::<u128>());
            let beside = Beside { msisdn_hash, public_key, mgf1: "sha1", oaep: "sha256" };
            let sealed = form.seal(&key, beside, draw.random());
            let update = "UPDATE gateway_server_users SET shared_key = ? WHERE msisdn_hash = ?";
            connection.exec_drop(update, (sealed.as_str(), msisdn_hash)).unwrap();
            written.insert(msisdn_hash.clone(), key);
        }
        written
    }

    /// Every row is there once, in the new form, and opens to the key that it had, or that its
    /// phone was told last.
    fn check(&self, keys: &Keys, synced: &BTreeMap<String, String>) {
        let rows = self.schema.rows();
        for row in &rows {
            assert!(keys.is_current(&row.shared_key), "{row:?}");
            let key = open(keys, row);
            assert!(is_shared_key(&key), "{row:?}");
            match self.rows.get(&row.msisdn_hash) {
                Some(expected) => assert_eq!(&key, expected),
                None => {
                    let told = synced.get(&row.msisdn_hash);
                    assert!(told.is_none_or(|told| *told == key), "{row:?}");
                }
            }
        }
        let seen = |hash: &String| rows.iter().any(|row| row.msisdn_hash == *hash);
        assert!(synced.len() > 1 && synced.keys().all(seen), "{}", synced.len());
        let kept = rows.iter().filter(|row| self.rows.contains_key(&row.msisdn_hash)).count();
        assert_eq!(kept, self.rows.len());
        let dates = "SELECT msisdn_hash FROM gateway_server_users WHERE date <> '2022-11-08'";
        let written: Vec<_> = self.rows.keys().take(self.busy).chain(synced.keys()).collect();
        assert!(self.schema.query(dates).iter().all(|row| written.contains(&&row[0])));
    }
}

/// Each user's phone again and again; the last key that each was told, by the phone's hash.
fn handshakes(
    server: &Server,
    phone: &Phone,
    users: &[(String, String)],
    over: &AtomicBool,
) -> BTreeMap<String, String> {
    let mut told = BTreeMap::new();
    loop {
        for (user, hash) in users {
            told.insert(hash.clone(), sync(server, user, phone));
        }
        if over.load(Ordering::Relaxed) {
            return told;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "make chaos asks for more by the environment")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// `TEST_CHAOS_ROWS` (10,000 in `make chaos`) asks for the long form, `TEST_CHAOS_SEED` for a
/// repetition.
#[test]
fn a_conversion_killed_at_random_points_loses_nothing() {
    let rows = number("TEST_CHAOS_ROWS").map_or(1000, |rows| usize::try_from(rows).unwrap());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let seed = number("TEST_CHAOS_SEED").unwrap_or(now);
    eprintln!("TEST_CHAOS_ROWS={rows} TEST_CHAOS_SEED={seed}");
    let kills = if rows > 1000 { 40 } else { 6 };
    let mut trial = Trial::new(rows, seed);
    trial.convert("encrypt", FIRST, kills);
    trial.convert("encrypt", &format!("{SECOND}\n{FIRST}"), kills);
    trial.convert("decrypt", &format!("plain\n{SECOND}"), kills);
}
