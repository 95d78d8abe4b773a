//! How a phone's key stands in the table: in clear, or under AES-256-GCM (NIST SP 800-38D).
//!
//! A sealed column reads `aes1:{key id}:{base64 of nonce, ciphertext and tag}`. The rest of its row
//! is the associated data, so that no part of a row can be exchanged for another's. OpenSSL seals,
//! which is in the house for the server's key. Nonces come from the caller, rows from the modules
//! beside; nothing here knows the database.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{error, fmt, fs, io};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::crypto::decode_base64;

/// What a sealed column begins with; a key in clear is hexadecimal (contract §6).
const MARK: &str = "aes1:";
/// In the key file's first line: rows are written in clear, and the keys below open older ones.
const PLAIN: &str = "plain";
const NONCE: usize = 12;
const TAG: usize = 16;

/// The keys that `shared_key` is sealed under. None by default, which writes in clear.
#[derive(Default)]
pub struct Keys {
    keys: Vec<Key>,
    /// Whether the first key seals what is written.
    seals: bool,
}

struct Key {
    /// The first 8 hexadecimal digits of the key's SHA-256.
    id: String,
    secret: Zeroizing<[u8; 32]>,
}

/// The parts of a row beside its `shared_key`, as the table holds them.
#[derive(Clone, Copy)]
pub struct Beside<'a> {
    pub msisdn_hash: &'a str,
    pub public_key: &'a str,
    pub mgf1: &'a str,
    pub oaep: &'a str,
}

/// Why there are no keys.
#[derive(Debug)]
pub enum KeysError {
    /// The file cannot be read.
    File(PathBuf, io::Error),
    /// A line, counted from 1, holds no key.
    Line(PathBuf, usize),
    /// The file holds no key at all.
    Empty(PathBuf),
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeysError::File(path, _) => {
                write!(
                    f,
                    "the file of [keys] at_rest_keys, {}, cannot be read; let the server's account \
                     read it",
                    path.display()
                )
            }
            KeysError::Line(path, line) => write!(
                f,
                "{}:{line} is no key; a key is 32 random bytes as 64 hexadecimal digits or in \
                 base64, alone on its line, as `openssl rand -hex 32` prints it",
                path.display()
            ),
            KeysError::Empty(path) => write!(
                f,
                "{} holds no key; make one with `openssl rand -hex 32`, or leave [keys] \
                 at_rest_keys empty",
                path.display()
            ),
        }
    }
}

impl error::Error for KeysError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            KeysError::File(_, error) => Some(error),
            KeysError::Line(..) | KeysError::Empty(_) => None,
        }
    }
}

/// Why a sealed column does not open.
#[derive(Debug, PartialEq, Eq)]
pub enum OpenError {
    /// It is cut off, or garbled.
    Form,
    /// It is sealed under a key that is not at hand.
    Key,
    /// It, or the row beside it, is not what was sealed.
    Altered,
}

impl OpenError {
    /// The error in a sentence with its remedy.
    pub fn text(&self) -> &'static str {
        match self {
            OpenError::Form => {
                "a sealed shared_key is cut off; restore the row, or let its phone sync again"
            }
            OpenError::Key => {
                "a row is sealed under a key that [keys] at_rest_keys does not have; add the key to its file"
            }
            OpenError::Altered => {
                "a sealed row was altered; restore it, or let its phone sync again"
            }
        }
    }
}

impl Keys {
    /// Reads a file of keys, one a line; none where no file is set.
    ///
    /// # Errors
    /// [`KeysError`], with its remedy.
    pub fn load(file: Option<&Path>) -> Result<Self, KeysError> {
        let Some(path) = file else { return Ok(Keys::default()) };
        let at = |error| KeysError::File(path.to_owned(), error);
        let text = fs::read_to_string(path).map_err(at)?;
        if fs::metadata(path).map_err(at)?.permissions().mode() & 0o007 != 0 {
            log::warn!(
                "the keys at rest are open to every user of this machine file={} remedy=\"chmod 600\"",
                path.display()
            );
        }
        let keys = Keys::parse(&Zeroizing::new(text))
            .map_err(|line| KeysError::Line(path.to_owned(), line))?;
        if keys.keys.is_empty() { Err(KeysError::Empty(path.to_owned())) } else { Ok(keys) }
    }

    /// Reads the text of such a file, in which empty lines and those that begin with # say
    /// nothing.
    ///
    /// # Errors
    /// The number of the first line that is wrong, from 1.
    pub fn parse(text: &str) -> Result<Self, usize> {
        let mut keys = Keys { keys: Vec::new(), seals: true };
        for (number, line) in (1_usize..).zip(text.lines().map(str::trim)) {
            match line {
                said if said.is_empty() || said.starts_with('#') => {}
                PLAIN if keys.keys.is_empty() => keys.seals = false,
                line => {
                    let secret = secret(line).ok_or(number)?;
                    let digest = Sha256::digest(*secret);
                    let id = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
                    keys.keys.push(Key { id, secret });
                }
            }
        }
        Ok(keys)
    }

