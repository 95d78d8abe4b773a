//! TLS on both ports by the server itself (contract §1 to §3).

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslStream, SslVersion};
use rustix::process::Signal;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::check::{check, finding};
use crate::support::dashboard::Seen;
use crate::support::http::{connect, raw};
use crate::support::phone::is_shared_key;
use crate::support::server::{Folder, KEY, command};
use crate::support::tls::{Authority, Client, NAME, short_lived};
use crate::support::{Dashboard, PASSWORD, Phone, Schema, Server, USER, soak, until};

/// A server with a certificate, and what renews it.
struct Site {
    server: Server,
    authority: Authority,
    certificate: PathBuf,
    folder: Folder,
    _schema: Schema,
}

impl Site {
    fn start(settings: &[(&str, &str)]) -> Self {
        let (schema, folder, authority) = (Schema::new(), Folder::new(), Authority::new());
        let certificate = folder.0.join("fullchain.pem");
        let key = folder.0.join("privkey.pem");
        fs::write(&certificate, authority.issue(&KEY, 2)).unwrap();
        fs::write(&key, KEY.private_key_to_pem_pkcs8().unwrap()).unwrap();
        let named = [
            ("GATEWAY_TLS_CERTIFICATE", certificate.to_str().unwrap()),
            ("GATEWAY_TLS_PRIVATE_KEY", key.to_str().unwrap()),
        ];
        let server = Server::start(&schema, &[&named, settings].concat());
        Site { server, authority, certificate, folder, _schema: schema }
    }

    fn api(&self) -> Client {
        self.authority.client(&self.server.api)
    }

    fn sockets(&self) -> Client {
        self.authority.client(&self.server.sockets)
    }

    fn open(&self) -> Dashboard<SslStream<TcpStream>> {
        let url = self.api().get(&format!("/v2/sync/users/{USER}")).text();
        assert!(url.starts_with(&format!("wss://{}/", self.server.sockets)), "{url}");
        Dashboard::open_tls(&self.sockets(), &url)
    }

    /// The serial number of the certificate that a newcomer sees.
    fn serial(&self) -> String {
        let stream = self.api().connect();
        let leaf = stream.ssl().peer_certificate().unwrap();
        leaf.serial_number().to_bn().unwrap().to_dec_str().unwrap().to_string()
    }
}

#[test]
fn qr_finds_a_server_that_serves_tls_where_the_settings_have_it() {
    let site = Site::start(&[]);
    let mut qr = command(&site.folder);
    qr.args(["qr", USER, "--insecure"]).env("GATEWAY_HTTP_LISTEN", &site.server.api);
    qr.env("GATEWAY_TLS_CERTIFICATE", &site.certificate).stdout(Stdio::piped());
    let mut qr = qr.spawn().unwrap();
    let mut code = String::new();
    BufReader::new(qr.stdout.take().unwrap()).read_line(&mut code).unwrap();
    qr.kill().unwrap();
    qr.wait().unwrap();
    assert!(code.starts_with(&format!("https://{}/", site.server.api)), "{code:?}");
}

/// What `check` says of settings with this chain for the key of all servers.
fn checked(chain: &[u8]) -> String {
    let folder = Folder::furnished();
    fs::write(folder.0.join("chain.pem"), chain).unwrap();
    fs::write(folder.0.join("gateway.ini"), "[tls]\ncertificate = chain.pem\n").unwrap();
    let (code, said) = check(&folder, &["--offline"], &[]);
    assert_eq!(code, Some(0), "{said}");
    said
}

#[test]
fn a_fresh_certificate_for_six_days_is_no_warning() {
    let said = checked(&short_lived(&KEY).to_pem().unwrap());
    finding(&said, "good", "the certificate chain.pem is for the server's key");
}

#[test]
fn a_certificate_without_its_chain_is_told_before_a_phone_distrusts_it() {
    let chain = Authority::new().issue(&KEY, 2);
    let alone = chain.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap();
    let said = checked(alone.as_bytes());
    let (_, remedy) = finding(&said, "warning", "chain.pem comes without the chain behind it");
    assert!(remedy.contains("fullchain.pem"), "{said}");
    let said = checked(chain.as_bytes());
    finding(&said, "good", "the certificate chain.pem is for the server's key");
}

#[test]
fn the_one_step_app_syncs_with_the_key_of_the_certificate() {
    let site = Site::start(&[]);
    let mut dashboard = site.open();
    let url = dashboard.url();
    assert!(url.starts_with(&format!("https://{}/", site.server.api)), "{url}");
    let key = site.api().server_key();
    let phone = Phone::new();
    let answer = site.api().post(&url, &phone.one_step_body_under(&key, PASSWORD));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("strict-transport-security"), None);
    assert!(is_shared_key(&phone.open(&answer.json()["shared_key"], "sha256", "sha1")));
    dashboard.expect(&[
        Seen::Text("201- pause".into()),
        Seen::Text("200- ack".into()),
        Seen::Close(CloseCode::Normal),
    ]);
    // The connection ends as TLS wants it, not cut off.
    let mut rest = Vec::new();
    assert!(matches!(dashboard.socket.get_mut().read_to_end(&mut rest), Ok(0)), "{rest:?}");
}

