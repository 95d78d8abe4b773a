//! Collects each setting's text from the file and the environment, with the place it comes from.
//!
//! It knows names, not meanings: values are read by `value.rs`, put together by `config.rs`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use ini::{Ini, ParseOption};
use zeroize::Zeroizing;

use super::table::{SETTINGS, Setting, nearest, sections};

/// What the variables of this server begin with.
const PREFIX: &str = "GATEWAY_";

/// Where a text comes from; a later variant overrides an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Default,
    /// The file's line, from 1.
    Line(usize),
    Variable(String),
}

impl Place {
    /// How much it weighs against another: file lines are equals, so are variables.
    pub fn rank(&self) -> u8 {
        match self {
            Place::Default => 0,
            Place::Line(_) => 1,
            Place::Variable(_) => 2,
        }
    }
}

/// What is wrong, with its remedy, and where.
pub type Mistake = (Place, String);

/// One setting's text.
#[derive(Clone)]
pub struct Given {
    pub setting: &'static Setting,
    pub text: String,
    pub place: Place,
}

/// Every setting's text, in the order of [`SETTINGS`].
pub struct Source {
    pub given: Vec<Given>,
    pub mistakes: Vec<Mistake>,
}

/// The section that a line stands in.
#[derive(Clone, Copy)]
enum Current {
    Outside,
    /// Reported once; its keys are not judged.
    Unknown,
    Known(&'static str),
}

impl Source {
    /// Every setting at its default.
    pub fn defaults() -> Self {
        let given = SETTINGS.iter().map(|setting| Given {
            setting,
            text: setting.default.to_owned(),
            place: Place::Default,
        });
        Source { given: given.collect(), mistakes: Vec::new() }
    }

    /// Overrides with the text of a configuration file.
    pub fn read_file(&mut self, text: &str) {
        let mut current = Current::Outside;
        // Windows' editor begins a file with a byte order mark.
        for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
            let place = Place::Line(number);
            match Line::parse(line) {
                Ok(Line::Blank) => {}
                Ok(Line::Section(name)) => current = self.section(&name, place),
                Ok(Line::Pair(key, text)) => self.pair(current, &key, text, place),
                Err(mistake) => self.mistakes.push((place, mistake.to_owned())),
            }
        }
    }

    fn section(&mut self, name: &str, place: Place) -> Current {
        let known = sections();
        if let Some(known) = known.iter().find(|known| **known == name) {
            return Current::Known(known);
        }
        let remedy = match nearest(name, known.iter().copied()) {
            Some(known) => format!("did you mean [{known}]?"),
            None => format!("the sections are {}", known.join(", ")),
        };
        self.mistakes.push((place, format!("[{name}] is not a known section; {remedy}")));
        Current::Unknown
    }

    fn pair(&mut self, current: Current, key: &str, text: String, place: Place) {
        let section = match current {
            Current::Known(section) => section,
            Current::Unknown => return,
            Current::Outside => {
                let remedy = match SETTINGS.iter().find(|setting| setting.key == key) {
                    Some(setting) => {
                        format!("write a section above it, such as [{}]", setting.section)
                    }
                    None => "write its section above it".into(),
                };
                self.mistakes.push((place, format!("{key} stands outside a section; {remedy}")));
                return;
            }
        };
        let mut keys = self.given.iter_mut().filter(|given| given.setting.section == section);
        match keys.find(|given| given.setting.key == key) {
            None => self.mistakes.push((place, unknown_key(section, key))),
            Some(Given { place: Place::Line(first), .. }) => {
                let mistake =
                    format!("[{section}] {key} is set in line {first} already; remove one");
                self.mistakes.push((place, mistake));
            }
            Some(given) => (given.text, given.place) = (text, place),
        }
    }

    /// Overrides with the environment; `read` reads the files that `…_FILE` variables name.
    pub fn read_environment(
        &mut self,
        env: &BTreeMap<String, String>,
        read: &dyn Fn(&Path) -> io::Result<String>,
    ) {
        for given in &mut self.given {
            match choose(given.setting, env, read) {
                // What stands in for bytes that are no UTF-8 is not what anybody has meant.
                Ok(Some((name, text))) if text.contains(char::REPLACEMENT_CHARACTER) => {
                    let mistake = "is not UTF-8; set it in a terminal or file of that encoding";
                    self.mistakes.push((Place::Variable(name), mistake.to_owned()));
                }
                Ok(Some((name, text))) => {
                    (given.text, given.place) = (text, Place::Variable(name));
                }
                Ok(None) => {}
                Err(mistake) => self.mistakes.push(mistake),
            }
        }
        let known: Vec<String> = SETTINGS
            .iter()
            .flat_map(|setting| [Some(setting.variable()), setting.file_variable()])
            .flatten()
            .collect();
        for (name, text) in env.iter().filter(|(name, _)| !known.contains(name)) {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            if tells_of_service(name, text) {
                continue;
            }
            let remedy = match nearest(rest, known.iter().filter_map(|k| k.strip_prefix(PREFIX))) {
                Some(known) => format!("did you mean {PREFIX}{known}?"),
                None => "write GATEWAY_<SECTION>_<KEY> as in gateway.ini, or unset it".into(),
            };
            let mistake = format!("is not a known variable; {remedy}");
            self.mistakes.push((Place::Variable(name.clone()), mistake));
        }
    }
}

