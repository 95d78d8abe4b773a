//! The BE's tables, which this server only reads (contract §6).
//!
//! A BE comes in two layouts: with a `platforms` table, or later without, when
//! `wallets.platformId` holds a platform's name and the list of platforms is an ini file's. Salt
//! and key come from `credentials` or from two files.

mod credential;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::{error, fmt, fs, io};

use ini::{Ini, ParseOption};
use mysql::prelude::Queryable as _;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{Database, Record, StoreError, text};
use crate::config;
use crate::crypto::removal::BackendKey;
use crate::session::UserId;
use crate::wire::Platform;
use credential::{Credential, Secret};

/// The platforms of a BE without a table of them, as shipped.
const PLATFORMS: &str = include_str!("platforms.ini");

/// A user's id and password, then no id and a verified phone's hash, twice at most. Converted,
/// since columns of two collations do not unite.
const CANDIDATE: &str = "\
     (SELECT CONVERT(id USING utf8mb4), CONVERT(password USING utf8mb4) FROM users WHERE id = ?) \
     UNION ALL \
     (SELECT NULL, CONVERT(full_phone_number USING utf8mb4) FROM usersInfos \
      WHERE userId = ? AND status = 'verified' LIMIT 2)";

/// How `wallets` names a platform.
pub const PLATFORM_KIND: &str = "SELECT data_type FROM information_schema.columns \
     WHERE table_schema = DATABASE() AND table_name = 'wallets' AND column_name = 'platformId'";

/// Whether this type of `wallets.platformId` holds a name, as with a later BE, which has no table
/// of platforms (contract §6).
pub fn has_names(kind: Option<&str>) -> bool {
    kind.is_some_and(|kind| kind.contains("char") || kind.contains("text"))
}

/// The BE's database and files.
pub struct Backend {
    database: Arc<Database>,
    salt: Credential,
    shared_key: Credential,
    has_platforms: OnceLock<bool>,
    listed: Vec<Platform>,
}

/// What the BE knows of a user id, to be judged against a password.
pub struct Candidate {
    /// `users.password`: HMAC-SHA512 in lower-case hexadecimal. `None` for an unknown user.
    pub password: Option<Zeroizing<String>>,
    /// The phone numbers' hashes of the user's verified rows, two at most: only one is right.
    pub msisdn_hashes: Vec<Option<String>>,
}

impl Backend {
    /// The BE behind `database`, with its secrets in files where `keys` names them. `listed` is
    /// for a BE without a table of platforms.
    pub fn new(database: Arc<Database>, keys: &config::Keys, listed: Vec<Platform>) -> Self {
        Backend {
            database,
            salt: Credential::salt(keys.hashing_salt_file.clone()),
            shared_key: Credential::shared_key(keys.shared_key_file.clone()),
            has_platforms: OnceLock::new(),
            listed,
        }
    }

    /// The key of the BE's hashes: read once, and again while it is missing.
    ///
    /// # Errors
    /// [`StoreError::Content`] where it is missing.
    pub fn salt(&self) -> Result<Secret, StoreError> {
        self.salt.get(&self.database)
    }

    /// The salt where the BE has another now, after a password that did not match.
    pub fn renewed_salt(&self) -> Option<Secret> {
        self.salt.renewed(&self.database)
    }

    /// The key that the BE shares with this server: read once, and again while it is missing.
    ///
    /// # Errors
    /// [`StoreError::Content`] where it is missing or under 32 characters (contract §5).
    pub fn shared_key(&self) -> Result<Zeroizing<BackendKey>, StoreError> {
        Ok(backend_key(&self.shared_key.get(&self.database)?))
    }

    /// That key where the BE has another now, after a body that did not open.
    pub fn renewed_shared_key(&self) -> Option<Zeroizing<BackendKey>> {
        self.shared_key.renewed(&self.database).map(|secret| backend_key(&secret))
    }

