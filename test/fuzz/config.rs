//! Settings: a file and, behind a NUL, lines of an environment. Each mistake is one line that
//! begins with its place, and line ends of either kind mean the same.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use swob_gateway::config::{Config, ConfigError, Overview};

pub fn holds(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let (file, env) = input.split_once('\0').unwrap_or((input, ""));
    let env = env.lines().filter_map(|line| line.split_once('='));
    let env: BTreeMap<_, _> = env.map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
    let read = settings(file, &env);
    let unix = file.replace("\r\n", "\n");
    assert_eq!(settings(&unix, &env), settings(&unix.replace('\n', "\r\n"), &env));
    let Err(mistakes) = read else { return };
    assert!(!mistakes.is_empty(), "refused for nothing");
    for mistake in mistakes {
        let (place, what) = mistake.split_once(": ").expect("a mistake names its place");
        let line = place.strip_prefix("gateway.ini:").and_then(|number| number.parse().ok());
        let in_file = line.is_some_and(|line: usize| (1..=file.lines().count()).contains(&line));
        // As its name is told: on one line.
        let told = |name: &String| format!("{}: ", name.replace(char::is_control, " "));
        let named = env.keys().any(|name| mistake.starts_with(&told(name)));
        assert!(in_file || named, "no place: {mistake:?}");
        assert!(!what.is_empty(), "{mistake:?}");
        assert!(!what.contains(['\n', '\r', '\x1b']), "not one line: {mistake:?}");
    }
}

fn settings(file: &str, env: &BTreeMap<String, String>) -> Result<Config, Vec<String>> {
    let files = |path: &Path| match path.to_str() {
        Some("secret") => Ok("hunter2\n".to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    let overview = Overview::new(Some(file), Path::new("gateway.ini"), env, &files);
    overview.into_config().map_err(|error| match error {
        ConfigError::Mistakes(lines) => lines,
        ConfigError::Unreadable(..) => panic!("the text is here already"),
    })
}
