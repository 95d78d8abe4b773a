//! What the phones meet: the gateway, its MariaDB with a journal of every commit, and the faults.

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize};
use std::thread;
use std::time::{Duration, Instant};

use mysql::prelude::Queryable as _;
use rand::RngExt as _;
use rand::rngs::SmallRng;
use rustix::process::Signal;

use crate::ledger::{Entry, Faults};
use crate::phones::serial;
use crate::support::{Mariadb, Phone, Schema, Server, USER};

pub const WORKERS: usize = 24;
pub const USERS_EACH: usize = 8;

/// No QR code changes while a phone waits for its turn on a busy machine.
const SETTINGS: [(&str, &str); 3] = [
    ("GATEWAY_SYNC_SESSION_SLEEP_TIMEOUT", "120"),
    ("GATEWAY_LIMITS_MAX_CONNECTIONS_PER_ADDRESS", "1000"),
    ("GATEWAY_LOG_LEVEL", "info"),
];

/// What all workers share.
pub struct Stage {
    /// Where the gateway listens now.
    pub doors: RwLock<Doors>,
    /// A handful of keys, since to make one takes a while.
    pub phones: &'static [Phone],
    pub serials: AtomicU32,
    /// Handshakes that were answered 200.
    pub stored: AtomicUsize,
    pub closed: AtomicBool,
}

#[derive(Clone)]
pub struct Doors {
    pub api: String,
    pub sockets: String,
}

impl Stage {
    pub fn new(house: &House) -> Self {
        let phones: Vec<_> = (0..6).map(|_| Phone::new()).collect();
        Stage {
            doors: RwLock::new(house.doors()),
            phones: phones.leak(),
            serials: AtomicU32::new(1),
            stored: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        }
    }
}

pub fn user(number: usize) -> String {
    format!("chaos-{number}")
}

fn msisdn_hash(number: usize) -> String {
    format!("{number:0128x}")
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    KillGateway,
    KillDatabase,
    FreezeDatabase,
    RestartDatabase,
    /// The gateway dies while statements wait in a frozen database.
    KillGatewayWhileFrozen,
}

pub const ALL: [Fault; 5] = [
    Fault::KillGateway,
    Fault::KillDatabase,
    Fault::FreezeDatabase,
    Fault::RestartDatabase,
    Fault::KillGatewayWhileFrozen,
];

/// The processes, in the hands of the one thread that hurts them.
pub struct House {
    server: Option<Server>,
    schema: Schema,
    mariadb: Mariadb,
    pub faults: Faults,
}

impl House {
    pub fn new() -> Self {
        let mariadb = Mariadb::start();
        let schema = Schema::on(&mariadb);
        let users = 0..WORKERS * USERS_EACH;
        for number in users {
            let (user, hash) = (user(number), msisdn_hash(number));
            schema.execute(&format!(
                "INSERT INTO users (id, password) SELECT '{user}', password FROM users WHERE id = '{USER}'"
            ));
            schema.execute(&format!(
                "INSERT INTO usersInfos (full_phone_number, status, userId) \
                 VALUES ('{hash}', 'verified', '{user}')"
            ));
        }
        // A commit's line in the journal is written under the lock of the row that it is about,
        // so that the lines of one user are in the order of their commits.
        schema.execute(
            "CREATE TABLE journal (id BIGINT AUTO_INCREMENT PRIMARY KEY, msisdn_hash TEXT, \
             shared_key TEXT, public_key TEXT, mgf1 TEXT, oaep TEXT) ENGINE = InnoDB",
        );
        for event in ["INSERT", "UPDATE"] {
            schema.execute(&format!(
                "CREATE TRIGGER after_{event} AFTER {event} ON gateway_server_users FOR EACH ROW \
                 INSERT INTO journal VALUES (NULL, NEW.msisdn_hash, NEW.shared_key, \
                 NEW.public_key, NEW.mgf1ParameterSpec, NEW.hashingAlgorithm)"
            ));
        }
        let server = Some(Server::start(&schema, &SETTINGS));
        House { server, schema, mariadb, faults: Faults::default() }
    }

    fn doors(&self) -> Doors {
        let server = self.server.as_ref().unwrap();
        Doors { api: server.api.clone(), sockets: server.sockets.clone() }
    }

    pub fn suffer(&mut self, fault: Fault, stage: &Stage, rng: &mut SmallRng) {
        let begun = Instant::now();
        let pause = |rng: &mut SmallRng, longest| {
            thread::sleep(Duration::from_millis(rng.random_range(0..longest)));
        };
        match fault {
            Fault::KillGateway => self.kill_gateway(stage),
            Fault::KillDatabase => {
                self.mariadb.kill();
                pause(rng, 2000);
                self.mariadb.launch();
                self.mariadb.await_up();
            }
            Fault::RestartDatabase => {
                self.mariadb.shut_down();
                self.mariadb.launch();
                self.mariadb.await_up();
            }
            Fault::FreezeDatabase => {
                self.mariadb.freeze();
                pause(rng, 5000);
                self.mariadb.thaw();
            }
            Fault::KillGatewayWhileFrozen => {
                self.mariadb.freeze();
                pause(rng, 500);
                self.kill_gateway(stage);
                self.mariadb.thaw();
            }
        }
        if fault != Fault::KillGateway {
            // What waited in the server is answered by then.
            self.faults.database.push((begun, Instant::now() + Duration::from_secs(3)));
        }
    }

    fn kill_gateway(&mut self, stage: &Stage) {
        let begun = Instant::now();
        let mut server = self.server.take().unwrap();
        server.signal(Signal::KILL);
        server.wait();
        self.server = Some(Server::start(&self.schema, &SETTINGS));
        *stage.doors.write().unwrap() = self.doors();
        // A worker that read the doors before sees the dead ones for one request more.
        self.faults.gateway.push((begun, Instant::now() + Duration::from_secs(1)));
    }

    /// Every commit in its order, and the table, as both are after one last power cut.
    pub fn books(&mut self, stage: &Stage) -> (Vec<Entry>, Vec<Entry>) {
        self.mariadb.kill();
        self.mariadb.launch();
        self.mariadb.await_up();
        let read = |query: &str| {
            let mut connection = self.mariadb.try_connect().unwrap();
            connection.select_db(&self.schema.name).unwrap();
            let entry = |(hash, shared_key, public_key, mgf1, oaep): (String, _, String, _, _)| {
                let number = usize::from_str_radix(&hash, 16).ok();
                Entry {
                    user: number.filter(|number| *number < WORKERS * USERS_EACH),
                    serial: serial(stage.phones, &public_key),
                    shared_key,
                    digests: [mgf1, oaep],
                }
            };
            connection.query_map(query, entry).unwrap()
        };
        let journal =
            "SELECT msisdn_hash, shared_key, public_key, mgf1, oaep FROM journal ORDER BY id";
        let rows = "SELECT msisdn_hash, shared_key, public_key, mgf1ParameterSpec, \
                    hashingAlgorithm FROM gateway_server_users";
        (read(journal), read(rows))
    }
}
