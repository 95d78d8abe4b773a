//! A phone: its RSA key, and what it encrypts and decrypts, with OpenSSL throughout.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::hash::MessageDigest;
use openssl::md::{Md, MdRef};
use openssl::pkey::{HasPublic, PKey, PKeyRef, Private};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer};
use serde_json::{Value, json};

use super::server::KEY;
use super::{Answer, PASSWORD, post};

pub struct Phone {
    key: PKey<Private>,
    /// As the app sends it: wrapped at 76 columns.
    pub pem: String,
}

fn md(name: &str) -> &'static MdRef {
    if name == "sha1" { Md::sha1() } else { Md::sha256() }
}

impl Phone {
    pub fn new() -> Self {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let body = wrapped(&STANDARD.encode(key.public_key_to_der().unwrap()));
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{body}-----END PUBLIC KEY-----");
        Phone { key, pem }
    }

    /// A password under the server's key, with this OAEP and MGF1 digest.
    pub fn password(password: &str, oaep: &str, mgf1: &str) -> String {
        seal(&KEY, password, oaep, mgf1)
    }

    /// The signature of a phone that asks for its key.
    pub fn sign(&self, text: &str) -> String {
        self.sign_with(text, MessageDigest::sha512(), 64)
    }

    pub fn sign_with(&self, text: &str, digest: MessageDigest, salt: i32) -> String {
        let mut signer = Signer::new(digest, &self.key).unwrap();
        signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
        signer.set_rsa_mgf1_md(digest).unwrap();
        signer.set_rsa_pss_saltlen(RsaPssSaltlen::custom(salt)).unwrap();
        wrapped(&STANDARD.encode(signer.sign_oneshot_to_vec(text.as_bytes()).unwrap()))
    }

    /// The question for this phone's key, as Android writes it.
    pub fn verification_body(&self, msisdn_hash: &str) -> String {
        let server_pem = String::from_utf8(KEY.public_key_to_pem().unwrap()).unwrap();
        self.verification_body_under(&server_pem, msisdn_hash)
    }

    /// The same under a key that the phone has seen before.
    pub fn verification_body_under(&self, server_pem: &str, msisdn_hash: &str) -> String {
        let server = PKey::public_key_from_pem(server_pem.as_bytes()).unwrap();
        let msisdn = seal(&server, msisdn_hash, "sha256", "sha256");
        json!({
            "msisdn": msisdn,
            "msisdn_signature": self.sign(msisdn_hash),
            "mgf1ParameterSpec": "sha256",
        })
        .to_string()
        .replace('/', "\\/")
    }

    /// What the server sent under the phone's key.
    pub fn open(&self, sealed: &Value, oaep: &str, mgf1: &str) -> String {
        let sealed = STANDARD.decode(sealed.as_str().unwrap()).unwrap();
        let mut context = PkeyCtx::new(&self.key).unwrap();
        context.decrypt_init().unwrap();
        context.set_rsa_padding(Padding::PKCS1_OAEP).unwrap();
        context.set_rsa_oaep_md(md(oaep)).unwrap();
        context.set_rsa_mgf1_md(md(mgf1)).unwrap();
        let mut plain = Vec::new();
        context.decrypt_to_vec(&sealed, &mut plain).unwrap();
        String::from_utf8(plain).unwrap()
    }

    pub fn key_body(&self) -> String {
        json!({ "public_key": self.pem }).to_string()
    }

    pub fn password_body(password: &str) -> String {
        json!({ "password": Phone::password(password, "sha256", "sha1") }).to_string()
    }

    pub fn one_step_body(&self, password: &str) -> String {
        self.one_step_body_under(&KEY, password)
    }

    /// The same under a key that the phone has found by itself.
    pub fn one_step_body_under<T: HasPublic>(&self, key: &PKeyRef<T>, password: &str) -> String {
        let password = seal(key, password, "sha256", "sha256");
        json!({ "public_key": self.pem, "mgf1ParameterSpec": "sha256", "password": password })
            .to_string()
    }

    /// Both steps, with the right password.
    pub fn sync(&self, api: &str, url: &str) -> Answer {
        let first = post(api, url, &self.key_body());
        assert_eq!(first.status, 200, "{first:?}");
        post(api, url, &Phone::password_body(PASSWORD))
    }
}

/// RSA-OAEP under a key of the server.
pub fn seal<T: HasPublic>(key: &PKeyRef<T>, text: &str, oaep: &str, mgf1: &str) -> String {
    let mut context = PkeyCtx::new(key).unwrap();
    context.encrypt_init().unwrap();
    context.set_rsa_padding(Padding::PKCS1_OAEP).unwrap();
    context.set_rsa_oaep_md(md(oaep)).unwrap();
    context.set_rsa_mgf1_md(md(mgf1)).unwrap();
    let mut sealed = Vec::new();
    context.encrypt_to_vec(text.as_bytes(), &mut sealed).unwrap();
    wrapped(&STANDARD.encode(sealed))
}

/// As Android wraps base64: at 76 columns, with a final newline.
fn wrapped(text: &str) -> String {
    text.as_bytes()
        .chunks(76)
        .map(|line| format!("{}\n", std::str::from_utf8(line).unwrap()))
        .collect()
}

/// Whether a shared key has the form of the contract.
pub fn is_shared_key(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}
