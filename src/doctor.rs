//! `swob-gateway doctor`: acts as a phone and as a dashboard through the public URL, and tells an
//! administrator what is wrong, with its remedy.
//!
//! It does no harm to a live server. Its user is one that cannot exist, so that nothing is ever
//! stored; of the tries for a password that its address has, it spends two; its session ends with
//! `session_paused_timeout`. It never hangs: each request has `PATIENCE`, and the whole of it a
//! deadline. The one thing that it takes from the server's side of the wire is, where it runs
//! beside the server, the settings (`inside`).

mod certificate;
mod inside;
mod name;
mod page;
mod phone;
mod recipe;
mod screen;
mod socket;

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant};
use std::{error, fmt};

use openssl::pkey::{PKey, Public};
use openssl::rsa::Rsa;

use crate::client::exchange::{Answer, Request, exchange};
use crate::client::link::Link;
use crate::client::{ClientError, Trust};
use crate::config::Config;
use crate::finding::Finding;
use crate::wire::Endpoint;
use recipe::{Lines, Proxy, Topic};
use screen::Screen;

pub use screen::Form;

/// The apps give a handshake up after so long (contract §3).
const PATIENCE: Duration = Duration::from_secs(10);
/// For everything but the wait for a ping.
const WHOLE: Duration = Duration::from_secs(90);
/// How much longer than `[limits] ping_interval` a ping is waited for.
const SPARE: Duration = Duration::from_secs(5);

/// What to examine, and how.
#[derive(Debug, PartialEq)]
pub struct Order {
    /// The public URL of the API.
    pub api: Endpoint,
    /// The dashboards' origins.
    pub origins: Vec<String>,
    /// Where to connect in place of where the name leads, as before a change of the DNS.
    pub address: Option<IpAddr>,
    /// How long to wait for the server's ping on a quiet socket; `None` is a little longer than
    /// the settings have it.
    pub wait: Option<Duration>,
    /// For whom the findings are written.
    pub form: Form,
    /// Whether the output is a terminal, on which a line may be written over.
    pub live: bool,
}

/// Why the examination is no success.
#[derive(Debug)]
pub enum DoctorError {
    /// What was found cannot be told.
    Output(io::Error),
    /// OpenSSL fails.
    Own(ClientError),
    /// So many things need an administrator.
    Problems(usize),
}

impl fmt::Display for DoctorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DoctorError::Output(_) => write!(f, "what was found cannot be printed"),
            DoctorError::Own(_) => write!(f, "the examination cannot go on"),
            DoctorError::Problems(1) => {
                write!(f, "there is one problem; mend it and run this command again")
            }
            DoctorError::Problems(count) => write!(
                f,
                "there are {count} problems; mend the first, which may mend others, and run this \
                 command again"
            ),
        }
    }
}

impl error::Error for DoctorError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            DoctorError::Output(error) => Some(error),
            DoctorError::Own(error) => Some(error),
            DoctorError::Problems(_) => None,
        }
    }
}

/// Examines a server. The settings are the defaults on a machine that has none.
///
/// # Errors
/// [`DoctorError::Problems`] where there are any.
pub fn run(order: &Order, settings: &Config, out: &mut dyn Write) -> Result<(), DoctorError> {
    let wait = order.wait.unwrap_or(settings.limits.ping_interval + SPARE);
    let mut doctor = Doctor {
        order,
        settings,
        screen: Screen::new(out, order.form, order.live),
        end: Instant::now() + WHOLE + wait,
        wait,
        addresses: Vec::new(),
        proxy: None,
        packed: None,
        user: format!("doctor-{:032x}", rand::random::<u128>()),
    };
    let url = order.api.url("http", "");
    doctor.screen.line(&format!("{url}, as phones and dashboards meet it\n"));
    doctor.examine().map_err(DoctorError::Own)?;
    match doctor.screen.finish(&url).map_err(DoctorError::Output)? {
        0 => Ok(()),
        problems => Err(DoctorError::Problems(problems)),
    }
}

