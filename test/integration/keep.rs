//! What the pages for administrators promise: a backup is restored by README's own commands, and
//! the lines of the log that they name are in the source.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;

use crate::support::server::{Folder, KEY, command};
use crate::support::{Dashboard, PASSWORD, Phone, Schema, Server, USER, post};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The commands of README's section, one text a block.
fn blocks(heading: &str) -> Vec<String> {
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    let section = readme.split(&format!("\n### {heading}\n")).nth(1).unwrap();
    let section = section.split("\n### ").next().unwrap();
    let blocks = section.split("```bash\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

/// A machine of its own: a root folder, and an account that reaches the database as root does.
struct Machine<'a> {
    root: Folder,
    schema: &'a Schema,
}

impl<'a> Machine<'a> {
    fn new(schema: &'a Schema) -> Self {
        let root = Folder::new();
        for folder in ["etc/swob-gateway", "var/lib/swob-gateway", "home"] {
            fs::create_dir_all(root.0.join(folder)).unwrap();
        }
        let client = format!(
            "[client]\nhost = {}\nport = {}\nuser = {}\npassword = {}\n",
            schema.host, schema.port, schema.username, schema.password
        );
        fs::write(root.0.join("home/.my.cnf"), client).unwrap();
        let lib = root.0.join("var/lib/swob-gateway");
        fs::write(lib.join("server.key"), KEY.private_key_to_pem_pkcs8().unwrap()).unwrap();
        let etc = root.0.join("etc/swob-gateway");
        fs::write(etc.join("at-rest.keys"), "01".repeat(32)).unwrap();
        let ini = format!(
            "[keys]\nprivate_key = {0}/server.key\nring = {0}/ring\nat_rest_keys = at-rest.keys\n\
             [mysql]\nhost = {1}\nport = {2}\nusername = {3}\npassword = {4}\ndatabase = {5}\n\
             [http]\nlisten = 127.0.0.1:0\n[websocket]\nlisten = 127.0.0.1:0\n[admin]\nlisten =\n",
            lib.display(),
            schema.host,
            schema.port,
            schema.username,
            schema.password,
            schema.name,
        );
        fs::write(etc.join("gateway.ini"), ini).unwrap();
        Machine { root, schema }
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.root.0.join(path)
    }

    /// Runs a block as it stands, but for the machine that it is on.
    fn run(&self, block: &str) -> String {
        let mut script = format!(
            "set -eu\nsystemctl() {{ echo \"systemctl $*\"; }}\nsudo() {{ shift 2; \"$@\"; }}\n\
             swob_gateway() {{ cd {}; {} \"$@\"; }}\n",
            self.at("etc/swob-gateway").display(),
            env!("CARGO_BIN_EXE_swob-gateway"),
        );
        let root = self.root.0.display();
        let ours = [
            ("-C / ", format!("-C {root} ")),
            ("/var/backups", format!("{root}/var/backups")),
            (" swob_gateway ", format!(" {} ", self.schema.name)),
            (" swob-gateway check", " swob_gateway check".to_owned()),
        ];
        script.extend([ours
            .iter()
            .fold(block.to_owned(), |block, (theirs, ours)| block.replace(theirs, ours))]);
        let output = Command::new("sh")
            .arg("-c")
            .arg(&script)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.at("home"))
            .output()
            .unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{script}\n{said}");
        said
    }

    fn serve(&self) -> Server {
        let folder = Arc::new(Folder(self.at("run")));
        fs::create_dir_all(&folder.0).unwrap();
        let lib = self.at("var/lib/swob-gateway");
        let (key, ring) = (lib.join("server.key"), lib.join("ring"));
        let at_rest = self.at("etc/swob-gateway/at-rest.keys");
        let settings = [
            ("GATEWAY_KEYS_PRIVATE_KEY", key.to_str().unwrap()),
            ("GATEWAY_KEYS_RING", ring.to_str().unwrap()),
            ("GATEWAY_KEYS_AT_REST_KEYS", at_rest.to_str().unwrap()),
        ];
        Server::start_in(&folder, self.schema, &settings)
    }
}

#[test]
fn a_backup_is_restored_by_the_commands_of_the_readme() {
    let schema = Schema::new();
    let machine = Machine::new(&schema);
    let server = machine.serve();
    let (phone, mut dashboard) = (Phone::new(), Dashboard::open(&server.session(USER)));
    let url = dashboard.url();
    let begun = post(&server.api, &url, &phone.key_body());
    let server_pem = begun.json()["public_key"].as_str().unwrap().to_owned();
    let synced = post(&server.api, &url, &Phone::password_body(PASSWORD));
    assert_eq!(synced.status, 200, "{synced:?}");
    let open = |answer: &Value| phone.open(&answer["shared_key"], "sha256", "sha1");
    let key = open(&synced.json());
    // The key that the phone knows is a retired one from now on: the ring alone has it.
    let etc = Folder(machine.at("etc/swob-gateway"));
    assert!(command(&etc).args(["keys", "rotate"]).status().unwrap().success());
    std::mem::forget(etc);

    let [backup, restore] = &blocks("Backup and restore")[..] else { panic!("two blocks") };
    machine.run(backup);
    server.stop();
    let before = schema.rows();
    schema.execute("DROP TABLE gateway_server_users");
    fs::remove_dir_all(machine.at("etc/swob-gateway")).unwrap();
    fs::remove_dir_all(machine.at("var/lib/swob-gateway")).unwrap();

    let said = machine.run(restore);
    assert!(said.contains("Nothing stands in the way") || said.contains("All is well"), "{said}");
    assert!(said.starts_with("systemctl stop swob-gateway.socket swob-gateway\n"), "{said}");
    assert!(said.ends_with("systemctl start swob-gateway.socket swob-gateway\n"), "{said}");
    assert_eq!(schema.rows(), before);
    let server = machine.serve();
    let body = phone.verification_body_under(&server_pem, &schema.msisdn_hash());
    let answer = post(&server.api, "/v2/sync/users/verification", &body);
    assert_eq!(answer.status, 200, "{answer:?}\n{}", server.log());
    assert_eq!(open(&answer.json()), key);
}

