//! `swob-gateway qr`: a dashboard in a terminal.
//!
//! At a terminal it draws each code over the one before, with the time left; elsewhere it prints a
//! line for each thing that happens: a URL, `paused`, `done`.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use super::exchange::{Request, ask};
use super::link::Link;
use super::url::Url;
use super::{ClientError, Style, Trust, terminal};
use crate::qr::half_blocks;
use crate::session::UserId;
use crate::wire::{ACK, Endpoint, PAUSE};

/// How often the time left is written again.
const TICK: Duration = Duration::from_millis(250);

/// What to show.
#[derive(Debug)]
pub struct Order {
    /// Whose session.
    pub user: String,
    /// Where the API is.
    pub api: Endpoint,
    /// Which certificates are taken.
    pub trust: Trust,
    /// How long a code lasts, as far as is known before the first one changes.
    pub sleep: Duration,
    /// Whether the terminal may be drawn on at all, and in colours.
    pub style: Style,
}

impl Order {
    /// Where an API is, from what was typed.
    ///
    /// # Errors
    /// [`ClientError::Word`].
    pub fn endpoint(text: &str) -> Result<Endpoint, ClientError> {
        Url::parse(text).filter(|url| url.path == "/").map(|url| url.endpoint).ok_or_else(|| {
            ClientError::Word(format!(
                "{text:?} is not the URL of a server; write for example http://localhost:15000"
            ))
        })
    }
}

/// Opens a session and shows its codes to the end.
///
/// # Errors
/// Whatever ends it without an ack.
pub fn run(order: &Order) -> Result<(), ClientError> {
    let user = UserId::parse(&order.user)
        .map_err(|refusal| ClientError::Word(refusal.reason().to_owned()))?;
    let path = format!("/v2/sync/users/{}", user.as_str());
    let request = Request::new("GET", &path, &[]);
    let answer = ask(&order.api, order.trust, &request)?;
    if answer.status != 200 {
        return Err(ClientError::Refused("the session was", answer.status, answer.reason()));
    }
    let text = String::from_utf8(answer.body).unwrap_or_default();
    let url = Url::parse(&text).ok_or(ClientError::Answer("it is not the URL of a socket"))?;
    let mut socket = open(&text, &url, order.trust)?;
    let screen = terminal::size().filter(|_| order.style != Style::Plain);
    let mut display = Display {
        screen,
        coloured: order.style == Style::Coloured,
        lines: 0,
        advice: String::new(),
        sleep: order.sleep,
        shown: None,
    };
    let ended = attend(&mut socket, &mut display);
    display.end();
    ended
}

fn open(text: &str, url: &Url, trust: Trust) -> Result<WebSocket<Link>, ClientError> {
    let link = Link::open(&url.endpoint, trust)?;
    let (socket, _) = tungstenite::client(text.trim(), link).map_err(|error| match error {
        HandshakeError::Failure(Error::Http(answer)) => {
            ClientError::Refused("the socket was", answer.status().as_u16(), String::new())
        }
        HandshakeError::Failure(error) => ClientError::Socket(error),
        HandshakeError::Interrupted(_) => {
            ClientError::Socket(Error::Io(io::ErrorKind::TimedOut.into()))
        }
    })?;
    Ok(socket)
}

fn attend(socket: &mut WebSocket<Link>, display: &mut Display) -> Result<(), ClientError> {
    let mut paused = false;
    loop {
        socket.get_mut().until(Instant::now() + TICK);
        match socket.read() {
            Ok(Message::Text(text)) if text.as_str() == PAUSE => {
                paused = true;
                display.say("paused", "Paused: a phone has scanned the code; its owner types now.");
            }
            Ok(Message::Text(text)) if text.as_str() == ACK => {
                display.say("done", "Done: the phone is synced.");
                let _ = socket.close(None);
                let _ = socket.flush();
                return Ok(());
            }
            Ok(Message::Text(text)) => display.show(&qr_url(text.as_str())?),
            Ok(Message::Close(frame)) => {
                let _ = socket.flush();
                let away = frame.is_some_and(|frame| frame.code == CloseCode::Away);
                return Err(ClientError::Ended(match (away, paused) {
                    (true, _) => "the server went down; run this again when it is back",
                    (_, true) => "the phone did not finish in time; run this again",
                    (_, false) => "no phone scanned in time; run this again",
                }));
            }
            Ok(_) => {}
            Err(Error::Io(error))
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                display.tick();
            }
            Err(error) => return Err(ClientError::Socket(error)),
        }
    }
}

fn qr_url(frame: &str) -> Result<String, ClientError> {
    let frame: Option<serde_json::Value> = serde_json::from_str(frame).ok();
    let url = frame.as_ref().and_then(|frame| frame["qr_url"].as_str());
    let url = url.filter(|url| Url::parse(url).is_some());
    url.map(str::to_owned).ok_or(ClientError::Answer("a frame has no URL"))
}

struct Display {
    /// Columns and rows of the terminal; `None` prints lines alone.
    screen: Option<(usize, usize)>,
    coloured: bool,
    /// How many lines of the terminal the code takes, which the next may be drawn over.
    lines: usize,
    sleep: Duration,
    /// What to do with the code.
    advice: String,
    /// When the current code came.
    shown: Option<Instant>,
}

impl Display {
    fn show(&mut self, url: &str) {
        let Some((columns, rows)) = self.screen else { return println!("{url}") };
        // The window may have been made larger since.
        let (columns, rows) = terminal::size().unwrap_or((columns, rows));
        // The first code that changes tells how long the next lasts.
        if let Some(before) = self.shown.replace(Instant::now()) {
            self.sleep = before.elapsed();
        }
        self.clear();
        let drawing = half_blocks(url).unwrap_or_default();
        let lines: Vec<&str> = drawing.lines().collect();
        let width = lines.first().map_or(0, |line| line.chars().count());
        let height = lines.len() + url.len().div_ceil(columns);
        for line in &lines {
            if self.coloured {
                println!("\x1b[97;40m{line}\x1b[0m");
            } else {
                println!("{line}");
            }
        }
        println!("{url}");
        // What has scrolled away can be neither drawn over nor scanned.
        self.lines = if height < rows { height } else { 0 };
        self.advice = if height < rows && width <= columns {
            "Scan it with the app, or pass it to `swob-gateway phone`.".to_owned()
        } else {
            format!("The code needs a window of {} lines; make it larger.", height + 1)
        };
        self.tick();
    }

    /// Writes the time left at the bottom.
    fn tick(&self) {
        let (Some(shown), Some(_)) = (self.shown, self.screen) else { return };
        let left = self.sleep.saturating_sub(shown.elapsed()).as_secs_f64().ceil();
        print!("\r\x1b[K{} {left} s left.", self.advice);
        let _ = io::stdout().flush();
    }

    fn say(&mut self, word: &str, sentence: &str) {
        if self.screen.is_none() {
            return println!("{word}");
        }
        self.clear();
        self.shown = None;
        println!("{sentence}");
    }

    /// Takes the last code away.
    fn clear(&mut self) {
        match std::mem::take(&mut self.lines) {
            0 => print!("\r\x1b[K"),
            lines => print!("\r\x1b[{lines}A\x1b[J"),
        }
    }

    /// Leaves the cursor on a line of its own.
    fn end(&mut self) {
        if self.screen.is_some() && self.shown.is_some() {
            self.clear();
            let _ = io::stdout().flush();
        }
    }
}
