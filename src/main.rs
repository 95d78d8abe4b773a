//! The `swob-gateway` command: settings in, exit code out (0 done, 1 an error, 2 a usage error).

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;

use swob_gateway::cli::{self, Cli, Command};
use swob_gateway::config::{self, Config};
use swob_gateway::keyring::{Keyring, command};
use swob_gateway::{serve, store};

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
            eprintln!("swob-gateway: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Box<dyn Error>> {
    match &cli.command {
        Command::Help => print!("{}", cli::HELP),
        Command::Version => println!("swob-gateway {}", env!("CARGO_PKG_VERSION")),
        Command::Serve => serve::run(&settings(cli)?)?,
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
            let fingerprint = command::rotate(&settings(cli)?.keys, None)?;
            println!("the current server key is now {fingerprint}; the one before is in the ring");
        }
        Command::KeysAdd(file) => {
            let keys = settings(cli)?.keys;
            let fingerprint = command::add(&keys, file)?;
            println!("the ring {} has the key {fingerprint}", keys.ring.display());
        }
        Command::Migrate => {
            let settings = settings(cli)?;
            store::gateway::migrate(&settings.mysql)?;
            println!("the database {} has its table", settings.mysql.database);
        }
    }
    Ok(())
}

fn settings(cli: &Cli) -> Result<Config, config::ConfigError> {
    // A variable that is not UTF-8 cannot be one of ours.
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let environment: BTreeMap<String, String> = std::env::vars_os().filter_map(text).collect();
    config::load(cli.config.as_deref(), &environment)
}
