//! A phone: its RSA key, and what it encrypts and decrypts, with OpenSSL throughout.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::md::{Md, MdRef};
use openssl::pkey::{PKey, Private};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::{Padding, Rsa};
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
        let mut context = PkeyCtx::new(&*KEY).unwrap();
        context.encrypt_init().unwrap();
        context.set_rsa_padding(Padding::PKCS1_OAEP).unwrap();
        context.set_rsa_oaep_md(md(oaep)).unwrap();
        context.set_rsa_mgf1_md(md(mgf1)).unwrap();
        let mut sealed = Vec::new();
        context.encrypt_to_vec(password.as_bytes(), &mut sealed).unwrap();
        wrapped(&STANDARD.encode(sealed))
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
        let password = Phone::password(password, "sha256", "sha256");
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