/// Whether a variable is one that Kubernetes sets for each service of the namespace, or Docker for
/// each link: one called `gateway` or `mysql` brings names that look like settings.
fn tells_of_service(name: &str, text: &str) -> bool {
    let numbered = name.rsplit_once("_PORT_").is_some_and(|(_, rest)| {
        let (number, rest) = rest.split_once('_').unwrap_or((rest, ""));
        let protocol = rest.split('_').next().unwrap_or(rest);
        number.parse::<u16>().is_ok() && ["TCP", "UDP", "SCTP"].contains(&protocol)
    });
    // The last of them ends in _TCP_PORT, which is no number's start.
    let number = name.strip_suffix("_TCP_PORT").or_else(|| name.strip_suffix("_UDP_PORT"));
    let numbered = numbered || number.is_some_and(|name| name.contains("_PORT_"));
    numbered
        || name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && text.contains("://"))
}

/// The variable that counts for a setting, and its text.
fn choose(
    setting: &Setting,
    env: &BTreeMap<String, String>,
    read: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<Option<(String, String)>, Mistake> {
    let own = setting.variable();
    let file = setting.file_variable().and_then(|name| Some((env.get(&name)?, name)));
    match (env.get(&own), file) {
        (Some(_), Some((_, name))) => {
            let mistake = format!("{own} is set as well; unset one of the two");
            Err((Place::Variable(name), mistake))
        }
        (Some(text), None) => Ok(Some((own, text.clone()))),
        (None, Some((path, name))) => match read(Path::new(path)) {
            Ok(text) => Ok(Some((name, without_newline(&text).to_owned()))),
            Err(cause) => {
                let mistake = format!("{path} cannot be read ({cause}); name a readable file");
                Err((Place::Variable(name), mistake))
            }
        },
        // Compose files pass on what is not set as empty; only a password may mean it.
        (None, None) => {
            let set = setting.contract.iter().find_map(|name| {
                let text = env.get(*name).filter(|text| setting.secret || !text.is_empty())?;
                if setting.key == "port" && tells_of_service(name, text) {
                    return None;
                }
                Some(((*name).to_owned(), text.clone()))
            });
            set.map_or_else(|| credential(setting, env, read), |set| Ok(Some(set)))
        }
    }
}

/// What systemd hands over for a setting (systemd.exec(5), Credentials), and its name.
fn credential(
    setting: &Setting,
    env: &BTreeMap<String, String>,
    read: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<Option<(String, String)>, Mistake> {
    let (Some(name), Some(folder)) = (setting.credential(), env.get("CREDENTIALS_DIRECTORY"))
    else {
        return Ok(None);
    };
    let path = format!("{folder}/{name}");
    match read(Path::new(&path)).map(Zeroizing::new) {
        Ok(text) if setting.secret => Ok(Some((name, without_newline(&text).to_owned()))),
        Ok(_) => Ok(Some((name, path))),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => {
            let mistake = format!("{path} cannot be read ({cause}); make it a readable text");
            Err((Place::Variable(name), mistake))
        }
    }
}

/// Editors end a file with a newline that is no part of the secret.
fn without_newline(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line))
}

fn unknown_key(section: &str, key: &str) -> String {
    let keys = SETTINGS.iter().filter(|setting| setting.section == section);
    let keys: Vec<&str> = keys.map(|setting| setting.key).collect();
    let elsewhere = SETTINGS.iter().find(|setting| setting.key == key);
    let remedy = match (nearest(key, keys.iter().copied()), elsewhere) {
        (Some(known), _) => format!("did you mean {known}?"),
        (None, Some(setting)) => format!("it belongs under [{}]", setting.section),
        (None, None) => format!("its keys are {}", keys.join(", ")),
    };
    format!("[{section}] {key} is not a known key; {remedy}")
}

