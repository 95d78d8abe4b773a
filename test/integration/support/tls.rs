//! A certificate authority for the test's one name, and clients that trust it alone.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private, Public};
use openssl::rsa::Rsa;
use openssl::ssl::{SslConnector, SslMethod, SslStream};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name, X509NameRef};

use super::http::{Answer, bytes, connect_from, path_of};

/// The name that all certificates are for.
pub const NAME: &str = "gateway.test";

pub struct Authority {
    key: PKey<Private>,
    certificate: X509,
    /// What trusts this authority.
    pub trust: SslConnector,
}

/// What trusts one root, in PEM; to make one reads all roots of the machine, which takes a while.
pub fn trust(root: &[u8]) -> SslConnector {
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.cert_store_mut().add_cert(X509::from_pem(root).unwrap()).unwrap();
    connector.build()
}

/// A certificate that lasts so many days from now; with none it has expired.
fn builder(
    name: &X509NameRef,
    key: &PKey<Private>,
    issuer: &X509NameRef,
    serial: u32,
    days: u32,
) -> X509Builder {
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(name).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_issuer_name(issuer).unwrap();
    let serial = BigNum::from_u32(serial).unwrap().to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(1_600_000_000).unwrap()).unwrap();
    let end =
        if days == 0 { Asn1Time::from_unix(1_700_000_000) } else { Asn1Time::days_from_now(days) };
    builder.set_not_after(&end.unwrap()).unwrap();
    builder
}

fn common_name(text: &str) -> X509Name {
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_text("CN", text).unwrap();
    name.build()
}

/// A certificate made by hand, which nobody trusts; with no days left it has expired.
pub fn self_signed(key: &PKey<Private>, days: u32) -> X509 {
    let name = common_name(NAME);
    let mut builder = builder(&name, key, &name, 1, days);
    builder.sign(key, MessageDigest::sha256()).unwrap();
    builder.build()
}

/// A fresh one of an authority whose certificates last for six days, made by hand as well.
pub fn short_lived(key: &PKey<Private>) -> X509 {
    let name = common_name(NAME);
    let mut builder = builder(&name, key, &name, 1, 6);
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    builder.build()
}

impl Authority {
    pub fn new() -> Self {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let name = common_name("test authority");
        let mut builder = builder(&name, &key, &name, 1, 30);
        let constraints = BasicConstraints::new().critical().ca().build().unwrap();
        builder.append_extension(constraints).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        let certificate = builder.build();
        Authority { key, trust: trust(&certificate.to_pem().unwrap()), certificate }
    }

    /// Its own certificate.
    pub fn pem(&self) -> Vec<u8> {
        self.certificate.to_pem().unwrap()
    }

    /// A certificate for [`NAME`] and this key, with the authority's behind it, in PEM.
    pub fn issue(&self, key: &PKey<Private>, serial: u32) -> String {
        let issuer = self.certificate.subject_name();
        let mut builder = builder(&common_name(NAME), key, issuer, serial, 30);
        let names =
            SubjectAlternativeName::new().dns(NAME).build(&builder.x509v3_context(None, None));
        builder.append_extension(names.unwrap()).unwrap();
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        let chain = [builder.build().to_pem().unwrap(), self.certificate.to_pem().unwrap()];
        String::from_utf8(chain.concat()).unwrap()
    }

    /// A client that trusts this authority.
    pub fn client(&self, address: &str) -> Client {
        Client::new(address, &self.trust)
    }
}

/// Connects to one address as to [`NAME`], verifying its certificate as every app does.
pub struct Client {
    address: String,
    connector: SslConnector,
    /// Where connections come from, among the many addresses of this machine.
    pub from: Ipv4Addr,
}

impl Client {
    /// Connects to this address.
    pub fn new(address: &str, trust: &SslConnector) -> Self {
        let (address, connector) = (address.to_owned(), trust.clone());
        Client { address, connector, from: Ipv4Addr::LOCALHOST }
    }

    /// The same from another address of this machine.
    pub fn from(mut self, from: Ipv4Addr) -> Self {
        self.from = from;
        self
    }

    pub fn try_connect(&self) -> Result<SslStream<TcpStream>, String> {
        let tcp = connect_from(self.from, &self.address).map_err(|error| error.to_string())?;
        self.connector.connect(NAME, tcp).map_err(|error| error.to_string())
    }

    pub fn connect(&self) -> SslStream<TcpStream> {
        self.try_connect().unwrap()
    }

    /// As the one-step app begins: `GET /` below 400, then the key of the certificate.
    pub fn server_key(&self) -> PKey<Public> {
        let mut stream = self.connect();
        write!(stream, "GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n").unwrap();
        let answer = Answer::read(&mut stream).unwrap();
        assert!(answer.status < 400, "{answer:?}");
        stream.ssl().peer_certificate().unwrap().public_key().unwrap()
    }

    /// One request on a connection of its own; `None` where it is cut off.
    pub fn try_request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Answer> {
        let mut stream = self.try_connect().ok()?;
        // The server may refuse before it has read everything.
        let _ = stream.write_all(&bytes(NAME, method, path, headers, body));
        Answer::read(&mut stream)
    }

    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.try_request(method, path, headers, body)
            .unwrap_or_else(|| panic!("no answer to {method} {path}"))
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    /// Posts to the path of a whole URL.
    pub fn post(&self, url: &str, body: &str) -> Answer {
        self.request("POST", path_of(url), &[("Content-Type", "application/json")], body.as_bytes())
    }
}
