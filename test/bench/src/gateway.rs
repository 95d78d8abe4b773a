//! The server under measurement, in a folder and on a database of its own.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use openssl::pkey::{PKey, Public};
use openssl::rsa::Rsa;

use crate::Done;
use crate::http::{Http, PATIENCE};
use crate::process::Process;

/// Users that may sync at once, `USER` with a number.
pub const USERS: usize = 64;
/// What all their passwords are, as in the development data.
pub const PASSWORD: &str = "dummy_password";
const DATABASE: &str = "swob_bench";

/// What all servers of a run share: binary, key, database.
pub struct Installation {
    program: PathBuf,
    folder: PathBuf,
    pub key: PKey<Public>,
}

/// A running gateway.
pub struct Gateway {
    pub process: Process,
    pub api: SocketAddr,
    log: PathBuf,
}

/// The id of a user.
pub fn user(n: usize) -> String {
    format!("bench000-0000-0000-0000-{n:012}")
}

impl Installation {
    pub fn new(program: PathBuf) -> Done<Self> {
        let folder = std::env::temp_dir().join(format!("swob-bench-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let key = Rsa::generate(2048)?;
        fs::write(folder.join("server.key"), key.private_key_to_pem()?)?;
        let key = PKey::public_key_from_pem(&key.public_key_to_pem()?)?;
        let installation = Installation { program: fs::canonicalize(program)?, folder, key };
        installation.fill_database()?;
        Ok(installation)
    }

    fn fill_database(&self) -> Done {
        sql("", &format!("DROP DATABASE IF EXISTS {DATABASE}; CREATE DATABASE {DATABASE}"))?;
        sql("", "SET GLOBAL innodb_flush_log_at_trx_commit = 1")?;
        for script in ["sql/backend.sql", "sql/dev.sql"] {
            sql(DATABASE, &fs::read_to_string(script)?)?;
        }
        let mut users = String::new();
        for n in 0..USERS {
            let id = user(n);
            write!(
                users,
                "INSERT INTO users (id, password) SELECT '{id}', password FROM users WHERE id LIKE \
                 'dead3662%'; INSERT INTO usersInfos (full_phone_number, status, userId) VALUES \
                 (SHA2('{n}', 512), 'verified', '{id}'); INSERT INTO wallets (userId, platformId) \
                 VALUES ('{id}', 1);"
            )?;
        }
        sql(DATABASE, &users)?;
        let migrated = self.command().arg("migrate").stdout(Stdio::null()).status()?;
        if migrated.success() { Ok(()) } else { Err("the server does not migrate".into()) }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .current_dir(&self.folder)
            .env_clear()
            .env("GATEWAY_MYSQL_SOCKET", setting("SOCKET"))
            .env("GATEWAY_MYSQL_USERNAME", setting("USERNAME"))
            .env("GATEWAY_MYSQL_PASSWORD", setting("PASSWORD"))
            .env("GATEWAY_MYSQL_DATABASE", DATABASE)
            // All clients are this machine.
            .env("GATEWAY_LIMITS_MAX_CONNECTIONS_PER_ADDRESS", "1000000")
            .env("GATEWAY_LIMITS_MAX_SOCKETS_PER_USER_AND_ADDRESS", "1000000");
        command
    }

    /// Starts a server and returns when both ports answer, with the time that took.
    pub fn start(&self, settings: &[(&str, &str)]) -> Done<(Gateway, Duration)> {
        let [api, sockets] = [free_port()?, free_port()?];
        let log = self.folder.join("log");
        let _ = fs::remove_file(&log);
        let mut command = self.command();
        command
            .env("GATEWAY_HTTP_LISTEN", api.to_string())
            .env("GATEWAY_WEBSOCKET_LISTEN", sockets.to_string())
            .env("GATEWAY_ADMIN_LISTEN", "127.0.0.1:0")
            .env("GATEWAY_LOG_FILE", &log)
            .envs(settings.iter().copied());
        let begun = Instant::now();
        let mut gateway = Gateway { process: Process::start(&mut command)?, api, log };
        let ask = Http::request("GET", "/", "");
        for port in [api, sockets] {
            loop {
                let answer = Http::new(Ipv4Addr::LOCALHOST, port);
                if answer.and_then(|mut http| Ok(http.send(&ask)?.0)).is_ok() {
                    break;
                }
                if !gateway.process.is_alive() || begun.elapsed() > PATIENCE {
                    return Err(format!("the server does not start:\n{}", gateway.log()?).into());
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        let took = begun.elapsed();
        // It asks its database a moment later.
        while !gateway.log()?.contains("BE database ready") {
            if begun.elapsed() > PATIENCE {
                return Err(format!("the database is not ready:\n{}", gateway.log()?).into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok((gateway, took))
    }

    /// The size of the binary without its symbols, in bytes.
    pub fn stripped(&self) -> Done<u64> {
        let copy = self.folder.join("stripped");
        let done = Command::new("strip").arg("-o").arg(&copy).arg(&self.program).status()?;
        if !done.success() {
            return Err("strip fails".into());
        }
        Ok(fs::metadata(copy)?.len())
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let _ = sql("", &format!("DROP DATABASE IF EXISTS {DATABASE}"));
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Gateway {
    pub fn log(&self) -> Done<String> {
        Ok(fs::read_to_string(&self.log).unwrap_or_default())
    }

    /// How many sockets fit, as the server found it.
    pub fn sockets_that_fit(&self) -> Done<usize> {
        let log = self.log()?;
        let told = log.lines().find(|line| line.contains("max_connections ")).ok_or("no limit")?;
        let word = told.split_whitespace().find_map(|word| word.strip_prefix("sockets="));
        Ok(word.ok_or("no limit of sockets")?.parse()?)
    }
}

fn free_port() -> Done<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

#[expect(clippy::disallowed_methods, reason = "mariadb.sh tells where its database is")]
fn setting(name: &str) -> String {
    std::env::var(format!("TEST_MYSQL_{name}")).unwrap_or_default()
}

/// Runs statements as the administrator, and returns what they print.
pub fn sql(database: &str, statements: &str) -> Done<String> {
    let output = Command::new("mariadb")
        .args(["--no-defaults", "--host=localhost", "--batch", "--skip-column-names"])
        .arg(format!("--socket={}", setting("SOCKET")))
        .arg(format!("--user={}", setting("USERNAME")))
        .arg(format!("--database={database}"))
        .arg(format!("--execute={statements}"))
        .env("MYSQL_PWD", setting("PASSWORD"))
        .output()?;
    if !output.status.success() {
        return Err(format!("mariadb: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Rows that hold a phone's key, each with the hash of its user's number.
pub fn rows() -> Done<Vec<(String, String)>> {
    let told = sql(DATABASE, "SELECT msisdn_hash, shared_key FROM gateway_server_users")?;
    let pair = |line: &str| line.split_once('\t').map(|(a, b)| (a.to_owned(), b.to_owned()));
    Ok(told.lines().filter_map(pair).collect())
}

/// Forgets all phones.
pub fn clear_rows() -> Done {
    sql(DATABASE, "DELETE FROM gateway_server_users").map(drop)
}
