//! What must not be told apart is not: same bytes, same headers, same statements, same work
//! (contract §3). `make timing` compares the times.

use crate::support::server::Folder;
use crate::support::{Answer, PASSWORD, Phone, Schema, Server, USER, post, until};

/// What one refused handshake cost the server, and what it told.
#[derive(Debug, PartialEq)]
struct Trace {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    selects: u64,
    private_key: usize,
    hashes: usize,
}

/// A server under a database account of its own, whose statements MariaDB counts.
struct Watched {
    schema: Schema,
    account: String,
    /// Held for the salt: in the database it would be read again once in a while.
    _folder: Folder,
    server: Server,
}

impl Watched {
    fn start() -> Self {
        let schema = Schema::new();
        let account = format!("watched_{}", schema.name);
        schema.execute("SET GLOBAL userstat = 1");
        schema.execute(&format!("CREATE USER '{account}'@'%' IDENTIFIED BY 'x'"));
        schema.execute(&format!("GRANT ALL ON {}.* TO '{account}'@'%'", schema.name));
        let folder = Folder::new();
        let salt = folder.0.join("salt");
        std::fs::write(&salt, "b7c1c9605b98de2b055b5a13ac22765e").unwrap();
        let server = Server::start(
            &schema,
            &[
                ("HASHING_SALT", salt.to_str().unwrap()),
                ("GATEWAY_MYSQL_USERNAME", &account),
                ("GATEWAY_MYSQL_PASSWORD", "x"),
                ("GATEWAY_LOG_LEVEL", "trace"),
                ("GATEWAY_LIMITS_PASSWORD_ATTEMPTS", ""),
            ],
        );
        Watched { schema, account, _folder: folder, server }
    }

    fn selects(&self) -> u64 {
        let counted = "information_schema.user_statistics WHERE user";
        self.schema.number(&format!("SELECT select_commands FROM {counted} = '{}'", self.account))
    }

    /// One one-step handshake at a session of its own.
    fn trace(&self, user: &str, body: impl FnOnce(&Phone) -> String) -> Trace {
        let (_dashboard, url) = self.server.code(user);
        let body = body(&Phone::new());
        let count = |what: &str| self.server.log().matches(what).count();
        let (selects, keys, hashes) =
            (self.selects(), count("private key used"), count("password hashed"));
        let answered = count("handshake user=");
        let Answer { status, mut headers, body } = post(&self.server.api, &url, &body);
        headers.retain(|(name, _)| name != "date");
        until("the handshake is logged", || count("handshake user=") > answered);
        Trace {
            status,
            headers,
            body,
            selects: self.selects() - selects,
            private_key: count("private key used") - keys,
            hashes: count("password hashed") - hashes,
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.schema.execute(&format!("DROP USER IF EXISTS '{}'@'%'", self.account));
    }
}

#[test]
fn every_401_costs_and_tells_the_same() {
    let watched = Watched::start();
    let right = |phone: &Phone| phone.one_step_body(PASSWORD);
    // What is prepared once is not counted against the first.
    watched.trace(USER, |phone| phone.one_step_body("wrong"));

    let wrong = watched.trace(USER, |phone| phone.one_step_body("wrong"));
    assert_eq!((wrong.status, wrong.private_key, wrong.hashes), (401, 1, 1));
    assert!(wrong.selects > 0, "MariaDB counts no statements");
    assert_eq!(watched.trace("nobody", right), wrong);
    assert_eq!(watched.trace(&USER.to_uppercase(), right), wrong);
    let set = |change: &str| watched.schema.execute(&format!("{change} WHERE userId = '{USER}'"));
    set("UPDATE usersInfos SET status = 'unverified'");
    assert_eq!(watched.trace(USER, right), wrong);
    set("UPDATE usersInfos SET status = 'verified', full_phone_number = NULL");
    assert_eq!(watched.trace(USER, right), wrong);
    set("UPDATE usersInfos SET full_phone_number = 'f00d'");
    watched.schema.execute(&format!(
        "INSERT INTO usersInfos (name, country_code, full_phone_number, status, userId) \
         VALUES ('n', 'c', 'f00e', 'verified', '{USER}')"
    ));
    assert_eq!(watched.trace(USER, right), wrong);
    set("DELETE FROM usersInfos");
    assert_eq!(watched.trace(USER, right), wrong);
    watched.schema.execute(&format!("UPDATE users SET password = NULL WHERE id = '{USER}'"));
    assert_eq!(watched.trace(USER, right), wrong);
    assert!(watched.schema.rows().is_empty());
}

#[test]
fn every_ciphertext_that_does_not_open_costs_and_tells_the_same() {
    let watched = Watched::start();
    let sealed = |oaep: &'static str, mgf1: &'static str| {
        move |phone: &Phone| {
            let password = Phone::password(PASSWORD, oaep, mgf1);
            serde_json::json!({ "public_key": phone.pem, "password": password }).to_string()
        }
    };
    let other = watched.trace(USER, sealed("sha1", "sha1"));
    assert_eq!((other.status, other.private_key, other.hashes, other.selects), (400, 1, 0, 0));
    assert_eq!(watched.trace(USER, sealed("sha256", "sha256")), other);
    assert_eq!(watched.trace("nobody", sealed("sha1", "sha256")), other);
    let noise = |phone: &Phone| {
        let password = "QUFB".repeat(85) + "QQ==";
        serde_json::json!({ "public_key": phone.pem, "password": password }).to_string()
    };
    assert_eq!(watched.trace(USER, noise), other);
}
