//! The words after the program's name, and the help that explains them.
//!
//! It reads neither files nor the environment; what a command does is not known here.

use std::ffi::OsString;
use std::path::PathBuf;
use std::{error, fmt};

use lexopt::Arg::{Long, Short, Value};
use lexopt::Parser;

/// What the administrator asked for.
#[derive(Debug, PartialEq)]
pub struct Cli {
    /// The configuration file; `None` is `gateway.ini`, which may be absent.
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
    /// Make or complete the gateway's own table.
    Migrate,
    /// Take over the table of a Python installation.
    Takeover {
        /// Whether it only says what it would change.
        dry_run: bool,
        /// The site's certificate, to be compared with the server's key.
        certificate: Option<PathBuf>,
    },
    /// Print [`HELP`].
    Help,
    /// Print the version.
    Version,
}

/// The text of `--help`.
pub const HELP: &str = "\
SMSWithoutBorders Gateway Server: phones sync their keys with it by scanning a QR code.

Usage: swob-gateway [--config FILE] [COMMAND]

Commands:
  serve            serve phones and dashboards (the default)
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

Options:
  --config FILE    the configuration file (default: gateway.ini, which may be absent)
  -h, --help       print this help
  -V, --version    print the version

By default the API listens on 127.0.0.1:15000 and the sync sockets on 127.0.0.1:6996.
Every setting of the file can be overridden in the environment as GATEWAY_<SECTION>_<KEY>,
for example GATEWAY_HTTP_LISTEN=0.0.0.0:15000.

Exit codes: 0 done, 1 failed, 2 the command line is not understood.
";

/// What every usage error ends with where nothing better is known.
const COMMANDS: &str = "the commands are serve, keys generate, keys list, keys rotate, keys add FILE, keys encrypt, \
     keys decrypt, migrate and takeover";

/// What every mistaken option is answered with.
const OPTIONS: &str = "the options are --config, --dry-run, --certificate, --help and --version";

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
    let (mut dry_run, mut certificate) = (false, None);
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
            Long("dry-run") => dry_run = true,
            Long("certificate") => {
                certificate = Some(parser.value().map_err(explain)?.into());
            }
            Value(word) => words.push(word),
            other => return Err(explain(other.unexpected())),
        }
    }
    let command = match command(&words)? {
        Command::Takeover { .. } => Command::Takeover { dry_run, certificate },
        _ if dry_run || certificate.is_some() => {
            let mistake = "--dry-run and --certificate are takeover's; write them there";
            return Err(UsageError(mistake.into()));
        }
        command => command,
    };
    Ok(Cli { config, command })
}