struct Doctor<'a> {
    order: &'a Order,
    settings: &'a Config,
    screen: Screen<'a>,
    /// When all of it ends, whatever the server does.
    end: Instant,
    /// How long to wait for a ping.
    wait: Duration,
    /// Where the API's name leads, as far as somebody answers there.
    addresses: Vec<IpAddr>,
    /// Known once an answer has told.
    proxy: Option<Proxy>,
    /// How answers were packed, once one was; none is asked for any more.
    packed: Option<String>,
    /// Who cannot exist.
    user: String,
}

impl Doctor<'_> {
    fn examine(&mut self) -> Result<(), ClientError> {
        if !self.name() {
            return self.rest();
        }
        let Some(key) = self.certificate()? else { return self.rest() };
        if !self.root() {
            return self.rest();
        }
        self.origins();
        self.inside(key.as_ref());
        let mut outside = phone::Outside::default();
        // Once the QR code is there, nothing slow may come between: it changes, and the server
        // closes sockets that leave its pings unanswered.
        let phone = PKey::from_rsa(Rsa::generate(2048)?)?;
        let mut dashboard = self.dashboard()?;
        if let Some(dashboard) = &mut dashboard {
            self.handshake(dashboard, &phone, key.as_ref(), &mut outside)?;
        }
        self.verification(key.as_ref(), &mut outside)?;
        self.ring(key.as_ref(), &outside);
        self.databases(&outside);
        if let Some(dashboard) = dashboard {
            self.quiet(dashboard);
        }
        Ok(())
    }

    fn rest(&mut self) -> Result<(), ClientError> {
        self.note("rest", "all that comes after this is not examined");
        Ok(())
    }

    /// One request to the API.
    fn ask(&mut self, request: &Request<'_>) -> Result<Answer, ClientError> {
        let deadline = self.by(PATIENCE);
        let request = Request { packed: self.packed.is_none(), ..*request };
        let mut link = Link::dial(&self.addresses, &self.order.api, Trust::Any, deadline)?;
        let answer = exchange(&mut link, &self.order.api, &request)?;
        self.proxy = self.proxy.or_else(|| Proxy::of(&answer));
        let Some(coding) = answer.header("content-encoding") else { return Ok(answer) };
        if self.packed.is_some() {
            return Ok(answer);
        }
        // What comes after needs plain bodies; to ask twice changes nothing.
        self.packed = Some(coding.to_owned());
        let what =
            format!("the proxy packs bodies ({coding}): {} {}", request.method, request.path);
        let lines = self.recipe(Topic::Bodies);
        let remedy = "the apps take bodies as they are: switch compression off for this host";
        self.tell("bodies", Finding::problem(what, remedy), lines);
        self.ask(&request)
    }

    fn tell(&mut self, check: &'static str, finding: Finding, lines: Vec<Lines>) {
        self.screen.tell(check, &finding, &lines);
    }

    fn good(&mut self, check: &'static str, what: impl Into<String>) {
        self.tell(check, Finding::good(what), vec![]);
    }

    fn note(&mut self, check: &'static str, what: impl Into<String>) {
        self.tell(check, Finding::note(what), vec![]);
    }

    /// The lines of the proxy for one thing.
    fn recipe(&self, topic: Topic) -> Vec<Lines> {
        recipe::lines(self.proxy, topic, &self.order.api.host)
    }

    /// The same with those of the settings.
    fn lines(&self, topic: Topic, settings: &[impl AsRef<str>]) -> Vec<Lines> {
        let mut lines = self.recipe(topic);
        lines.push(Lines::settings(settings));
        lines
    }

    /// The deadline of something that may take so long.
    fn by(&self, most: Duration) -> Instant {
        self.end.min(Instant::now() + most)
    }
}

/// The key of a certificate; `None` without TLS.
type Key = Option<PKey<Public>>;

/// A time for people.
fn spell(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}
