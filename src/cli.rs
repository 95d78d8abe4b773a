//! The words after the program's name, and the help that explains them.
//!
//! It reads neither files nor the environment; what a command does is not known here.

mod options;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use std::{error, fmt};

use lexopt::Arg::{Long, Short, Value};
use lexopt::Parser;

use crate::client::Trust;
use crate::client::phone::{App, Order};
use options::Given;

/// What the administrator asked for.
#[derive(Debug, PartialEq)]
pub struct Cli {
    /// The configuration file; `None` is one of the usual ones, which may be absent.
    pub config: Option<PathBuf>,
    /// What to do.
    pub command: Command,
}

/// What to do.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Serve phones and dashboards until a signal ends it.
    Serve,
    /// Make the server's private key.
    KeysGenerate,
    /// Show the server's keys.
    KeysList,
    /// Make a new current key; the one before stays in the ring.
    KeysRotate,
    /// Take a key from this file into the ring.
    KeysAdd(PathBuf),
    /// Seal every shared key in the table under the first of the keys at rest.
    KeysEncrypt,
    /// Put every shared key in the table back in clear.
    KeysDecrypt,
    /// Look whether all is ready for a start.
    Check {
        /// Whether databases and ports are left alone.
        offline: bool,
        /// Whether the settings are printed instead.
        show: bool,
    },
    /// Make or complete the gateway's own table.
    Migrate,
    /// Take over the table of a Python installation.
    Takeover {
        /// Whether it only says what it would change.
        dry_run: bool,
        /// The site's certificate, to be compared with the server's key.
        certificate: Option<PathBuf>,
    },
    /// Show the QR codes of a session in the terminal.
    Qr {
        /// Whose session.
        user: String,
        /// Where the API is; `None` is where the settings have it.
        url: Option<String>,
        /// Which certificates are taken.
        trust: Trust,
    },
    /// Do what a phone does.
    Phone(Order),
    /// Show how the running server is.
    Status {
        /// Whether it looks again and again.
        watch: bool,
    },
    /// Act as phone and dashboard through the public URL, and tell what is wrong.
    Doctor(Visit),
    /// Print [`HELP`].
    Help,
    /// Print the version.
    Version,
}

/// What the doctor is asked for.
#[derive(Debug, Default, PartialEq)]
pub struct Visit {
    /// The API's public URL; `None` is where the settings have it.
    pub url: Option<String>,
    /// The dashboards' origins; none are those of the settings.
    pub origins: Vec<String>,
    /// Where to connect in place of where the name leads.
    pub address: Option<IpAddr>,
    /// How long to wait for a ping of the server.
    pub wait: Option<Duration>,
    /// Whether a program reads the findings.
    pub json: bool,
}

/// The text of `--help`.
pub const HELP: &str = "\
SMSWithoutBorders Gateway Server: phones sync their keys with it by scanning a QR code.

Usage: swob-gateway [--config FILE] [COMMAND]

