//! Each recipe of doc/proxy in front of the real server, by the clients that will use it.
//!
//! The short form runs with all tests, the long one, where the socket is quiet beyond every
//! proxy's habits, with `make soak`.

use std::net::Ipv4Addr;
use std::time::Duration;

use rustix::process::Signal;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::support::dashboard::Seen;
use crate::support::phone::{is_shared_key, seal};
use crate::support::proxy::{Kind, Proxy, free_port};
use crate::support::tls::{Client, NAME};
use crate::support::{Dashboard, PASSWORD, Phone, Schema, Server, USER, get, request, soak, until};

const ORIGIN: &str = "https://dashboard.example.org";

/// A server that knows how it is reached through its proxy.
struct Site {
    schema: Schema,
    proxy: Proxy,
    server: Server,
    ports: [u16; 2],
}

impl Site {
    fn start(kind: Kind) -> Self {
        let ports = [free_port(), free_port()];
        let proxy = Proxy::start(kind, ports[0], ports[1]);
        let schema = Schema::new();
        let server = Site::serve(&schema, &proxy, ports);
        let site = Site { schema, proxy, server, ports };
        until("the proxy serves", || site.serves());
        site
    }

    fn serve(schema: &Schema, proxy: &Proxy, [api, sockets]: [u16; 2]) -> Server {
        let host = format!("{NAME}:{}", proxy.port);
        Server::start(
            schema,
            &[
                ("GATEWAY_HTTP_LISTEN", &format!("127.0.0.1:{api}")),
                ("GATEWAY_HTTP_PUBLIC_URL", &format!("https://{host}")),
                ("GATEWAY_HTTP_ALLOWED_ORIGINS", ORIGIN),
                ("GATEWAY_HTTP_TRUSTED_PROXIES", "127.0.0.1"),
                ("GATEWAY_WEBSOCKET_LISTEN", &format!("127.0.0.1:{sockets}")),
                ("GATEWAY_WEBSOCKET_PUBLIC_URL", &format!("wss://{host}")),
                ("GATEWAY_KEYS_PRIVATE_KEY", proxy.key.to_str().unwrap()),
                ("GATEWAY_LIMITS_MAX_SOCKETS_PER_USER_AND_ADDRESS", "2"),
            ],
        )
    }

    /// Whether the server answers through the proxy.
    fn serves(&self) -> bool {
        let answer = self.proxy.client().try_request("GET", "/", &[], b"");
        answer.is_some_and(|answer| answer.status == 200)
    }

    /// The URL of a new session's socket, from the dashboard's page.
    fn session(&self) -> String {
        let path = format!("/v2/sync/users/{USER}");
        let headers = [("Origin", ORIGIN), ("Content-Type", "text/plain")];
        let answer = self.proxy.client().request("GET", &path, &headers, b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.header("content-encoding"), None);
        let url = answer.text();
        assert!(url.starts_with(&format!("wss://{NAME}:{}/", self.proxy.port)), "{url}");
        url
    }

    fn try_open(&self, client: &Client, origin: &str, forged: &str) -> Result<Tunnel, u16> {
        let headers = [("origin", origin), ("x-forwarded-for", forged)];
        Dashboard::try_open_tls(client, &self.session(), &headers)
    }

    fn open(&self) -> Tunnel {
        self.try_open(&self.proxy.client(), ORIGIN, "198.51.100.1").unwrap()
    }
}

type Tunnel = Dashboard<openssl::ssl::SslStream<std::net::TcpStream>>;

fn both_apps_sync(site: &Site) {
    let client = site.proxy.client();
    let key = client.server_key();
    let synced = [
        Seen::Text("201- pause".into()),
        Seen::Text("200- ack".into()),
        Seen::Close(CloseCode::Normal),
    ];

    let mut dashboard = site.open();
    let url = dashboard.url();
    assert!(url.starts_with(&format!("https://{NAME}:{}/", site.proxy.port)), "{url}");
    let phone = Phone::new();
    let answer = client.post(&url, &phone.one_step_body_under(&key, PASSWORD));
    assert_eq!(answer.status, 200, "{answer:?}");
    let secret = phone.open(&answer.json()["shared_key"], "sha256", "sha1");
    assert!(is_shared_key(&secret));
    assert_eq!(site.schema.rows()[0].shared_key, secret);
    dashboard.expect(&synced);

    let mut dashboard = site.open();
    let url = dashboard.url();
    let first = client.post(&url, &phone.key_body()).json();
    let pem = String::from_utf8(key.public_key_to_pem().unwrap()).unwrap();
    assert_eq!(first["public_key"], pem, "the certificate's key is the server's");
    let password = seal(&key, PASSWORD, "sha256", "sha1");
    let second = client.post(&url, &serde_json::json!({ "password": password }).to_string());
    assert_eq!(second.status, 200, "{second:?}");
    dashboard.expect(&synced);
}

