//! Command lines as people write them.

use super::*;

fn read(line: &str) -> Result<Cli, UsageError> {
    parse(line.split_whitespace().map(OsString::from))
}

#[test]
fn commands_and_options() {
    let check = |line: &str, config: Option<&str>, command: Command| {
        assert_eq!(read(line), Ok(Cli { config: config.map(PathBuf::from), command }), "{line}");
    };
    check("", None, Command::Serve);
    check("serve", None, Command::Serve);
    check("check", None, Command::Check { offline: false, show: false });
    check("check --offline", None, Command::Check { offline: true, show: false });
    check("--show check", None, Command::Check { offline: false, show: true });
    check("migrate", None, Command::Migrate);
    check("status", None, Command::Status { watch: false });
    check("status --watch", None, Command::Status { watch: true });
    check("keys generate", None, Command::KeysGenerate);
    check("keys list", None, Command::KeysList);
    check("keys rotate", None, Command::KeysRotate);
    check("keys add old.pem", None, Command::KeysAdd("old.pem".into()));
    check("keys encrypt", None, Command::KeysEncrypt);
    check("keys decrypt", None, Command::KeysDecrypt);
    let takeover = |dry_run, certificate: Option<&str>| Command::Takeover {
        dry_run,
        certificate: certificate.map(PathBuf::from),
    };
    check("takeover", None, takeover(false, None));
    check("--dry-run takeover", None, takeover(true, None));
    check("takeover --certificate a.pem", None, takeover(false, Some("a.pem")));
    check("--config a.ini", Some("a.ini"), Command::Serve);
    check("--config=a.ini migrate", Some("a.ini"), Command::Migrate);
    check("keys --config a.ini generate", Some("a.ini"), Command::KeysGenerate);
    check("-h", None, Command::Help);
    check("migrate --help", None, Command::Help);
    check("-V", None, Command::Version);
    check("--config a.ini --version", Some("a.ini"), Command::Version);
}

#[test]
fn the_doctor() {
    let doctor = |line: &str| read(line).map(|cli| cli.command);
    assert_eq!(doctor("doctor"), Ok(Command::Doctor(Visit::default())));
    let line = "doctor --url https://h --origin https://a --origin https://b --address ::1 --wait 9 --json";
    let all = Visit {
        url: Some("https://h".into()),
        origins: vec!["https://a".into(), "https://b".into()],
        address: Some("::1".parse().unwrap()),
        wait: Some(Duration::from_secs(9)),
        json: true,
    };
    assert_eq!(doctor(line), Ok(Command::Doctor(all)));
    for line in ["doctor --wait 0", "doctor --wait x", "doctor --address h", "doctor --json --json"]
    {
        assert!(doctor(line).is_err(), "{line}");
    }
    assert!(doctor("qr ada --origin https://a").is_err());
}

#[test]
fn the_other_side() {
    let check = |line: &str, command: Command| {
        assert_eq!(read(line), Ok(Cli { config: None, command }), "{line}");
    };
    let qr = |url: Option<&str>, trust| Command::Qr {
        user: "ada".into(),
        url: url.map(str::to_owned),
        trust,
    };
    check("qr ada", qr(None, Trust::System));
    check("qr --url http://h ada --insecure", qr(Some("http://h"), Trust::Any));
    let order = || Order {
        url: "http://h/x".into(),
        user: None,
        app: App::TwoStep,
        password_file: None,
        server_key: None,
        trust: Trust::System,
    };
    check("phone http://h/x", Command::Phone(order()));
    let line =
        "phone http://h/x --user ada --app one-step --password-file p --server-key k --insecure";
    check(
        line,
        Command::Phone(Order {
            user: Some("ada".into()),
            app: App::OneStep,
            password_file: Some("p".into()),
            server_key: Some("k".into()),
            trust: Trust::Any,
            ..order()
        }),
    );
    check("phone --app ios http://h/x", Command::Phone(Order { app: App::Ios, ..order() }));
}

