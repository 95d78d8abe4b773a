//! The exact bytes of the contract: bodies that phones send, answers they read, URLs and frames.
//!
//! Nothing here decides; it turns bytes into checked values and values into bytes.

mod body;
mod verification;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use crate::crypto::{Digests, Hash, PhoneKey, decode_base64};
use crate::refusal::Refusal;
use crate::session::{SessionId, UserId};
use body::Body;
#[doc(hidden)]
pub use body::escape_controls;
pub use verification::{Verification, verification_answer};

/// The frame that tells the dashboard that a phone has begun.
pub const PAUSE: &str = "201- pause";
/// The frame that tells the dashboard that the phone's key is stored.
pub const ACK: &str = "200- ack";

/// Where a listener is reached from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether TLS is on.
    pub secure: bool,
    /// A name or an address, an IPv6 one in brackets.
    pub host: String,
    /// Always printed, the default one too: the iOS app stops on a URL without (contract §1).
    pub port: u16,
}

impl Endpoint {
    /// A listener by its address.
    pub fn at(address: SocketAddr, secure: bool) -> Self {
        let host = match address.ip() {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        };
        Endpoint { secure, host, port: address.port() }
    }

    /// A URL here, with a scheme that takes an `s` where TLS is on.
    pub fn url(&self, scheme: &str, path: impl fmt::Display) -> String {
        let s = if self.secure { "s" } else { "" };
        format!("{scheme}{s}://{}:{}{path}", self.host, self.port)
    }

    /// Host and port as clients write them (RFC 9110 §7.2): without a default port.
    pub fn authority(&self) -> String {
        let default = if self.secure { 443 } else { 80 };
        if self.port == default {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The `Origin` of a page served from here, as browsers send it.
    pub fn origin(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}", self.authority().to_ascii_lowercase())
    }
}

/// The URL of a sync socket, the body of `GET` (contract §1).
pub fn socket_url(socket: &Endpoint, user: &UserId, ticket: &str) -> String {
    socket.url("ws", format_args!("/v2/sync/init/{}/{ticket}", user.as_str()))
}

/// The frame that shows a QR code (contract §2).
pub fn show_frame(api: &Endpoint, user: &UserId, session: SessionId) -> String {
    let path = format!("{}/handshake", session_path(user, session));
    let (qr, mobile) = (api.url("http", &path), api.url("app", &path));
    // Neither a host nor an id holds a character that JSON escapes.
    format!(r#"{{"qr_url": "{qr}", "mobile_url": "{mobile}"}}"#)
}

fn session_path(user: &UserId, session: SessionId) -> String {
    format!("/v2/sync/users/{}/sessions/{session}", user.as_str())
}

/// A handshake's body; its members tell the generations of the apps apart (contract §3).
#[derive(Debug)]
pub enum Handshake {
    /// Two-step app, step 1.
    Key(PhoneKey),
    /// Two-step app, step 2.
    Password(Password),
    /// One-step app.
    Both(PhoneKey, Password),
}

/// A password on its way, and how to encrypt what goes back.
#[derive(Debug)]
pub struct Password {
    /// RSA-OAEP under the server's key.
    pub ciphertext: Vec<u8>,
    /// The digests of the ciphertext.
    pub sent: Digests,
    /// The digests that the phone wants back.
    pub wanted: Digests,
}

impl Handshake {
    /// Reads a body, whatever its content type.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] with what is wrong in it.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let body = Body::parse(body)?;
        let key = body.text("public_key", "public_key must be a string")?;
        let key = key.map(PhoneKey::parse).transpose()?;
        let password = body.text("password", "password must be a string")?;
        let password = password.map(|text| Password::parse(text, &body)).transpose()?;
        match (key, password) {
            (Some(key), None) => Ok(Handshake::Key(key)),
            (None, Some(password)) => Ok(Handshake::Password(password)),
            (Some(key), Some(password)) => Ok(Handshake::Both(key, password)),
            (None, None) => Err(Refusal::Malformed("public_key or password is missing")),
        }
    }
}

impl Password {
    fn parse(text: &str, body: &Body) -> Result<Self, Refusal> {
        let ciphertext = decode_base64(text)
            .map_err(|_| Refusal::Malformed("password is not base64 of a ciphertext"))?;
        let oaep = body.hash(&["hashingAlgorithm"], Hash::Sha256)?;
        // iOS has names of its own for the two (contract §3).
        let sent = body.hash(&["mgf1ParameterSpec", "decryption_hash"], Hash::Sha1)?;
        let wanted = body.hash(&["mgf1ParameterSpec_dec", "encryption_hash"], Hash::Sha1)?;
        Ok(Password {
            ciphertext,
            sent: Digests { oaep, mgf1: sent },
            wanted: Digests { oaep, mgf1: wanted },
        })
    }
}

/// The `msisdn_hashed` with which the BE removes a user (contract §5).
///
/// # Errors
/// [`Refusal::Malformed`] where the body is not JSON or lacks it. What the text itself is worth
/// is [`crate::crypto::removal`]'s to say, in one way.
pub fn removal(body: &[u8]) -> Result<String, Refusal> {
    let body = Body::parse(body)?;
    let text = body.text("msisdn_hashed", "msisdn_hashed must be a string")?;
    text.map(str::to_owned).ok_or(Refusal::Malformed("msisdn_hashed is missing"))
}

/// A platform as the apps read it.
#[derive(Clone, Debug, PartialEq)]
pub struct Platform {
    /// In lower case.
    pub name: String,
    /// The JSON object held in the BE's column, or its text.
    pub description: Value,
    /// A URL or path of the BE, where it has one.
    pub logo: Option<String>,
    /// The first of the platform's protocols.
    pub protocol: String,
    /// `email`, `text`, `messaging`.
    pub kind: Option<String>,
    /// The letter that stands for the platform in an SMS.
    pub letter: Option<String>,
}

impl Platform {
    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "description": self.description,
            "logo": self.logo,
            "initialization_url": format!("/platforms/{}/protocols/{}", self.name, self.protocol),
            "type": self.kind,
            "letter": self.letter,
        })
    }
}

