//! A TLS proxy before a plain port, with a certificate made by hand.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod, SslStream};
use openssl::x509::{X509, X509NameBuilder};

/// Lives as long as the test's process: its thread waits in accept.
pub struct Proxy {
    port: u16,
    to: Arc<OnceLock<String>>,
}

impl Proxy {
    pub fn new(key: &PKey<Private>) -> Self {
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        acceptor.set_private_key(key).unwrap();
        acceptor.set_certificate(&certificate(key)).unwrap();
        let acceptor = acceptor.build();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let to = Arc::new(OnceLock::<String>::new());
        let target = Arc::clone(&to);
        let serve = move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                let (acceptor, target) = (acceptor.clone(), Arc::clone(&target));
                let pump = move || {
                    let Ok(tls) = acceptor.accept(tcp) else { return };
                    let Some(Ok(plain)) = target.get().map(TcpStream::connect) else { return };
                    let _ = pump(tls, plain);
                };
                thread::Builder::new().spawn(pump).unwrap();
            }
        };
        thread::Builder::new().spawn(serve).unwrap();
        Proxy { port, to }
    }

    pub fn lead_to(&self, address: &str) {
        self.to.set(address.to_owned()).unwrap();
    }

    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.port)
    }
}

fn certificate(key: &PKey<Private>) -> X509 {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "127.0.0.1").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    builder.build()
}

/// Carries bytes both ways until one side ends.
fn pump(mut tls: SslStream<TcpStream>, mut plain: TcpStream) -> io::Result<()> {
    tls.get_ref().set_read_timeout(Some(Duration::from_millis(5)))?;
    plain.set_read_timeout(Some(Duration::from_millis(5)))?;
    loop {
        if !carry(&mut tls, &mut plain)? || !carry(&mut plain, &mut tls)? {
            let _ = tls.shutdown();
            return Ok(());
        }
    }
}

/// Carries what is there; false at the end.
fn carry(from: &mut impl Read, to: &mut impl Write) -> io::Result<bool> {
    let mut chunk = [0; 4096];
    match from.read(&mut chunk) {
        Ok(0) => Ok(false),
        Ok(n) => to.write_all(&chunk[..n]).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
    }
}