    /// The key that seals what is written; `None` where that is left in clear.
    fn writer(&self) -> Option<&Key> {
        self.keys.first().filter(|_| self.seals)
    }

    /// Whether what is written is sealed.
    pub fn seals(&self) -> bool {
        self.writer().is_some()
    }

    /// The same keys, of which none writes any more.
    #[must_use]
    pub fn unsealing(self) -> Self {
        Keys { seals: false, ..self }
    }

    /// What every column begins with that the writer sealed, or else that anyone sealed.
    pub fn mark(&self) -> String {
        self.writer().map_or_else(|| MARK.to_owned(), |key| format!("{MARK}{}:", key.id))
    }

    /// Whether a column is as this one would write it.
    pub fn is_current(&self, column: &str) -> bool {
        column.starts_with(&self.mark()) == self.seals()
    }

    /// A shared key as it is to be written beside these parts. `nonce` is fresh from a
    /// cryptographic generator: two columns under one nonce betray both.
    pub fn seal(&self, plain: &str, beside: Beside<'_>, nonce: [u8; NONCE]) -> Zeroizing<String> {
        let Some(key) = self.writer() else { return Zeroizing::new(plain.to_owned()) };
        let mut tag = [0; TAG];
        let data = beside.associated_data();
        let cipher = Cipher::aes_256_gcm();
        let sealed =
            encrypt_aead(cipher, &*key.secret, Some(&nonce), &data, plain.as_bytes(), &mut tag)
                .expect("AES-256-GCM takes any text under 32 bytes of key and 12 of nonce");
        let body = STANDARD.encode([&nonce[..], &sealed, &tag].concat());
        Zeroizing::new(self.mark() + &body)
    }

    /// The shared key of a column that stands beside these parts, sealed or in clear.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(&self, column: &str, beside: Beside<'_>) -> Result<Zeroizing<String>, OpenError> {
        let Some(sealed) = column.strip_prefix(MARK) else {
            return Ok(Zeroizing::new(column.to_owned()));
        };
        let (id, body) = sealed.split_once(':').ok_or(OpenError::Form)?;
        let body = STANDARD.decode(body).map_err(|_| OpenError::Form)?;
        let (nonce, rest) = body.split_at_checked(NONCE).ok_or(OpenError::Form)?;
        let length = rest.len().checked_sub(TAG).ok_or(OpenError::Form)?;
        let (ciphertext, tag) = rest.split_at(length);
        let data = beside.associated_data();
        let mut known = self.keys.iter().filter(|key| key.id == id).peekable();
        known.peek().ok_or(OpenError::Key)?;
        let cipher = Cipher::aes_256_gcm();
        known
            .find_map(|key| {
                decrypt_aead(cipher, &*key.secret, Some(nonce), &data, ciphertext, tag).ok()
            })
            .and_then(|plain| String::from_utf8(plain).ok())
            .map(Zeroizing::new)
            .ok_or(OpenError::Altered)
    }
}

impl Beside<'_> {
    /// Each part behind its length, so that no byte can move from one to the next.
    fn associated_data(&self) -> Vec<u8> {
        let mut data = Vec::new();
        for part in [self.msisdn_hash, self.public_key, self.mgf1, self.oaep] {
            data.extend((part.len() as u64).to_be_bytes());
            data.extend(part.as_bytes());
        }
        data
    }
}