#[test]
fn the_two_step_app_syncs_and_its_frame_says_apps() {
    let site = Site::start(&[("GATEWAY_TLS_HSTS", "300")]);
    let mut dashboard = site.open();
    let tungstenite::Message::Text(frame) = dashboard.socket.read().unwrap() else { panic!() };
    let frame: serde_json::Value = serde_json::from_str(frame.as_str()).unwrap();
    let url = frame["qr_url"].as_str().unwrap();
    assert_eq!(frame["mobile_url"], url.replacen("https", "apps", 1));
    let phone = Phone::new();
    let first = site.api().post(url, &phone.key_body());
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(first.header("strict-transport-security"), Some("max-age=300"));
    let second = site.api().post(url, &Phone::password_body(PASSWORD));
    assert_eq!(second.status, 200, "{second:?}");
}

#[test]
fn tls_1_2_and_1_3_are_spoken_and_older_ones_are_not() {
    let site = Site::start(&[]);
    let speaks = |version: SslVersion| {
        let mut context = SslContext::builder(SslMethod::tls_client()).unwrap();
        // What this machine's own policy forbids is offered all the same.
        context.set_cipher_list("DEFAULT:@SECLEVEL=0").unwrap();
        context.set_min_proto_version(Some(version)).unwrap();
        context.set_max_proto_version(Some(version)).unwrap();
        let session = Ssl::new(&context.build()).unwrap();
        session.connect(connect(&site.server.api)).is_ok()
    };
    assert!(speaks(SslVersion::TLS1_3) && speaks(SslVersion::TLS1_2));
    assert!(!speaks(SslVersion::TLS1_1) && !speaks(SslVersion::TLS1));
}

