//! The `swob-gateway` command: settings in, exit code out (0 done, 1 an error, 2 a usage error).

use std::collections::BTreeMap;
use std::error::Error;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use swob_gateway::cli::{self, Cli, Command, Visit};
use swob_gateway::client::{Style, phone, qr, status};
use swob_gateway::config::{Config, ConfigError, Overview};
use swob_gateway::keyring::{Keyring, command};
use swob_gateway::log::is_journal;
use swob_gateway::store::at_rest::Keys;
use swob_gateway::wire::Endpoint;
use swob_gateway::{check, doctor, serve, store, takeover};

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os().skip(1)) {
        Ok(cli) => cli,
        Err(error) => {
            eprintln!("swob-gateway: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut said = format!("swob-gateway: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                said.push_str(&format!("\n  because {error}"));
                cause = error.source();
            }
            // systemd's journal takes a line without a priority for an everyday one.
            let priority = if is_journal(std::io::stderr()) { "<3>" } else { "" };
            for line in said.lines() {
                eprintln!("{priority}{line}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Box<dyn Error>> {
    match &cli.command {
        Command::Help => print!("{}", cli::HELP),
        Command::Version => println!("swob-gateway {}", env!("CARGO_PKG_VERSION")),
        Command::Serve => serve::run(&|| overview(cli))?,
        Command::KeysGenerate => {
            let path = settings(cli)?.keys.private_key;
            Keyring::generate(&path)?;
            println!(
                "made the server key {}; keep a copy of it where you keep backups",
                path.display()
            );
        }
        Command::KeysList => print!("{}", command::list(&settings(cli)?.keys)?),
        Command::KeysRotate => {
            let settings = settings(cli)?;
            let fingerprint = command::rotate(&settings.keys, settings.tls.certificate.as_deref())?;
            println!("the current server key is now {fingerprint}; the one before is in the ring");
        }
        Command::KeysAdd(file) => {
            let keys = settings(cli)?.keys;
            let fingerprint = command::add(&keys, file)?;
            println!("the ring {} has the key {fingerprint}", keys.ring.display());
        }
        Command::KeysEncrypt => encrypt(&settings(cli)?)?,
        Command::KeysDecrypt => decrypt(&settings(cli)?)?,
        Command::Qr { user, url, trust } => {
            let settings = settings(cli)?;
            let api = url.as_deref().map_or_else(|| Ok(own(&settings)), qr::Order::endpoint)?;
            let sleep = settings.sync.session_sleep_timeout;
            qr::run(&qr::Order { user: user.clone(), api, trust: *trust, sleep, style: style() })?;
        }
        Command::Phone(order) => phone::run(order)?,
        Command::Status { watch } => {
            let (listen, out) = (settings(cli)?.admin.listen, &mut std::io::stdout().lock());
            if *watch {
                status::watch(listen, style(), out)?;
            } else {
                status::run(listen, out)?;
            }
        }
        Command::Check { show: true, .. } => {
            let overview = overview(cli)?;
            print!("{overview}");
            overview.config()?;
        }
        Command::Check { offline, .. } => {
            let out = &mut std::io::stdout().lock();
            check::run(cli.config.as_deref(), &environment(), *offline, out)?;
        }
        Command::Doctor(visit) => examine(&settings(cli)?, visit)?,
        Command::Migrate => {
            let settings = settings(cli)?;
            store::gateway::migrate(&settings.mysql)?;
            println!("the database {} has its table", settings.mysql.database);
        }
        Command::Takeover { dry_run, certificate } => {
            let out = &mut std::io::stdout().lock();
            takeover::run(&settings(cli)?, *dry_run, certificate.as_deref(), out)?;
        }
    }
    Ok(())
}

fn examine(settings: &Config, visit: &Visit) -> Result<(), Box<dyn Error>> {
    let named = visit.url.as_deref().map(qr::Order::endpoint).transpose()?;
    let api = named.or_else(|| settings.http.public_url.clone()).ok_or(
        "no settings say how phones reach the server; write doctor --url https://gateway.example.org",
    )?;
    let order = doctor::Order {
        api,
        origins: visit.origins.clone(),
        address: visit.address,
        wait: visit.wait,
        form: form(visit.json),
        live: std::io::stdout().is_terminal() && style() != Style::Plain,
    };
    Ok(doctor::run(&order, settings, &mut std::io::stdout().lock())?)
}

fn encrypt(settings: &Config) -> Result<(), Box<dyn Error>> {
    let keys = Keys::load(settings.keys.at_rest_keys.as_deref())?;
    if keys.seals() {
        return convert(settings, &keys);
    }
    Err("there is no key to encrypt under; name a file in [keys] at_rest_keys that begins with \
         one, as `openssl rand -hex 32` prints it"
        .into())
}

fn decrypt(settings: &Config) -> Result<(), Box<dyn Error>> {
    let keys = Keys::load(settings.keys.at_rest_keys.as_deref())?;
    if keys.seals() {
        println!(
            "a running server goes on encrypting: put a line \"plain\" before the keys in the file \
             of [keys] at_rest_keys, and restart it"
        );
    }
    convert(settings, &keys.unsealing())
}

/// Converts the table to the form that these keys write, with the rows counted on a terminal.
fn convert(settings: &Config, keys: &Keys) -> Result<(), Box<dyn Error>> {
    let shown = std::io::stderr().is_terminal();
    let outcome = store::conversion::convert(&settings.mysql, keys, &mut |seen, total| {
        if shown {
            eprint!("\r{seen} of {total} rows");
        }
    });
    if shown {
        eprintln!();
    }
    let store::conversion::Outcome { changed, closed, left } = outcome?;
    let form = if keys.seals() { "encrypted" } else { "in clear" };
    println!("rows changed: {changed}; rows that are not {form}: {left}");
    if closed > 0 {
        return Err(format!(
            "{closed} rows do not open; name the file with their key in [keys] at_rest_keys, or \
             let their phones sync again"
        )
        .into());
    }
    if left > 0 {
        return Err("some rows were written another way meanwhile; restart the server with the \
                    same [keys] at_rest_keys, and repeat this command"
            .into());
    }
    Ok(())
}

/// Where the settings have the API, as this machine reaches it.
fn own(settings: &Config) -> Endpoint {
    let listening = || {
        let first = settings.http.listen.first().copied();
        let first = first.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 15000)));
        let own = Endpoint::at(first, settings.tls.certificate.is_some());
        let host = if first.ip().is_unspecified() { "localhost".to_owned() } else { own.host };
        Endpoint { host, ..own }
    };
    settings.http.public_url.clone().unwrap_or_else(listening)
}

/// What the environment wishes of the terminal (no-color.org, terminfo's dumb terminal).
fn style() -> Style {
    if std::env::var_os("TERM").is_none_or(|term| term == "dumb") {
        Style::Plain
    } else if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        Style::Colourless
    } else {
        Style::Coloured
    }
}

/// How the findings of the doctor are written (locale(7): the first of the three that is set).
fn form(json: bool) -> doctor::Form {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var_os(name).filter(|value| !value.is_empty()));
    let locale = locale.unwrap_or_default().to_string_lossy().to_lowercase();
    match json {
        true => doctor::Form::Json,
        false if locale.contains("utf-8") || locale.contains("utf8") => doctor::Form::Marks,
        false => doctor::Form::Ascii,
    }
}

fn settings(cli: &Cli) -> Result<Config, ConfigError> {
    overview(cli)?.into_config()
}

fn overview(cli: &Cli) -> Result<Overview, ConfigError> {
    Overview::load(cli.config.as_deref(), &environment())
}

fn environment() -> BTreeMap<String, String> {
    // A name that is not UTF-8 cannot be one of ours; a value is told by its sign of replacement.
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    };
    std::env::vars_os().filter_map(text).collect()
}
