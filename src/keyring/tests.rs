//! The ring in folders of its own, with keys that OpenSSL makes.

use std::fs::{File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::x509::X509Builder;

use super::*;
use crate::config::Config;
use crate::crypto::Hash;

const DIGESTS: Digests = Digests { oaep: Hash::Sha256, mgf1: Hash::Sha256 };

/// A folder with a key at `server.key`; it goes with its test.
struct Place {
    settings: config::Keys,
    folder: PathBuf,
}

impl Place {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("swob-keyring-{}-{n}", process::id()));
        fs::create_dir(&folder).unwrap();
        let settings = config::Keys {
            private_key: folder.join("server.key"),
            ring: folder.join("ring"),
            ..Config::default().keys
        };
        Place { settings, folder }
    }

    fn put(&self, key: &ServerKey) {
        let new = self.folder.join("new");
        fs::write(&new, key.private_pem().unwrap()).unwrap();
        fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
        fs::rename(&new, &self.settings.private_key).unwrap();
    }

    fn load(&self) -> Keyring {
        Keyring::load(&self.settings).unwrap()
    }

    /// The first word and the fingerprint of each line.
    fn list(&self) -> Vec<(String, String)> {
        let text = command::list(&self.settings).unwrap();
        let ends = |line: &str| {
            let mut words = line.split_whitespace();
            (words.next().unwrap().to_owned(), words.next_back().unwrap().to_owned())
        };
        text.lines().map(ends).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn seal(key: &ServerKey) -> Vec<u8> {
    let public = PKey::public_key_from_pem(key.public_pem().as_bytes()).unwrap();
    oaep::seal(&public, b"secret", DIGESTS).unwrap()
}

fn opens(keyring: &Keyring, key: &ServerKey) -> bool {
    keyring.open(&seal(key), DIGESTS).is_ok_and(|plain| *plain == b"secret")
}

#[test]
fn a_key_is_in_the_ring_before_it_serves_and_for_its_owner_alone() {
    let place = Place::new();
    let key = ServerKey::generate().unwrap();
    place.put(&key);
    let keyring = place.load();
    assert!(opens(&keyring, &key));
    assert_eq!(keyring.public_pem(), key.public_pem());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let copy = place.settings.ring.join(format!("{}.pem", key.fingerprint()));
    assert_eq!((mode(&place.settings.ring), mode(&copy)), (0o700, 0o600));
    assert_eq!(ServerKey::read(&copy).unwrap().fingerprint(), key.fingerprint());
    assert_eq!(
        fs::read_dir(&place.settings.ring).unwrap().count(),
        1,
        "nothing half written stays"
    );
    fs::write(&copy, "damaged").unwrap();
    keyring.reload();
    assert_eq!(ServerKey::read(&copy).unwrap().fingerprint(), key.fingerprint());
}

#[test]
fn a_ring_out_of_reach_stops_the_start() {
    let place = Place::new();
    place.put(&ServerKey::generate().unwrap());
    fs::write(&place.settings.ring, "a file").unwrap();
    let error = Keyring::load(&place.settings).err().unwrap();
    assert!(matches!(error, KeyError::Ring(..)), "{error}");
    assert!(error.to_string().contains("[keys] ring"), "{error}");
}

#[test]
fn keys_that_were_renewed_while_nobody_looked_still_open() {
    let place = Place::new();
    let keys: Vec<_> = (0..3).map(|_| ServerKey::generate().unwrap()).collect();
    for key in &keys {
        place.put(key);
        place.load();
    }
    let keyring = place.load();
    assert!(keys.iter().all(|key| opens(&keyring, key)));
    assert_eq!(keyring.public_pem(), keys[2].public_pem());
    let stranger = ServerKey::generate().unwrap();
    assert_eq!(keyring.open(&seal(&stranger), DIGESTS).err(), Some(Refusal::Undecipherable));
    for bad in [vec![], vec![0; 255], vec![0; 256], vec![0xff; 256], vec![0; 257]] {
        assert_eq!(keyring.open(&bad, DIGESTS).err(), Some(Refusal::Undecipherable));
    }
}

#[test]
fn a_running_ring_takes_a_new_key_and_keeps_the_old_one_where_the_new_is_bad() {
    let place = Place::new();
    let [first, second] = [(); 2].map(|()| ServerKey::generate().unwrap());
    place.put(&first);
    let keyring = place.load();
    place.put(&second);
    keyring.refresh();
    assert_eq!(keyring.public_pem(), second.public_pem());
    assert!(opens(&keyring, &first) && opens(&keyring, &second));

    let ec = EcKey::generate(&EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap()).unwrap();
    let ec = PKey::from_ec_key(ec).unwrap().private_key_to_pem_pkcs8().unwrap();
    let short = Rsa::generate(1024).unwrap().private_key_to_pem().unwrap();
    for bad in [&b""[..], b"hello", &ec, &short] {
        fs::write(&place.settings.private_key, bad).unwrap();
        keyring.refresh();
        keyring.reload();
        assert_eq!(keyring.public_pem(), second.public_pem());
        assert!(opens(&keyring, &first));
    }
    fs::remove_file(&place.settings.private_key).unwrap();
    keyring.refresh();
    assert_eq!(keyring.public_pem(), second.public_pem());
    place.put(&first);
    keyring.refresh();
    assert_eq!(keyring.public_pem(), first.public_pem());
    assert!(opens(&keyring, &second));
}

#[test]
fn a_key_added_beside_a_running_server_is_taken() {
    let place = Place::new();
    let [own, old] = [(); 2].map(|()| ServerKey::generate().unwrap());
    place.put(&own);
    let keyring = place.load();
    let file = place.folder.join("old.pem");
    fs::write(&file, old.private_pem().unwrap()).unwrap();
    assert!(!opens(&keyring, &old));
    for _ in 0..2 {
        assert_eq!(command::add(&place.settings, &file).unwrap(), old.fingerprint());
    }
    keyring.refresh();
    assert!(opens(&keyring, &old));
    assert_eq!(keyring.public_pem(), own.public_pem());
    assert_eq!(place.list().len(), 2);
}

#[test]
fn the_newest_eight_are_used_and_no_file_is_taken_away() {
    let place = Place::new();
    let keys: Vec<_> = (0..MOST + 2).map(|_| ServerKey::generate().unwrap()).collect();
    for (age, key) in keys.iter().enumerate() {
        place.put(key);
        place.load();
        let copy = place.settings.ring.join(format!("{}.pem", key.fingerprint()));
        let date = SystemTime::now() - Duration::from_secs(1000 - age as u64);
        File::options().append(true).open(copy).unwrap().set_modified(date).unwrap();
    }
    fs::write(place.settings.ring.join("note.pem"), "no key").unwrap();
    let keyring = place.load();
    let used: Vec<_> = keys.iter().map(|key| opens(&keyring, key)).collect();
    assert_eq!(used, [&[false; 2][..], &[true; MOST]].concat());
    assert_eq!(fs::read_dir(&place.settings.ring).unwrap().count(), MOST + 3);
    let listed = place.list();
    let words: Vec<_> = listed.iter().map(|(word, _)| word.as_str()).collect();
    assert_eq!(
        words,
        [&["current"][..], &["retired"; MOST - 1], &["unused"; 2], &["useless"]].concat()
    );
    let newest: Vec<_> = keys.iter().rev().map(|key| key.fingerprint().to_owned()).collect();
    let names: Vec<_> = listed.into_iter().map(|(_, name)| name).take(newest.len()).collect();
    assert_eq!(names, newest);
}

#[test]
fn to_rotate_makes_a_new_current_key_and_keeps_its_owners_rights() {
    let place = Place::new();
    let first = ServerKey::generate().unwrap();
    place.put(&first);
    fs::set_permissions(&place.settings.private_key, Permissions::from_mode(0o640)).unwrap();
    let second = command::rotate(&place.settings, None).unwrap();
    let mode = fs::metadata(&place.settings.private_key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert!(opens(&place.load(), &first));
    let names =
        [("current".to_owned(), second), ("retired".to_owned(), first.fingerprint().into())];
    assert_eq!(place.list(), names);
}

#[test]
fn a_key_that_another_program_renews_is_not_rotated() {
    let place = Place::new();
    let key = ServerKey::generate().unwrap();
    place.put(&key);
    let path = &place.settings.private_key;
    let refused = |certificate: Option<&Path>| {
        let before = fs::read(path).unwrap();
        let error = command::rotate(&place.settings, certificate).err().unwrap();
        assert!(matches!(error, KeyError::Foreign(_)), "{error}");
        assert_eq!(fs::read(path).unwrap(), before);
    };
    let private = PKey::private_key_from_pem(&key.private_pem().unwrap()).unwrap();
    let mut certificate = X509Builder::new().unwrap();
    certificate.set_pubkey(&private).unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    certificate.sign(&private, MessageDigest::sha256()).unwrap();
    let certificate = certificate.build().to_pem().unwrap();

    let elsewhere = place.folder.join("fullchain.pem");
    fs::write(&elsewhere, &certificate).unwrap();
    refused(Some(&elsewhere));
    let beside = path.with_extension("crt");
    fs::write(&beside, &certificate).unwrap();
    refused(None);
    fs::remove_file(beside).unwrap();
    fs::write(path, [key.private_pem().unwrap().as_slice(), &certificate].concat()).unwrap();
    refused(None);
    place.put(&key);
    fs::rename(path, place.folder.join("live.key")).unwrap();
    symlink(place.folder.join("live.key"), path).unwrap();
    refused(None);
}