Commands:
  serve            serve phones and dashboards (the default)
  check            look at settings, keys, certificate, limits, databases, rights, clocks and
                   ports, and tell the remedy of whatever is wrong; it changes nothing
                   (--offline: only what no start is possible without, for ExecStartPre, so
                   neither databases nor ports; --show: print every setting instead, with
                   where it is from)
  status           show how the running server is, and the remedy of what needs attention; exit
                   code 1 where something does (--watch: look again every 2 seconds)
  keys generate    make the server's private key; never in place of another
  keys list        show the server's keys: use, size, date, fingerprint
  keys rotate      make a new current key; phones that know the one before stay served
  keys add FILE    take an older key, such as an old installation's, so that its phones are served
  keys encrypt     encrypt the phones' keys in the table under [keys] at_rest_keys
  keys decrypt     put them back in clear; both while the server runs, and again if cut off
  migrate          make or complete the gateway's own table
  takeover         look at the table of a Python installation, and make it ready
                   (--dry-run: only look; --certificate FILE: the site's, to be
                   compared with the server's key)
  qr USER          open a session on a running server and show its QR codes
  phone URL        do what a phone does with the URL of a QR code, and say how it goes
  doctor           act as phone and dashboard through the public URL, and tell what is wrong
                   with its remedy; it stores nothing, and runs from anywhere

Options:
  --config FILE    the configuration file (default: gateway.ini here, else that in
                   /etc/swob-gateway; both may be absent)
  --url URL        qr and doctor: the server's API (default: where the settings have it)
  --user USER      phone: whose it is; the code of another is refused (default: the code's)
  --app APP        phone: the app to stand for, two-step, ios or one-step (default: two-step)
  --password-file FILE
                   phone: the password, on the first line (default: asked for)
  --server-key WHERE
                   phone: for one-step, a PEM file or the https URL of the certificate
                   (default: https at port 443 of the code's host)
  --insecure       qr and phone: take any certificate
  --origin ORIGIN  doctor: a dashboard's, such as https://dashboard.example.org, one for each
                   (default: those of the settings)
  --address IP     doctor: where to connect, in place of where the name leads
  --wait SECONDS   doctor: how long a socket is left quiet, for the server's next ping to come
                   (default: 30, or 5 more than the settings' ping_interval)
  --json           doctor: findings for a program
  -h, --help       print this help
  -V, --version    print the version

By default the API listens on 127.0.0.1:15000 and the sync sockets on 127.0.0.1:6996.
Every setting of the file can be overridden in the environment as GATEWAY_<SECTION>_<KEY>,
for example GATEWAY_HTTP_LISTEN=0.0.0.0:15000.

Exit codes: 0 done, 1 failed, 2 the command line is not understood.
";

/// What every usage error ends with where nothing better is known.
const COMMANDS: &str = "the commands are serve, check, status, keys generate, keys list, keys rotate, keys add FILE, keys encrypt, \
     keys decrypt, migrate, takeover, qr USER, phone URL and doctor";

/// A command line that is not understood: one line with its remedy.
#[derive(Debug, PartialEq)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (see swob-gateway --help)", self.0)
    }
}

impl error::Error for UsageError {}

/// Reads the words after the program's name.
///
/// # Errors
/// [`UsageError`] for everything that [`HELP`] does not name.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, UsageError> {
    let mut parser = Parser::from_args(args);
    let mut config = None;
    let mut words = Vec::new();
    let mut given = Given::default();
    while let Some(arg) = parser.next().map_err(explain)? {
        match arg {
            Short('h') | Long("help") => return Ok(Cli { config, command: Command::Help }),
            Short('V') | Long("version") => return Ok(Cli { config, command: Command::Version }),
            Long("config") => {
                let file = PathBuf::from(parser.value().map_err(explain)?);
                if file.as_os_str().is_empty() {
                    return Err(UsageError("--config names no file; write --config FILE".into()));
                }
                if config.replace(file).is_some() {
                    return Err(UsageError("--config is given twice; write it once".into()));
                }
            }
            Long(name) => {
                let name = name.to_owned();
                given.note(&name, &mut parser)?;
            }
            Value(word) => words.push(word),
            other => return Err(explain(other.unexpected())),
        }
    }
    let command = command(&words, &mut given)?;
    given.finish()?;
    Ok(Cli { config, command })
}

fn command(words: &[OsString], given: &mut Given) -> Result<Command, UsageError> {
    let text: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let text: Vec<&str> = text.iter().map(AsRef::as_ref).collect();
    match text.as_slice() {
        ["qr", user] => Ok(Command::Qr {
            user: (*user).to_owned(),
            url: given.text("url"),
            trust: given.trust(),
        }),
        ["qr"] => Err(UsageError("qr lacks the user id; write qr USER".into())),
        ["phone", url] => Ok(Command::Phone(Order {
            url: (*url).to_owned(),
            user: given.text("user"),
            app: app(given.text("app").as_deref())?,
            password_file: given.file("password-file"),
            server_key: given.text("server-key"),
            trust: given.trust(),
        })),
        ["doctor"] => Ok(Command::Doctor(Visit {
            url: given.text("url"),
            origins: given.texts("origin"),
            address: given.text("address").map(|text| address(&text)).transpose()?,
            wait: given.text("wait").map(|text| seconds(&text)).transpose()?,
            json: given.value("json").is_some(),
        })),
        ["phone"] => Err(UsageError("phone lacks the URL of a QR code; write phone URL".into())),
        [] | ["serve"] => Ok(Command::Serve),
        ["keys", "generate"] => Ok(Command::KeysGenerate),
        ["keys", "list"] => Ok(Command::KeysList),
        ["keys", "rotate"] => Ok(Command::KeysRotate),
        ["keys", "add", _] => Ok(Command::KeysAdd(words[2].clone().into())),
        ["keys", "add"] => Err(UsageError("keys add names no file; write keys add FILE".into())),
        ["keys", "encrypt"] => Ok(Command::KeysEncrypt),
        ["keys", "decrypt"] => Ok(Command::KeysDecrypt),
        ["check"] => Ok(Command::Check {
            offline: given.value("offline").is_some(),
            show: given.value("show").is_some(),
        }),
        ["migrate"] => Ok(Command::Migrate),
        ["status"] => Ok(Command::Status { watch: given.value("watch").is_some() }),
        ["takeover"] => Ok(Command::Takeover {
            dry_run: given.value("dry-run").is_some(),
            certificate: given.file("certificate"),
        }),
        ["keys"] => Err(UsageError(
            "keys alone does nothing; write keys generate, list, rotate, add FILE, encrypt or \
             decrypt"
                .into(),
        )),
        words => {
            let words = words.join(" ");
            Err(UsageError(format!("{words:?} is not a command; {COMMANDS}")))
        }
    }
}

fn app(name: Option<&str>) -> Result<App, UsageError> {
    match name {
        None | Some("two-step") => Ok(App::TwoStep),
        Some("ios") => Ok(App::Ios),
        Some("one-step") => Ok(App::OneStep),
        Some(name) => {
            Err(UsageError(format!("{name:?} is not an app; write two-step, ios or one-step")))
        }
    }
}

fn address(text: &str) -> Result<IpAddr, UsageError> {
    text.parse().map_err(|_| UsageError(format!("{text:?} is not an IP address")))
}

fn seconds(text: &str) -> Result<Duration, UsageError> {
    let number = text.parse().ok().filter(|seconds| (1..=3600).contains(seconds));
    number.map(Duration::from_secs).ok_or_else(|| {
        UsageError(format!("{text:?} is not a number of seconds; write one of 1 to 3600"))
    })
}

fn explain(error: lexopt::Error) -> UsageError {
    UsageError(match error {
        lexopt::Error::MissingValue { option } => match option {
            Some(option) => format!("{option} names no file; write {option} FILE"),
            None => "an option lacks its value".into(),
        },
        lexopt::Error::UnexpectedOption(option) => {
            format!("{option:?} is not an option")
        }
        lexopt::Error::UnexpectedValue { option, .. } => {
            format!("{option} takes no value; write it alone")
        }
        other => format!("{other}; {COMMANDS}"),
    })
}
