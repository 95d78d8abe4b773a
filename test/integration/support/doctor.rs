//! `swob-gateway doctor` on a site: a server behind a proxy, or by itself.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Output;

use openssl::pkey::{PKey, Private};
use serde_json::Value;

use super::proxy::{Kind, Proxy, free_port};
use super::server::{Folder, KEY, command};
use super::tls::{Authority, NAME};
use super::{Schema, Server, until};

pub const ORIGIN: &str = "https://dashboard.example.org";

/// A server that is reached as [`NAME`].
pub struct Site {
    pub schema: Schema,
    _server: Server,
    pub port: u16,
    root: PathBuf,
    _proxy: Option<Proxy>,
    _folder: Option<Folder>,
}

/// What is not as it should be.
#[derive(Default)]
pub struct Fault<'a> {
    /// Texts of the recipe, replaced.
    pub recipe: &'a [(&'a str, &'a str)],
    /// The key of the certificate, in place of the server's.
    pub key: Option<PKey<Private>>,
    /// Statements in the databases.
    pub sql: &'a str,
    /// Settings of the server.
    pub settings: &'a [(&'a str, &'a str)],
}

impl Site {
    /// Behind a proxy.
    pub fn behind(kind: Kind, fault: &Fault<'_>) -> Self {
        let ports = [free_port(), free_port()];
        let key = fault.key.as_ref().unwrap_or(&KEY);
        let proxy = Proxy::start_with(kind, ports[0], ports[1], key, fault.recipe);
        let own = (kind == Kind::Caddy).then(|| proxy.key.to_str().unwrap().to_owned());
        let more: Vec<_> = own.iter().map(|key| ("GATEWAY_KEYS_PRIVATE_KEY", &**key)).collect();
        let (schema, server) = Site::serve(ports, [proxy.port; 2], &more, fault);
        let (port, root) = (proxy.port, proxy.root.clone());
        until("the proxy listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Site { schema, _server: server, port, root, _proxy: Some(proxy), _folder: None }
    }

    /// With TLS of its own.
    pub fn native(fault: &Fault<'_>) -> Self {
        let (folder, authority) = (Folder::new(), Authority::new());
        let file = |name: &str, text: &[u8]| {
            let path = folder.0.join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let chain = file("fullchain.pem", authority.issue(&KEY, 2).as_bytes());
        let key = file("privkey.pem", &KEY.private_key_to_pem_pkcs8().unwrap());
        let root = file("root.pem", &authority.pem()).into();
        let tls = [("GATEWAY_TLS_CERTIFICATE", &*chain), ("GATEWAY_TLS_PRIVATE_KEY", &*key)];
        let ports = [free_port(), free_port()];
        let (schema, server) = Site::serve(ports, ports, &tls, fault);
        Site { schema, _server: server, port: ports[0], root, _proxy: None, _folder: Some(folder) }
    }

    fn serve(
        ports: [u16; 2],
        public: [u16; 2],
        more: &[(&str, &str)],
        fault: &Fault<'_>,
    ) -> (Schema, Server) {
        let schema = Schema::new();
        fault.sql.split(';').filter(|s| !s.trim().is_empty()).for_each(|s| schema.execute(s));
        let listen = ports.map(|port| format!("127.0.0.1:{port}"));
        let urls = [format!("https://{NAME}:{}", public[0]), format!("wss://{NAME}:{}", public[1])];
        let own = [
            ("GATEWAY_HTTP_LISTEN", &*listen[0]),
            ("GATEWAY_HTTP_PUBLIC_URL", &urls[0]),
            ("GATEWAY_HTTP_ALLOWED_ORIGINS", ORIGIN),
            ("GATEWAY_HTTP_TRUSTED_PROXIES", "127.0.0.1"),
            ("GATEWAY_WEBSOCKET_LISTEN", &listen[1]),
            ("GATEWAY_WEBSOCKET_PUBLIC_URL", &urls[1]),
            ("GATEWAY_LIMITS_PING_INTERVAL", "2"),
            // A busy machine may leave some of them unanswered.
            ("GATEWAY_LIMITS_MISSED_PINGS", "100"),
        ];
        let settings = [&own[..], more, fault.settings].concat();
        let server = Server::start(&schema, &settings);
        (schema, server)
    }

    /// Examines it from an administrator's laptop.
    pub fn examine(&self, words: &[&str]) -> Examined {
        let url = format!("https://{NAME}:{}", self.port);
        let words = [&["--url", &url, "--address", "127.0.0.1"], words].concat();
        examine(&words, Some(&self.root))
    }
}

/// What the doctor said.
pub struct Examined {
    pub code: Option<i32>,
    pub text: String,
    pub errors: String,
}

/// Runs the doctor with these words, in an empty folder.
pub fn examine(words: &[&str], root: Option<&Path>) -> Examined {
    examine_in(&Folder::new(), words, &[], root)
}

/// The same in a folder and with the settings of a server.
pub fn examine_in(
    folder: &Folder,
    words: &[&str],
    settings: &[(&str, &str)],
    root: Option<&Path>,
) -> Examined {
    let mut command = command(folder);
    command.envs(settings.iter().copied());
    command.arg("doctor").args(words).env("LANG", "C.UTF-8");
    command.envs(root.map(|root| ("SSL_CERT_FILE", root)));
    let Output { status, stdout, stderr } = command.output().unwrap();
    let [text, errors] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    Examined { code: status.code(), text, errors }
}

impl Examined {
    /// The object of `--json`.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{}{}", self.text, self.errors))
    }

    /// The findings of one mark: check, what, and the remedy with its lines.
    pub fn marked(&self, mark: &str) -> Vec<[String; 3]> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let all = self.json()["findings"].as_array().unwrap().clone();
        let marked = all.iter().filter(|finding| finding["mark"] == mark);
        marked
            .map(|finding| {
                let remedy = format!("{}\n{:#}", text(&finding["remedy"]), finding["lines"]);
                [text(&finding["check"]), text(&finding["what"]), remedy]
            })
            .collect()
    }
}