/// The text of every line that the source gives to the log, as a format.
fn formats(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            formats(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let file = fs::read_to_string(&path).unwrap();
            // A string that is broken over lines goes on at the next word.
            let lines = file.lines().map(|line| match line.trim_start().strip_suffix('\\') {
                Some(broken) => broken.to_owned(),
                None => line.trim_start().to_owned() + "\n",
            });
            let text: String = lines.collect();
            for call in text.split("log::").skip(1).filter(|call| {
                ["error!(", "warn!(", "info!(", "debug!(", "trace!(", "log!("]
                    .iter()
                    .any(|name| call.starts_with(name))
            }) {
                let quoted = call.replace("\\\"", "'");
                found.extend(quoted.split('"').nth(1).map(str::to_owned));
            }
        }
    }
}

/// Whether a format makes a line that begins with these words; an ellipsis is any words.
fn leads(format: &[&str], words: &[&str]) -> bool {
    match (format, words) {
        (_, []) => true,
        (_, ["…", rest @ ..]) => (0..=format.len()).any(|n| leads(&format[n..], rest)),
        ([], _) => false,
        ([known, format @ ..], [word, words @ ..]) => {
            let bare = |text: &str| text.trim_end_matches([';', ',', ':']).to_owned();
            let fits = match known.split_once('{') {
                Some((start, _)) => word.starts_with(start),
                None => bare(known) == bare(word),
            };
            fits && leads(format, words)
        }
    }
}

/// What a page has in quotes, outside its blocks.
fn quotes(page: &str) -> Vec<String> {
    let page = fs::read_to_string(Path::new(ROOT).join(page)).unwrap();
    let prose = page.split("```").step_by(2).flat_map(|part| part.split('`').skip(1).step_by(2));
    prose.map(|quote| quote.replace('\n', " ")).collect()
}

#[test]
fn the_log_has_every_line_that_the_page_leads_to() {
    let mut known = Vec::new();
    formats(&Path::new(ROOT).join("src"), &mut known);
    let known: Vec<Vec<&str>> = known.iter().map(|format| format.split(' ').collect()).collect();
    let has = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        known.iter().any(|format| leads(format, &words))
    };
    assert!(has("handshake … status=401") && has("socket refused status=426"));
    assert!(!has("handshake done") && !has("socket refused code=1") && !has("a b c"));
    let shipped = fs::read_to_string(Path::new(ROOT).join("gateway.ini")).unwrap();
    let mut lines = 0;
    for quote in quotes("doc/nothing-happens-after-the-scan.md") {
        if let Some((section, key)) = quote.strip_prefix('[').and_then(|q| q.split_once("] ")) {
            let section = shipped.split(&format!("\n[{section}]\n")).nth(1);
            let section = section.and_then(|section| section.split("\n[").next());
            let set = section.is_some_and(|section| section.contains(&format!("\n#{key} =")));
            assert!(set, "{quote} is no setting");
            continue;
        }
        let other =
            ["swob-gateway ", "systemctl ", "journalctl ", "curl", "SELECT ", "20", "check "];
        if !quote.contains([' ', '=']) || other.iter().any(|start| quote.starts_with(start)) {
            continue;
        }
        // "request=" alone is what joins lines.
        if quote != "request=" {
            assert!(has(&quote), "{quote:?} is no line of the log");
            lines += 1;
        }
    }
    assert!(lines > 25, "only {lines} lines are looked for");
}

#[test]
fn the_links_of_the_pages_lead_somewhere() {
    for page in ["README.md", "doc/upgrading.md", "doc/nothing-happens-after-the-scan.md"] {
        let path = Path::new(ROOT).join(page);
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            if link.contains("://") || link.starts_with('#') {
                continue;
            }
            let file = link.split('#').next().unwrap();
            let target = path.parent().unwrap().join(file);
            assert!(target.exists(), "{page} leads to {link}, which is not there");
            if let Some((_, anchor)) = link.split_once('#') {
                let text = fs::read_to_string(&target).unwrap();
                let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
                let mut anchors = headings.map(|heading| {
                    let name = heading.trim_start_matches('#').trim().to_lowercase();
                    name.replace(|c: char| !c.is_alphanumeric() && c != ' ' && c != '-', "")
                        .replace(' ', "-")
                });
                assert!(anchors.any(|known| known == anchor), "{page}: {link} has no heading");
            }
        }
    }
}

#[test]
fn the_man_page_is_without_a_warning_where_there_is_a_tool_to_look() {
    let page = Path::new(ROOT).join("doc/swob-gateway.8");
    for (tool, words) in
        [("groff", &["-mdoc", "-ww", "-z", "-Tutf8"][..]), ("mandoc", &["-Tlint", "-Wwarning"])]
    {
        // `the_man_page_has_every_command_and_option_and_no_other` needs none.
        let Ok(output) = Command::new(tool).args(words).arg(&page).output() else { continue };
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(said.is_empty(), "{tool}: {said}");
    }
}
