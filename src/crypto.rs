//! The cryptography that needs neither a private key nor chance: phone keys, PSS, HMAC, and what
//! the BE has sealed.
//!
//! OAEP, and whatever else touches the server's private key, is [`crate::keyring`]'s.

pub mod removal;

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use openssl::bn::BigNum;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Public};
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use rsa::pkcs8::DecodePublicKey as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{Pss, RsaPublicKey};
use sha2::{Digest as _, Sha256, Sha512};
use zeroize::Zeroizing;

use crate::refusal::Refusal;

/// A hash by the name that phones give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// `sha1`
    Sha1,
    /// `sha256`
    Sha256,
}

impl Hash {
    /// Reads a phone's name for it.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] for any other name.
    pub fn parse(name: &str) -> Result<Self, Refusal> {
        match name {
            "sha1" => Ok(Hash::Sha1),
            "sha256" => Ok(Hash::Sha256),
            _ => Err(Refusal::Malformed("a digest is sha1 or sha256")),
        }
    }

    /// The name as phones and the table spell it.
    pub fn name(self) -> &'static str {
        match self {
            Hash::Sha1 => "sha1",
            Hash::Sha256 => "sha256",
        }
    }
}

/// The two digests of RSA-OAEP (RFC 8017 §7.1): the encoding's own, and its MGF1's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// `hashingAlgorithm`
    pub oaep: Hash,
    /// `mgf1ParameterSpec` and its other names
    pub mgf1: Hash,
}

/// A key of 4096 bits takes 800 bytes, each on a line of its own twice as many.
const LONGEST_PEM: usize = 4096;

/// A phone's RSA public key, with the text in which it came.
#[derive(Clone, Debug)]
pub struct PhoneKey {
    text: String,
    key: RsaPublicKey,
}

/// Two texts of one key are one key: wrapping is no difference.
impl PartialEq for PhoneKey {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl PhoneKey {
    /// Reads a PEM SubjectPublicKeyInfo, however its base64 is wrapped, and judges the key.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] for other forms, for other than 2048 to 4096 bits, and for an
    /// exponent or a modulus under which nothing is secret.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        // Blanks are no end in themselves: the text stays in memory with its session.
        let der = Some(text)
            .filter(|text| text.len() <= LONGEST_PEM)
            .unwrap_or_default()
            .trim()
            .strip_prefix("-----BEGIN PUBLIC KEY-----")
            .and_then(|text| text.strip_suffix("-----END PUBLIC KEY-----"))
            .and_then(|body| decode_base64(body).ok())
            .ok_or(Refusal::Malformed("public_key is not a PEM of the form BEGIN PUBLIC KEY"))?;
        // The rsa crate refuses even numbers, exponents under 3 and moduli under 2048 bits.
        let key = RsaPublicKey::from_public_key_der(&der)
            .ok()
            .filter(|key| (2048..=4096).contains(&key.n().bits()))
            .ok_or(Refusal::Malformed("public_key is not a sound RSA key of 2048 to 4096 bits"))?;
        Ok(PhoneKey { text: text.to_owned(), key })
    }

    /// The text as the phone sent it, which the table keeps (contract §6).
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same for OpenSSL, which encrypts towards it.
    ///
    /// # Errors
    /// [`ErrorStack`] where there is no memory.
    pub fn public(&self) -> Result<PKey<Public>, ErrorStack> {
        let modulus = BigNum::from_slice(&self.key.n().to_be_bytes())?;
        let exponent = BigNum::from_slice(&self.key.e().to_be_bytes())?;
        PKey::from_rsa(Rsa::from_public_components(modulus, exponent)?)
    }

    /// Whether the phone has signed this message: RSA-PSS, SHA-512, MGF1-SHA-512, 64 bytes of
    /// salt (contract §4).
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        const SALT: usize = 64;
        let scheme = Pss::<Sha512>::new_with_salt(SALT);
        self.key.verify(scheme, &Sha512::digest(message), signature).is_ok()
    }
}

