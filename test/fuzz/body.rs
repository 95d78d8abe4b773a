//! The bodies of phones and of the BE: what strict JSON says is never changed by the leniency, and whatever
//! text a shell pastes into a string arrives as it is (contract §3).

use serde_json::{Value, json};
use swob_gateway::crypto::{decode_base64, is_msisdn_hash, removal::open};
use swob_gateway::wire::{Handshake, Verification, escape_controls, removal};

pub fn holds(input: &[u8]) {
    let escaped = escape_controls(input);
    assert_eq!(escape_controls(&escaped), escaped, "what is escaped needs no escape");
    if serde_json::from_slice::<Value>(input).is_ok() {
        assert_eq!(escaped, input, "strict JSON is changed");
    }
    let read = serde_json::from_slice::<Value>(&escaped).ok();
    match Handshake::parse(input) {
        Ok(handshake) => agrees(&handshake, read.as_ref().expect("what is taken is JSON")),
        Err(refusal) => assert_eq!(refusal.status(), 400, "{refusal:?}"),
    }
    match removal(input) {
        Ok(sealed) => assert_eq!(read.expect("what is taken is JSON")["msisdn_hashed"], sealed),
        Err(refusal) => assert_eq!(refusal.status(), 400, "{refusal:?}"),
    }
    let refused = Verification::parse(input).err().map(|refusal| refusal.status());
    assert!(matches!(refused, None | Some(400)), "{refused:?}");
    if let Ok(text) = std::str::from_utf8(input) {
        let opened = open(&[7; 32], text);
        assert!(opened.is_none_or(|hash| is_msisdn_hash(hash.as_bytes())));
        let pasted = format!(r#"{{"a":"{}"}}"#, text.replace('\\', r"\\").replace('"', r#"\""#));
        let read: Value = serde_json::from_slice(&escape_controls(pasted.as_bytes())).unwrap();
        assert_eq!(read, json!({ "a": text }), "a pasted text is changed");
    }
}

fn agrees(handshake: &Handshake, body: &Value) {
    let (key, password) = match handshake {
        Handshake::Key(key) => (Some(key), None),
        Handshake::Password(password) => (None, Some(password)),
        Handshake::Both(key, password) => (Some(key), Some(password)),
    };
    assert_eq!(key.map(|key| key.text()), body["public_key"].as_str());
    let ciphertext = body["password"].as_str().map(|text| decode_base64(text).unwrap());
    assert_eq!(password.map(|password| &password.ciphertext), ciphertext.as_ref());
    if let Some(password) = password {
        let wanted = ["mgf1ParameterSpec_dec", "encryption_hash"];
        let wanted = wanted.iter().find_map(|name| body[name].as_str()).unwrap_or("sha1");
        assert_eq!(password.wanted.mgf1.name(), wanted);
        let sent = ["mgf1ParameterSpec", "decryption_hash"];
        let sent = sent.iter().find_map(|name| body[name].as_str()).unwrap_or("sha1");
        assert_eq!(password.sent.mgf1.name(), sent);
        assert_eq!(password.sent.oaep, password.wanted.oaep);
    }
}
