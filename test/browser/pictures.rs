//! The pictures of the README, from the running server; `make pictures` puts them into doc/.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::camera::decode;
use crate::chromium::Chromium;
use crate::support::server::Folder;
use crate::support::{PASSWORD, Schema, Server, USER};
use crate::{PAGE, Phone, reaches, waiting};

const USUAL: (&str, &str) = ("GATEWAY_SYNC_SESSION_SLEEP_TIMEOUT", "15");
/// Columns of both terminals, and the rows of `qr`'s and of `phone`'s.
const COLUMNS: u16 = 84;
const ROWS: [u16; 2] = [30, 12];
/// Of a character, in pixels.
const WIDTH: usize = 8;
const HEIGHT: usize = 16;
/// The longest that a reader has to wait for something to happen, in seconds.
const LULL: f64 = 2.5;

fn save(name: &str, bytes: impl AsRef<[u8]>) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pictures");
    fs::create_dir_all(&folder).unwrap();
    println!("picture: {name}, {} bytes", bytes.as_ref().len());
    fs::write(folder.join(name), bytes).unwrap();
}

#[test]
fn pictures_of_the_page() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[PAGE, USUAL]);
    let mut browser = Chromium::start();
    browser.window(560, 860, 1.0, false);
    waiting(&mut browser, &server);
    browser.value("scrollTo(0, 0)");
    let shown = browser.screenshot();
    save("page-waiting.png", &shown);
    let mut phone = Phone::scan(&decode(&shown));
    browser.window(560, 300, 1.0, false);
    reaches(&mut browser, "scanned");
    save("page-scanned.png", browser.screenshot());
    phone.types(PASSWORD);
    reaches(&mut browser, "complete");
    save("page-complete.png", browser.screenshot());
}

/// A command at a terminal of its own, which script(1) makes.
struct Terminal {
    child: Child,
    input: ChildStdin,
}

impl Terminal {
    /// What it writes goes to `seen` with the number of the pane.
    fn start(folder: &Folder, words: &str, pane: usize, seen: Sender<(usize, Vec<u8>)>) -> Self {
        let size = format!("stty cols {COLUMNS} rows {}", ROWS[pane]);
        let line = format!("{size}; {} {words}", env!("CARGO_BIN_EXE_swob-gateway"));
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]);
        command.current_dir(&folder.0).env("TERM", "xterm").env_remove("NO_COLOR");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let copy = move || {
            let mut chunk = [0; 16 * 1024];
            while let Ok(n @ 1..) = output.read(&mut chunk) {
                let _ = seen.send((pane, chunk[..n].to_vec()));
            }
        };
        thread::Builder::new().spawn(copy).unwrap();
        Terminal { child, input }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn pictures_of_the_terminals() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[USUAL]);
    let folder = Folder::new();
    let (sender, seen) = channel();
    let mut screens = ROWS.map(|rows| vt100::Parser::new(rows, COLUMNS, 0));
    let mut frames = Vec::new();
    let start = Instant::now();

    let url = format!("http://{}", server.api);
    screens[0].process(format!("$ swob-gateway qr {USER} --url {url}\r\n").as_bytes());
    let _qr = Terminal::start(&folder, &format!("qr {USER} --url {url}"), 0, sender.clone());
    let mut phone: Option<Terminal> = None;
    let mut typed = false;
    let mut done = false;
    while !done {
        let (pane, bytes) = seen.recv_timeout(Duration::from_secs(20)).unwrap();
        screens[pane].process(&bytes);
        let rows: Vec<String> = screens.iter().flat_map(|screen| rows(screen.screen())).collect();
        let all = rows.concat();
        frames.push((start.elapsed().as_secs_f64(), rows));
        if phone.is_none() && start.elapsed() > Duration::from_secs(2) {
            let code = scanned(&all);
            screens[1].process(format!("$ swob-gateway phone {code}\r\n").as_bytes());
            phone = Some(Terminal::start(&folder, &format!("phone {code}"), 1, sender.clone()));
        }
        if !typed && all.contains("password: ") {
            // As long as a quick person takes.
            thread::sleep(Duration::from_millis(1500));
            let phone = phone.as_mut().unwrap();
            phone.input.write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
            typed = true;
        }
        done = all.contains("Done:") && (all.contains("same key") || all.contains("not serve"));
    }
    save("terminals.svg", svg(&frames));
}

