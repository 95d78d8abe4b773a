//! `swob-gateway status`: how a running server is, on one screen, from its loopback listener.
//!
//! Asks what Prometheus and other tools ask, and knows nothing else; what it means in words is
//! `screen`'s.

mod samples;
mod screen;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, SystemTime};
use std::{error, fmt};

use super::exchange::{Request, ask};
use super::{ClientError, Style, Trust, terminal};
use crate::wire::Endpoint;
use samples::Samples;
use screen::Screen;

/// How often `--watch` looks again.
const AGAIN: Duration = Duration::from_secs(2);
/// To the first column of the first line.
const HOME: &str = "\x1b[H";
/// What is right of the end of a line, and below the end of the text, goes.
const LINE_END: &str = "\x1b[K";
const REST: &str = "\x1b[J";

/// Why not all is well.
#[derive(Debug)]
pub enum StatusError {
    /// There is no listener to ask.
    Off,
    /// Nobody answers there.
    Away(SocketAddr, ClientError),
    /// Whoever answers there is no server of ours.
    Stranger(SocketAddr),
    /// So many things need an administrator; the screen names them.
    Attention(usize),
    /// The screen cannot be shown.
    Output(io::Error),
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StatusError::Off => write!(
                f,
                "[admin] listen is empty, so the server tells nobody how it is; write for example \
                 127.0.0.1:15001, and restart it"
            ),
            StatusError::Away(at, _) => write!(
                f,
                "nobody answers at {at}; is the server running, with this [admin] listen?"
            ),
            StatusError::Stranger(at) => write!(
                f,
                "what answers at {at} is no gateway server, or one of another version; is this \
                 its [admin] listen?"
            ),
            StatusError::Attention(1) => write!(f, "one thing needs attention"),
            StatusError::Attention(count) => write!(f, "{count} things need attention"),
            StatusError::Output(_) => write!(f, "the status cannot be printed"),
        }
    }
}

impl error::Error for StatusError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            // That says the same, but for its own cause.
            StatusError::Away(_, ClientError::Away(_, error)) => Some(error),
            StatusError::Away(_, error) => Some(error),
            StatusError::Output(error) => Some(error),
            StatusError::Off | StatusError::Stranger(_) | StatusError::Attention(_) => None,
        }
    }
}

impl From<io::Error> for StatusError {
    fn from(error: io::Error) -> Self {
        StatusError::Output(error)
    }
}

/// Shows how the server at `listen` is, once.
///
/// # Errors
/// [`StatusError`]; [`StatusError::Attention`] after the screen is shown.
pub fn run(listen: Option<SocketAddr>, out: &mut dyn Write) -> Result<(), StatusError> {
    let screen = look(listen.ok_or(StatusError::Off)?)?;
    write!(out, "{screen}")?;
    match screen.attention() {
        0 => Ok(()),
        count => Err(StatusError::Attention(count)),
    }
}

/// The same over and over: at a terminal in place, elsewhere one below the other.
///
/// # Errors
/// [`StatusError::Off`], [`StatusError::Output`]; a server that is away is waited for.
pub fn watch(
    listen: Option<SocketAddr>,
    style: Style,
    out: &mut dyn Write,
) -> Result<(), StatusError> {
    let listen = listen.ok_or(StatusError::Off)?;
    let in_place = style != Style::Plain && terminal::size().is_some();
    loop {
        let text = match look(listen) {
            Ok(screen) => screen.to_string(),
            Err(error) => format!("{error}\n"),
        };
        if in_place {
            // Line by line over what is there, so that nothing flickers.
            let text = text.replace('\n', &format!("{LINE_END}\n"));
            write!(out, "{HOME}{text}{REST}")?;
        } else {
            writeln!(out, "{text}")?;
        }
        out.flush()?;
        thread::sleep(AGAIN);
    }
}

fn look(listen: SocketAddr) -> Result<Screen, StatusError> {
    let at = Endpoint::at(listen, false);
    let get = |path: &str| {
        let request = Request::new("GET", path, &[]);
        let answer = ask(&at, Trust::System, &request);
        let answer = answer.map_err(|error| StatusError::Away(listen, error))?;
        Ok::<_, StatusError>((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
    };
    let (alive, said) = get("/livez")?;
    if alive == 503 {
        return Ok(Screen::stuck(&said));
    }
    let (_, metrics) = get("/metrics")?;
    let (_, ready) = get("/readyz")?;
    let samples = Samples::parse(&metrics);
    Screen::of(&samples, &ready, SystemTime::now()).ok_or(StatusError::Stranger(listen))
}
