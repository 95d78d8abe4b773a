//! The table of a Python installation, filled as that server fills it, taken over in place.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;

use crate::support::server::{Folder, KEY, command};
use crate::support::tls::self_signed;
use crate::support::{PASSWORD, Phone, Schema, Server, USER, post};

/// As the Python server's migration makes it (contract §6).
const CONTRACT: &str = "CREATE TABLE gateway_server_users (
    msisdn_hash VARCHAR(256) NOT NULL PRIMARY KEY, shared_key TEXT NOT NULL,
    public_key TEXT NOT NULL, mgf1ParameterSpec TEXT NOT NULL, hashingAlgorithm TEXT NOT NULL,
    date DATETIME DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8";

/// As peewee makes it on an old server: no default in the database, short texts, its own key.
const PEEWEE: &str = "CREATE TABLE gateway_server_users (
    msisdn_hash VARCHAR(255) NOT NULL, shared_key VARCHAR(255) NOT NULL,
    public_key VARCHAR(1000) NOT NULL, mgf1ParameterSpec VARCHAR(255) NOT NULL,
    hashingAlgorithm VARCHAR(255) NOT NULL, date DATETIME NOT NULL, PRIMARY KEY (msisdn_hash)
) ENGINE = MyISAM DEFAULT CHARACTER SET latin1";

/// What a phone's row holds, by what is odd about it.
fn rows() -> Vec<[String; 5]> {
    let key = "0123456789abcdef0123456789abcdef";
    let pem = |bits| {
        let pem = Rsa::generate(bits).unwrap().public_key_to_pem().unwrap();
        String::from_utf8(pem).unwrap()
    };
    let flat = |pem: &str| pem.lines().filter(|line| !line.starts_with('-')).collect::<String>();
    let sound = pem(2048);
    let twice = STANDARD.encode(&sound);
    let mut rows = Vec::new();
    let mut add = |shared: &str, public: &str, mgf1: &str, oaep: &str| {
        let hash = format!("{:0128x}", rows.len());
        rows.push([hash, shared.into(), public.into(), mgf1.into(), oaep.into()]);
    };
    add(key, &sound, "sha1", "sha256");
    add(key, &Phone::new().pem, "sha256", "sha256");
    add(key, &sound.replace('\n', "\r\n"), "sha1", "sha1");
    let one_line = format!("-----BEGIN PUBLIC KEY-----{}-----END PUBLIC KEY-----", flat(&sound));
    add(key, &one_line, "sha1", "sha256");
    add(key, &pem(1024), "sha1", "sha256");
    add(key, &sound.replace('\n', "\\n"), "sha1", "sha256");
    add(key, &twice, "sha1", "sha256");
    add(key, "'; DROP TABLE \"users\" -- \u{e9} ", "sha1", "sha256");
    add(key, "", "sha1", "sha256");
    add("b'0123456789abcdef'", &sound, "sha1", "sha256");
    add(key, &sound, "SHA1", "md5");
    rows
}

fn fill(table: &str) -> Schema {
    let schema = Schema::new();
    schema.execute("DROP TABLE gateway_server_users");
    schema.execute(table);
    for row in rows() {
        let values: Vec<String> =
            row.iter().map(|text| format!("CONVERT(X'{}' USING utf8)", hex(text))).collect();
        schema.execute(&format!(
            "INSERT INTO gateway_server_users VALUES ({}, '2022-11-08 12:00:00')",
            values.join(", ")
        ));
    }
    schema
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// Every column as it is stored, and as the Python server's connection reads it.
fn reading(schema: &Schema) -> Vec<Vec<String>> {
    let columns = "msisdn_hash, shared_key, public_key, mgf1ParameterSpec, hashingAlgorithm, date";
    let both: Vec<String> = columns
        .split(", ")
        .map(|column| format!("HEX({column}), CONVERT({column} USING utf8mb4)"))
        .collect();
    let both = both.join(", ");
    schema.query(&format!("SELECT {both} FROM gateway_server_users ORDER BY msisdn_hash"))
}

fn definition(schema: &Schema) -> String {
    schema.query("SHOW CREATE TABLE gateway_server_users")[0][1].clone()
}

/// Runs the command in a folder that has the server's key; its code and all that it says.
fn takeover(schema: &Schema, folder: &Folder, words: &[&str]) -> (Option<i32>, String) {
    let output =
        command(folder).arg("takeover").args(words).envs(schema.variables()).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), said)
}

fn contains(said: &str, expected: &[&str]) {
    for line in expected {
        assert!(said.contains(line), "{line:?} is missing in:\n{said}");
    }
}

const ODD: [&str; 6] = [
    "4  can be verified",
    "1  have a public key of 1024 bits",
    "3  have a public key that is none",
    "1  have no public key",
    "1  have a shared key that is not 32 hexadecimal digits",
    "1  have a hashingAlgorithm other than sha1 and sha256",
];

#[test]
fn a_table_as_the_contract_has_it_needs_nothing() {
    let (schema, folder) = (fill(CONTRACT), Folder::furnished());
    let before = (reading(&schema), definition(&schema));
    for words in [&["--dry-run"][..], &[]] {
        let (code, said) = takeover(&schema, &folder, words);
        assert_eq!(code, Some(0), "{said}");
        contains(&said, &ODD);
        contains(&said, &["rows: 11", "InnoDB", "utf8", "Nothing has to be changed"]);
        assert_eq!((reading(&schema), definition(&schema)), before);
    }
}

