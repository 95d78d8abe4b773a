//! The layout of an existing table against what this server needs of it (contract §6).
//!
//! Only what a handshake or `keys encrypt` would stumble over is changed, and no column loses its
//! name, its kind of content or its meaning, so that the Python server can be started again.

use crate::finding::Finding;
use crate::store::survey::{Column, Layout};

/// What each column has to hold, in characters: a hash, a sealed key, the PEM of 4096 bits
/// however it is wrapped, a digest's name.
const WIDTHS: [(&str, u64); 5] = [
    ("msisdn_hash", 128),
    ("shared_key", 96),
    ("public_key", 2048),
    ("mgf1ParameterSpec", 6),
    ("hashingAlgorithm", 6),
];
const DATE: &str = "date";
const STAMP: &str = "CURRENT_TIMESTAMP";

/// What there is to say of the layout. `repeated` counts the rows that are not alone with their
/// `msisdn_hash`.
pub fn judge(layout: &Layout, repeated: u64) -> Vec<Finding> {
    let mut findings = vec![engine(layout), collation(layout)];
    for (name, width) in WIDTHS {
        findings.extend(match find(layout, name) {
            None => Some(missing(name)),
            Some(column) => narrow(column, width),
        });
    }
    findings.push(match find(layout, DATE) {
        None => Finding::change(
            "there is no column date, which tells when a phone synced",
            format!("ADD COLUMN {DATE} DATETIME DEFAULT {STAMP} ON UPDATE {STAMP}"),
        ),
        Some(column) => date(column),
    });
    findings.extend(key(layout, repeated));
    findings.extend(layout.columns.iter().filter_map(foreign));
    findings
}

fn find<'a>(layout: &'a Layout, name: &str) -> Option<&'a Column> {
    layout.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
}

fn engine(layout: &Layout) -> Finding {
    match layout.engine.as_str() {
        "InnoDB" => Finding::good("the engine is InnoDB"),
        other => Finding::change(
            format!("the engine is {other}, which can lose a row that a phone was told is stored"),
            // 256 characters make a key that the older row formats are too short for.
            "ENGINE = InnoDB ROW_FORMAT = DYNAMIC",
        ),
    }
}

fn collation(layout: &Layout) -> Finding {
    Finding::note(format!(
        "the collation is {}; it may stay, since all that is written is ASCII",
        layout.collation
    ))
}

fn missing(name: &str) -> Finding {
    Finding::problem(
        format!("there is no column {name}"),
        "this is not the table of the Python server of version v2; name its database in [mysql] \
         database",
    )
}

fn narrow(column: &Column, width: u64) -> Option<Finding> {
    let holds = column.width.unwrap_or(0);
    if holds >= width {
        return None;
    }
    let what = format!("{} is {}, but needs {width} characters", column.name, column.kind);
    if column.name.eq_ignore_ascii_case("msisdn_hash") {
        return Some(Finding::problem(
            what,
            "its rows were cut off, so that no phone's is to be found; start with an empty table \
             (swob-gateway migrate), and let all phones sync again",
        ));
    }
    let kind = match (&column.charset, &column.collation) {
        (Some(charset), Some(collation)) => format!(" CHARACTER SET {charset} COLLATE {collation}"),
        _ => String::new(),
    };
    let null = if column.nullable { "" } else { " NOT NULL" };
    Some(Finding::change(what, format!("MODIFY COLUMN `{}` TEXT{kind}{null}", column.name)))
}

fn date(column: &Column) -> Finding {
    let stamp = STAMP.to_lowercase();
    let by_default = column.default.as_ref().is_some_and(|d| d.to_lowercase().starts_with(&stamp));
    let on_update = column.extra.to_lowercase().contains(&format!("on update {stamp}"));
    if by_default && on_update {
        return Finding::good("date has its default and its update");
    }
    let kind = column.kind.to_lowercase();
    if !kind.starts_with("datetime") && !kind.starts_with("timestamp") {
        let what = format!("date is {}, which the server does not fill by itself", column.kind);
        return if column.nullable || column.default.is_some() {
            Finding::note(format!("{what}; it may stay, and stays empty for new phones"))
        } else {
            Finding::problem(
                what,
                "make it one: ALTER TABLE gateway_server_users MODIFY date DATETIME NULL",
            )
        };
    }
    let fraction = kind.find('(').map_or("", |at| &kind[at..]);
    let null = if column.nullable { "NULL" } else { "NOT NULL" };
    Finding::change(
        "date is not filled by the database, and this server leaves that to it",
        format!(
            "MODIFY COLUMN `{}` {kind} {null} DEFAULT {STAMP}{fraction} ON UPDATE {STAMP}{fraction}",
            column.name
        ),
    )
}