/// The answer to step 1 of the two-step app.
pub fn key_answer(server_pem: &str, user: &UserId, session: SessionId) -> Value {
    json!({ "public_key": server_pem, "verification_url": session_path(user, session) })
}

/// The phone's new key and what the app shows beside it.
pub struct Grant {
    /// RSA-OAEP in base64.
    pub shared_key: String,
    /// The BE's `full_phone_number`.
    pub msisdn_hash: String,
    /// The platforms that the user has saved.
    pub saved: Vec<Platform>,
    /// All others.
    pub unsaved: Vec<Platform>,
}

impl Grant {
    /// The answer to step 2 of the two-step apps.
    pub fn two_step(&self) -> Value {
        json!({
            "shared_key": self.shared_key,
            "user_platforms": list(&self.saved),
            "msisdn_hash": self.msisdn_hash,
            "seeds_url": "",
            "gateway_clients": [],
        })
    }

    /// The answer to the one-step app.
    pub fn one_step(&self) -> Value {
        json!({
            "shared_key": self.shared_key,
            "msisdn_hash": self.msisdn_hash,
            "user_platforms": {
                "saved_platforms": list(&self.saved),
                "unsaved_platforms": list(&self.unsaved),
            },
        })
    }
}

fn list(platforms: &[Platform]) -> Value {
    platforms.iter().map(Platform::json).collect()
}

