//! The sync page in a real browser, its QR code read by a real scanner from the screenshot.
//!
//! `make test-browser` installs what this needs: Chromium, zbar and axe.

mod camera;
mod chromium;
mod pictures;
#[path = "../integration/support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "a harness of all integration tests, of which these need a part"
)]
mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};

use camera::{Grey, View, decode};
use chromium::Chromium;
use support::server::{Folder, command};
use support::{PASSWORD, Schema, Server, USER, get};

const PAGE: (&str, &str) = ("GATEWAY_PAGE_ENABLED", "yes");

/// A running `phone`, which waits for its owner to type.
struct Phone {
    child: Child,
    _folder: Folder,
}

impl Phone {
    fn scan(url: &str) -> Self {
        let folder = Folder::new();
        let mut command = command(&folder);
        command.args(["phone", url]).stdin(Stdio::piped()).stdout(Stdio::piped());
        Phone { child: command.spawn().unwrap(), _folder: folder }
    }

    fn types(&mut self, password: &str) {
        writeln!(self.child.stdin.as_ref().unwrap(), "{password}").unwrap();
    }

    /// Waits for a line with this text.
    fn says(&mut self, text: &str) {
        let mut lines = BufReader::new(self.child.stdout.as_mut().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains(text)), "the phone does not say {text}");
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The page of a server, its user id typed and sent with the keyboard alone.
fn waiting(browser: &mut Chromium, server: &Server) {
    browser.open(&format!("http://{}/sync", server.api));
    browser.until("document.activeElement !== null");
    for _ in 0..3 {
        browser.press("Tab");
        if browser.value("document.activeElement.id") == "user" {
            break;
        }
    }
    browser.type_text(USER);
    browser.press("Enter");
    reaches(browser, "waiting");
    drawn(browser);
}

/// Waits for a state of the page.
fn reaches(browser: &mut Chromium, state: &str) {
    browser.until(&format!("state === '{state}'"));
}

fn drawn(browser: &mut Chromium) {
    browser.until(
        "document.getElementById('qr').complete && document.getElementById('qr').naturalWidth > 0",
    );
    browser.until("(document.getElementById('qr').scrollIntoView(), true)");
}

/// The phone syncs with the code in the window, and the page follows.
fn syncs(browser: &mut Chromium) {
    let mut phone = Phone::scan(&decode(&browser.screenshot()));
    reaches(browser, "scanned");
    phone.types(PASSWORD);
    phone.says("synced");
    reaches(browser, "complete");
}

/// No violation, and nothing that axe cannot tell.
fn accessible(browser: &mut Chromium, what: &str) {
    let (found, passed) = browser.axe();
    println!("axe: {what}: {passed} rules passed, 0 violated or open");
    assert!(found.is_empty() && passed > 10, "{what}: {found}");
}

fn status(browser: &mut Chromium) -> String {
    browser.text("document.getElementById('status').textContent")
}

#[test]
fn a_person_syncs_from_the_front_door_on() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[PAGE]);
    let mut browser = Chromium::start();
    // It ends at the page, since / leads to it.
    browser.open(&format!("http://{}/", server.api));
    accessible(&mut browser, "start");
    waiting(&mut browser, &server);
    accessible(&mut browser, "waiting");
    assert_eq!(browser.value("document.getElementById('host').textContent"), server.api);
    let shown = browser.value("getComputedStyle(document.querySelector('.phone')).display");
    assert_eq!(shown, "none", "the app is not on this computer");
    let mut phone = Phone::scan(&decode(&browser.screenshot()));
    reaches(&mut browser, "scanned");
    accessible(&mut browser, "scanned");
    assert!(status(&mut browser).starts_with("Scanned."));
    phone.types(PASSWORD);
    phone.says("synced");
    reaches(&mut browser, "complete");
    accessible(&mut browser, "complete");
    assert_eq!(schema.rows().len(), 1);

    browser.press("Tab");
    assert_eq!(browser.value("document.activeElement.id"), "again");
    browser.press("Enter");
    reaches(&mut browser, "start");
    assert_eq!(browser.value("document.getElementById('user').value"), "");

    assert_eq!(browser.complaints, Vec::<String>::new());
    let own = [format!("http://{}/", server.api), format!("ws://{}/", server.sockets)];
    let own =
        |url: &&String| url.starts_with("blob:") || own.iter().any(|own| url.starts_with(own));
    let foreign: Vec<_> = browser.requests.iter().filter(|url| !own(url)).collect();
    assert!(foreign.is_empty() && browser.requests.len() > 5, "{foreign:?}");
    assert!(browser.requests.iter().all(|url| !url.contains("/sessions/")), "ids stay in bodies");
}

