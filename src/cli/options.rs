//! The options of single commands: a table, and what of it was given.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::Parser;

use super::UsageError;
use crate::client::Trust;

/// Each option's name, whether it takes a value, and whose it is.
const OPTIONS: &[(&str, bool, &str)] = &[
    ("offline", false, "check"),
    ("show", false, "check"),
    ("watch", false, "status"),
    ("dry-run", false, "takeover"),
    ("certificate", true, "takeover"),
    ("url", true, "qr and doctor"),
    ("user", true, "phone"),
    ("app", true, "phone"),
    ("password-file", true, "phone"),
    ("server-key", true, "phone"),
    ("insecure", false, "qr and phone"),
    ("origin", true, "doctor"),
    ("address", true, "doctor"),
    ("wait", true, "doctor"),
    ("json", false, "doctor"),
];

/// The options that may be given several times.
const REPEATED: &[&str] = &["origin"];

/// What was given and not taken yet.
#[derive(Default)]
pub struct Given(Vec<(&'static str, OsString)>);

impl Given {
    /// Notes an option with its value.
    ///
    /// # Errors
    /// [`UsageError`] where there is no such option, its value lacks, or it came before.
    pub fn note(&mut self, name: &str, parser: &mut Parser) -> Result<(), UsageError> {
        let Some((name, valued, _)) = OPTIONS.iter().find(|(known, ..)| *known == name) else {
            return Err(UsageError(format!("\"--{name}\" is not an option")));
        };
        if !REPEATED.contains(name) && self.0.iter().any(|(known, _)| known == name) {
            return Err(UsageError(format!("--{name} is given twice; write it once")));
        }
        let missing = |_| UsageError(format!("--{name} lacks its value; write it behind"));
        let value = if *valued { parser.value().map_err(missing)? } else { OsString::new() };
        self.0.push((name, value));
        Ok(())
    }

    /// Takes the value of an option.
    pub fn value(&mut self, name: &str) -> Option<OsString> {
        let at = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.remove(at).1)
    }

    /// Takes the file that an option names.
    pub fn file(&mut self, name: &str) -> Option<PathBuf> {
        self.value(name).map(PathBuf::from)
    }

    /// Takes the text of an option.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.value(name).map(|value| value.to_string_lossy().into_owned())
    }

    /// Takes the texts of an option that was given several times.
    pub fn texts(&mut self, name: &str) -> Vec<String> {
        std::iter::from_fn(|| self.text(name)).collect()
    }

    /// Takes `--insecure`.
    pub fn trust(&mut self) -> Trust {
        self.value("insecure").map_or(Trust::System, |_| Trust::Any)
    }

    /// Ends with the command: what it did not take is another one's.
    ///
    /// # Errors
    /// [`UsageError`] with the owner of what is left.
    pub fn finish(self) -> Result<(), UsageError> {
        let Some((left, _)) = self.0.first() else { return Ok(()) };
        let owner = OPTIONS.iter().find(|(known, ..)| known == left).map_or("", |known| known.2);
        Err(UsageError(format!("--{left} is an option of {owner} alone; leave it out")))
    }
}