fn key(layout: &Layout, repeated: u64) -> Option<Finding> {
    const NAME: &str = "msisdn_hash";
    if layout.unique.iter().any(|name| name.eq_ignore_ascii_case(NAME)) {
        return Some(Finding::good("msisdn_hash is a key, so that a phone has one row"));
    }
    find(layout, NAME)?;
    if repeated > 0 {
        return Some(Finding::problem(
            format!("msisdn_hash is no key, and {repeated} rows repeat another's"),
            "keep the newest row of each, then run this command again",
        ));
    }
    let kind = if layout.has_primary_key { "UNIQUE KEY" } else { "PRIMARY KEY" };
    Some(Finding::change(
        "msisdn_hash is no key, so that a phone that syncs again would get a second row",
        format!("ADD {kind} ({NAME})"),
    ))
}

/// A column that this server does not fill, and that lets no row in without.
fn foreign(column: &Column) -> Option<Finding> {
    let known = WIDTHS.iter().any(|(name, _)| column.name.eq_ignore_ascii_case(name));
    let filled = column.nullable
        || column.default.is_some()
        || ["auto_increment", "generated"].iter().any(|w| column.extra.to_lowercase().contains(w));
    if known || filled || column.name.eq_ignore_ascii_case(DATE) {
        return None;
    }
    Some(Finding::problem(
        format!(
            "{} is a column that this server does not fill and that has no default",
            column.name
        ),
        format!(
            "give it one: ALTER TABLE gateway_server_users MODIFY `{}` {} NULL",
            column.name, column.kind
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Mark;

    fn column(name: &str, kind: &str, width: Option<u64>) -> Column {
        Column { name: name.into(), kind: kind.into(), width, ..Column::default() }
    }

    /// As sql/gateway.sql makes it, in MariaDB's words.
    fn ours() -> Layout {
        let mut columns: Vec<Column> =
            WIDTHS.iter().map(|(name, _)| column(name, "text", Some(65535))).collect();
        columns[0] = column("msisdn_hash", "varchar(256)", Some(256));
        columns.push(Column {
            nullable: true,
            default: Some("current_timestamp()".into()),
            extra: "on update current_timestamp()".into(),
            ..column("date", "datetime", None)
        });
        Layout {
            engine: "InnoDB".into(),
            collation: "utf8mb3_general_ci".into(),
            columns,
            unique: vec!["msisdn_hash".into()],
            has_primary_key: true,
        }
    }

    /// The clauses and the problems that a change of our own layout brings.
    fn check(change: impl FnOnce(&mut Layout), expected: &[&str]) {
        let mut layout = ours();
        change(&mut layout);
        let seen: Vec<String> = judge(&layout, 0)
            .into_iter()
            .filter_map(|finding| match finding.mark {
                Mark::Good | Mark::Note => None,
                Mark::Change => Some(finding.remedy),
                Mark::Warning | Mark::Problem => Some(finding.what),
            })
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn our_own_layout_needs_nothing() {
        check(|_| {}, &[]);
        check(|layout| layout.columns[5].default = Some("CURRENT_TIMESTAMP".into()), &[]);
        check(|layout| layout.collation = "latin1_swedish_ci".into(), &[]);
        check(|layout| layout.columns[5].name = "DATE".into(), &[]);
        check(|layout| layout.columns[1].width = Some(96), &[]);
    }

    #[test]
    fn what_the_server_needs_is_changed() {
        check(|layout| layout.engine = "MyISAM".into(), &["ENGINE = InnoDB ROW_FORMAT = DYNAMIC"]);
        check(
            |layout| {
                layout.columns[2] = Column {
                    charset: Some("latin1".into()),
                    collation: Some("latin1_swedish_ci".into()),
                    ..column("public_key", "varchar(255)", Some(255))
                }
            },
            &[
                "MODIFY COLUMN `public_key` TEXT CHARACTER SET latin1 COLLATE latin1_swedish_ci NOT NULL",
            ],
        );
        check(
            |layout| layout.columns[5] = column("date", "datetime(6)", None),
            &[
                "MODIFY COLUMN `date` datetime(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)",
            ],
        );
        check(
            |layout| layout.columns[5].extra.clear(),
            &[
                "MODIFY COLUMN `date` datetime NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP",
            ],
        );
        check(
            |layout| drop(layout.columns.pop()),
            &["ADD COLUMN date DATETIME DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP"],
        );
        check(|layout| layout.unique.clear(), &["ADD UNIQUE KEY (msisdn_hash)"]);
    }

    #[test]
    fn what_stands_in_the_way_is_told() {
        check(|layout| drop(layout.columns.remove(2)), &["there is no column public_key"]);
        check(
            |layout| layout.columns[0] = column("msisdn_hash", "varchar(64)", Some(64)),
            &["msisdn_hash is varchar(64), but needs 128 characters"],
        );
        let extra = |nullable, extra: &str| Column {
            nullable,
            extra: extra.into(),
            ..column("device", "int(11)", None)
        };
        check(
            |layout| layout.columns.push(extra(false, "")),
            &["device is a column that this server does not fill and that has no default"],
        );
        check(|layout| layout.columns.push(extra(true, "")), &[]);
        check(|layout| layout.columns.push(extra(false, "auto_increment")), &[]);
        let layout = Layout { unique: Vec::new(), ..ours() };
        assert!(judge(&layout, 3).iter().any(|finding| finding.mark == Mark::Problem));
    }
}
