//! A renewal of the server's key logs no phone out, however it happens.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::dashboard::Seen;
use crate::support::phone::seal;
use crate::support::server::{Folder, command};
use crate::support::{Dashboard, PASSWORD, Phone, Schema, Server, USER, post, until};

/// A phone that has synced, what it keeps, and the server's key as it saw it.
struct Synced {
    phone: Phone,
    key: String,
    server_pem: String,
}

fn begin(server: &Server, url: &str, phone: &Phone) -> String {
    let answer = post(&server.api, url, &phone.key_body());
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["public_key"].as_str().unwrap().to_owned()
}

fn finish(server: &Server, url: &str, phone: Phone, server_pem: String) -> Synced {
    let public = PKey::public_key_from_pem(server_pem.as_bytes()).unwrap();
    let body = json!({ "password": seal(&public, PASSWORD, "sha256", "sha1") }).to_string();
    let answer = post(&server.api, url, &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let key = phone.open(&answer.json()["shared_key"], "sha256", "sha1");
    Synced { phone, key, server_pem }
}

fn sync(server: &Server) -> Synced {
    let (_dashboard, url) = server.code(USER);
    let phone = Phone::new();
    let server_pem = begin(server, &url, &phone);
    finish(server, &url, phone, server_pem)
}

fn verifies(server: &Server, schema: &Schema, synced: &Synced) -> bool {
    let body = synced.phone.verification_body_under(&synced.server_pem, &schema.msisdn_hash());
    let answer = post(&server.api, "/v2/sync/users/verification", &body);
    let key = |answer: &Value| synced.phone.open(&answer["shared_key"], "sha256", "sha1");
    answer.status == 200 && key(&answer.json()) == synced.key
}

fn keys(folder: &Folder, words: &[&str]) -> Output {
    command(folder).arg("keys").args(words).output().unwrap()
}

fn rotate(folder: &Folder) {
    let output = keys(folder, &["rotate"]);
    assert!(output.status.success(), "{output:?}");
}

/// Waits until the server says that it has taken the key in the folder.
fn await_current(server: &Server, folder: &Folder) {
    let list = String::from_utf8(keys(folder, &["list"]).stdout).unwrap();
    let fingerprint = list.lines().next().unwrap().split(' ').next_back().unwrap();
    let line = format!("server keys current={}", &fingerprint[..8]);
    until("the server takes the current key", || server.log().contains(&line));
}

/// The key that step 1 hands out.
fn current(server: &Server) -> String {
    let mut dashboard = Dashboard::open(&server.session(USER));
    begin(server, &dashboard.url(), &Phone::new())
}

fn folder_with_key() -> Arc<Folder> {
    let folder = Folder::new();
    assert!(keys(&folder, &["generate"]).status.success());
    Arc::new(folder)
}

/// As certbot and Caddy renew: a whole file in place of another.
fn renew(path: &Path) -> String {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let new = path.with_extension("new");
    fs::write(&new, key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    fs::rename(new, path).unwrap();
    String::from_utf8(key.public_key_to_pem().unwrap()).unwrap()
}

#[test]
fn a_phone_verifies_after_two_rotations_and_a_restart() {
    let schema = Schema::new();
    let folder = folder_with_key();
    let server = Server::start_in(&folder, &schema, &[]);
    let synced = sync(&server);
    rotate(&folder);
    await_current(&server, &folder);
    assert_ne!(current(&server), synced.server_pem);
    assert!(verifies(&server, &schema, &synced));
    server.stop();
    rotate(&folder);
    let server = Server::start_in(&folder, &schema, &[]);
    assert_ne!(current(&server), synced.server_pem);
    assert!(verifies(&server, &schema, &synced));
    let list = String::from_utf8(keys(&folder, &["list"]).stdout).unwrap();
    let words: Vec<_> = list.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(words, ["current", "retired", "retired"], "{list}");
    assert!(list.lines().all(|line| line.contains(" 2048 bits ") && line.contains(" GMT ")));
}

#[test]
fn a_renewal_while_the_server_is_down_loses_no_key() {
    let schema = Schema::new();
    let folder = folder_with_key();
    let server = Server::start_in(&folder, &schema, &[]);
    let synced = sync(&server);
    server.stop();
    let pem = renew(&folder.0.join("server.key"));
    let server = Server::start_in(&folder, &schema, &[]);
    assert_eq!(current(&server), pem);
    assert!(verifies(&server, &schema, &synced));
}

#[test]
fn a_key_is_swapped_under_open_sockets_and_a_handshake_under_way() {
    let schema = Schema::new();
    let folder = folder_with_key();
    let server = Server::start_in(&folder, &schema, &[]);
    let (mut dashboard, url) = server.code(USER);
    let phone = Phone::new();
    let server_pem = begin(&server, &url, &phone);
    let pem = renew(&folder.0.join("server.key"));
    server.signal(Signal::HUP);
    await_current(&server, &folder);
    assert_eq!(current(&server), pem);
    let synced = finish(&server, &url, phone, server_pem);
    dashboard.expect(&[Seen::Text("201- pause".into()), Seen::Text("200- ack".into())]);
    assert!(verifies(&server, &schema, &synced));
}

#[test]
fn a_bad_new_file_keeps_the_key_and_is_told_to_the_log() {
    let schema = Schema::new();
    let folder = folder_with_key();
    let server = Server::start_in(&folder, &schema, &[]);
    let synced = sync(&server);
    let path = folder.0.join("server.key");
    let ec = EcKey::generate(&EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap()).unwrap();
    fs::write(&path, ec.private_key_to_pem().unwrap()).unwrap();
    server.signal(Signal::HUP);
    until("the log tells", || {
        let log = server.log();
        log.contains("the server keys stay as they were") && log.contains("--key-type rsa")
    });
    assert_eq!(current(&server), synced.server_pem);
    assert!(verifies(&server, &schema, &synced));
    let pem = renew(&path);
    await_current(&server, &folder);
    assert_eq!(current(&server), pem);
    assert!(verifies(&server, &schema, &synced));
}

#[test]
fn an_old_installations_key_is_added_to_a_running_server() {
    let schema = Schema::new();
    let old = folder_with_key();
    let server = Server::start_in(&old, &schema, &[]);
    let synced = sync(&server);
    server.stop();

    let folder = folder_with_key();
    let server = Server::start_in(&folder, &schema, &[]);
    let body = synced.phone.verification_body_under(&synced.server_pem, &schema.msisdn_hash());
    let answer = post(&server.api, "/v2/sync/users/verification", &body);
    assert_eq!(answer.status, 400, "a key that is not in the ring: {answer:?}");
    let file = old.0.join("server.key");
    let output = keys(&folder, &["add", file.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    until("the phone is served", || verifies(&server, &schema, &synced));
}

#[test]
fn what_the_commands_refuse_names_the_remedy() {
    let folder = folder_with_key();
    let refused = |folder: &Folder, words: &[&str], told: &str| {
        let output = keys(folder, words);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(said.contains(told), "{words:?}: {said}");
    };
    let ec = EcKey::generate(&EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap()).unwrap();
    fs::write(folder.0.join("ec.pem"), ec.private_key_to_pem().unwrap()).unwrap();
    fs::write(folder.0.join("note.txt"), "hello").unwrap();
    refused(&folder, &["add", "ec.pem"], "--key-type rsa");
    refused(&folder, &["add", "note.txt"], "holds no RSA private key");
    refused(&folder, &["add", "nowhere.pem"], "there is no key to add at nowhere.pem");
    let empty = Folder::new();
    refused(&empty, &["list"], "keys generate");
    refused(&empty, &["rotate"], "keys generate");
    let link = Folder::new();
    std::os::unix::fs::symlink(folder.0.join("server.key"), link.0.join("server.key")).unwrap();
    refused(&link, &["rotate"], "let that program renew it");
}

#[test]
fn a_pipe_or_a_gigabyte_in_the_ring_holds_nobody_up() {
    let folder = folder_with_key();
    let schema = Schema::new();
    let mut server = Server::start_in(&folder, &schema, &[]);
    let ring = folder.0.join("ring");
    fs::File::create(ring.join("large.pem")).unwrap().set_len(1 << 30).unwrap();
    let made = Command::new("mkfifo").arg(ring.join("pipe.pem")).status().unwrap();
    assert!(made.success());
    server.signal(Signal::HUP);
    let told = |what| server.log().contains(what);
    until("both are told", || told("no regular file") && told("larger than 1 MiB"));
    assert!(server.resident() < 256 << 20, "{}", server.resident());
    sync(&server);
    server.signal(Signal::TERM);
    assert!(server.wait().success());
}