#[test]
fn mistakes_name_the_remedy() {
    let check = |line: &str, expected: &str| {
        let error = read(line).expect_err(line).to_string();
        assert_eq!(error, format!("{expected} (see swob-gateway --help)"), "{line}");
    };
    check("sevre", &format!(r#""sevre" is not a command; {COMMANDS}"#));
    check("serve now", &format!(r#""serve now" is not a command; {COMMANDS}"#));
    check("keys make", &format!(r#""keys make" is not a command; {COMMANDS}"#));
    check(
        "keys",
        "keys alone does nothing; write keys generate, list, rotate, add FILE, encrypt or \
         decrypt",
    );
    check("keys add", "keys add names no file; write keys add FILE");
    check("keys add a b", &format!(r#""keys add a b" is not a command; {COMMANDS}"#));
    check("serve --dry-run", "--dry-run is an option of takeover alone; leave it out");
    check("takeover --offline", "--offline is an option of check alone; leave it out");
    check("--config", "--config names no file; write --config FILE");
    check("--config=", "--config names no file; write --config FILE");
    check("--config a --config b", "--config is given twice; write it once");
    check("--port 80", r#""--port" is not an option"#);
    check("-x", r#""-x" is not an option"#);
    check("qr", "qr lacks the user id; write qr USER");
    check("phone", "phone lacks the URL of a QR code; write phone URL");
    check(
        "phone http://h --app android",
        r#""android" is not an app; write two-step, ios or one-step"#,
    );
    check("phone http://h --user", "--user lacks its value; write it behind");
    check("phone http://h --user a --user b", "--user is given twice; write it once");
    check(
        "phone http://h --url http://h",
        "--url is an option of qr and doctor alone; leave it out",
    );
    check("qr ada --app ios", "--app is an option of phone alone; leave it out");
    check("serve --insecure", "--insecure is an option of qr and phone alone; leave it out");
}

#[test]
fn a_file_need_not_be_unicode() {
    use std::os::unix::ffi::OsStringExt;
    let file = OsString::from_vec(b"\xff.ini".to_vec());
    let cli = parse(["--config".into(), file.clone()]).unwrap();
    assert_eq!(cli.config, Some(file.clone().into()));
    let cli = parse(["keys".into(), "add".into(), file.clone()]).unwrap();
    assert_eq!(cli.command, Command::KeysAdd(file.into()));
}

#[test]
fn the_help_names_everything() {
    for word in [
        "serve",
        "check",
        "--offline",
        "--show",
        "status",
        "--watch",
        "keys generate",
        "keys list",
        "keys rotate",
        "keys add FILE",
        "keys encrypt",
        "keys decrypt",
        "migrate",
        "takeover",
        "--config",
        "--dry-run",
        "--certificate",
        "--help",
        "--version",
        "qr USER",
        "phone URL",
        "--url",
        "--user",
        "--app",
        "--password-file",
        "--server-key",
        "--insecure",
    ] {
        assert!(HELP.contains(word), "{word}");
    }
    for fact in ["127.0.0.1:15000", "127.0.0.1:6996", "GATEWAY_<SECTION>_<KEY>", "Exit codes"] {
        assert!(HELP.contains(fact), "{fact}");
    }
    assert!(HELP.lines().all(|line| line.chars().count() <= 100));
}

/// The lines of the help under a heading, without those that go on.
fn listed(heading: &str) -> impl Iterator<Item = &'static str> {
    let lines = HELP.lines().skip_while(move |line| *line != heading).skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    lines.filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '))
}

#[test]
fn the_man_page_has_every_command_and_option_and_no_other() {
    const PAGE: &str = include_str!("../../doc/swob-gateway.8");
    let commands: Vec<String> = listed("Commands:")
        .map(|line| {
            let words = line.split("  ").next().unwrap_or(line).split(' ');
            let words: Vec<_> = words.filter(|word| *word != word.to_uppercase()).collect();
            words.join(" ")
        })
        .collect();
    assert!(commands.len() > 10, "{commands:?}");
    let shown = |item: &str| item.split(" Ar ").next().unwrap_or(item).to_owned();
    let told: Vec<String> =
        PAGE.lines().filter_map(|line| line.strip_prefix(".It Cm ")).map(shown).collect();
    assert_eq!(told, commands, "the commands of doc/swob-gateway.8 and those of --help");
    let word = |text: &'static str| {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(|word| word.len() > 2)
    };
    let options: Vec<&str> = word(HELP).filter_map(|word| word.strip_prefix("--")).collect();
    assert!(options.len() > 10, "{options:?}");
    for option in &options {
        let forms = ["Fl -", ", -", "| -"].map(|before| format!("{before}{option}"));
        let has = forms.iter().any(|form| PAGE.contains(form));
        assert!(has, "--{option} is not in doc/swob-gateway.8");
    }
    for told in PAGE.split("Fl -").skip(1).chain(PAGE.split(", -").skip(1)) {
        let told = told.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap();
        assert!(options.contains(&told), "doc/swob-gateway.8 has --{told}, which is no option");
    }
    assert!(PAGE.contains(".Fl -help | -version") && PAGE.contains("Fl h , -help"));
}