fn command(words: &[OsString]) -> Result<Command, UsageError> {
    let text: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let text: Vec<&str> = text.iter().map(AsRef::as_ref).collect();
    match text.as_slice() {
        [] | ["serve"] => Ok(Command::Serve),
        ["keys", "generate"] => Ok(Command::KeysGenerate),
        ["keys", "list"] => Ok(Command::KeysList),
        ["keys", "rotate"] => Ok(Command::KeysRotate),
        ["keys", "add", _] => Ok(Command::KeysAdd(words[2].clone().into())),
        ["keys", "add"] => Err(UsageError("keys add names no file; write keys add FILE".into())),
        ["keys", "encrypt"] => Ok(Command::KeysEncrypt),
        ["keys", "decrypt"] => Ok(Command::KeysDecrypt),
        ["migrate"] => Ok(Command::Migrate),
        ["takeover"] => Ok(Command::Takeover { dry_run: false, certificate: None }),
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

fn explain(error: lexopt::Error) -> UsageError {
    UsageError(match error {
        lexopt::Error::MissingValue { option } => match option {
            Some(option) => format!("{option} names no file; write {option} FILE"),
            None => "an option lacks its value".into(),
        },
        lexopt::Error::UnexpectedOption(option) => {
            format!("{option:?} is not an option; {OPTIONS}")
        }
        lexopt::Error::UnexpectedValue { option, .. } => {
            format!("{option} takes no value; write it alone")
        }
        other => format!("{other}; {COMMANDS}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Cli, UsageError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn commands_and_options() {
        let check = |line: &str, config: Option<&str>, command: Command| {
            assert_eq!(
                read(line),
                Ok(Cli { config: config.map(PathBuf::from), command }),
                "{line}"
            );
        };
        check("", None, Command::Serve);
        check("serve", None, Command::Serve);
        check("migrate", None, Command::Migrate);
        check("keys generate", None, Command::KeysGenerate);
        check("keys list", None, Command::KeysList);
        check("keys rotate", None, Command::KeysRotate);
        check("keys add old.pem", None, Command::KeysAdd("old.pem".into()));
        check("keys encrypt", None, Command::KeysEncrypt);
        check("keys decrypt", None, Command::KeysDecrypt);
        let takeover = |dry_run, certificate: Option<&str>| Command::Takeover {
            dry_run,
            certificate: certificate.map(PathBuf::from),
        };
        check("takeover", None, takeover(false, None));
        check("--dry-run takeover", None, takeover(true, None));
        check("takeover --certificate a.pem", None, takeover(false, Some("a.pem")));
        check("--config a.ini", Some("a.ini"), Command::Serve);
        check("--config=a.ini migrate", Some("a.ini"), Command::Migrate);
        check("keys --config a.ini generate", Some("a.ini"), Command::KeysGenerate);
        check("-h", None, Command::Help);
        check("migrate --help", None, Command::Help);
        check("-V", None, Command::Version);
        check("--config a.ini --version", Some("a.ini"), Command::Version);
    }

    #[test]
    fn mistakes_name_the_remedy() {
        let check = |line: &str, expected: &str| {
            let error = read(line).expect_err(line).to_string();
            assert_eq!(error, format!("{expected} (see swob-gateway --help)"), "{line}");
        };
        check("sevre", &format!(r#""sevre" is not a command; {COMMANDS}"#));
        check("serve now", &format!(r#""serve now" is not a command; {COMMANDS}"#));
        check("keys make", &format!(r#""keys make" is not a command; {COMMANDS}"#));
        check(
            "keys",
            "keys alone does nothing; write keys generate, list, rotate, add FILE, encrypt or \
             decrypt",
        );
        check("keys add", "keys add names no file; write keys add FILE");
        check("keys add a b", &format!(r#""keys add a b" is not a command; {COMMANDS}"#));
        check("serve --dry-run", "--dry-run and --certificate are takeover's; write them there");
        check("--config", "--config names no file; write --config FILE");
        check("--config=", "--config names no file; write --config FILE");
        check("--config a --config b", "--config is given twice; write it once");
        check("--port 80", &format!(r#""--port" is not an option; {OPTIONS}"#));
        check("-x", &format!(r#""-x" is not an option; {OPTIONS}"#));
    }

    #[test]
    fn a_file_need_not_be_unicode() {
        use std::os::unix::ffi::OsStringExt;
        let file = OsString::from_vec(b"\xff.ini".to_vec());
        let cli = parse(["--config".into(), file.clone()]).unwrap();
        assert_eq!(cli.config, Some(file.clone().into()));
        let cli = parse(["keys".into(), "add".into(), file.clone()]).unwrap();
        assert_eq!(cli.command, Command::KeysAdd(file.into()));
    }

    #[test]
    fn the_help_names_everything() {
        for word in [
            "serve",
            "keys generate",
            "keys list",
            "keys rotate",
            "keys add FILE",
            "keys encrypt",
            "keys decrypt",
            "migrate",
            "takeover",
            "--config",
            "--dry-run",
            "--certificate",
            "--help",
            "--version",
        ] {
            assert!(HELP.contains(word), "{word}");
        }
        for fact in ["127.0.0.1:15000", "127.0.0.1:6996", "GATEWAY_<SECTION>_<KEY>", "Exit codes"] {
            assert!(HELP.contains(fact), "{fact}");
        }
        assert!(HELP.lines().all(|line| line.chars().count() <= 100));
    }
}
