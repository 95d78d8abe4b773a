//! Every setting as an administrator sees it: its text, and where that is from.
//!
//! What the texts mean is the typed [`Config`]'s, which comes with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use super::reader::Reader;
use super::source::{Given, Mistake, Place, Source};
use super::table::Setting;
use super::value::shown;
use super::{Config, ConfigError, Database, FILES, Secret};

/// The settings with all that is known about them.
pub struct Overview {
    /// The file that was read, or would have been.
    pub file: PathBuf,
    /// Whether it is there.
    pub has_file: bool,
    /// In the order of gateway.ini.
    pub settings: Vec<Shown>,
    config: Config,
    mistakes: Vec<String>,
}

/// One setting.
pub struct Shown {
    setting: &'static Setting,
    place: Place,
    /// The place in words, such as `gateway.ini:12`.
    from: String,
    text: Secret,
    /// What counts where the text says nothing by itself.
    derived: Option<String>,
}

impl Overview {
    /// Reads a file, or the first of the usual ones that is there, and `env`.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`]; what is wrong inside is [`Overview::config`]'s to tell.
    pub fn load(file: Option<&Path>, env: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let usual = || FILES.iter().map(Path::new).find(|path| path.exists());
        let there = file.or_else(usual);
        let read = |path: &Path| {
            fs::read(path).map_err(|cause| ConfigError::Unreadable(path.to_owned(), cause))
        };
        let text = there.map(read).transpose()?;
        let text = text.as_deref().map(String::from_utf8_lossy);
        let path = there.unwrap_or(Path::new(FILES[0]));
        Ok(Overview::new(text.as_deref(), path, env, &|path| fs::read_to_string(path)))
    }

    /// The same of a file's text; `read` reads the files that `…_FILE` variables name.
    pub fn new(
        text: Option<&str>,
        file: &Path,
        env: &BTreeMap<String, String>,
        read: &dyn Fn(&Path) -> io::Result<String>,
    ) -> Self {
        let mut source = Source::defaults();
        source.read_file(text.unwrap_or_default());
        source.read_environment(env, read);
        let given = source.given.clone();
        let folder = file.parent().unwrap_or(Path::new(""));
        let (config, mut mistakes) = Reader::new(source, folder).read();
        mistakes.sort();
        let name = |place: &Place| match place {
            Place::Default => "default".to_owned(),
            Place::Line(number) => format!("{}:{number}", file.display()),
            Place::Variable(name) => name.clone(),
        };
        let line = |(place, mistake): Mistake| match place {
            Place::Default => mistake,
            place => format!("{}: {mistake}", name(&place)),
        };
        // A name may hold anything: a terminal must not obey it, nor a log break at it.
        let line = |mistake| line(mistake).replace(char::is_control, " ");
        let show = |given: Given| Shown {
            derived: derived(&config, &given),
            setting: given.setting,
            from: name(&given.place),
            place: given.place,
            text: Secret::new(given.text),
        };
        Overview {
            file: file.to_owned(),
            has_file: text.is_some(),
            settings: given.into_iter().map(show).collect(),
            mistakes: mistakes.into_iter().map(line).collect(),
            config,
        }
    }

    /// The typed settings.
    ///
    /// # Errors
    /// [`ConfigError::Mistakes`], all of them.
    pub fn config(&self) -> Result<&Config, ConfigError> {
        if self.mistakes.is_empty() {
            Ok(&self.config)
        } else {
            Err(ConfigError::Mistakes(self.mistakes.clone()))
        }
    }

    /// The typed settings alone.
    ///
    /// # Errors
    /// As [`Overview::config`].
    pub fn into_config(self) -> Result<Config, ConfigError> {
        self.config()?;
        Ok(self.config)
    }

    /// What other settings than in `before` say, by their names.
    pub fn changed(&self, before: &Overview, reloads: bool) -> Vec<String> {
        let pairs = self.settings.iter().zip(&before.settings);
        pairs
            .filter(|(now, then)| now.setting.reloads == reloads && now.text != then.text)
            .map(|(now, _)| format!("[{}] {}", now.setting.section, now.setting.key))
            .collect()
    }

    /// Whether the file itself holds a password.
    pub fn file_holds_secret(&self) -> bool {
        let secret = |shown: &&Shown| shown.setting.secret && !shown.text.expose().is_empty();
        self.settings.iter().filter(secret).any(|shown| matches!(shown.place, Place::Line(_)))
    }
}

impl Shown {
    /// Whether the file or the environment gives it.
    pub fn is_set(&self) -> bool {
        self.place != Place::Default
    }
}

impl fmt::Display for Overview {
    /// One line a setting: where it is from, its section, its key, its value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.settings.iter().map(|shown| shown.from.chars().count()).max();
        let width = width.unwrap_or(0);
        for shown in &self.settings {
            writeln!(f, "{:width$}  {shown}", shown.from)?;
        }
        Ok(())
    }
}

impl fmt::Display for Shown {
    /// Without its place; a secret is masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting { section, key, secret, .. } = self.setting;
        let text = self.text.expose();
        let text = if *secret && !text.is_empty() { "***".into() } else { shown(text) };
        write!(f, "[{section}] {key} = {text}")?;
        self.derived.as_ref().map_or(Ok(()), |derived| write!(f, "  (so {})", shown(derived)))
    }
}

/// What a setting comes to, where that depends on others.
fn derived(config: &Config, given: &Given) -> Option<String> {
    let path = |path: &Path| path.display().to_string();
    match (given.setting.section, given.setting.key) {
        ("keys", "private_key") => {
            Some(path(&config.keys.private_key)).filter(|p| *p != given.text)
        }
        _ if !given.text.is_empty() => None,
        ("keys", "ring") => Some(path(&config.keys.ring)),
        ("mysql_be", key) => {
            let Some(be) = &config.mysql_be else { return Some("as in [mysql]".to_owned()) };
            let Database { host, port, socket, username, database, password, tls } = be;
            match key {
                "host" => Some(host.clone()),
                "port" => Some(port.to_string()),
                "socket" => socket.as_deref().map(path),
                "username" => Some(username.clone()),
                "database" => Some(database.clone()),
                "password" => {
                    Some("as in [mysql]".to_owned()).filter(|_| !password.expose().is_empty())
                }
                "tls" => Some(if tls.is_some() { "yes" } else { "no" }.to_owned()),
                _ => tls.as_ref().and_then(|tls| tls.ca.as_deref()).map(path),
            }
        }
        _ => None,
    }
}
