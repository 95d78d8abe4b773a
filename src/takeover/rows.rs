//! The rows of an existing table: which of them verification could serve, and of which it could
//! not tell (contract §4 and §6).

use std::collections::BTreeMap;

use openssl::pkey::PKey;

use crate::crypto::{Hash, PhoneKey, SharedKey, decode_base64};
use crate::store::at_rest::Keys;
use crate::store::gateway::Row;
use crate::verification::Fit;

/// The rows by what is odd about them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that verification could serve.
    pub good: u64,
    /// Those of which it could not tell, by what they have in place of a sound value.
    pub odd: BTreeMap<String, u64>,
}

impl Tally {
    /// Counts a row, once for all that is odd about it.
    pub fn count(&mut self, row: Row, keys: &Keys) {
        let odd = match keys.open(&row.shared_key, row.beside()) {
            Err(error) => format!("an encrypted shared key that does not open: {}", error.text()),
            Ok(shared_key) => {
                let row = Row { shared_key, ..row };
                match Fit::read(&row) {
                    Ok(_) => {
                        self.good += 1;
                        return;
                    }
                    Err(unfit) => odd(&row).unwrap_or_else(|| format!("a fault: {unfit}")),
                }
            }
        };
        *self.odd.entry(odd).or_default() += 1;
    }
}

/// All that is odd about a row in clear that verification cannot serve.
fn odd(row: &Row) -> Option<String> {
    let odd = [public_key(row), shared_key(row), digest(row)];
    let odd: Vec<String> = odd.into_iter().flatten().collect();
    (!odd.is_empty()).then(|| odd.join(", and "))
}

fn public_key(row: &Row) -> Option<String> {
    if PhoneKey::parse(&row.public_key).is_ok() {
        return None;
    }
    let body: String =
        row.public_key.lines().filter(|line| !line.trim_start().starts_with('-')).collect();
    let key = decode_base64(&body).ok().and_then(|der| PKey::public_key_from_der(&der).ok());
    Some(match key {
        Some(key) if key.rsa().is_ok() => format!("a public key of {} bits", key.bits()),
        Some(_) => "a public key that is not RSA".into(),
        None if row.public_key.is_empty() => "no public key".into(),
        None => "a public key that is none".into(),
    })
}

fn shared_key(row: &Row) -> Option<String> {
    let odd = SharedKey::parse(&row.shared_key).is_none();
    odd.then(|| "a shared key that is not 32 hexadecimal digits".into())
}

fn digest(row: &Row) -> Option<String> {
    Hash::parse(&row.oaep).err().map(|_| "a hashingAlgorithm other than sha1 and sha256".into())
}

#[cfg(test)]
mod tests {
    use openssl::ec::{EcGroup, EcKey};
    use openssl::nid::Nid;
    use openssl::rsa::Rsa;
    use zeroize::Zeroizing;

    use super::*;

    fn pem(bits: u32) -> String {
        String::from_utf8(Rsa::generate(bits).unwrap().public_key_to_pem().unwrap()).unwrap()
    }

    #[test]
    fn rows_are_told_apart() {
        let sound = pem(2048);
        let check = |change: &dyn Fn(&mut Row), expected: Option<&str>| {
            let mut row = Row {
                msisdn_hash: "60".into(),
                shared_key: Zeroizing::new("0123456789abcdef0123456789abcdef".into()),
                public_key: sound.clone(),
                mgf1: "sha1".into(),
                oaep: "sha256".into(),
            };
            change(&mut row);
            let mut tally = Tally::default();
            tally.count(row, &Keys::default());
            let odd = tally.odd.into_keys().next();
            assert_eq!(odd.as_deref(), expected);
            assert_eq!(tally.good, u64::from(expected.is_none()));
        };
        check(&|_| {}, None);
        check(&|row| row.public_key = sound.replace('\n', "\r\n"), None);
        check(&|row| row.public_key = pem(1024), Some("a public key of 1024 bits"));
        check(&|row| row.public_key = String::new(), Some("no public key"));
        check(&|row| row.public_key = "hello".into(), Some("a public key that is none"));
        check(
            &|row| row.public_key = sound.replace('\n', "\\n"),
            Some("a public key that is none"),
        );
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let ec = EcKey::generate(&group).unwrap().public_key_to_pem().unwrap();
        let ec = String::from_utf8(ec).unwrap();
        check(&|row| row.public_key = ec.clone(), Some("a public key that is not RSA"));
        check(
            &|row| row.shared_key.truncate(31),
            Some("a shared key that is not 32 hexadecimal digits"),
        );
        // Verification answers with MGF1 SHA-1, whatever the password's was.
        check(&|row| row.mgf1 = "md5".into(), None);
        check(
            &|row| row.oaep = "md5".into(),
            Some("a hashingAlgorithm other than sha1 and sha256"),
        );
        check(
            &|row| {
                row.oaep = "SHA-256".into();
                row.public_key = "hello".into();
            },
            Some("a public key that is none, and a hashingAlgorithm other than sha1 and sha256"),
        );
    }
}
