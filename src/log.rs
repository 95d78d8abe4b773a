//! One line an event, `key=value`. Ids are cut to 8 characters; no key, password or phone number
//! is ever given to the log, so that none needs to be filtered here.
//!
//! Lines of one request end in the same `request=`, which is in no answer. systemd's journal is
//! given each line's priority and no time, for it has its own; a file and a terminal get both.

use std::cell::Cell;
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, LineWriter, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::{env, fmt, panic};

use log::{Level, LevelFilter, Log, Metadata, Record};
use rustix::fs::fstat;
use simplelog::{ConfigBuilder, WriteLogger};

use crate::config;

/// Other crates would print frames and options at the talkative levels.
const OWN: &str = "swob_gateway";

/// The file, where the log goes to one.
static FILE: OnceLock<(PathBuf, Shared)> = OnceLock::new();
/// Whether wrong passwords leave a line.
static FAILED_PASSWORDS: AtomicBool = AtomicBool::new(false);
/// The next request's number; the first of a start is random, so that a restart repeats none soon.
static NEXT: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// The number of the request that this thread serves.
    static REQUEST: Cell<Option<u32>> = const { Cell::new(None) };
}

/// A file that the log cannot be written to.
#[derive(Debug)]
pub struct LogError(pub PathBuf, pub io::Error);

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the log file {} cannot be written; let the server's account write it, or leave [log] \
             file empty for standard error",
            self.0.display()
        )
    }
}

impl Error for LogError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.1)
    }
}

/// Starts the log: on standard error, or in a file that is made for its owner and group.
///
/// # Errors
/// [`LogError`]
pub fn start(settings: &config::Log) -> Result<(), LogError> {
    let out: Box<dyn Log> = match &settings.file {
        None if is_journal(io::stderr()) => Box::new(Journal),
        None => timed(io::stderr()),
        Some(path) => {
            let file = Shared(Arc::new(Mutex::new(open(path)?)));
            let _ = FILE.set((path.clone(), file.clone()));
            timed(file)
        }
    };
    NEXT.store(rand::random(), Ordering::Relaxed);
    // A second start in one process, as tests have it, keeps the first logger.
    if log::set_boxed_logger(Box::new(Lines(out))).is_ok() {
        set(settings);
    }
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        log::error!("panic at={place} cause=\"{}\"", line(&panic.payload_as_str().unwrap_or("?")));
    }));
    Ok(())
}

/// Takes over what may change while the server runs: all but the file.
pub fn set(settings: &config::Log) {
    log::set_max_level(settings.level);
    FAILED_PASSWORDS.store(settings.failed_passwords, Ordering::Relaxed);
}

/// Opens the file anew, which logrotate may have moved away.
pub fn reopen() {
    let Some((path, file)) = FILE.get() else { return };
    match open(path) {
        Ok(opened) => *file.0.lock().unwrap_or_else(PoisonError::into_inner) = opened,
        Err(error) => log::error!("the log file stays as it was cause=\"{}\"", cause(&error)),
    }
}

/// Whatever this thread logs until the guard is dropped belongs to one request.
#[must_use]
pub fn begin_request() -> RequestLines {
    REQUEST.set(Some(NEXT.fetch_add(1, Ordering::Relaxed)));
    RequestLines(())
}

/// The request that this thread serves, for [`go_on`].
pub fn request() -> Option<u32> {
    REQUEST.get()
}

/// The same as [`begin_request`] for a thread that goes on with another one's request.
#[must_use]
pub fn go_on(request: Option<u32>) -> RequestLines {
    REQUEST.set(request);
    RequestLines(())
}

/// The time of one request.
pub struct RequestLines(());

impl Drop for RequestLines {
    fn drop(&mut self) {
        REQUEST.set(None);
    }
}

/// Notes a wrong password for programs such as fail2ban, where that is asked for. The line stays
/// as it is from version to version, and has no `request=`: another line joined by it would tell
/// the user.
pub fn password_refused(address: IpAddr) {
    if FAILED_PASSWORDS.load(Ordering::Relaxed) {
        let request = REQUEST.take();
        log::warn!("password refused address={address}");
        REQUEST.set(request);
    }
}

