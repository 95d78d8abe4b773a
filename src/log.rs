//! One line an event, `key=value`. Ids are cut to 8 characters; no key, password or phone number
//! is ever given to the log, so that none needs to be filtered here.

use std::error::Error;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic;

use simplelog::{ConfigBuilder, SharedLogger, WriteLogger};

use crate::config;

/// Starts the log: on standard error, or in a file that is made for its owner and group.
///
/// # Errors
/// Where the file cannot be opened.
pub fn start(settings: &config::Log) -> io::Result<()> {
    let format = ConfigBuilder::new()
        .set_time_format_rfc3339()
        .set_thread_level(log::LevelFilter::Off)
        .set_target_level(log::LevelFilter::Off)
        .set_location_level(log::LevelFilter::Off)
        // Other crates would print frames and options at the talkative levels.
        .add_filter_allow_str("swob_gateway")
        .build();
    let logger: Box<dyn SharedLogger> = match &settings.file {
        None => WriteLogger::new(settings.level, format, io::stderr()),
        Some(path) => {
            let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
            WriteLogger::new(settings.level, format, file)
        }
    };
    // A second start in one process, as tests have it, keeps the first logger.
    if log::set_boxed_logger(logger.as_log()).is_ok() {
        log::set_max_level(settings.level);
    }
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        log::error!("panic at={place} cause=\"{}\"", line(&panic.payload_as_str().unwrap_or("?")));
    }));
    Ok(())
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
}
