//! The question and the answer of a phone that checks its key (contract §4).

use serde_json::{Value, json};

use super::body::Body;
use crate::crypto::{Digests, Hash, decode_base64};
use crate::refusal::Refusal;

/// A phone's question whether the server holds its key (contract §4).
#[derive(Debug)]
pub struct Verification {
    /// The msisdn_hash, RSA-OAEP under a key of the server.
    pub msisdn: Vec<u8>,
    /// The digests of that ciphertext.
    pub digests: Digests,
    /// RSA-PSS over the msisdn_hash.
    pub signature: Vec<u8>,
}

impl Verification {
    /// Reads a body, whatever its content type.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] with what is wrong in it.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let body = Body::parse(body)?;
        let msisdn = body
            .text("msisdn", "msisdn must be a string")?
            .ok_or(Refusal::Malformed("msisdn is missing"))?;
        let signature = body
            .text("msisdn_signature", "msisdn_signature must be a string")?
            .ok_or(Refusal::Malformed("msisdn_signature is missing"))?;
        let signature = decode_base64(signature).ok().filter(|bytes| !bytes.is_empty());
        Ok(Verification {
            msisdn: decode_base64(msisdn)
                .map_err(|_| Refusal::Malformed("msisdn is not base64 of a ciphertext"))?,
            digests: Digests {
                oaep: body.hash(&["hashingAlgorithm"], Hash::Sha256)?,
                mgf1: body.hash(&["mgf1ParameterSpec"], Hash::Sha1)?,
            },
            signature: signature
                .ok_or(Refusal::Malformed("msisdn_signature is not base64 of a signature"))?,
        })
    }
}

/// The answer to a phone whose key the server holds: RSA-OAEP in base64.
pub fn verification_answer(shared_key: &str) -> Value {
    json!({ "shared_key": shared_key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verification_names_the_digests_of_its_msisdn() {
        let check = |members: &str, oaep, mgf1| {
            let body =
                format!("{{\"msisdn\":\"YQ==\\n\",\"msisdn_signature\":\"Yg\\/b\"{members}}}");
            let verification = Verification::parse(body.as_bytes()).unwrap();
            assert_eq!(verification.msisdn, b"a");
            assert_eq!(verification.signature, [0x62, 0x0f, 0xdb]);
            assert_eq!(verification.digests, Digests { oaep, mgf1 }, "{members}");
        };
        check("", Hash::Sha256, Hash::Sha1);
        check(r#","mgf1ParameterSpec":"sha256""#, Hash::Sha256, Hash::Sha256);
        check(r#","hashingAlgorithm":"sha1""#, Hash::Sha1, Hash::Sha1);
        for text in [
            "",
            "[]",
            "{}",
            r#"{"msisdn":"YQ=="}"#,
            r#"{"msisdn_signature":"YQ=="}"#,
            r#"{"msisdn":null,"msisdn_signature":"YQ=="}"#,
            r#"{"msisdn":5,"msisdn_signature":"YQ=="}"#,
            r#"{"msisdn":"*","msisdn_signature":"YQ=="}"#,
            r#"{"msisdn":"YQ==","msisdn_signature":"*"}"#,
            r#"{"msisdn":"YQ==","msisdn_signature":""}"#,
            r#"{"msisdn":"YQ==","msisdn_signature":"YQ==","hashingAlgorithm":"md5"}"#,
        ] {
            let refusal = Verification::parse(text.as_bytes()).unwrap_err();
            assert_eq!(refusal.status(), 400, "{text}");
        }
    }
}