    /// What there is to judge a password by; the same statement for known and unknown users.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn candidate(&self, user: &UserId) -> Result<Candidate, StoreError> {
        let rows: Vec<mysql::Row> = self
            .database
            .run(|connection| Ok(connection.exec(CANDIDATE, (user.as_str(), user.as_str()))?))?;
        let mut candidate = Candidate { password: None, msisdn_hashes: Vec::new() };
        for mut row in rows {
            match (text(&mut row, 0), text(&mut row, 1)) {
                (None, hash) => candidate.msisdn_hashes.push(hash),
                // MySQL compares without case; a user's id is theirs byte for byte (contract §1).
                (Some(id), hash) if id == user.as_str() => {
                    candidate.password = hash.map(Zeroizing::new);
                }
                (Some(_), _) => {}
            }
        }
        Ok(candidate)
    }

    /// The platforms that the user has saved, and all others.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn platforms(&self, user: &UserId) -> Result<(Vec<Platform>, Vec<Platform>), StoreError> {
        self.database.run(|connection| {
            if self.has_platforms(connection)? {
                let rows: Vec<mysql::Row> = connection.exec(
                    "SELECT EXISTS (SELECT 1 FROM wallets \
                                    WHERE wallets.platformId = platforms.id AND userId = ?), \
                     name, description, logo, protocols, `type`, letter \
                     FROM platforms ORDER BY id",
                    (user.as_str(),),
                )?;
                let (saved, unsaved): (Vec<_>, Vec<_>) = rows
                    .into_iter()
                    .filter_map(|mut row| Some((text(&mut row, 0)? == "1", platform(&mut row)?)))
                    .partition(|(saved, _)| *saved);
                let platforms =
                    |list: Vec<(bool, Platform)>| list.into_iter().map(|(_, p)| p).collect();
                return Ok((platforms(saved), platforms(unsaved)));
            }
            let rows: Vec<mysql::Row> = connection.exec(
                "SELECT DISTINCT platformId FROM wallets WHERE userId = ?",
                (user.as_str(),),
            )?;
            let names: Vec<String> =
                rows.into_iter().filter_map(|mut row| text(&mut row, 0)).collect();
            let saved = |platform: &Platform| {
                names.iter().any(|name| name.eq_ignore_ascii_case(&platform.name))
            };
            Ok(self.listed.iter().cloned().partition(saved))
        })
    }

    fn has_platforms(&self, connection: &mut mysql::Conn) -> Result<bool, StoreError> {
        const NO_SUCH_TABLE: u16 = 1146;
        const DENIED: u16 = 1142;
        if let Some(known) = self.has_platforms.get() {
            return Ok(*known);
        }
        let found = match connection.query_drop("SELECT 1 FROM platforms LIMIT 0") {
            Ok(()) => true,
            Err(mysql::Error::MySqlError(error)) if error.code == NO_SUCH_TABLE => false,
            // An account with the least rights is not told that there is no such table.
            Err(error) if matches!(&error, mysql::Error::MySqlError(e) if e.code == DENIED) => {
                let row: Option<mysql::Row> = connection.query_first(PLATFORM_KIND)?;
                let kind = row.and_then(|mut row| text(&mut row, 0));
                if !has_names(kind.as_deref()) {
                    return Err(error.into());
                }
                false
            }
            Err(error) => return Err(error.into()),
        };
        Ok(*self.has_platforms.get_or_init(|| found))
    }

    /// Whether salt and users are there and readable.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn ready(&self) -> Result<(), StoreError> {
        self.salt()?;
        self.database
            .run(|connection| Ok(connection.query_drop("SELECT id, password FROM users LIMIT 0")?))
    }

    /// How its database has served so far; `None` where that is the `other` one, which tells it.
    pub fn record(&self, other: &Arc<Database>) -> Option<Record> {
        (!Arc::ptr_eq(&self.database, other)).then(|| self.database.record())
    }

    /// Looks at what is there once, for the log: the salt and the layout.
    ///
    /// # Errors
    /// [`StoreError`], upon which the server starts nonetheless.
    pub fn greet(&self) -> Result<&'static str, StoreError> {
        self.salt()?;
        let has_platforms = self.database.run(|connection| self.has_platforms(connection))?;
        Ok(if has_platforms { "platforms table" } else { "platforms file" })
    }
}

fn backend_key(secret: &Secret) -> Zeroizing<BackendKey> {
    let key = secret.as_bytes().first_chunk();
    Zeroizing::new(*key.expect("the credential is taken only with its least length"))
}

