//! The recipes of doc/proxy, run as they are but for name, ports and paths, with Debian's own
//! programs; each ends with its test.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use openssl::pkey::{PKey, Private};
use openssl::ssl::SslConnector;
use rustix::process::{Pid, Signal, kill_process};

use super::server::{Folder, KEY};
use super::tls::{Authority, Client, NAME, trust};
use super::until;

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Caddy,
    Nginx,
    Apache,
    Haproxy,
}

pub struct Proxy {
    child: Child,
    folder: Folder,
    pub port: u16,
    /// The certificate's private key.
    pub key: PathBuf,
    /// The certificate of its authority.
    pub root: PathBuf,
    trust: SslConnector,
}

/// A port that nobody has, and that nobody is given by chance until it is used: it lies below
/// those that Linux hands out (ip_local_port_range), where each process begins elsewhere.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let place =
            process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + place % COUNT).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Puts a test's values into a recipe; one that has no place for them has changed.
fn fill(recipe: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(recipe.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from} is not in the recipe");
        text.replace(from, to)
    })
}

impl Proxy {
    /// Starts in front of an API and of sync sockets on these ports.
    pub fn start(kind: Kind, api: u16, sockets: u16) -> Self {
        Proxy::start_with(kind, api, sockets, &KEY, &[])
    }

    /// The same with another key in its certificate (but for Caddy, which makes its own), and
    /// with these texts of the recipe replaced.
    pub fn start_with(
        kind: Kind,
        api: u16,
        sockets: u16,
        key: &PKey<Private>,
        planted: &[(&str, &str)],
    ) -> Self {
        let (folder, port) = (Folder::new(), free_port());
        let authority = Authority::new();
        let chain = authority.issue(key, 2);
        let key = String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        let root = folder.0.join("root.pem");
        fs::write(&root, authority.pem()).unwrap();
        fs::write(folder.0.join("fullchain.pem"), &chain).unwrap();
        fs::write(folder.0.join("privkey.pem"), &key).unwrap();
        fs::write(folder.0.join("both.pem"), chain + &key).unwrap();
        let backends = [
            ("127.0.0.1:15000", format!("127.0.0.1:{api}")),
            ("127.0.0.1:6996", format!("127.0.0.1:{sockets}")),
        ];
        let backends = backends.each_ref().map(|(from, to)| (*from, to.as_str()));
        let backends = [planted, &backends].concat();
        let path = folder.0.to_str().unwrap();
        let mut command = match kind {
            Kind::Caddy => caddy(path, port, &backends),
            Kind::Nginx => nginx(path, port, &backends),
            Kind::Apache => apache(path, port, &backends),
            Kind::Haproxy => haproxy(path, port, &backends),
        };
        let log = fs::File::create(folder.0.join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.current_dir(&folder.0).spawn().unwrap_or_else(|error| {
            panic!("{kind:?}: {error}; `make setup` installs what the tests need")
        });
        let key = folder.0.join("privkey.pem");
        let mut proxy = Proxy { child, folder, port, key, root, trust: authority.trust };
        if kind == Kind::Caddy {
            // It is its own authority here.
            let storage = proxy.folder.0.join("storage");
            proxy.key = storage.join(format!("certificates/local/{NAME}/{NAME}.key"));
            until("Caddy has its certificate", || proxy.key.exists());
            proxy.root = storage.join("pki/authorities/local/root.crt");
            proxy.trust = trust(&fs::read(&proxy.root).unwrap());
        }
        proxy
    }

    /// A client that trusts the proxy's authority alone.
    pub fn client(&self) -> Client {
        Client::new(&format!("127.0.0.1:{}", self.port), &self.trust)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // A signal that it can hear, since it ends processes of its own.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        until("the proxy ends", || !matches!(self.child.try_wait(), Ok(None)));
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.0.join("log")).unwrap_or_default();
            eprintln!("the proxy said:\n{log}");
        }
    }
}