#[test]
fn a_table_of_peewee_is_changed_where_it_must_and_read_as_before() {
    let (schema, folder) = (fill(PEEWEE), Folder::furnished());
    let before = (reading(&schema), definition(&schema));
    let (code, said) = takeover(&schema, &folder, &["--dry-run"]);
    assert_eq!(code, Some(0), "{said}");
    contains(&said, &["the engine is MyISAM", "date is not filled", "latin1", "would run"]);
    contains(&said, &["public_key is varchar(1000), but needs 2048 characters"]);
    assert_eq!((reading(&schema), definition(&schema)), before, "--dry-run changes nothing");

    let (code, said) = takeover(&schema, &folder, &[]);
    assert_eq!(code, Some(0), "{said}");
    contains(&said, &["Done, 11 rows are as they were"]);
    assert_eq!(reading(&schema), before.0);
    let after = definition(&schema);
    contains(&after, &["ENGINE=InnoDB", "`public_key` text NOT NULL", "CHARSET=latin1"]);
    let (code, said) = takeover(&schema, &folder, &[]);
    assert!(code == Some(0) && said.contains("Nothing has to be changed"), "{said}");

    // Both servers write to it: this one a phone, the other as peewee does.
    let server = Server::start(&schema, &[]);
    let (_dashboard, url) = server.code(USER);
    let answer = post(&server.api, &url, &Phone::new().one_step_body(PASSWORD));
    assert_eq!(answer.status, 200, "{answer:?}");
    let others = |rows: Vec<Vec<String>>| -> Vec<Vec<String>> {
        rows.into_iter().filter(|row| row[1] != schema.msisdn_hash()).collect()
    };
    assert_eq!(others(reading(&schema)), before.0);
    schema.execute(
        "INSERT INTO gateway_server_users \
         (msisdn_hash, shared_key, public_key, mgf1ParameterSpec, hashingAlgorithm, date) \
         VALUES ('ff', 'k', 'p', 'sha1', 'sha256', '2022-11-09 12:00:00')",
    );
    schema.execute("UPDATE gateway_server_users SET shared_key = 'l' WHERE msisdn_hash = 'ff'");
    schema.execute("DELETE FROM gateway_server_users WHERE msisdn_hash = 'ff'");
}

#[test]
fn the_private_key_is_compared_with_the_certificate() {
    let (schema, folder) = (Schema::new(), Folder::furnished());
    let path = folder.0.join("fullchain.pem");
    let check = |code, expected: &str| {
        let words = ["--dry-run", "--certificate", path.to_str().unwrap()];
        let (found, said) = takeover(&schema, &folder, &words);
        assert_eq!(found, Some(code), "{said}");
        contains(&said, &[expected]);
    };
    check(1, "gives no certificate");
    let write =
        |key: &PKey<Private>| fs::write(&path, self_signed(key, 1).to_pem().unwrap()).unwrap();
    write(&KEY);
    check(0, "is the certificate of this key");
    write(&PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap());
    check(1, "is the certificate of another key");
}

#[test]
fn what_stands_in_the_way_is_told_with_its_remedy_and_nothing_is_changed() {
    let folder = Folder::furnished();
    let check = |changes: &[&str], expected: &[&str]| {
        let schema = fill(PEEWEE);
        changes.iter().for_each(|change| schema.execute(change));
        let before = (reading(&schema), definition(&schema));
        let (code, said) = takeover(&schema, &folder, &[]);
        assert_eq!(code, Some(1), "{said}");
        contains(&said, expected);
        assert_eq!((reading(&schema), definition(&schema)), before);
    };
    check(
        &[
            "ALTER TABLE gateway_server_users DROP PRIMARY KEY",
            "INSERT INTO gateway_server_users SELECT * FROM gateway_server_users LIMIT 2",
        ],
        &["2 rows repeat another's", "keep the newest", "there is one problem"],
    );
    check(
        &["ALTER TABLE gateway_server_users ADD device INT NOT NULL"],
        &["device is a column that this server does not fill", "MODIFY `device` int(11) NULL"],
    );
    check(
        &[
            "UPDATE gateway_server_users SET msisdn_hash = RIGHT(msisdn_hash, 64)",
            "ALTER TABLE gateway_server_users MODIFY msisdn_hash VARCHAR(64) NOT NULL",
        ],
        &["msisdn_hash is varchar(64), but needs 128 characters", "let all phones sync again"],
    );
    let (schema, none) = (Schema::new(), Schema::empty());
    schema.execute("DROP TABLE gateway_server_users");
    let (code, said) = takeover(&schema, &folder, &["--dry-run"]);
    assert_eq!(code, Some(1), "{said}");
    contains(&said, &["has no table gateway_server_users", "swob-gateway migrate"]);
    let (code, said) = takeover(&none, &folder, &[]);
    assert_eq!(code, Some(1), "{said}");
    contains(&said, &["check [mysql]", "Unknown database"]);
}