fn platform(row: &mut mysql::Row) -> Option<Platform> {
    let protocols = text(row, 4).unwrap_or_default();
    let protocols: Vec<String> = serde_json::from_str(&protocols).unwrap_or_default();
    Some(Platform {
        name: text(row, 1)?.to_lowercase(),
        description: description(text(row, 2)),
        logo: text(row, 3),
        protocol: protocols.into_iter().next().unwrap_or_default(),
        kind: text(row, 5),
        letter: text(row, 6),
    })
}

/// The JSON object that the text is, or the text.
fn description(text: Option<String>) -> Value {
    match text {
        None => Value::Null,
        Some(text) => match serde_json::from_str(&text) {
            Ok(object @ Value::Object(_)) => object,
            _ => Value::String(text),
        },
    }
}

/// Why there is no list of platforms.
#[derive(Debug)]
pub enum PlatformsError {
    /// The file cannot be read.
    File(PathBuf, io::Error),
    /// The file is not one of sections with keys.
    Form(PathBuf, ini::ParseError),
    /// A section lacks its `protocols`, or a key stands in none.
    Section(PathBuf, String),
}

impl fmt::Display for PlatformsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlatformsError::File(path, _) => {
                write!(
                    f,
                    "the list of platforms at {} cannot be read; name a readable file in [sync] \
                     platforms_file",
                    path.display()
                )
            }
            PlatformsError::Form(path, _) => {
                write!(
                    f,
                    "the list of platforms at {} is not an ini file; write [name] and protocols = \
                     oauth2 below it",
                    path.display()
                )
            }
            PlatformsError::Section(path, name) => write!(
                f,
                "{}: [{name}] lacks protocols; write for example protocols = oauth2",
                path.display()
            ),
        }
    }
}

impl error::Error for PlatformsError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            PlatformsError::File(_, error) => Some(error),
            PlatformsError::Form(_, error) => Some(error),
            PlatformsError::Section(..) => None,
        }
    }
}

/// The platforms listed in a file, or those that the server knows.
///
/// # Errors
/// [`PlatformsError`], with the file's name.
pub fn listed_platforms(file: Option<&PathBuf>) -> Result<Vec<Platform>, PlatformsError> {
    let path = file.cloned().unwrap_or_default();
    let content = match file {
        Some(file) => {
            fs::read_to_string(file).map_err(|error| PlatformsError::File(path.clone(), error))?
        }
        None => PLATFORMS.to_owned(),
    };
    let plain =
        ParseOption { enabled_escape: false, enabled_quote: false, ..ParseOption::default() };
    let list = Ini::load_from_str_opt(&content, plain)
        .map_err(|error| PlatformsError::Form(path.clone(), error))?;
    let mut platforms = Vec::new();
    for (name, keys) in list.iter() {
        let missing = || PlatformsError::Section(path.clone(), name.unwrap_or_default().to_owned());
        match (name, keys.get("protocols")) {
            (None, _) if keys.is_empty() => {}
            (Some(name), Some(protocols)) => platforms.push(Platform {
                name: name.to_lowercase(),
                description: description(keys.get("description").map(str::to_owned)),
                logo: keys.get("logo").map(str::to_owned),
                protocol: protocols.split(',').next().unwrap_or_default().trim().to_owned(),
                kind: keys.get("type").map(str::to_owned),
                letter: keys.get("letter").map(str::to_owned),
            }),
            (..) => return Err(missing()),
        }
    }
    Ok(platforms)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_platforms_as_shipped_are_the_four_of_the_contract() {
        let platforms = listed_platforms(None).unwrap();
        let seen: Vec<_> = platforms
            .iter()
            .map(|p| (p.name.as_str(), p.letter.as_deref(), p.kind.as_deref(), p.protocol.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("gmail", Some("g"), Some("email"), "oauth2"),
                ("twitter", Some("t"), Some("text"), "oauth2"),
                ("telegram", Some("T"), Some("messaging"), "twofactor"),
                ("slack", Some("s"), Some("text"), "oauth2"),
            ]
        );
        assert!(platforms.iter().all(|p| p.description.is_object()));
    }

    #[test]
    fn a_description_is_the_object_in_the_column_or_its_text() {
        let check = |text: Option<&str>, expected| {
            assert_eq!(description(text.map(str::to_owned)), expected);
        };
        check(Some(r#"{"en":"mail"}"#), json!({ "en": "mail" }));
        check(Some("plain"), json!("plain"));
        check(Some("5"), json!("5"));
        check(None, json!(null));
    }
}
