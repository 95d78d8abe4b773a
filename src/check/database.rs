//! Both databases: reached, laid out and granted as the server needs them, and no more than that.

use std::sync::Arc;
use std::time::Duration;

use super::machine::now;
use crate::config::{self, Config};
use crate::finding::{Finding, Mark};
use crate::log::cause;
use crate::store::backend::{Backend, has_names};
use crate::store::survey::{Right, Survey};
use crate::store::{Database, StoreError};
use crate::takeover::judge_table;

/// How long a database may think about one statement.
const PATIENCE: Duration = Duration::from_secs(5);
/// From when on two clocks are told apart, in seconds; the way to a database takes less.
const APART: u64 = 10;

/// Each right that the gateway's account needs, with a statement that takes it.
const OWN: [(&str, &str); 4] = [
    ("SELECT", "SELECT msisdn_hash, shared_key, public_key FROM gateway_server_users"),
    (
        "INSERT",
        "INSERT INTO gateway_server_users (msisdn_hash, shared_key, public_key, \
         mgf1ParameterSpec, hashingAlgorithm) VALUES ('', '', '', '', '')",
    ),
    ("UPDATE", "UPDATE gateway_server_users SET shared_key = ''"),
    ("DELETE", "DELETE FROM gateway_server_users WHERE msisdn_hash = ''"),
];

/// What is read of the BE's tables, whatever its layout.
const READ: [(&str, &str); 3] = [
    ("users", "SELECT id, password FROM users"),
    ("usersInfos", "SELECT full_phone_number FROM usersInfos WHERE userId = '' AND status = ''"),
    ("wallets", "SELECT platformId FROM wallets WHERE userId = ''"),
];
const PLATFORMS: &str =
    "SELECT id, name, description, logo, protocols, `type`, letter FROM platforms";
const TABLES: [&str; 5] = ["users", "usersInfos", "wallets", "platforms", "credentials"];

/// The gateway's own database.
pub fn gateway(settings: &config::Database) -> Vec<Finding> {
    met(settings, "mysql", |survey, findings| {
        findings.push(clock(survey.clock()?));
        let mut denied = Vec::new();
        for (right, statement) in OWN {
            match survey.may(statement)? {
                // What does not fit is told of the layout.
                Right::Given | Right::Unfit(_) => {}
                Right::Denied => denied.push(right),
                Right::NoTable => {
                    findings.push(no_table(settings));
                    return Ok(());
                }
            }
        }
        let layout = if denied.contains(&"SELECT") { None } else { survey.layout()? };
        match layout {
            None => findings.push(lacking(settings, &denied)),
            Some(layout) => {
                let judged = judge_table(survey, &layout).into_iter().map(settle);
                let odd: Vec<_> = judged.filter(|finding| finding.mark == Mark::Problem).collect();
                findings.push(match (odd.is_empty(), denied.is_empty()) {
                    (true, true) => {
                        Finding::good("the account may use gateway_server_users, which is sound")
                    }
                    (true, false) => lacking(settings, &denied),
                    _ => Finding::note("gateway_server_users is not as the server needs it"),
                });
                findings.extend(odd);
            }
        }
        Ok(())
    })
}

/// The BE's, maybe in the same database.
pub fn backend(config: &Config) -> Vec<Finding> {
    let (settings, section) = match &config.mysql_be {
        Some(settings) => (settings, "mysql_be"),
        None => (&config.mysql, "mysql"),
    };
    let mut findings = met(settings, section, |survey, findings| {
        for (table, statement) in READ {
            match survey.may(statement)? {
                Right::Given => findings.push(Finding::good(format!("{table} can be read"))),
                other => findings.push(unread(table, &other, settings)),
            }
        }
        findings.push(match survey.may(PLATFORMS)? {
            Right::Given => Finding::good("platforms can be read"),
            _ if has_names(survey.platform_kind()?.as_deref()) => Finding::good(
                "there is no table of platforms, and wallets holds their names: the list of [sync] \
                 platforms_file counts",
            ),
            other => unread("platforms", &other, settings),
        });
        findings.extend(writable(survey, settings)?);
        Ok(())
    });
    if findings.first().is_some_and(|finding| finding.mark == Mark::Good) {
        findings.extend(credentials(config, settings));
    }
    findings
}

/// Connects and lets `look` go on.
fn met(
    settings: &config::Database,
    section: &str,
    look: impl FnOnce(&mut Survey, &mut Vec<Finding>) -> Result<(), StoreError>,
) -> Vec<Finding> {
    let at = match &settings.socket {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", settings.host, settings.port),
    };
    let whom = format!("{} as {}", settings.database, settings.username);
    let mut survey = match Survey::new(settings, PATIENCE) {
        Ok(survey) => survey,
        Err(error) => {
            return vec![Finding::problem(
                format!("{whom} at {at}: {}", cause(&error)),
                remedy(&error, section),
            )];
        }
    };
    let mut findings = Vec::new();
    let looked = survey.version().and_then(|version| {
        findings.push(Finding::good(format!("{whom} at {at} is reached: {version}")));
        look(&mut survey, &mut findings)
    });
    if let Err(error) = looked {
        findings.push(Finding::problem(
            format!("{whom} at {at} breaks off: {}", cause(&error)),
            "look into the database's own log",
        ));
    }
    findings
}