/// The body of a 4xx (RFC 9457).
pub fn problem(refusal: &Refusal, title: &str) -> String {
    json!({ "title": title, "status": refusal.status(), "detail": refusal.reason() }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(secure: bool, host: &str, port: u16) -> Endpoint {
        Endpoint { secure, host: host.to_owned(), port }
    }

    #[test]
    fn urls_carry_their_port_and_the_scheme_of_their_listener() {
        let user = UserId::parse("111").unwrap();
        let session = SessionId::new([0xab; 16]);
        let id = session.to_string();
        assert_eq!(
            socket_url(&endpoint(false, "localhost", 6996), &user, "000"),
            "ws://localhost:6996/v2/sync/init/111/000"
        );
        assert_eq!(
            socket_url(&endpoint(true, "sync.example", 443), &user, "000"),
            "wss://sync.example:443/v2/sync/init/111/000"
        );
        let path = format!("/v2/sync/users/111/sessions/{id}/handshake");
        assert_eq!(
            show_frame(&endpoint(false, "192.0.2.1", 80), &user, session),
            format!(
                "{{\"qr_url\": \"http://192.0.2.1:80{path}\", \"mobile_url\": \"app://192.0.2.1:80{path}\"}}"
            )
        );
        let secure = show_frame(&endpoint(true, "[2001:db8::1]", 443), &user, session);
        let secure: Value = serde_json::from_str(&secure).unwrap();
        assert_eq!(secure["qr_url"], format!("https://[2001:db8::1]:443{path}"));
        assert_eq!(secure["mobile_url"], format!("apps://[2001:db8::1]:443{path}"));
    }

    #[test]
    fn an_origin_has_no_default_port() {
        let check = |secure, port, expected| {
            assert_eq!(endpoint(secure, "Sync.example", port).origin(), expected);
        };
        check(true, 443, "https://sync.example");
        check(true, 80, "https://sync.example:80");
        check(false, 80, "http://sync.example");
        check(false, 15000, "http://sync.example:15000");
    }

    #[test]
    fn a_body_that_cannot_be_understood_is_malformed() {
        let deep = "[".repeat(60_000);
        for text in [
            "",
            "5",
            "null",
            "[]",
            "\"x\"",
            "{",
            "{\"a\":1}",
            "{}",
            "{'public_key':'x'}",
            "\u{0}",
            "{\"public_key\":5}",
            "{\"public_key\":{}}",
            "{\"public_key\":null}",
            "{\"password\":[]}",
            "{\"public_key\":\"\"}",
            "{\"password\":\"*\"}",
            "{\"password\":\"YQ==\",\"public_key\":\"\"}",
            "{\"password\":\"YQ==\",\"hashingAlgorithm\":\"md5\"}",
            "{\"password\":\"YQ==\",\"mgf1ParameterSpec\":\"SHA-256\"}",
            "{\"password\":\"YQ==\",\"mgf1ParameterSpec_dec\":1}",
            "{\"password\":\"YQ==\",\"decryption_hash\":\"\"}",
            &deep,
        ] {
            let refusal = Handshake::parse(text.as_bytes()).unwrap_err();
            assert_eq!(refusal.status(), 400, "{text}");
        }
        assert_eq!(Handshake::parse(b"{\"password\":\"\xff\"}").unwrap_err().status(), 400);
    }

    #[test]
    fn each_app_names_its_digests_in_its_own_way() {
        let check = |members: &str, sent: (Hash, Hash), wanted: (Hash, Hash)| {
            let body = format!("{{\"password\":\"YQ==\\n\"{members}}}");
            let Ok(Handshake::Password(password)) = Handshake::parse(body.as_bytes()) else {
                panic!("{body}");
            };
            let digests = |(oaep, mgf1)| Digests { oaep, mgf1 };
            assert_eq!(password.ciphertext, b"a");
            assert_eq!(password.sent, digests(sent), "{members}");
            assert_eq!(password.wanted, digests(wanted), "{members}");
        };
        use Hash::{Sha1, Sha256};
        check("", (Sha256, Sha1), (Sha256, Sha1));
        check(r#","mgf1ParameterSpec":"sha256""#, (Sha256, Sha256), (Sha256, Sha1));
        check(r#","mgf1ParameterSpec_dec":"sha256""#, (Sha256, Sha1), (Sha256, Sha256));
        check(r#","hashingAlgorithm":"sha1""#, (Sha1, Sha1), (Sha1, Sha1));
        check(
            r#","encryption_hash":"sha256","decryption_hash":"sha256""#,
            (Sha256, Sha256),
            (Sha256, Sha256),
        );
        check(
            r#","encryption_hash":"sha256","mgf1ParameterSpec":null"#,
            (Sha256, Sha1),
            (Sha256, Sha256),
        );
    }

    #[test]
    fn a_removal_is_a_text_whatever_it_is_worth() {
        let check = |text: &str, expected: Result<&str, u16>| {
            let found = removal(text.as_bytes()).map_err(|refusal| refusal.status());
            assert_eq!(found, expected.map(str::to_owned), "{text}");
        };
        check(r#"{"msisdn_hashed":"00"}"#, Ok("00"));
        check(r#"{"msisdn_hashed":""}"#, Ok(""));
        for text in ["", "[]", "{}", r#"{"msisdn_hashed":5}"#, r#"{"msisdn_hashed":null}"#] {
            check(text, Err(400));
        }
    }

    #[test]
    fn answers_have_the_members_that_each_app_reads() {
        let gmail = Platform {
            name: "gmail".to_owned(),
            description: json!({ "en": "mail" }),
            logo: None,
            protocol: "oauth2".to_owned(),
            kind: Some("email".to_owned()),
            letter: Some("g".to_owned()),
        };
        let grant = Grant {
            shared_key: "c2VjcmV0".to_owned(),
            msisdn_hash: "60".to_owned(),
            saved: vec![gmail],
            unsaved: vec![],
        };
        let platform = json!({
            "name": "gmail", "description": { "en": "mail" }, "logo": null,
            "initialization_url": "/platforms/gmail/protocols/oauth2",
            "type": "email", "letter": "g",
        });
        assert_eq!(
            grant.two_step(),
            json!({
                "shared_key": "c2VjcmV0", "user_platforms": [platform], "msisdn_hash": "60",
                "seeds_url": "", "gateway_clients": [],
            })
        );
        assert_eq!(
            grant.one_step()["user_platforms"],
            json!({ "saved_platforms": [platform], "unsaved_platforms": [] })
        );
    }
}