/// The AES-256 key that a phone gets: 16 random bytes as 32 lower-case hexadecimal digits, whose
/// ASCII bytes are the key (contract §3).
pub struct SharedKey(Zeroizing<String>);

impl SharedKey {
    /// A key over 16 bytes that the caller drew from a cryptographic generator.
    pub fn new(random: [u8; 16]) -> Self {
        SharedKey(Zeroizing::new(format!("{:032x}", u128::from_be_bytes(random))))
    }

    /// Reads the 32 digits, as the table keeps them.
    pub fn parse(text: &str) -> Option<Self> {
        let fit = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        fit.then(|| SharedKey(Zeroizing::new(text.to_owned())))
    }

    /// The 32 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// HMAC-SHA512 in lower-case hexadecimal: how the BE keeps passwords and phone numbers.
///
/// OpenSSL's, which wipes the block that holds the password; the `hmac` crate leaves it on the
/// stack.
pub fn hmac_sha512_hex(key: &[u8], message: &[u8]) -> String {
    let mac = PKey::hmac(key)
        .and_then(|key| Signer::new(MessageDigest::sha512(), &key)?.sign_oneshot_to_vec(message));
    hex(&mac.expect("HMAC takes a key and a message of any length"))
}

/// Whether a text is an msisdn_hash: the HMAC-SHA512 of a phone number, 128 lower-case
/// hexadecimal characters (contract §5).
pub fn is_msisdn_hash(text: &[u8]) -> bool {
    text.len() == 128 && text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The SHA-256 digest by which an exact repeat of a body is known.
pub fn body_digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// Decodes base64, wrapped or not, padded or not.
///
/// # Errors
/// [`base64::DecodeError`] for anything else.
pub fn decode_base64(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &ALPHABET,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let dense: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    LENIENT.decode(dense)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use openssl::bn::BigNum;
    use openssl::rsa::Rsa;

    use super::*;

    fn pem(bits: u32) -> String {
        String::from_utf8(Rsa::generate(bits).unwrap().public_key_to_pem().unwrap()).unwrap()
    }

    /// The PEM of the public key with this modulus and exponent, sound or not.
    fn odd_pem(modulus: BigNum, exponent: u32) -> String {
        let exponent = BigNum::from_u32(exponent).unwrap();
        let key = Rsa::from_public_components(modulus, exponent).unwrap();
        String::from_utf8(key.public_key_to_pem().unwrap()).unwrap()
    }

    #[test]
    fn a_phone_key_may_be_wrapped_anyhow() {
        let plain = pem(2048);
        let key = PhoneKey::parse(&plain).unwrap();
        let body: String = plain.lines().filter(|line| !line.starts_with('-')).collect();
        let (head, tail) = body.split_at(76);
        for wrapped in [
            format!("-----BEGIN PUBLIC KEY-----\n{head}\n{tail}\n-----END PUBLIC KEY-----"),
            format!("-----BEGIN PUBLIC KEY-----{body}-----END PUBLIC KEY-----\r\n"),
            format!("  -----BEGIN PUBLIC KEY----- {head} {tail} -----END PUBLIC KEY-----"),
        ] {
            let same = PhoneKey::parse(&wrapped).unwrap();
            assert_eq!(same, key);
            assert_eq!(same.text(), wrapped);
        }
    }

    #[test]
    fn a_weak_or_foreign_key_is_refused() {
        let check = |text: &str| {
            assert_eq!(PhoneKey::parse(text).unwrap_err().status(), 400, "{text}");
        };
        check("");
        check("hello");
        check("-----BEGIN PUBLIC KEY-----");
        check("-----BEGIN PUBLIC KEY----------END PUBLIC KEY-----");
        check("-----BEGIN PUBLIC KEY-----\n@@@@\n-----END PUBLIC KEY-----");
        check("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----");
        check(&pem(2048).replace('\n', &" ".repeat(1000)));
        check(&pem(1024));
        check(&pem(2040));
        check(&pem(4104));
        let modulus = || Rsa::generate(2048).unwrap().n().to_owned().unwrap();
        for exponent in [0, 1, 2, 65536] {
            check(&odd_pem(modulus(), exponent));
        }
        let mut even = modulus();
        even.sub_word(1).unwrap();
        check(&odd_pem(even, 65537));
        let rsa = Rsa::generate(2048).unwrap();
        check(&String::from_utf8(rsa.public_key_to_pem_pkcs1().unwrap()).unwrap());
        check(&String::from_utf8(rsa.private_key_to_pem().unwrap()).unwrap());
        let group = openssl::ec::EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1);
        let ec = openssl::ec::EcKey::generate(&group.unwrap()).unwrap();
        check(&String::from_utf8(ec.public_key_to_pem().unwrap()).unwrap());
    }

    #[test]
    fn a_signature_is_good_for_its_key_its_message_and_its_parameters_alone() {
        use openssl::hash::MessageDigest;
        use openssl::pkey::PKey;
        use openssl::rsa::Padding;
        use openssl::sign::{RsaPssSaltlen, Signer};
        let private = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let phone = |key: &PKey<_>| {
            let pem = String::from_utf8(key.public_key_to_pem().unwrap()).unwrap();
            PhoneKey::parse(&pem).unwrap()
        };
        let sign = |digest, mgf1, salt| {
            let mut signer = Signer::new(digest, &private).unwrap();
            signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
            signer.set_rsa_mgf1_md(mgf1).unwrap();
            signer.set_rsa_pss_saltlen(RsaPssSaltlen::custom(salt)).unwrap();
            signer.sign_oneshot_to_vec(b"601141fe").unwrap()
        };
        let (sha256, sha512) = (MessageDigest::sha256(), MessageDigest::sha512());
        let own = phone(&private);
        let good = sign(sha512, sha512, 64);
        assert!(own.has_signed(b"601141fe", &good));
        assert!(!own.has_signed(b"601141ff", &good));
        let other = phone(&PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap());
        assert!(!other.has_signed(b"601141fe", &good));
        for bad in [
            sign(sha512, sha512, 32),
            sign(sha512, sha256, 64),
            sign(sha256, sha256, 32),
            good[1..].to_vec(),
            [&[0], &*good].concat(),
            vec![0; 256],
            vec![0xff; 256],
            vec![1],
        ] {
            assert!(!own.has_signed(b"601141fe", &bad), "{bad:?}");
        }
    }

    #[test]
    fn texts_of_the_table_and_of_the_be() {
        let check = |text: &str, expected| {
            assert_eq!(SharedKey::parse(text).is_some(), expected, "{text}");
        };
        check(SharedKey::new([7; 16]).as_str(), true);
        check(&"A".repeat(32), true);
        for text in ["", &"a".repeat(31), &"a".repeat(33), &"g".repeat(32), &"ä".repeat(16)] {
            check(text, false);
        }
        let hash = hmac_sha512_hex(b"salt", b"+237123456789");
        assert!(is_msisdn_hash(hash.as_bytes()));
        for text in [&hash[1..], &format!("{hash}0"), &hash.to_uppercase(), &"g".repeat(128), ""] {
            assert!(!is_msisdn_hash(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_password_hash_is_the_one_of_the_development_data() {
        let salt = b"b7c1c9605b98de2b055b5a13ac22765e";
        assert!(hmac_sha512_hex(salt, b"dummy_password").starts_with("b829955d86ba"));
        assert!(hmac_sha512_hex(salt, b"+237123456789").starts_with("601141fe1217"));
    }

    #[test]
    fn base64_may_be_wrapped_and_unpadded() {
        for text in ["aGVsbG8=", "aGVsbG8", "aGVs\nbG8=\n", " aGVs\r\n bG8="] {
            assert_eq!(decode_base64(text).unwrap(), b"hello", "{text:?}");
        }
        for text in ["aGVsbG8*", "a", "aGVs-G8_"] {
            assert!(decode_base64(text).is_err(), "{text:?}");
        }
    }
}
