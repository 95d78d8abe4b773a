//! `swob-gateway phone`: a phone without a screen.
//!
//! It does what an app of the field does with a scanned URL, and prints each step with its time.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::hash::MessageDigest;
use openssl::pkey::{HasPublic, PKey, Private, Public};
use openssl::rsa::{Padding, Rsa};
use openssl::sha::sha256;
use openssl::sign::{RsaPssSaltlen, Signer};
use openssl::x509::X509;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::exchange::{Answer, Request, ask, exchange};
use super::link::Link;
use super::url::Url;
use super::{ClientError, Trust, terminal};
use crate::crypto::{Digests, Hash, decode_base64};
use crate::keyring::oaep;
use crate::log::short;
use crate::wire::Endpoint;

/// The content type that the Android apps name (contract §8).
const JSON: [(&str, &str); 1] = [("Content-Type", "application/json; charset=utf-8")];

/// What to do.
#[derive(Debug, PartialEq)]
pub struct Order {
    /// The URL that was scanned.
    pub url: String,
    /// Whose phone it is; `None` takes the user of the URL, as the apps do.
    pub user: Option<String>,
    /// Which app to stand for.
    pub app: App,
    /// A file whose first line is the password; `None` asks.
    pub password_file: Option<PathBuf>,
    /// Where the server's key is: a file, or an https URL whose certificate holds it. `None` does
    /// as the app.
    pub server_key: Option<String>,
    /// Which certificates are taken.
    pub trust: Trust,
}

/// The apps in the field (contract §3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum App {
    /// Android, the key and then the password.
    TwoStep,
    /// iOS, likewise, with names of its own for the digests.
    Ios,
    /// Android, both at once.
    OneStep,
}

impl App {
    /// The digests of the password.
    fn sent(self) -> Digests {
        let mgf1 = if self == App::TwoStep { Hash::Sha1 } else { Hash::Sha256 };
        Digests { oaep: Hash::Sha256, mgf1 }
    }

    /// The digests of what comes back.
    fn wanted(self) -> Digests {
        let mgf1 = if self == App::Ios { Hash::Sha256 } else { Hash::Sha1 };
        Digests { oaep: Hash::Sha256, mgf1 }
    }
}

/// Syncs once.
///
/// # Errors
/// Whatever stops it, as the user of a phone would meet it.
pub fn run(order: &Order) -> Result<(), ClientError> {
    let start = Instant::now();
    let url = scanned(&order.url, order.user.as_deref())?;
    let user = url.segment(4).unwrap_or_default();
    let session = url.segment(6).unwrap_or_default();
    let key = PKey::from_rsa(Rsa::generate(2048)?)?;
    let phone = Phone { order, url: &url, key, start };
    phone.say(
        "scanned",
        &format!("{}, user {}, session {}", url.endpoint.origin(), short(user), short(session)),
    );
    let server = match order.app {
        App::TwoStep | App::Ios => phone.first_step()?,
        App::OneStep => phone.known_key()?,
    };
    phone.say("server key", &format!("RSA {} bits, SHA-256 {}", server.bits(), print(&server)?));
    let grant = phone.sync(&server)?;
    phone.verify(&server, &grant)
}

/// What was scanned: a handshake URL, and of the right user.
fn scanned(text: &str, user: Option<&str>) -> Result<Url, ClientError> {
    let url = Url::parse(text)
        .filter(|url| url.path.starts_with("/v2/sync/users/") && url.segment(6).is_some())
        .ok_or_else(|| {
            ClientError::Word(format!(
                "{text:?} is not what a QR code holds: http(s)://host:port/v2/sync/users/…/sessions/…/handshake"
            ))
        })?;
    match (user, url.segment(4)) {
        (Some(user), Some(owner)) if user != owner => Err(ClientError::Word(format!(
            "the QR code belongs to user {owner}, not to {user}; scan your own"
        ))),
        _ => Ok(url),
    }
}

/// The first characters of a key's fingerprint: enough to compare two by eye.
fn print(key: &PKey<impl HasPublic>) -> Result<String, ClientError> {
    Ok(STANDARD.encode(sha256(&key.public_key_to_der()?))[..16].to_owned())
}

/// What the server has granted.
struct Grant {
    shared_key: Zeroizing<Vec<u8>>,
    msisdn_hash: String,
}

struct Phone<'a> {
    order: &'a Order,
    url: &'a Url,
    key: PKey<Private>,
    start: Instant,
}