#[test]
fn plain_http_on_the_tls_port_is_told_so_and_garbage_and_silence_hurt_nobody() {
    let site = Site::start(&[("GATEWAY_LIMITS_REQUEST_TIMEOUT", "1")]);
    for address in [&site.server.api, &site.server.sockets] {
        let answer = raw(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains("https://"), "{answer:?}");
        let mut garbage = connect(address);
        garbage.write_all(&[22, 3, 1, 0, 4, 1, 2, 3, 4]).unwrap();
        // Byte by byte changes nothing: the whole handshake has one deadline.
        let start = Instant::now();
        let mut slow = connect(address);
        let mut open = true;
        while open && start.elapsed() < Duration::from_secs(10) {
            let _ = slow.write_all(&[22]);
            slow.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            open = slow.read(&mut [0; 64]).is_err();
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
    assert_eq!(site.api().get("/").status, 200);
}

#[test]
fn a_page_that_floods_tls_itself_is_closed_like_any_other_flood() {
    let site = Site::start(&[]);
    let mut talker = site.open();
    talker.url();
    // A message without an end, a byte a record: of 23 bytes on the line, 22 are TLS's own.
    let opening = [0x01, 0x80, 0, 0, 0, 0];
    let part = [0x00, 0x80, 0, 0, 0, 0];
    let bytes = opening.into_iter().chain(part.into_iter().cycle()).take(20_000);
    let line = talker.socket.get_mut();
    for byte in bytes {
        if line.write_all(&[byte]).is_err() {
            break;
        }
    }
    until("the flood is closed", || site.server.log().contains("socket closed"));
}

#[test]
fn a_request_that_stalls_is_answered_408_through_tls() {
    let site = Site::start(&[("GATEWAY_LIMITS_REQUEST_TIMEOUT", "1")]);
    let mut stream = site.api().connect();
    write!(stream, "POST / HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 9\r\n\r\nhalf").unwrap();
    let answer = crate::support::Answer::read(&mut stream).unwrap();
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(matches!(stream.read(&mut [0; 1]), Ok(0)));
}

#[test]
fn a_wrong_certificate_stops_the_start_with_its_remedy() {
    let authority = Authority::new();
    let elliptic = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let elliptic = PKey::from_ec_key(EcKey::generate(&elliptic).unwrap()).unwrap();
    let other = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let check = |pem: &str, key: &PKey<openssl::pkey::Private>, told: &str| {
        let folder = Folder::new();
        fs::write(folder.0.join("chain.pem"), pem).unwrap();
        fs::write(folder.0.join("key.pem"), key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        let mut command = command(&folder);
        command.env("GATEWAY_TLS_CERTIFICATE", "chain.pem");
        let output = command.env("GATEWAY_TLS_PRIVATE_KEY", "key.pem").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(told), "{told} is missing in {said}");
    };
    check(&authority.issue(&elliptic, 2), &elliptic, "--key-type rsa");
    check(&authority.issue(&elliptic, 2), &other, "--key-type rsa");
    check(&authority.issue(&other, 2), &KEY, "is for another key");
    check("hello", &KEY, "is no chain of certificates in PEM");
    check("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &KEY, "is no chain");
}

/// Resident KiB a socket, of this many that are open and quiet.
fn resident_each<S>(server: &Server, count: usize, mut open: impl FnMut() -> Dashboard<S>) -> usize
where
    S: std::io::Read + std::io::Write,
{
    // What the first connections leave behind is no socket's.
    for _ in 0..8 {
        open().url();
    }
    until("the first have left", || {
        server.log().matches("socket closed").count() >= 8
            || server.log().matches("socket lost").count() >= 8
    });
    let before = server.resident();
    let held: Vec<_> = (0..count)
        .map(|_| {
            let mut dashboard = open();
            dashboard.url();
            dashboard
        })
        .collect();
    (server.resident() - before) / held.len() / 1024
}

#[test]
fn a_tls_socket_costs_little_more_memory_than_a_plain_one() {
    let count = if soak() { 1000 } else { 50 };
    let limits = [
        ("GATEWAY_LIMITS_MAX_CONNECTIONS_PER_ADDRESS", "2000"),
        ("GATEWAY_LIMITS_MAX_SOCKETS_PER_USER_AND_ADDRESS", "2000"),
    ];
    let schema = Schema::new();
    let server = Server::start(&schema, &limits);
    let plain = resident_each(&server, count, || Dashboard::open(&server.session(USER)));
    let site = Site::start(&limits);
    let secure = resident_each(&site.server, count, || site.open());
    eprintln!("resident of {count} sockets: plain {plain} KiB each, TLS {secure} KiB each");
    assert!(secure < plain + 96, "plain {plain}, TLS {secure}");
}

#[test]
fn a_renewed_certificate_comes_in_under_200_open_sockets_and_a_wrong_one_does_not() {
    let site = Site::start(&[
        // Nobody reads meanwhile, nor answers pings.
        ("GATEWAY_LIMITS_PING_INTERVAL", "600"),
        ("GATEWAY_LIMITS_MAX_CONNECTIONS_PER_ADDRESS", "300"),
        ("GATEWAY_LIMITS_MAX_SOCKETS_PER_USER_AND_ADDRESS", "300"),
    ]);
    let mut dashboards: Vec<_> = (0..200).map(|_| site.open()).collect();
    let urls: Vec<String> = dashboards.iter_mut().map(Dashboard::url).collect();
    assert_eq!(site.serial(), "2");

    fs::write(&site.certificate, site.authority.issue(&KEY, 3)).unwrap();
    until("the change is noticed", || site.serial() == "3");

    let stays = |server: &Server| server.log().matches("certificate stays as it was").count();
    fs::write(&site.certificate, "hello").unwrap();
    site.server.signal(Signal::HUP);
    until("the mistake is told", || stays(&site.server) == 1);
    assert_eq!(site.serial(), "3");
    let other = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    fs::write(&site.certificate, site.authority.issue(&other, 4)).unwrap();
    until("the other mistake is told", || site.server.log().contains("is for another key"));
    assert_eq!(site.serial(), "3");

    fs::write(&site.certificate, site.authority.issue(&KEY, 5)).unwrap();
    site.server.signal(Signal::HUP);
    until("the signal is heard", || site.serial() == "5");

    // Every socket is as it was, each way.
    let phone = Phone::new();
    for (dashboard, url) in dashboards.iter_mut().zip(&urls) {
        assert_eq!(site.api().post(url, &phone.key_body()).status, 200);
        assert_eq!(dashboard.next(), Seen::Text("201- pause".into()));
    }
}

#[test]
fn a_renewal_with_another_key_serves_phones_that_know_the_one_before() {
    let site = Site::start(&[]);
    let known = site.api().server_key();
    let renewed = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    // As certbot tells of a renewal.
    let lineage = Folder::new();
    let key = renewed.private_key_to_pem_pkcs8().unwrap();
    fs::write(lineage.0.join("privkey.pem"), key).unwrap();
    fs::write(lineage.0.join("fullchain.pem"), site.authority.issue(&renewed, 3)).unwrap();
    let hook = concat!(env!("CARGO_MANIFEST_DIR"), "/doc/proxy/renewal-hook");
    let mut hook = Command::new(hook);
    hook.env("RENEWED_LINEAGE", &lineage.0).env("SWOB_TLS", &site.folder.0);
    let group = fs::metadata(&site.folder.0).unwrap().gid().to_string();
    assert!(hook.env("SWOB_GROUP", group).status().unwrap().success());
    let mode = fs::metadata(site.folder.0.join("privkey.pem")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o640);
    until("the renewal is noticed", || site.serial() == "3");
    let shown = site.api().server_key();
    assert!(shown.public_eq(&renewed));
    for key in [&shown, &known] {
        let mut dashboard = site.open();
        let url = dashboard.url();
        let answer = site.api().post(&url, &Phone::new().one_step_body_under(key, PASSWORD));
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}