#[test]
fn the_code_after_a_rotation_counts_and_the_one_before_does_not() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[PAGE, ("GATEWAY_SYNC_SESSION_SLEEP_TIMEOUT", "6")]);
    let mut browser = Chromium::start();
    waiting(&mut browser, &server);
    let first = decode(&browser.screenshot());
    let left = browser.text("document.querySelector('[data-left]').textContent");
    assert!((1..=6).contains(&left.parse::<u32>().unwrap()), "{left}");
    let picture = browser.text("document.getElementById('qr').src");
    browser.until(&format!("document.getElementById('qr').src !== '{picture}'"));
    drawn(&mut browser);
    let second = decode(&browser.screenshot());
    assert_ne!(first, second);
    let late = support::post(&server.api, &first, &support::Phone::new().key_body());
    assert_eq!(late.status, 404);
    syncs(&mut browser);
}

#[test]
fn codes_that_nobody_scans_expire_and_the_button_begins_again() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[PAGE, ("GATEWAY_SYNC_SESSION_SLEEP_TIMEOUT", "2")]);
    let mut browser = Chromium::start();
    waiting(&mut browser, &server);
    reaches(&mut browser, "expired");
    accessible(&mut browser, "expired");
    assert!(status(&mut browser).starts_with("Expired:"));
    browser.press("Tab");
    browser.press("Enter");
    reaches(&mut browser, "waiting");
}

#[test]
fn a_wrong_password_first_is_typed_again() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[PAGE]);
    let mut browser = Chromium::start();
    waiting(&mut browser, &server);
    let mut phone = Phone::scan(&decode(&browser.screenshot()));
    reaches(&mut browser, "scanned");
    phone.types("not that");
    phone.says("401");
    assert_eq!(browser.value("state"), "scanned");
    phone.types(PASSWORD);
    reaches(&mut browser, "complete");
}

#[test]
fn a_server_that_restarts_is_said_and_the_button_begins_again() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[PAGE]);
    let mut browser = Chromium::start();
    waiting(&mut browser, &server);
    let (api, sockets) = (server.api.clone(), server.sockets.clone());
    drop(server);
    reaches(&mut browser, "refused");
    assert!(status(&mut browser).contains("connection was lost"));
    accessible(&mut browser, "refused");
    browser.press("Tab");
    browser.press("Enter");
    browser.until("state === 'refused'");
    let there = [PAGE, ("GATEWAY_HTTP_LISTEN", &*api), ("GATEWAY_WEBSOCKET_LISTEN", &*sockets)];
    let _server = Server::start(&schema, &there);
    browser.value("document.getElementById('again').click()");
    reaches(&mut browser, "waiting");
    drawn(&mut browser);
    syncs(&mut browser);
}

#[test]
fn a_narrow_screen_shows_the_code_whole_and_opens_the_app() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[PAGE]);
    let mut browser = Chromium::start();
    browser.window(320, 640, 1.0, true);
    waiting(&mut browser, &server);
    accessible(&mut browser, "320 px");
    assert_eq!(browser.value("document.documentElement.scrollWidth"), 320);
    let url = decode(&browser.screenshot());
    let mobile = url.replacen("http://", "app://", 1);
    assert_eq!(browser.value("document.getElementById('open').getAttribute('href')"), mobile);
    let shown = browser.value("getComputedStyle(document.querySelector('.phone')).display");
    assert_eq!(shown, "block");
    syncs(&mut browser);
}

