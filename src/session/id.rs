//! The ids that stand in URLs: whose session it is, and which QR code.

use std::fmt;

use crate::refusal::Refusal;

/// A user id of the BE: 1 to 255 of `A-Z a-z 0-9 - . _ ~`, not `.` or `..` (contract §1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserId(Box<str>);

impl UserId {
    /// Takes a path segment as it came; nothing is percent-decoded.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] for anything but the characters and lengths above.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let fit = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        let dots = matches!(text, "." | "..");
        if (1..=255).contains(&text.len()) && text.bytes().all(fit) && !dots {
            Ok(UserId(text.into()))
        } else {
            Err(Refusal::Malformed("a user id is 1 to 255 of A-Z a-z 0-9 - . _ ~"))
        }
    }

    /// The id, byte for byte as it came.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of one QR code: 128 random bits, in the URL as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// An id of 16 bytes that the caller drew from a cryptographic generator.
    pub fn new(random: [u8; 16]) -> Self {
        SessionId(random)
    }

    /// Reads the form that [`fmt::Display`] writes.
    ///
    /// # Errors
    /// [`Refusal::Session`] for any other text: a malformed id is an unknown one (contract §3).
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 32 || !text.bytes().all(lower_hex) {
            return Err(Refusal::Session);
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| Refusal::Session)?;
        Ok(SessionId(number.to_be_bytes()))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}
