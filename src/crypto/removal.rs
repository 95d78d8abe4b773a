//! What the BE seals to remove a user: AES-256-CBC with PKCS#7 (contract §5).
//!
//! CBC has no seal of its own, so an endpoint that tells a bad padding from a wrong text decrypts
//! and forges for a stranger (Vaudenay 2002). Here no padding is ever looked at by itself: an
//! msisdn_hash has one length, so its nine blocks are always decrypted, also in place of a text
//! of another form, and one verdict is drawn over all their bytes.
//!
//! OpenSSL, because it is here already and its AES takes the same time for every key.

use openssl::symm::{Cipher, Crypter, Mode};
use subtle::{Choice, ConstantTimeEq as _, ConstantTimeGreater as _};
use zeroize::Zeroizing;

const IV: usize = 16;
/// 128 characters, and a whole block of padding.
const SEALED: usize = 128 + 16;

/// The BE's key: the first 32 bytes of `credentials.shared_key`.
pub type BackendKey = [u8; 32];

/// The msisdn_hash in a text of 16 characters of IV and 288 of hexadecimal, or `None` for
/// everything else alike.
pub fn open(key: &BackendKey, text: &str) -> Option<String> {
    let form = read(text.as_bytes());
    let (iv, sealed) = form.unwrap_or(([0; IV], [0; SEALED]));
    let plain = decrypt(key, &iv, &sealed)?;
    let (hash, padding) = plain.split_at(SEALED - 16);
    let padded = padding.ct_eq(&[16; 16]);
    let lower_hex = hash.iter().fold(Choice::from(1), |all, byte| all & is_lower_hex(*byte));
    let good = padded & lower_hex & Choice::from(u8::from(form.is_some()));
    let hash = String::from_utf8_lossy(hash).into_owned();
    bool::from(good).then_some(hash)
}

fn read(text: &[u8]) -> Option<([u8; IV], [u8; SEALED])> {
    let (iv, digits) = text.split_first_chunk::<IV>()?;
    if !iv.is_ascii() || digits.len() != 2 * SEALED {
        return None;
    }
    let mut sealed = [0; SEALED];
    for (byte, pair) in sealed.iter_mut().zip(digits.chunks(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some((*iv, sealed))
}

fn decrypt(key: &BackendKey, iv: &[u8; IV], sealed: &[u8; SEALED]) -> Option<Zeroizing<Vec<u8>>> {
    let mut crypter = Crypter::new(Cipher::aes_256_cbc(), Mode::Decrypt, key, Some(iv)).ok()?;
    crypter.pad(false);
    let mut plain = Zeroizing::new(vec![0; SEALED + 16]);
    let length = crypter.update(sealed, &mut plain).ok()?;
    plain.truncate(length);
    (length == SEALED).then_some(plain)
}

fn is_lower_hex(byte: u8) -> Choice {
    let within = |low: u8, high: u8| byte.ct_gt(&(low - 1)) & (high + 1).ct_gt(&byte);
    within(b'0', b'9') | within(b'a', b'f')
}

#[cfg(test)]
mod tests {
    use openssl::symm::encrypt;

    use super::*;

    const KEY: &BackendKey = b"adacd644b58e19a8d35a5405ac2c6755";

    fn seal(iv: &str, plain: &[u8]) -> String {
        let sealed = encrypt(Cipher::aes_256_cbc(), KEY, Some(iv.as_bytes()), plain).unwrap();
        sealed.iter().fold(iv.to_owned(), |text, byte| format!("{text}{byte:02x}"))
    }

    #[test]
    fn an_msisdn_hash_opens_and_nothing_else_does() {
        let hash = "0123456789abcdef".repeat(8);
        let iv = "a1B2/+_-.~{}()!?";
        let check = |text: &str, expected: bool| {
            assert_eq!(open(KEY, text).is_some(), expected, "{text}");
        };
        assert_eq!(open(KEY, &seal(iv, hash.as_bytes())), Some(hash.clone()));
        check(&format!("{iv}{}", seal(iv, hash.as_bytes())[16..].to_uppercase()), true);
        for plain in [&hash[1..], &hash[16..], &format!("{hash}0"), &hash.to_uppercase(), "", "x"] {
            check(&seal(iv, plain.as_bytes()), false);
        }
        for wrong in ["g", "/", ":", "`", "A", "\n", "\0"] {
            check(&seal(iv, format!("{wrong}{}", &hash[1..]).as_bytes()), false);
            check(&seal(iv, format!("{}{wrong}", &hash[1..]).as_bytes()), false);
        }
        let good = seal(iv, hash.as_bytes());
        for text in ["", iv, &good[1..], &good[..good.len() - 1], &good[..good.len() - 32]] {
            check(text, false);
        }
        check(&format!("{good}00"), false);
        check(&format!("{good}\n"), false);
        check(&good.replacen(&good[20..21], "g", 1), false);
        check(&format!("{}{}", "ä".repeat(8), &good[16..]), false);
        assert_eq!(open(b"another key of just 32 bytes!!!!", &good), None);
    }

    #[test]
    fn no_padding_opens_what_another_does_not() {
        // What a padding oracle asks: every last byte of the block before the last, 256 times.
        let hash = "0123456789abcdef".repeat(8);
        let good = seal("0000000000000000", hash.as_bytes());
        let at = good.len() - 34;
        let opened = (0..=255_u8)
            .filter(|byte| {
                let asked = format!("{}{byte:02x}{}", &good[..at], &good[at + 2..]);
                open(KEY, &asked).is_some()
            })
            .count();
        assert_eq!(opened, 1, "the text as it was sealed, and none of the 255 others");
    }
}