impl Phone<'_> {
    fn say(&self, step: &str, text: &str) {
        println!("{:>8.3} s  {step:<11} {text}", self.start.elapsed().as_secs_f64());
    }

    /// Sends a body, and tells what came of it.
    fn post(&self, step: &str, path: &str, body: &Value) -> Result<Answer, ClientError> {
        let body = android(body);
        let start = Instant::now();
        let request = Request::post(path, &JSON, &body);
        let answer = ask(&self.url.endpoint, self.order.trust, &request)?;
        let took = start.elapsed().as_millis();
        let reason = answer.reason();
        let colon = if reason.is_empty() { "" } else { ": " };
        self.say(step, &format!("{} in {took} ms{colon}{reason}", answer.status));
        Ok(answer)
    }

    /// Hands over the phone's key and takes the server's.
    fn first_step(&self) -> Result<PKey<Public>, ClientError> {
        let answer =
            self.post("step 1", &self.url.path, &json!({ "public_key": pem(&self.key)? }))?;
        let answer = granted("step 1 was", &answer)?;
        let pem = answer["public_key"].as_str().unwrap_or_default();
        PKey::public_key_from_pem(pem.as_bytes())
            .map_err(|_| ClientError::Answer("it has no public_key in PEM"))
    }

    /// The server's key as the one-step app knows it: from the certificate at port 443 of the
    /// host, whose `GET /` must answer (contract §3).
    fn known_key(&self) -> Result<PKey<Public>, ClientError> {
        let api = &self.url.endpoint;
        let place = match self.order.server_key.as_deref() {
            Some(text) => match Url::parse(text) {
                Some(url) => url.endpoint,
                None => return key_file(text),
            },
            None if api.secure => Endpoint { port: 443, ..api.clone() },
            None => {
                self.say("no TLS", "there is no certificate to take the key from; step 1 tells it");
                return self.first_step();
            }
        };
        let mut link = Link::open(&place, self.order.trust)?;
        let request = Request::new("GET", "/", &[]);
        let answer = exchange(&mut link, &place, &request)?;
        if answer.status >= 400 {
            return Err(ClientError::Refused("GET / was", answer.status, answer.reason()));
        }
        self.say("certificate", &format!("of {}", place.url("http", "/")));
        link.key()
            .filter(|key| key.id() == openssl::pkey::Id::RSA)
            .ok_or(ClientError::Answer("its certificate has no RSA key, which this app needs"))
    }

    /// Sends the password, again after a wrong one as long as others are typed.
    fn sync(&self, server: &PKey<Public>) -> Result<Grant, ClientError> {
        loop {
            let password = self.password()?;
            self.say("password", "encrypted under the server's key");
            let sealed = wrap(&oaep::seal(server, password.as_bytes(), self.order.app.sent())?);
            let body = match self.order.app {
                App::TwoStep => json!({ "password": sealed }),
                App::Ios => json!({
                    "password": sealed.replace('\n', ""),
                    "encryption_hash": "sha256",
                    "decryption_hash": "sha256",
                }),
                App::OneStep => json!({
                    "public_key": pem(&self.key)?,
                    "mgf1ParameterSpec": "sha256",
                    "password": sealed,
                }),
            };
            let step = if self.order.app == App::OneStep { "handshake" } else { "step 2" };
            let answer = self.post(step, &self.url.path, &body)?;
            if answer.status == 401 && self.order.password_file.is_none() {
                continue;
            }
            return self.grant(&granted("the password was", &answer)?);
        }
    }

    fn grant(&self, answer: &Value) -> Result<Grant, ClientError> {
        let shared_key = self.open(answer, self.order.app.wanted())?;
        let msisdn_hash = answer["msisdn_hash"].as_str().unwrap_or_default().to_owned();
        let platforms = &answer["user_platforms"];
        let saved = platforms.as_array().or_else(|| platforms["saved_platforms"].as_array());
        let saved: Vec<&str> =
            saved.into_iter().flatten().filter_map(|platform| platform["name"].as_str()).collect();
        let saved = if saved.is_empty() { "none".to_owned() } else { saved.join(", ") };
        self.say("synced", &format!("phone {}, platforms saved: {saved}", short(&msisdn_hash)));
        Ok(Grant { shared_key, msisdn_hash })
    }

    /// Asks the server for the key again, as the app does whenever it comes to the front
    /// (contract §4).
    fn verify(&self, server: &PKey<Public>, grant: &Grant) -> Result<(), ClientError> {
        let sent = self.order.app.sent();
        let mut body = json!({
            "msisdn": wrap(&oaep::seal(server, grant.msisdn_hash.as_bytes(), sent)?),
            "msisdn_signature": wrap(&self.sign(grant.msisdn_hash.as_bytes())?),
        });
        if sent.mgf1 != Hash::Sha1 {
            body["mgf1ParameterSpec"] = sent.mgf1.name().into();
        }
        let answer = self.post("verify", "/v2/sync/users/verification", &body)?;
        // To a server without it, "verification" may be a user's id, which takes no POST.
        if matches!(answer.status, 404 | 405) {
            self.say("unverified", "this server does not serve verification");
            return Ok(());
        }
        let again = self.open(
            &granted("the verification was", &answer)?,
            Digests { oaep: sent.oaep, mgf1: Hash::Sha1 },
        )?;
        if again != grant.shared_key {
            return Err(ClientError::Answer(
                "it verifies another key; the app would forget its own",
            ));
        }
        self.say("verified", "phone and server hold the same key");
        Ok(())
    }

    fn password(&self) -> Result<Zeroizing<String>, ClientError> {
        let Some(file) = &self.order.password_file else {
            let read = terminal::password("password").map_err(|error| {
                ClientError::Input("the password cannot be asked for".to_owned(), error)
            })?;
            return read.ok_or(ClientError::Ended(
                "no password came; type one, or name a file with --password-file",
            ));
        };
        let text = fs::read_to_string(file).map(Zeroizing::new).map_err(|error| {
            ClientError::Input(
                format!("the password file {} is out of reach", file.display()),
                error,
            )
        })?;
        Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
    }

    /// Opens the `shared_key` of an answer, which has the form of the contract (§3).
    fn open(&self, answer: &Value, digests: Digests) -> Result<Zeroizing<Vec<u8>>, ClientError> {
        const BAD: ClientError = ClientError::Answer("its shared_key does not open");
        let sealed = decode_base64(answer["shared_key"].as_str().ok_or(BAD)?).map_err(|_| BAD)?;
        let plain = oaep::open(&self.key, &sealed, digests).map_err(|_| BAD)?;
        let digits = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
        if plain.len() == 32 && plain.iter().all(digits) {
            return Ok(plain);
        }
        Err(ClientError::Answer("its shared_key is not 32 hexadecimal digits"))
    }

    /// RSA-PSS with SHA-512 throughout and a salt of 64 bytes (contract §4).
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ClientError> {
        let mut signer = Signer::new(MessageDigest::sha512(), &self.key)?;
        signer.set_rsa_padding(Padding::PKCS1_PSS)?;
        signer.set_rsa_mgf1_md(MessageDigest::sha512())?;
        signer.set_rsa_pss_saltlen(RsaPssSaltlen::custom(64))?;
        Ok(signer.sign_oneshot_to_vec(message)?)
    }
}