fn pages_are_told_apart(site: &Site) {
    let client = site.proxy.client();
    let path = format!("/v2/sync/users/{USER}");
    let preflight = |origin| {
        let headers = [("Origin", origin), ("Access-Control-Request-Method", "GET")];
        client.request("OPTIONS", &path, &headers, b"")
    };
    let allowed = preflight(ORIGIN);
    assert_eq!((allowed.status, allowed.header("vary")), (200, Some("Origin")));
    assert_eq!(allowed.header("access-control-allow-headers"), Some("content-type"));
    assert_eq!(preflight("https://evil.example").status, 403);
    assert_eq!(site.try_open(&client, "https://evil.example", "").err(), Some(403));
}

fn what_is_refused_arrives_as_it_is(site: &Site) {
    let client = site.proxy.client();
    let mut dashboard = site.open();
    let url = dashboard.url();
    let path = &url[url.find("/v2").unwrap()..];
    for size in [70_000, 300_000] {
        let answer = client.request("POST", path, &[], &vec![b'x'; size]);
        assert_eq!(answer.status, 413, "{size}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    let direct = request(&site.server.api, "POST", path, &[], b"{}");
    let through = client.request("POST", path, &[], b"{}");
    assert_eq!((through.status, &through.body), (400, &direct.body));
    // Nothing is decoded, joined or cut out on the way.
    for path in ["/v2/sync/users/%61da", "/v2/sync/users/..%2Fx"] {
        assert_eq!(client.get(path).status, get(&site.server.api, path).status, "{path}");
    }
}

fn clients_count_by_their_own_address(site: &Site) {
    let from = |last| site.proxy.client().from(Ipv4Addr::new(127, 0, 0, last));
    let _held = [(); 2].map(|()| site.try_open(&from(2), ORIGIN, "").unwrap());
    assert_eq!(site.try_open(&from(2), ORIGIN, "").err(), Some(429));
    assert_eq!(site.try_open(&from(2), ORIGIN, "203.0.113.9").err(), Some(429));
    assert!(site.try_open(&from(3), ORIGIN, "127.0.0.2").is_ok());
}

fn a_quiet_socket_stays(site: &Site) {
    let mut dashboard = site.open();
    let url = dashboard.url();
    dashboard.idle(if soak() { Duration::from_secs(185) } else { Duration::from_secs(2) });
    let client = site.proxy.client();
    let phone = Phone::new();
    assert_eq!(client.post(&url, &phone.key_body()).status, 200);
    dashboard.expect(&[Seen::Text("201- pause".into())]);
    // Nearly as long as the pause lasts.
    dashboard.idle(Duration::from_secs(if soak() { 110 } else { 1 }));
    let password = seal(&client.server_key(), PASSWORD, "sha256", "sha1");
    let body = serde_json::json!({ "password": password }).to_string();
    assert_eq!(client.post(&url, &body).status, 200);
    dashboard.expect(&[Seen::Text("200- ack".into()), Seen::Close(CloseCode::Normal)]);
}

fn a_restart_is_survived(mut site: Site) {
    let mut dashboard = site.open();
    dashboard.url();
    site.server.signal(Signal::TERM);
    assert_eq!(dashboard.next(), Seen::Close(CloseCode::Away));
    site.server.wait();
    assert!(!site.serves());
    site.server = Site::serve(&site.schema, &site.proxy, site.ports);
    until("the proxy has found the server again", || site.serves());
    both_apps_sync(&site);
}

fn serves_behind(kind: Kind) {
    let site = Site::start(kind);
    both_apps_sync(&site);
    pages_are_told_apart(&site);
    what_is_refused_arrives_as_it_is(&site);
    clients_count_by_their_own_address(&site);
    a_quiet_socket_stays(&site);
    a_restart_is_survived(site);
}

#[test]
fn caddy() {
    serves_behind(Kind::Caddy);
}

#[test]
fn nginx() {
    serves_behind(Kind::Nginx);
}

#[test]
fn apache() {
    serves_behind(Kind::Apache);
}

#[test]
fn haproxy() {
    serves_behind(Kind::Haproxy);
}

#[test]
fn a_peer_that_is_not_trusted_speaks_for_itself_alone_and_is_reported_once() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[("GATEWAY_HTTP_TRUSTED_PROXIES", "192.0.2.0/24")]);
    for forged in ["203.0.113.1", "203.0.113.2"] {
        for address in [&server.api, &server.sockets] {
            request(address, "GET", "/", &[("X-Forwarded-For", forged)], b"");
        }
    }
    let log = server.log();
    assert_eq!(log.matches("trusted_proxies").count(), 1, "{log}");
    assert!(!log.contains("203.0.113."), "{log}");
}