/// 32 bytes as 64 hexadecimal digits, or in base64.
fn secret(line: &str) -> Option<Zeroizing<[u8; 32]>> {
    let bytes = if line.len() == 64 {
        let digit = |at| u8::from_str_radix(line.get(at..at + 2)?, 16).ok();
        let plain = line.bytes().all(|byte| byte.is_ascii_hexdigit());
        (0..64).step_by(2).map(digit).collect::<Option<Vec<u8>>>().filter(|_| plain)?
    } else {
        decode_base64(line).ok()?
    };
    let bytes = Zeroizing::new(bytes);
    Some(Zeroizing::new(bytes.as_slice().try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: &str = "0123456789abcdef0123456789abcdef";
    const NONCES: [u8; NONCE] = [7; NONCE];
    const ROW: Beside<'_> =
        Beside { msisdn_hash: "60", public_key: "PEM", mgf1: "sha1", oaep: "sha256" };

    fn keys(text: &str) -> Keys {
        Keys::parse(text).unwrap_or_else(|line| panic!("line {line} of {text}"))
    }

    fn first() -> String {
        "a1".repeat(32)
    }

    fn second() -> String {
        "b2".repeat(32)
    }

    #[test]
    fn a_key_is_hexadecimal_or_base64() {
        let base64 = STANDARD.encode([0xa1; 32]);
        let sealed = keys(&first()).seal(SHARED, ROW, NONCES);
        for text in
            [base64.clone(), format!("# one\n\n {base64} \r\n"), first().to_uppercase(), first()]
        {
            assert_eq!(keys(&text).open(&sealed, ROW).unwrap().as_str(), SHARED, "{text}");
        }
        let check = |text: &str, line| assert_eq!(Keys::parse(text).err(), Some(line), "{text}");
        check("a1", 1);
        check(&first()[..63], 1);
        check(&format!("{}+1", &first()[..62]), 1);
        check(&"é".repeat(32), 1);
        check(&STANDARD.encode([1; 31]), 1);
        check(&STANDARD.encode([1; 33]), 1);
        check(&format!("{}\n# two\nhello", first()), 3);
        check(&format!("{}\nplain", first()), 2);
    }

    #[test]
    fn the_first_writes_and_all_read() {
        let old = keys(&first()).seal(SHARED, ROW, NONCES);
        let both = keys(&format!("{}\n{}", second(), first()));
        let new = both.seal(SHARED, ROW, NONCES);
        for column in [old.as_str(), &new, SHARED] {
            assert_eq!(both.open(column, ROW).unwrap().as_str(), SHARED, "{column}");
        }
        assert!(both.is_current(&new) && !both.is_current(&old) && !both.is_current(SHARED));
        assert_eq!(keys(&first()).open(&new, ROW), Err(OpenError::Key));
        assert_eq!(Keys::default().open(&new, ROW), Err(OpenError::Key));
    }

    #[test]
    fn without_a_writer_all_is_left_in_clear() {
        let sealed = keys(&first()).seal(SHARED, ROW, NONCES);
        let plain = keys(&format!("plain\n{}", first()));
        assert!(!plain.seals() && plain.is_current(SHARED) && !plain.is_current(&sealed));
        assert_eq!(plain.open(&sealed, ROW).unwrap().as_str(), SHARED);
        for keys in [plain, Keys::default()] {
            assert_eq!(keys.seal(SHARED, ROW, NONCES).as_str(), SHARED);
        }
    }

    #[test]
    fn what_old_rows_hold_survives() {
        let keys = keys(&first());
        for odd in ["", "rubbish", "é", SHARED, &"x".repeat(70_000)] {
            let sealed = keys.seal(odd, ROW, NONCES);
            assert_eq!(keys.open(&sealed, ROW).unwrap().as_str(), odd);
        }
        assert!(keys.seal(SHARED, ROW, NONCES).len() <= 96, "a narrow column holds it");
    }

    #[test]
    fn no_part_of_a_row_can_be_exchanged() {
        let keys = keys(&first());
        let sealed = keys.seal(SHARED, ROW, NONCES);
        let check = |row: Beside<'_>| {
            assert_eq!(keys.open(&sealed, row), Err(OpenError::Altered));
        };
        check(Beside { msisdn_hash: "61", ..ROW });
        check(Beside { public_key: "PEN", ..ROW });
        check(Beside { mgf1: "sha256", ..ROW });
        check(Beside { oaep: "sha1", ..ROW });
        check(Beside { mgf1: ROW.oaep, oaep: ROW.mgf1, ..ROW });
        check(Beside { msisdn_hash: "60P", public_key: "EM", ..ROW });
        check(Beside { mgf1: "", oaep: "sha1sha256", ..ROW });
    }

    #[test]
    fn a_damaged_column_does_not_open() {
        let keys = keys(&first());
        let sealed = keys.seal(SHARED, ROW, NONCES);
        for cut in MARK.len()..sealed.len() {
            assert!(keys.open(&sealed[..cut], ROW).is_err(), "{}", &sealed[..cut]);
        }
        let (head, body) = sealed.rsplit_once(':').unwrap();
        let body = STANDARD.decode(body).unwrap();
        for at in 0..body.len() {
            let mut body = body.clone();
            body[at] ^= 1;
            let column = format!("{head}:{}", STANDARD.encode(body));
            assert_eq!(keys.open(&column, ROW), Err(OpenError::Altered), "byte {at}");
        }
        assert_eq!(keys.open(&sealed.replacen(':', ":0", 1), ROW), Err(OpenError::Key));
        assert_eq!(keys.open(MARK, ROW), Err(OpenError::Form));
    }
}
