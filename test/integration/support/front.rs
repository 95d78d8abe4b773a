//! A TLS proxy before a plain port, with a certificate made by hand.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod, SslStream};

use super::tls::self_signed;

/// Lives as long as the test's process: its thread waits in accept.
pub struct Proxy {
    port: u16,
    to: Arc<OnceLock<String>>,
}

impl Proxy {
    pub fn new(key: &PKey<Private>) -> Self {
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        acceptor.set_private_key(key).unwrap();
        acceptor.set_certificate(&self_signed(key, 1)).unwrap();
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