/// The JSON of a 200.
fn granted(what: &'static str, answer: &Answer) -> Result<Value, ClientError> {
    if answer.status != 200 {
        return Err(ClientError::Refused(what, answer.status, answer.reason()));
    }
    serde_json::from_slice(&answer.body).map_err(|_| ClientError::Answer("it is not JSON"))
}

fn key_file(path: &str) -> Result<PKey<Public>, ClientError> {
    let pem = fs::read(path).map_err(|error| {
        ClientError::Input(format!("the key file {path} is out of reach"), error)
    })?;
    let certificate = || X509::from_pem(&pem).and_then(|certificate| certificate.public_key());
    PKey::public_key_from_pem(&pem).or_else(|_| certificate()).map_err(|_| {
        ClientError::Word(format!("{path} holds neither a public key nor a certificate in PEM"))
    })
}

/// JSON as Android writes it, which escapes slashes (contract §8).
pub(crate) fn android(body: &Value) -> String {
    body.to_string().replace('/', "\\/")
}

/// A phone's public key as the apps send it.
pub(crate) fn pem(key: &PKey<Private>) -> Result<String, ClientError> {
    let body = wrap(&key.public_key_to_der()?);
    Ok(format!("-----BEGIN PUBLIC KEY-----\n{body}-----END PUBLIC KEY-----"))
}

/// Base64 as Android writes it: wrapped at 76 columns, with a final newline (contract §8).
pub(crate) fn wrap(bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let mut rest = text.as_str();
    let mut lines = String::with_capacity(text.len() + text.len() / 76 + 1);
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(76));
        lines.push_str(line);
        lines.push('\n');
        rest = after;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_scanned_is_a_handshake_url_of_the_user() {
        let url = "app://h:80/v2/sync/users/ada/sessions/0f/handshake";
        assert!(scanned(url, None).is_ok() && scanned(url, Some("ada")).is_ok());
        let check = |url: &str, user: Option<&str>, expected: &str| {
            let error = scanned(url, user).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(url, Some("bob"), "belongs to user ada, not to bob");
        check("http://h/", None, "is not what a QR code holds");
        check("http://h/v2/sync/users/ada", None, "is not what a QR code holds");
        check("hello", None, "is not what a QR code holds");
    }

    #[test]
    fn base64_is_wrapped_as_android_wraps_it() {
        assert_eq!(wrap(b""), "");
        assert_eq!(wrap(b"hello"), "aGVsbG8=\n");
        let lines = wrap(&[0; 256]);
        assert_eq!(lines.lines().map(str::len).collect::<Vec<_>>(), [76, 76, 76, 76, 40]);
        assert!(lines.ends_with('\n'));
    }
}