#[test]
fn french_is_spoken_to_those_who_like_it_or_switch() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[PAGE]);
    let mut browser = Chromium::start();
    browser.speaks("fr-CM,fr;q=0.9,en;q=0.8");
    waiting(&mut browser, &server);
    assert_eq!(browser.value("document.documentElement.lang"), "fr");
    assert!(status(&mut browser).starts_with("En attente"));
    accessible(&mut browser, "French");
    syncs(&mut browser);
    assert!(status(&mut browser).starts_with("Terminé"));
    browser.value("document.querySelector('nav a').click()");
    browser.until("document.documentElement?.lang === 'en'");
}

#[test]
fn dark_mode_keeps_the_code_black_on_white() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[PAGE]);
    let mut browser = Chromium::start();
    browser.dark();
    waiting(&mut browser, &server);
    let paper = browser.value("getComputedStyle(document.body).backgroundColor");
    assert_eq!(paper, "rgb(17, 24, 30)");
    accessible(&mut browser, "dark");
    syncs(&mut browser);
}

#[test]
fn a_user_id_is_typed_and_never_taken_from_a_link() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[PAGE]);
    let mut browser = Chromium::start();
    browser.open(&format!("http://{}/sync?user={USER}&id={USER}#{USER}", server.api));
    assert_eq!(browser.value("document.getElementById('user').value + state"), "start");
    browser.value("document.getElementById('user').focus()");
    browser.type_text("not a user id");
    browser.press("Enter");
    browser.until("document.getElementById('user').getAttribute('aria-invalid') === 'true'");
    assert!(status(&mut browser).starts_with("This is not a user id."));
    accessible(&mut browser, "a wrong user id");
    assert_eq!(browser.value("document.activeElement.id"), "user");
}

#[test]
fn a_bad_camera_reads_the_code() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[PAGE]);
    let mut browser = Chromium::start();
    browser.window(700, 800, 1.0, false);
    let views = [
        ("100 %", View { scale: 1.0, degrees: 0.0, noise: 0.0 }, 5),
        ("50 %", View { scale: 0.5, degrees: 0.0, noise: 0.0 }, 5),
        ("25 %", View { scale: 0.25, degrees: 0.0, noise: 0.0 }, 5),
        ("turned by 10 degrees", View { scale: 1.0, degrees: 10.0, noise: 0.0 }, 5),
        ("noise 10", View { scale: 1.0, degrees: 0.0, noise: 10.0 }, 5),
        ("noise 20", View { scale: 1.0, degrees: 0.0, noise: 20.0 }, 3),
        ("noise 30", View { scale: 1.0, degrees: 0.0, noise: 30.0 }, 0),
        ("50 %, 10 degrees, noise 10", View { scale: 0.5, degrees: 10.0, noise: 10.0 }, 0),
        ("25 %, 10 degrees, noise 10", View { scale: 0.25, degrees: 10.0, noise: 10.0 }, 0),
        ("20 %", View { scale: 0.2, degrees: 0.0, noise: 0.0 }, 0),
    ];
    let mut read = [0; 10];
    for _ in 0..5 {
        waiting(&mut browser, &server);
        let picture = Grey::of_png(&browser.screenshot());
        let url = picture.decode().unwrap();
        for ((_, view, _), read) in views.iter().zip(&mut read) {
            *read += usize::from(picture.seen(*view).decode().is_some_and(|seen| seen == url));
        }
    }
    for ((name, _, least), read) in views.iter().zip(read) {
        println!("camera: {name}: {read} of 5 read");
        assert!(read >= *least, "{name}: {read} of 5");
    }
}

#[test]
fn the_page_is_small() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[PAGE]);
    let files = ["/sync", "/sync/page.js", "/sync/page.css", "/sync/icon.svg"];
    let sizes = files.map(|file| get(&server.api, file).body.len());
    println!("size: {files:?} {sizes:?}, {} bytes in all", sizes.iter().sum::<usize>());
    assert!(sizes.iter().sum::<usize>() < 16 * 1024, "{sizes:?}");
}
