//! PEM and base64: one text of each value but for blanks and padding, and no key that OpenSSL
//! reads otherwise. The input is a text as phones send it, and the DER inside of one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::rsa::Rsa;
use swob_gateway::crypto::{PhoneKey, decode_base64};

pub fn holds(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        base64(text);
        key(text);
    }
    key(&pem(input));
}

fn pem(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
}

fn base64(text: &str) {
    let Ok(bytes) = decode_base64(text) else { return };
    let dense: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let canonical = STANDARD.encode(&bytes);
    assert_eq!(dense.trim_end_matches('='), canonical.trim_end_matches('='), "{text:?}");
    let wrapped: String = canonical.chars().flat_map(|c| [c, '\n']).collect();
    assert_eq!(decode_base64(&wrapped), Ok(bytes));
}

fn key(text: &str) {
    let key = match PhoneKey::parse(text) {
        Ok(key) => key,
        Err(refusal) => return assert_eq!(refusal.status(), 400),
    };
    assert_eq!(key.text(), text);
    let body = text.trim().replace("-----BEGIN PUBLIC KEY-----", "");
    let der = decode_base64(&body.replace("-----END PUBLIC KEY-----", "")).unwrap();
    let theirs = Rsa::public_key_from_der(&der).expect("OpenSSL reads the key too");
    assert!((2048..=4096).contains(&theirs.n().num_bits()));
    assert!(theirs.n().is_bit_set(0) && theirs.e().is_bit_set(0), "an even number");
    let again = String::from_utf8(theirs.public_key_to_pem().unwrap()).unwrap();
    assert_eq!(PhoneKey::parse(&again).unwrap(), key, "OpenSSL reads another key");
}
