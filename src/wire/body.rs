//! A JSON body as clients in the field write it, which is not always strict JSON.

use serde_json::{Map, Value};

use crate::crypto::Hash;
use crate::refusal::Refusal;

/// A JSON object, read with the leniency of contract §3.
pub struct Body(Map<String, Value>);

impl Body {
    /// Reads an object.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] for anything else.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        match serde_json::from_slice(&escape_controls(bytes)) {
            Ok(Value::Object(members)) => Ok(Body(members)),
            Ok(_) => Err(Refusal::Malformed("the body is not a JSON object")),
            Err(_) => Err(Refusal::Malformed("the body is not JSON")),
        }
    }

    /// A member's text; one that is `null` is one that is missing.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] with `otherwise` where it is no text.
    pub fn text(&self, name: &str, otherwise: &'static str) -> Result<Option<&str>, Refusal> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::Malformed(otherwise)),
        }
    }

    /// The digest under the first of these names that the body has.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] for an unknown one.
    pub fn hash(&self, names: &[&str], default: Hash) -> Result<Hash, Refusal> {
        for name in names {
            if let Some(text) = self.text(name, "a digest must be a string")? {
                return Hash::parse(text);
            }
        }
        Ok(default)
    }
}

/// Escapes control characters within strings: shell clients paste a PEM with its newlines, which
/// strict JSON (RFC 8259 §7) forbids.
#[doc(hidden)]
pub fn escape_controls(bytes: &[u8]) -> Vec<u8> {
    let mut strict = Vec::with_capacity(bytes.len() + 64);
    let (mut in_string, mut escaped) = (false, false);
    for &byte in bytes {
        if in_string && byte < 0x20 {
            let form: &[u8] = if escaped { b"u00" } else { b"\\u00" };
            strict.extend(form);
            strict.extend(format!("{byte:02x}").bytes());
            escaped = false;
            continue;
        }
        match byte {
            b'"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = in_string && byte == b'\\' && !escaped;
        strict.push(byte);
    }
    strict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_control_characters_are_read_within_strings_alone() {
        let check = |text: &str, expected: &str| {
            let body = Body::parse(text.as_bytes()).unwrap();
            assert_eq!(body.text("a", "").unwrap(), Some(expected), "{text:?}");
        };
        check("{\"a\":\"x\ny\"}", "x\ny");
        check("{\n\t\"a\":\r\n\"x\r\n\ty\"\n}\n", "x\r\n\ty");
        check(r#"{"a":"x\/y\n\"z\"\\"}"#, "x/y\n\"z\"\\");
        check("{\"a\":\"\\\\\n\"}", "\\\n");
        check("{\"b\":\"\\\"\n{\",\"a\":\"1\"}", "1");
    }
}