/// One line of a file.
#[derive(Debug, PartialEq)]
enum Line {
    Blank,
    Section(String),
    Pair(String, String),
}

impl Line {
    /// Reads a line. A mistake never repeats the line: it may be a misspelt password.
    ///
    /// rust-ini sees one line at a time, for it stops at the first error, tells no key's line and
    /// glues a line without `=` to the next. It is lenient, hence the checks around it.
    fn parse(line: &str) -> Result<Line, &'static str> {
        const SECTION: &str = "a section line is [name] and nothing else; write it so";
        const PAIR: &str = "this is no setting; write key = value, or # before a comment";
        const QUOTE: &str = "a value that begins with a quote ends with the same, and has no other \
                             of its kind; write the other kind around it, \" or '";
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            return Ok(Line::Blank);
        }
        // What stands in for bytes that are no UTF-8 is not what anybody has meant.
        if line.contains(char::REPLACEMENT_CHARACTER) {
            return Err("this line is not UTF-8; save the file in that encoding");
        }
        // A backslash is a letter like any other, in passwords above all.
        let option = ParseOption { enabled_escape: false, ..ParseOption::default() };
        let parsed = Ini::load_from_str_opt(line, option);
        if let Some(name) = line.strip_prefix('[') {
            let name = name.strip_suffix(']').ok_or(SECTION)?.trim();
            let found =
                parsed.is_ok_and(|ini| ini.section(Some(name)).is_some_and(|keys| keys.is_empty()));
            return if found { Ok(Line::Section(name.to_owned())) } else { Err(SECTION) };
        }
        let (key, raw) = line.split_once('=').ok_or(PAIR)?;
        let (key, raw) = (key.trim(), raw.trim());
        // It also reads `key: value`, and anything at all as a key.
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
            return Err(PAIR);
        }
        let ini = parsed.map_err(|_| QUOTE)?;
        let text = ini.get_from(None::<&str>, key).ok_or(PAIR)?;
        // It also reads `"a"b` and drops the quotes.
        if raw.starts_with(['"', '\'']) && raw.get(1..raw.len() - 1) != Some(text) {
            return Err(QUOTE);
        }
        Ok(Line::Pair(key.to_owned(), text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let check = |line, expected| assert_eq!(Line::parse(line), Ok(expected), "{line}");
        let section = |name: &str| Line::Section(name.into());
        let pair = |key: &str, text: &str| Line::Pair(key.into(), text.into());
        for line in ["", "  \t", "#", "# a = b", "; a = b", "  # [a]", "\r"] {
            check(line, Line::Blank);
        }
        check("[http]", section("http"));
        check("  [ http ] \r", section("http"));
        check("[]", section(""));
        check("a=", pair("a", ""));
        check("  a = b c \r", pair("a", "b c"));
        check("a-b_1=1=2", pair("a-b_1", "1=2"));
        check("a = [b]", pair("a", "[b]"));
        check("a = p#a;ss # w", pair("a", "p#a;ss # w"));
        check("a = #", pair("a", "#"));
        check("a = = :", pair("a", "= :"));
        check(r"a = \n\x41\", pair("a", r"\n\x41\"));
        check(r#"a = " b ""#, pair("a", " b "));
        check("a = ' \"b\" '", pair("a", " \"b\" "));
        check(r#"a = """#, pair("a", ""));
        check("a = b\"c\"'", pair("a", "b\"c\"'"));
        check("a = schlüssel \u{1f511}", pair("a", "schlüssel \u{1f511}"));
    }

    #[test]
    fn bad_lines_are_not_repeated() {
        let check = |line: &str, expected: &str| {
            let mistake = Line::parse(line).expect_err(line);
            assert!(mistake.starts_with(expected), "{line}: {mistake}");
        };
        for line in
            ["[http", "[http] a", "[http] # a", "[http] a = b", "[http] a = [b]", "[a]b]", "["]
        {
            check(line, "a section line");
        }
        for line in [
            "a",
            "a b",
            "a: b",
            "a: b = c",
            "password p@=s",
            "= a",
            "a b = c",
            "[a]=b",
            "ä = b",
            "\"a\" = b",
        ] {
            check(
                line,
                if line.starts_with('[') { "a section line" } else { "this is no setting" },
            );
        }
        for line in [
            "a = \"",
            "a = \"b",
            "a = 'b",
            "a = \"b\"c",
            "a = \"b\" \"c\"",
            "a = 'b''c'",
            "a = 'b' 'c'",
            r#"a = "b\""#,
        ] {
            check(line, "a value that begins with a quote");
        }
    }
}