fn caddy(folder: &str, port: u16, backends: &[(&str, &str)]) -> Command {
    let own = [("gateway.example.org", NAME), ("tls {", "tls internal {")];
    let recipe = fill(include_str!("../../../doc/proxy/Caddyfile"), &[&own, backends].concat());
    let before = format!(
        "{{\n admin off\n auto_https disable_redirects\n skip_install_trust\n https_port {port}\n \
         default_bind 127.0.0.1\n storage file_system {folder}/storage\n}}\n"
    );
    fs::write(format!("{folder}/Caddyfile"), before + &recipe).unwrap();
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config", "Caddyfile"]);
    command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
    command
}

fn nginx(folder: &str, port: u16, backends: &[(&str, &str)]) -> Command {
    let own = [
        ("/etc/letsencrypt/live/gateway.example.org", folder),
        ("gateway.example.org", NAME),
        ("listen [::]:443 ssl;", ""),
        ("listen 443 ssl;", &format!("listen 127.0.0.1:{port} ssl;")),
    ];
    let recipe = fill(include_str!("../../../doc/proxy/nginx.conf"), &[&own, backends].concat());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("{name}_temp_path {folder}/{name};\n"))
        .collect();
    let whole = format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {folder}/pid;\nerror_log stderr;\n\
         events {{ worker_connections 512; }}\nhttp {{ access_log off;\n{temporary}{recipe} }}\n"
    );
    fs::write(format!("{folder}/nginx.conf"), whole).unwrap();
    let mut command = Command::new(program("nginx"));
    command.args(["-e", "stderr", "-p", folder, "-c", "nginx.conf"]);
    command
}

fn apache(folder: &str, port: u16, backends: &[(&str, &str)]) -> Command {
    let own = [
        ("/etc/letsencrypt/live/gateway.example.org", folder),
        ("gateway.example.org", NAME),
        ("*:443", &format!("127.0.0.1:{port}")),
    ];
    let recipe = fill(include_str!("../../../doc/proxy/apache.conf"), &[&own, backends].concat());
    let modules: String = ["mpm_event", "authz_core", "env", "ssl", "proxy", "proxy_http"]
        .iter()
        // Debian has it on, for all that browsers read.
        .chain(&["filter", "deflate", "reqtimeout"])
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .collect();
    let whole = format!(
        "ServerRoot {folder}\nServerName {NAME}\nPidFile {folder}/pid\nDefaultRuntimeDir {folder}\n\
         ErrorLog /dev/stderr\nListen 127.0.0.1:{port}\nUser www-data\nGroup www-data\n{modules}\
         AddOutputFilterByType DEFLATE text/plain application/json\n{recipe}"
    );
    fs::write(format!("{folder}/apache.conf"), whole).unwrap();
    let mut command = Command::new(program("apache2"));
    command.args(["-D", "FOREGROUND", "-f", &format!("{folder}/apache.conf")]);
    command
}

fn haproxy(folder: &str, port: u16, backends: &[(&str, &str)]) -> Command {
    let own = [
        ("/etc/haproxy/gateway.example.org.pem", &*format!("{folder}/both.pem")),
        ("bind :443", &format!("bind 127.0.0.1:{port}")),
        // As many descriptors as any account may have.
        ("maxconn 20000", "maxconn 400"),
    ];
    let recipe = fill(include_str!("../../../doc/proxy/haproxy.cfg"), &[&own, backends].concat());
    fs::write(format!("{folder}/haproxy.cfg"), recipe).unwrap();
    let mut command = Command::new(program("haproxy"));
    command.args(["-db", "-f", "haproxy.cfg"]);
    command
}

/// Debian gives an ordinary user no /usr/sbin.
fn program(name: &str) -> String {
    let path = format!("/usr/sbin/{name}");
    if Path::new(&path).exists() { path } else { name.to_owned() }
}