/// An error with its causes, on one line.
pub fn cause(error: &dyn Error) -> String {
    let mut text = line(&error);
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&line(&error));
        next = error.source();
    }
    text
}

/// The first 8 characters of an id.
pub fn short(id: impl ToString) -> String {
    id.to_string().chars().take(8).collect()
}

/// Foreign text must not begin a line of its own, nor end the quotes around it.
fn line(text: &dyn ToString) -> String {
    text.to_string().replace(|c: char| c.is_control(), " ").replace('"', "'")
}

/// Every record as one line, with its request.
struct Lines(Box<dyn Log>);

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(OWN)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = text(record.args(), REQUEST.get());
        let metadata = record.metadata().clone();
        // The arguments live as long as the record, so that both stand in one expression.
        self.0.log(&Record::builder().metadata(metadata).args(format_args!("{text}")).build());
    }

    fn flush(&self) {
        self.0.flush();
    }
}

fn text(args: &fmt::Arguments<'_>, request: Option<u32>) -> String {
    let mut text = args.to_string();
    if text.contains(char::is_control) {
        text = text.replace(char::is_control, " ");
    }
    if let Some(request) = request {
        text.push_str(&format!(" request={request:08x}"));
    }
    text
}

/// Lines with their time and level.
fn timed(out: impl Write + Send + 'static) -> Box<dyn Log> {
    let format = ConfigBuilder::new()
        .set_time_format_rfc3339()
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .build();
    // The logger alone would write a line in twenty pieces, a system call each.
    WriteLogger::new(LevelFilter::Trace, format, LineWriter::new(out))
}

fn open(path: &Path) -> Result<File, LogError> {
    let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path);
    file.map_err(|error| LogError(path.to_owned(), error))
}

/// A file that is exchanged while it is written to.
#[derive(Clone)]
struct Shared(Arc<Mutex<File>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

/// Whether a stream is systemd's journal: systemd names its file in JOURNAL_STREAM, which a child
/// inherits whose streams may be others (systemd.exec(5)).
pub fn is_journal(stream: impl AsFd) -> bool {
    let named = env::var_os("JOURNAL_STREAM");
    let named = named.as_ref().and_then(|text| text.to_str()?.split_once(':'));
    let own = fstat(stream).ok();
    named.zip(own).is_some_and(|((device, inode), own)| {
        device.parse() == Ok(own.st_dev) && inode.parse() == Ok(own.st_ino)
    })
}

/// Standard error as systemd reads it: the priority before each line (sd-daemon(3)).
struct Journal;

impl Log for Journal {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("<{}>{}\n", priority(record.level()), record.args());
        // One write, so that lines of two threads do not mix.
        let _ = io::stderr().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

/// As syslog(3) has them.
pub fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_many_lines_is_one_line() {
        let error = io::Error::other("first\nsecond \"third\"\r\n");
        assert_eq!(cause(&error), "first second 'third'  ");
    }

    #[test]
    fn an_id_is_cut() {
        assert_eq!(short("dead3662-5f78-11ed-b8e7-6d06c3aaf3c6"), "dead3662");
        assert_eq!(short("111"), "111");
    }

    #[test]
    fn a_record_is_one_line_with_its_request() {
        let check = |args: fmt::Arguments<'_>, request, expected| {
            assert_eq!(text(&args, request), expected);
        };
        check(format_args!("a b=c"), None, "a b=c");
        check(format_args!("a"), Some(0xa7), "a request=000000a7");
        check(format_args!("a\r\n<3>b\u{1b}[2J\u{85}é"), None, "a  <3>b [2J é");
    }

    #[test]
    fn a_request_ends_with_its_guard() {
        {
            let _request = begin_request();
            assert!(REQUEST.get().is_some());
        }
        assert_eq!(REQUEST.get(), None);
    }
}
