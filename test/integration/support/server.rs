//! The real binary, on free ports, in a folder of its own; it ends with its test.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{self, Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;

use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;

use super::{Dashboard, Schema, get, until};

/// One key for all servers of a run: to make one takes a while.
pub static KEY: LazyLock<PKey<Private>> =
    LazyLock::new(|| PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap());

pub struct Server {
    child: Child,
    /// Held for its keys.
    _folder: Arc<Folder>,
    /// `address:port` of the API.
    pub api: String,
    /// `address:port` of the sockets.
    pub sockets: String,
    /// `address:port` of the administrator's listener.
    pub admin: String,
    log: Arc<Mutex<Vec<String>>>,
}

/// A folder that goes with its test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("swob-gateway-{}-{n}", process::id()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    /// With the key of all servers, for its owner alone.
    pub fn furnished() -> Self {
        let folder = Folder::new();
        let key = folder.0.join("server.key");
        fs::write(&key, KEY.private_key_to_pem_pkcs8().unwrap()).unwrap();
        fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The binary with nothing of this process's environment that it would take for a setting.
pub fn command(folder: &Folder) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_swob-gateway"));
    command.current_dir(&folder.0).env_clear().stdin(Stdio::null());
    // By default all servers would want the same port.
    command.env("GATEWAY_ADMIN_LISTEN", "127.0.0.1:0");
    command
}

