//! What SIGHUP takes over from the settings, and what it leaves for a restart.

use std::fs;
use std::sync::Arc;

use rustix::process::Signal;

use crate::support::server::Folder;
use crate::support::{Schema, Server, request, until};

/// A server with its settings in a file, but for where it listens and its database.
fn start(schema: &Schema, ini: &str) -> (Arc<Folder>, Server) {
    let folder = Arc::new(Folder::furnished());
    fs::write(folder.0.join("gateway.ini"), ini).unwrap();
    let server = Server::start_in(&folder, schema, &[]);
    (folder, server)
}

/// Whether pages of this origin may read answers.
fn allows(server: &Server, origin: &str) -> bool {
    let answer = request(&server.api, "GET", "/", &[("Origin", origin)], b"");
    answer.header("access-control-allow-origin").is_some()
}

fn reload(server: &Server, folder: &Folder, ini: &str, told: &str) {
    fs::write(folder.0.join("gateway.ini"), ini).unwrap();
    let before = server.log().matches(told).count();
    server.signal(Signal::HUP);
    until(told, || server.log().matches(told).count() > before);
}

const A: &str = "https://a.example";
const B: &str = "https://b.example";

#[test]
fn origins_and_removers_are_taken_over_and_the_rest_is_named() {
    let schema = Schema::new();
    let (folder, server) = start(&schema, "[http]\nallowed_origins = https://a.example\n");
    assert!(allows(&server, A) && !allows(&server, B));
    let removal = || request(&server.api, "DELETE", "/v2/sync/users", &[], b"{}").status;
    assert_eq!(removal(), 400);
    reload(
        &server,
        &folder,
        "[http]\nallowed_origins = https://b.example\n[limits]\nremoval_allowed_addresses = ::1\n",
        "settings read again taken=\"[http] allowed_origins, [limits] removal_allowed_addresses\"",
    );
    assert!(!allows(&server, A) && allows(&server, B));
    assert_eq!(removal(), 403);
    // What waits for a restart is told each time, for the server goes on without it.
    let restart = "[http]\nallowed_origins = https://b.example\n[limits]\nmax_body = 9000\n";
    let told = "settings wait for a restart settings=\"[limits] max_body\"";
    reload(&server, &folder, restart, told);
    reload(&server, &folder, restart, told);
    assert_eq!(removal(), 400);
    assert!(allows(&server, B));
}

#[test]
fn wrong_settings_leave_all_as_it_is() {
    let schema = Schema::new();
    let (folder, server) = start(&schema, "[http]\nallowed_origins = https://a.example\n");
    let told = "the settings stay as they were cause=\"";
    let wrong = "[http]\nallowed_origins = https://b.example\n[limits]\nmax_body = 1\n";
    reload(&server, &folder, wrong, told);
    until("the place is told", || server.log().contains("gateway.ini:4: [limits] max_body = 1"));
    assert!(allows(&server, A) && !allows(&server, B));
    // A file that is gone is no wish for defaults.
    fs::remove_file(folder.0.join("gateway.ini")).unwrap();
    let before = server.log().matches(told).count();
    server.signal(Signal::HUP);
    until("it is told", || server.log().matches(told).count() > before);
    assert!(allows(&server, A));
}

#[test]
fn the_log_level_is_taken_over() {
    let schema = Schema::new();
    let folder = Arc::new(Folder::furnished());
    let ini = |level: &str| {
        let text = format!("[log]\nlevel = {level}\nfailed_passwords = yes\n");
        fs::write(folder.0.join("gateway.ini"), text).unwrap();
    };
    ini("debug");
    // The harness sets the level in the environment, which would override the file.
    let server = Server::start_without(&folder, &schema, "GATEWAY_LOG_LEVEL");
    let sessions = || server.log().matches("session issued").count();
    server.session("ada");
    until("the session is told", || sessions() == 1);
    ini("error");
    server.signal(Signal::HUP);
    // At this level the taking over is not told; a line that would come says it is done.
    until("no session is told", || {
        let before = sessions();
        server.session("ada");
        std::thread::sleep(std::time::Duration::from_millis(20));
        sessions() == before
    });
    ini("debug");
    server.signal(Signal::HUP);
    until("taken over", || server.log().contains("settings read again taken=\"[log] level\""));
}
