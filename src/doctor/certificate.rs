//! The certificate, as apps and browsers judge it.

use openssl::pkey::Id;
use openssl::ssl::SslRef;
use openssl::x509::{X509, X509VerifyResult};

use super::recipe::Topic;
use super::{Doctor, Key, PATIENCE};
use crate::client::link::Link;
use crate::client::{ClientError, Trust};
use crate::finding::Finding;
use crate::log::cause;
use crate::tls::Left;
use crate::wire::Endpoint;

/// What the server's keys have.
const BITS: u32 = 2048;

// OpenSSL's numbers for what is wrong (x509_vfy.h).
const NOT_YET: i32 = 9;
const EXPIRED: i32 = 10;
const SELF_SIGNED: [i32; 2] = [18, 19];
const NO_ISSUER: [i32; 2] = [20, 21];
const OTHER_NAME: [i32; 2] = [62, 64];

impl Doctor<'_> {
    /// Judges the certificate and gives its key; `None` where no connection comes about.
    pub(super) fn certificate(&mut self) -> Result<Option<Key>, ClientError> {
        let api = self.order.api.clone();
        if !api.secure {
            self.tell(
                "certificate",
                Finding::warning(
                    "there is no TLS: the one-step app cannot sync, and whoever carries the \
                     traffic can put another key in the server's place",
                    "if phones reach it by https, write that with --url; else serve it so, as \
                     doc/tls.md says",
                ),
                self.recipe(Topic::Certificate),
            );
            return Ok(Some(None));
        }
        let deadline = self.by(PATIENCE);
        let link = match Link::dial(&self.addresses, &api, Trust::Any, deadline) {
            Ok(link) => link,
            Err(error) => {
                self.no_tls(&error);
                return Ok(None);
            }
        };
        let ssl = link.ssl();
        let Some((ssl, certificate)) = ssl.and_then(|ssl| Some((ssl, ssl.peer_certificate()?)))
        else {
            self.no_tls(&ClientError::Answer("it shows no certificate"));
            return Ok(None);
        };
        self.trusted(ssl, &certificate)?;
        let key = certificate.public_key()?;
        let rsa = key.id() == Id::RSA && key.bits() >= BITS;
        if rsa {
            self.good("key", format!("the certificate is for an RSA key of {} bits", key.bits()));
        } else {
            let kind = if key.id() == Id::RSA { "a short RSA" } else { "not an RSA" };
            let host = &api.host;
            self.tell(
                "key",
                Finding::problem(
                    format!(
                        "the certificate's key is {kind} key ({} bits), but phones take the \
                         server's key from it and know RSA of {BITS} bits and more alone",
                        key.bits()
                    ),
                    format!(
                        "get one for an RSA key: certbot certonly --key-type rsa --rsa-key-size \
                         {BITS} -d {host}; for Caddy the line key_type"
                    ),
                ),
                self.recipe(Topic::Certificate),
            );
        }
        self.port_443(&api);
        Ok(Some(Some(key).filter(|_| rsa)))
    }

    fn no_tls(&mut self, error: &ClientError) {
        let port = self.order.api.port;
        self.tell(
            "certificate",
            Finding::problem(
                format!("port {port} does not speak TLS: {}", cause(error)),
                "if the port is right, let the proxy or [tls] serve https there; the recipe has \
                 the lines",
            ),
            self.recipe(Topic::Certificate),
        );
    }

    fn trusted(&mut self, ssl: &SslRef, certificate: &X509) -> Result<(), ClientError> {
        let verdict = ssl.verify_result();
        let chain = ssl.peer_cert_chain().map_or(0, |chain| chain.len());
        let until = certificate.not_after().to_string();
        if verdict != X509VerifyResult::OK {
            let remedy = remedy(verdict.as_raw(), chain, &self.order.api.host);
            self.tell(
                "certificate",
                Finding::problem(
                    format!(
                        "apps and browsers do not trust it: {verdict} ({}, until {until})",
                        names(certificate)
                    ),
                    remedy,
                ),
                self.recipe(Topic::Certificate),
            );
            return Ok(());
        }
        let left = Left::of(certificate)?;
        if left.is_late() {
            self.tell(
                "certificate",
                Finding::warning(
                    format!("it is valid for {left} only, until {until}"),
                    "see why it was not renewed: systemctl list-timers certbot, certbot renew \
                     --dry-run; Caddy's log says it too",
                ),
                vec![],
            );
        } else {
            let names = names(certificate);
            self.good("certificate", format!("it is trusted, for {names}, and valid for {left}"));
        }
        Ok(())
    }

    /// The one-step app looks there, whatever port the URL has (contract §3).
    fn port_443(&mut self, api: &Endpoint) {
        if api.port == 443 {
            return;
        }
        let there = Endpoint { port: 443, ..api.clone() };
        let opened = Link::dial(&self.addresses, &there, Trust::Any, self.by(PATIENCE / 2));
        if opened.is_err() {
            self.tell(
                "port 443",
                Finding::warning(
                    format!(
                        "https://{}/ is not reached at port 443, where the one-step app takes the \
                         server's key from",
                        api.host
                    ),
                    "lead port 443 to the API as well, or serve the API there",
                ),
                self.recipe(Topic::Listen),
            );
        }
    }
}

/// The names that a certificate is for.
fn names(certificate: &X509) -> String {
    let names: Vec<String> = certificate
        .subject_alt_names()
        .into_iter()
        .flatten()
        .filter_map(|name| {
            let address = || match name.ipaddress()? {
                &[a, b, c, d] => Some(format!("{a}.{b}.{c}.{d}")),
                _ => Some("an IPv6 address".to_owned()),
            };
            name.dnsname().map(str::to_owned).or_else(address)
        })
        .collect();
    if names.is_empty() { "no name".to_owned() } else { names.join(", ") }
}

fn remedy(verdict: i32, chain: usize, host: &str) -> String {
    match verdict {
        EXPIRED => "renew it (certbot renew) and reload what serves it; see why that did not \
                    happen by itself: systemctl list-timers certbot"
            .to_owned(),
        NOT_YET => "the clock of this machine is wrong, or that of the one that made the \
                    certificate: timedatectl says"
            .to_owned(),
        code if OTHER_NAME.contains(&code) => format!(
            "get one for this name: certbot certonly --key-type rsa -d {host}; or give the URL \
             with the name that it is for"
        ),
        code if SELF_SIGNED.contains(&code) => format!(
            "it was made by hand; get one of an authority that apps know: certbot certonly \
             --key-type rsa -d {host}"
        ),
        code if NO_ISSUER.contains(&code) && chain < 2 => {
            "the certificate comes without the chain behind it: serve fullchain.pem, not cert.pem"
                .to_owned()
        }
        _ => format!(
            "get one of an authority that apps know, and serve its whole chain: certbot certonly \
             --key-type rsa -d {host}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_distrust_has_its_remedy() {
        let check = |verdict, chain, expected: &str| {
            let told = remedy(verdict, chain, "h.example");
            assert!(told.contains(expected), "{verdict}: {told}");
        };
        check(EXPIRED, 2, "certbot renew");
        check(NOT_YET, 2, "timedatectl");
        check(62, 2, "-d h.example; or give the URL");
        check(18, 1, "made by hand");
        check(20, 1, "fullchain.pem, not cert.pem");
        check(20, 2, "whole chain");
        check(23, 2, "whole chain");
    }
}