/// The wrapper may change to a user who writes nothing but this folder.
fn wrapped(wrapper: &[String], folder: &Folder) -> Command {
    let [program, arguments @ ..] = wrapper else { return command(folder) };
    let copy = folder.0.join("swob-gateway");
    fs::copy(env!("CARGO_BIN_EXE_swob-gateway"), &copy).unwrap();
    for (path, mode) in
        [(folder.0.clone(), 0o777), (folder.0.join("server.key"), 0o644), (copy.clone(), 0o755)]
    {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut command = Command::new(program);
    command.args(arguments).arg(copy).current_dir(&folder.0).env_clear().stdin(Stdio::null());
    command
}

impl Server {
    /// Serves `schema`, with these settings beside.
    pub fn start(schema: &Schema, settings: &[(&str, &str)]) -> Self {
        Server::start_in(&Arc::new(Folder::furnished()), schema, settings)
    }

    /// The same in a folder that outlives this server, with the keys that are in it.
    pub fn start_in(folder: &Arc<Folder>, schema: &Schema, settings: &[(&str, &str)]) -> Self {
        Server::launch(command(folder), folder, schema, settings)
    }

    /// As [`Self::start_in`], without one of the settings that all tests have in common.
    pub fn start_without(folder: &Arc<Folder>, schema: &Schema, setting: &str) -> Self {
        let mut command = Command::new("env");
        command.args(["-u", setting, env!("CARGO_BIN_EXE_swob-gateway")]);
        command.current_dir(&folder.0).env_clear().stdin(Stdio::null());
        Server::launch(command, folder, schema, &[])
    }

    /// As [`Self::start`], as the argument of another command.
    pub fn start_under(wrapper: &[String], schema: &Schema, settings: &[(&str, &str)]) -> Self {
        let folder = Arc::new(Folder::furnished());
        Server::launch(wrapped(wrapper, &folder), &folder, schema, settings)
    }

    /// Serves `schema` with this command, which runs in `folder`.
    pub fn launch(
        mut command: Command,
        folder: &Arc<Folder>,
        schema: &Schema,
        settings: &[(&str, &str)],
    ) -> Self {
        let folder = Arc::clone(folder);
        command
            .env("GATEWAY_HTTP_LISTEN", "127.0.0.1:0")
            .env("GATEWAY_WEBSOCKET_LISTEN", "127.0.0.1:0")
            .env("GATEWAY_ADMIN_LISTEN", "127.0.0.1:0")
            .env("GATEWAY_LOG_LEVEL", "debug")
            // No code changes under a test that does not ask for it, however slow the machine is.
            .env("GATEWAY_SYNC_SESSION_SLEEP_TIMEOUT", "600")
            // All clients of a test share an address.
            .env("GATEWAY_LIMITS_PASSWORD_ATTEMPTS_PER_ADDRESS", "")
            .envs(schema.variables())
            .envs(settings.iter().copied())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, errors) = (Arc::clone(&log), BufReader::new(child.stderr.take().unwrap()));
        let collect = move || {
            for line in errors.lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        };
        thread::Builder::new().spawn(collect).unwrap();
        let mut server = Server {
            child,
            _folder: folder,
            api: String::new(),
            sockets: String::new(),
            admin: String::new(),
            log,
        };
        until("the server is ready", || {
            assert!(server.child.try_wait().unwrap().is_none(), "{}", server.log());
            server.log().contains("BE database") && server.log().contains("ready api=")
        });
        let log = server.log();
        let address = |name: &str| {
            let rest = log.split(name).nth(1).expect("the server says where it listens");
            rest.split_whitespace().next().unwrap().to_owned()
        };
        server.api = address("listening api=");
        server.sockets = address("listening socket=");
        server.admin = if log.contains("listening admin=") {
            address("listening admin=")
        } else {
            String::new()
        };
        server
    }

    /// What the server has said so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// The URL of a new session of a user.
    pub fn session(&self, user: &str) -> String {
        let answer = get(&self.api, &format!("/v2/sync/users/{user}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text()
    }

    /// A dashboard at a new session of a user, and the URL of its QR code.
    pub fn code(&self, user: &str) -> (Dashboard, String) {
        let mut dashboard = Dashboard::open(&self.session(user));
        let url = dashboard.url();
        (dashboard, url)
    }

    /// What Prometheus would read.
    pub fn metrics(&self) -> String {
        let answer = get(&self.admin, "/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text()
    }

    /// The value of one sample, by its name with its labels.
    pub fn metric(&self, sample: &str) -> f64 {
        let metrics = self.metrics();
        let value = metrics.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {sample} in:\n{metrics}")).parse().unwrap()
    }

    /// Whether the server still serves.
    pub fn serves(&self) -> bool {
        get(&self.api, "/").status == 200
    }

    /// Every byte of memory that the process can write or read.
    pub fn memory(&self) -> Vec<u8> {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let process = format!("/proc/{}", self.child.id());
        let mut file = fs::File::open(format!("{process}/mem")).unwrap();
        let mut bytes = Vec::new();
        for line in fs::read_to_string(format!("{process}/maps")).unwrap().lines() {
            let mut fields = line.split_whitespace();
            let (range, mode) = (fields.next().unwrap(), fields.next().unwrap());
            if !mode.starts_with('r') || line.ends_with("[vvar]") || line.ends_with("[vsyscall]") {
                continue;
            }
            let (from, to) = range.split_once('-').unwrap();
            let [from, to] = [from, to].map(|hex| u64::from_str_radix(hex, 16).unwrap());
            let mut part = vec![0; usize::try_from(to - from).unwrap()];
            // A stack's guard or a page given back meanwhile is no memory any more.
            if file.seek(SeekFrom::Start(from)).is_ok() && file.read_exact(&mut part).is_ok() {
                bytes.append(&mut part);
            }
        }
        bytes
    }

    /// Resident memory, in bytes.
    pub fn resident(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Takes from the running server what it counted on when it started: a limit by its name for
    /// prlimit(1), which the server's own user may lower.
    pub fn limit(&self, user: &[String], limit: &str) {
        let pid = self.child.id().to_string();
        let words = ["prlimit".to_owned(), format!("--{limit}"), "--pid".to_owned(), pid];
        let words = [user, &words].concat();
        assert!(Command::new(&words[0]).args(&words[1..]).status().unwrap().success());
    }

    /// Ends it as systemd does.
    pub fn stop(mut self) {
        self.signal(rustix::process::Signal::TERM);
        assert_eq!(self.wait().code(), Some(0), "{}", self.log());
    }

    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        until("the server ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the server said:\n{}", self.log());
        }
    }
}