/// The URL on `qr`'s screen, which wraps it.
fn scanned(screen: &str) -> String {
    let screen: String = screen.chars().filter(|c| !" █▀▄".contains(*c)).collect();
    let url = screen.rsplit("http://").next().unwrap();
    format!("http://{}/handshake", url.split("/handshake").next().unwrap())
}

fn rows(screen: &vt100::Screen) -> Vec<String> {
    screen.rows(0, COLUMNS).collect()
}

/// An animation: a group a frame, which shows while its turn lasts; equal rows are drawn once.
fn svg(frames: &[(f64, Vec<String>)]) -> String {
    let mut known: Vec<&String> = Vec::new();
    let (mut drawn, mut styles, mut groups) = (String::new(), String::new(), String::new());
    let mut begin = 0.0;
    let mut times = Vec::new();
    for (at, (time, _)) in frames.iter().enumerate() {
        let lasts = frames.get(at + 1).map_or(LULL * 2.0, |(next, _)| (next - time).min(LULL));
        times.push((begin, begin + lasts));
        begin += lasts;
    }
    for (at, ((_, rows), (from, to))) in frames.iter().zip(&times).enumerate() {
        if to - from < 0.03 {
            continue;
        }
        let (from, to) = (from / begin * 100.0, to / begin * 100.0);
        let _ = write!(
            styles,
            "#f{at}{{animation:a{at} {begin:.2}s infinite step-end}}@keyframes a{at}{{0%{{visibility:{}}}{from:.2}%{{visibility:visible}}{to:.2}%{{visibility:{}}}}}",
            if from > 0.0 { "hidden" } else { "visible" },
            if to < 100.0 { "hidden" } else { "visible" },
        );
        let last = if at + 1 == frames.len() { "" } else { r#" visibility="hidden""# };
        let _ = write!(groups, r#"<g id="f{at}"{last}>"#);
        for (number, row) in rows.iter().enumerate().filter(|(_, row)| !row.trim().is_empty()) {
            let id = known.iter().position(|other| *other == row).unwrap_or_else(|| {
                let _ = write!(drawn, r#"<g id="r{}">{}</g>"#, known.len(), draw(row));
                known.push(row);
                known.len() - 1
            });
            // The second terminal stands under the first, a row apart.
            let y = (number + usize::from(number >= usize::from(ROWS[0]))) * HEIGHT;
            let _ = write!(groups, r##"<use href="#r{id}" y="{y}"/>"##);
        }
        groups.push_str("</g>");
    }
    let (width, top) = (usize::from(COLUMNS) * WIDTH, usize::from(ROWS[0]) * HEIGHT);
    let (bottom, below) = (usize::from(ROWS[1]) * HEIGHT, top + HEIGHT);
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="-8 -8 {} {}" font-family="ui-monospace,monospace" font-size="13" shape-rendering="crispEdges"><title>swob-gateway qr and swob-gateway phone in two terminals</title><style>{styles}</style><defs>{drawn}</defs><g fill="#0c1116"><rect x="-8" y="-8" width="{}" height="{}" rx="6"/><rect x="-8" y="{}" width="{}" height="{}" rx="6"/></g>{groups}</svg>"##,
        width + 16,
        below + bottom + 16,
        width + 16,
        top + 12,
        below - 4,
        width + 16,
        bottom + 12,
    )
}

/// A row: half blocks as shapes, since fonts leave gaps between them, and the rest as text.
fn draw(row: &str) -> String {
    if !row.contains(['█', '▀', '▄']) {
        let text = row.replace('&', "&amp;").replace('<', "&lt;");
        return format!(
            r##"<text y="12" fill="#d5dde3" xml:space="preserve" textLength="{}">{text}</text>"##,
            row.chars().count() * WIDTH
        );
    }
    let length = row.trim_end().chars().count();
    let mut path = String::new();
    for (top, half) in [(0, "█▀"), (HEIGHT / 2, "█▄")] {
        let cells: Vec<bool> = row.chars().take(length).map(|c| half.contains(c)).collect();
        for run in cells.chunk_by(|a, b| a == b).scan(0, |at, run| {
            *at += run.len();
            Some((*at - run.len(), run.len(), run[0]))
        }) {
            if let (at, length, true) = run {
                let (x, width, height) = (at * WIDTH, length * WIDTH, HEIGHT / 2);
                let _ = write!(path, "M{x} {top}h{width}v{height}h-{width}z");
            }
        }
    }
    format!(
        r##"<path fill="#000" d="M0 0h{}v{HEIGHT}H0z"/><path fill="#fff" d="{path}"/>"##,
        length * WIDTH
    )
}
