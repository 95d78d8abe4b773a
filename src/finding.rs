//! What a look at an installation finds, told to an administrator: a mark, what it is, and the
//! remedy of what is wrong.
//!
//! One form for every command that looks and advises. What is looked at is not known here.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};

use log::Level;

use crate::log::{cause, priority};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It is as it should be.
    Good,
    /// It is neither good nor bad.
    Note,
    /// The command itself mends it.
    Change,
    /// It works, but an administrator should do something about it.
    Warning,
    /// It does not work until an administrator does something about it.
    Problem,
}

impl Mark {
    /// How much it matters among the lines of a log.
    fn level(self) -> Level {
        match self {
            Mark::Good | Mark::Note | Mark::Change => Level::Info,
            Mark::Warning => Level::Warn,
            Mark::Problem => Level::Error,
        }
    }

    /// The word for it, as it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Mark::Good => "good",
            Mark::Note => "note",
            Mark::Change => "change",
            Mark::Warning => "warning",
            Mark::Problem => "problem",
        }
    }
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub mark: Mark,
    /// In words for an administrator; never a secret.
    pub what: String,
    /// What to do, or for a change what is done; empty where that is nothing.
    pub remedy: String,
}

impl Finding {
    /// It is as it should be.
    pub fn good(what: impl Into<String>) -> Self {
        Finding { mark: Mark::Good, what: what.into(), remedy: String::new() }
    }

    /// It is neither good nor bad.
    pub fn note(what: impl Into<String>) -> Self {
        Finding { mark: Mark::Note, what: what.into(), remedy: String::new() }
    }

    /// The command itself mends it, by this.
    pub fn change(what: impl Into<String>, by: impl Into<String>) -> Self {
        Finding { mark: Mark::Change, what: what.into(), remedy: by.into() }
    }

    /// It works, but should be mended.
    pub fn warning(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding { mark: Mark::Warning, what: what.into(), remedy: remedy.into() }
    }

    /// It does not work.
    pub fn problem(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding { mark: Mark::Problem, what: what.into(), remedy: remedy.into() }
    }

    /// A problem from an error whose message has its remedy behind the last semicolon.
    pub fn error(error: &dyn Error) -> Self {
        let finding = Finding::sentence(&error.to_string());
        let source = error.source().map_or(String::new(), |source| format!(": {}", cause(source)));
        Finding { what: finding.what + &source, ..finding }
    }

    /// A problem from such a message.
    pub fn sentence(text: &str) -> Self {
        match text.rsplit_once("; ") {
            Some((what, remedy)) => Finding::problem(what, remedy),
            None => Finding::problem(text, ""),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names of files, and whatever a database says, must not begin a line of their own.
        let line = |text: &str| text.replace(char::is_control, " ");
        writeln!(f, "  {:<7}  {}", self.mark.name(), line(&self.what))?;
        match (self.mark, line(&self.remedy)) {
            (_, remedy) if remedy.is_empty() => Ok(()),
            (Mark::Change, clause) => writeln!(f, "           by {clause}"),
            (_, remedy) => writeln!(f, "           remedy: {remedy}"),
        }
    }
}

/// Prints findings as they come, under headings, and counts them.
pub struct Report<'a> {
    out: &'a mut dyn Write,
    /// Whether each line begins with its priority, for systemd's journal (sd-daemon(3)).
    journal: bool,
    warnings: usize,
    problems: usize,
}

impl<'a> Report<'a> {
    /// An empty one.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Report { out, journal: false, warnings: 0, problems: 0 }
    }

    /// The same for systemd's journal, where that is what `out` is.
    #[must_use]
    pub fn for_journal(self, journal: bool) -> Self {
        Report { journal, ..self }
    }

    /// A line of its own, such as the heading of the findings after it.
    ///
    /// # Errors
    /// As the output says.
    pub fn line(&mut self, text: impl fmt::Display) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// Tells findings.
    ///
    /// # Errors
    /// As the output says.
    pub fn tell<'f>(&mut self, findings: impl IntoIterator<Item = &'f Finding>) -> io::Result<()> {
        for finding in findings {
            match finding.mark {
                Mark::Good | Mark::Note | Mark::Change => {}
                Mark::Warning => self.warnings += 1,
                Mark::Problem => self.problems += 1,
            }
            for line in finding.to_string().lines() {
                if self.journal {
                    write!(self.out, "<{}>", priority(finding.mark.level()))?;
                }
                writeln!(self.out, "{line}")?;
            }
        }
        // The next look may take seconds.
        self.out.flush()
    }

    /// How many warnings were told.
    pub fn warnings(&self) -> usize {
        self.warnings
    }

    /// How many problems were told; with any, a command ends with exit code 1.
    pub fn problems(&self) -> usize {
        self.problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_cause_before_its_remedy() {
        let file = std::path::Path::new("/no/such").to_owned();
        let error = crate::keyring::KeyError::Added(file, io::ErrorKind::NotFound.into());
        let expected = Finding::problem(
            "there is no key to add at /no/such: entity not found",
            "name the file of an RSA private key in PEM",
        );
        assert_eq!(Finding::error(&error), expected);
        assert_eq!(Finding::sentence("a; b; c"), Finding::problem("a; b", "c"));
        assert_eq!(Finding::sentence("a"), Finding::problem("a", ""));
    }

    #[test]
    fn findings_are_told_in_columns_and_counted() {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out);
        report.line("The table").unwrap();
        report
            .tell(&[
                Finding::good("a"),
                Finding::note("b"),
                Finding::change("c", "ADD d"),
                Finding::warning("e\nf", "mend it"),
                Finding::problem("g", "mend\tthat"),
            ])
            .unwrap();
        assert_eq!((report.warnings(), report.problems()), (1, 1));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "The table\n  good     a\n  note     b\n  change   c\n           by ADD d\n  warning  e \
             f\n           remedy: mend it\n  problem  g\n           remedy: mend that\n"
        );
    }
}