/// What mends a connection that is refused, by the database's error code.
fn remedy(error: &StoreError, section: &str) -> String {
    let code = match error {
        StoreError::Away(Some(mysql::Error::MySqlError(error))) => error.code,
        _ => 0,
    };
    match code {
        1045 => format!(
            "look at [{section}] username and password, which a unit's credentials give to its \
             service alone (CREDENTIALS_DIRECTORY=/etc/credstore gives them to root's commands); \
             the account must be one of the host that the gateway connects from, and open \
             (ACCOUNT UNLOCK)"
        ),
        1044 | 1049 => format!(
            "look at [{section}] database; let the database's administrator run sql/grants.sql"
        ),
        _ => format!("start the database, and look at [{section}] host, port, socket and tls"),
    }
}

fn clock(theirs: u64) -> Finding {
    let ours = now();
    let apart = ours.abs_diff(theirs);
    if apart < APART {
        return Finding::good("the clocks of this machine and of the database agree");
    }
    let which = if ours < theirs { "behind" } else { "ahead of" };
    Finding::warning(
        format!("the clock of this machine is {apart} seconds {which} the database's"),
        "let both follow the network's time: timedatectl set-ntp true",
    )
}

fn no_table(settings: &config::Database) -> Finding {
    Finding::problem(
        format!("the database {} has no table gateway_server_users", settings.database),
        "make it with swob-gateway migrate",
    )
}

fn lacking(settings: &config::Database, denied: &[&str]) -> Finding {
    let rights = denied.join(", ");
    Finding::problem(
        format!("the account {} lacks {rights} on gateway_server_users", settings.username),
        format!(
            "let the database's administrator run sql/grants.sql, or GRANT {rights} ON \
             `{}`.`gateway_server_users`; where the table is missing, swob-gateway migrate makes it",
            settings.database
        ),
    )
}

/// What a takeover would change is told with the command.
fn settle(finding: Finding) -> Finding {
    match finding.mark {
        Mark::Change => Finding::problem(
            finding.what,
            format!("run swob-gateway takeover, which does: {}", finding.remedy),
        ),
        _ => finding,
    }
}

fn unread(table: &str, right: &Right, settings: &config::Database) -> Finding {
    let (database, username) = (&settings.database, &settings.username);
    match right {
        Right::Given | Right::Denied => Finding::problem(
            format!("the account {username} may not read {table}, or it is not there"),
            format!(
                "if the BE has the table, let its administrator GRANT SELECT ON \
                 `{database}`.`{table}`, as sql/grants.sql does; else look at [mysql_be] database"
            ),
        ),
        Right::NoTable => Finding::problem(
            format!("the database {database} has no table {table}"),
            "name the BE's database in [mysql_be] database",
        ),
        Right::Unfit(why) => Finding::problem(
            format!("{table} is not as this server reads it: {why}"),
            "look whether [mysql_be] database is a BE's of version v2",
        ),
    }
}

/// The gateway never writes there, so that its account need not be able to.
fn writable(
    survey: &mut Survey,
    settings: &config::Database,
) -> Result<Option<Finding>, StoreError> {
    let written = survey.written()?;
    let mut open = Vec::new();
    for table in TABLES {
        if written.iter().any(|name| name.eq_ignore_ascii_case(table))
            || survey.may(&format!("DELETE FROM {table}"))? == Right::Given
        {
            open.push(table);
        }
    }
    let username = &settings.username;
    Ok((!open.is_empty()).then(|| {
        Finding::warning(
            format!("the account {username} may write the BE's {}", open.join(", ")),
            "give it SELECT alone there, as sql/grants.sql does: whoever takes this server over \
             else has the BE's users as well",
        )
    }))
}

/// The BE's two secrets, from where the server would take them.
fn credentials(config: &Config, settings: &config::Database) -> [Finding; 2] {
    let backend = Backend::new(Arc::new(Database::new(settings)), &config.keys, Vec::new());
    let told = |name: &str, found: Result<(), StoreError>| match found {
        Ok(()) => Finding::good(format!("the BE's {name} is there")),
        Err(StoreError::Content(what)) => Finding::problem(
            what,
            "the BE writes the row when it is set up first; a later BE has files, for [keys]",
        ),
        Err(error) => unread("credentials", &Right::Unfit(cause(&error)), settings),
    };
    [
        told("hashing salt", backend.salt().map(drop)),
        told("shared key", backend.shared_key().map(drop)),
    ]
}
