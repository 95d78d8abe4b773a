//! Holds who may import whom: reads every path that the sources of the library and of the binary
//! name, outside their test modules, and judges it by the table [`MAY_IMPORT`].
//!
//! It reads text, not a syntax tree: comments, strings and test modules are blanked, then every
//! `use` tree and every path in the code counts. Paths that a macro builds escape it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const CORE: &[&str] = &[
    "capacity",
    "crypto",
    "histogram",
    "limit",
    "metrics",
    "password",
    "qr",
    "refusal",
    "route",
    "session",
    "ticket",
    "wire",
];
/// What the core must not name: its time and chance are arguments, and it touches nothing outside.
const OUTSIDE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "getrandom",
    "log",
    "mysql",
    "rand",
    "rustix",
    "signal_hook",
    "simplelog",
    "socket2",
];
/// Plain values that live beside what is forbidden.
const VALUES: &[&str] =
    &["std::net::IpAddr", "std::net::Ipv4Addr", "std::net::Ipv6Addr", "std::net::SocketAddr"];
/// The clock and the kernel's generator, by whatever path they are reached.
const CHANCE_AND_TIME: &[&str] = &["Instant::now", "SystemTime::now", "OsRng", "SysRng"];

/// The table: which modules outside the core may import which of the core and which others, beside
/// themselves. The core imports the core, and `serve` everything.
const MAY_IMPORT: &[(&[&str], &[&str], &[&str])] = &[
    (&["services"], CORE, &["hub", "keyring", "log", "store", "workers"]),
    (&["handshake"], CORE, &["hub", "log", "services", "store"]),
    (&["removal", "verification"], CORE, &["hub", "services", "store"]),
    (&["hub", "workers"], CORE, &[]),
    (
        &["keyring", "store"],
        &["crypto", "histogram", "limit", "refusal", "session", "wire"],
        &["config", "file", "log"],
    ),
    (&["net"], &["limit", "refusal"], &["tls"]),
    (&["tls"], &[], &["file", "log"]),
    (&["proxy"], &["limit"], &["http"]),
    (&["http"], &["refusal", "wire"], &["net"]),
    (&["api", "socket"], CORE, &["http", "hub", "log", "net", "page", "proxy", "services"]),
    (&["admin"], CORE, &["http", "hub", "log", "net", "services", "store", "tls"]),
    (&["page"], CORE, &["http", "workers"]),
    (&["config"], &["limit", "password", "wire"], &[]),
    (&["log"], &[], &["config"]),
    (&["cli"], &[], &["client"]),
    (&["client"], CORE, &["finding", "keyring", "log", "tls"]),
    (&["file", "lib", "systemd"], &[], &[]),
    (&["machine"], &["capacity"], &["log"]),
    (&["finding"], &[], &["log"]),
    (
        &["main"],
        &["wire"],
        &[
            "check", "cli", "client", "config", "doctor", "keyring", "log", "serve", "store",
            "takeover",
        ],
    ),
    (
        &["check"],
        &["capacity", "wire"],
        &["config", "finding", "keyring", "log", "machine", "net", "store", "takeover", "tls"],
    ),
    (
        &["doctor"],
        &["crypto", "wire"],
        &["check", "client", "config", "finding", "keyring", "log", "tls"],
    ),
    (&["takeover"], &["crypto"], &["config", "finding", "keyring", "log", "store", "verification"]),
];

/// Every module that the rules know.
fn known() -> Vec<&'static str> {
    let others = MAY_IMPORT.iter().flat_map(|(modules, ..)| *modules);
    CORE.iter().chain(others).copied().chain(["serve"]).collect()
}

/// What `module` may import, or `None` where the rules do not know it.
fn may_import(module: &str) -> Option<Vec<&'static str>> {
    if CORE.contains(&module) {
        return Some(CORE.to_vec());
    }
    if module == "serve" {
        return Some(known());
    }
    let row = MAY_IMPORT.iter().find(|(modules, ..)| modules.contains(&module));
    row.map(|(_, core, others)| [*core, *others].concat())
}

/// Every breach of the rules by one source file; `file` is its path below `src`.
fn breaches(file: &str, text: &str) -> Vec<String> {
    let home: Vec<&str> = file.trim_end_matches(".rs").split('/').collect();
    let module = home[0];
    let Some(allowed) = may_import(module) else {
        return vec![format!(
            "src/{file}: the module {module} is not in the table; enter it in MAY_IMPORT, or CORE, of \
             test/architecture.rs with the modules that it may import"
        )];
    };
    let mut found = Vec::new();
    for (line, path) in paths(&blank_tests(&blank_text(text))) {
        let path = absolute(&home, &path);
        if let Some(inner) = path.strip_prefix("crate::") {
            let target = inner.split("::").next().unwrap_or(inner);
            if target != module && !allowed.contains(&target) {
                let rule = match allowed.as_slice() {
                    [] => "nothing of this crate".to_owned(),
                    some => some.join(", "),
                };
                found.push(format!("src/{file}:{line}: {path}: {module} may import {rule}"));
            }
        } else if CORE.contains(&module) && is_outside(&path) {
            found.push(format!(
                "src/{file}:{line}: {path}: {module} is core, which does no I/O, reads no clock, \
                 draws no chance and logs nothing; take it as an argument or move it to a shell"
            ));
        }
    }
    found
}

fn is_outside(path: &str) -> bool {
    let begins = |prefix: &&str| {
        path.strip_prefix(*prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let tail = |end: &&str| path == *end || path.ends_with(&format!("::{end}"));
    (OUTSIDE.iter().any(begins) && !VALUES.iter().any(begins)) || CHANCE_AND_TIME.iter().any(tail)
}

/// Resolves `self`, `super` and the binary's name of the library to `crate::…`.
fn absolute(home: &[&str], path: &str) -> String {
    let mut base: Vec<&str> = home.to_vec();
    let mut rest = path;
    let relative = ["self::", "super::"].iter().any(|start| path.starts_with(start));
    if let Some(inner) = path.strip_prefix("swob_gateway::") {
        return format!("crate::{inner}");
    }
    if !relative {
        return path.to_owned();
    }
    rest = rest.strip_prefix("self::").unwrap_or(rest);
    while let Some(outer) = rest.strip_prefix("super::") {
        base.pop();
        rest = outer;
    }
    base.insert(0, "crate");
    format!("{}::{rest}", base.join("::"))
}

/// Every path in blanked code with its line: each leaf of a `use` tree, and each `a::b` elsewhere.
fn paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut line = 1;
    let mut path = String::new();
    // The prefixes of the open braces of the `use` tree, while inside of one.
    let mut tree: Option<Vec<String>> = None;
    let mut rest = code;
    while let Some(next) = rest.chars().next() {
        let word = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        let length = if word > 0 { word } else { next.len_utf8() };
        let (token, after) = rest.split_at(length);
        rest = after;
        match (token, &mut tree) {
            ("\n", _) => line += 1,
            (blank, _) if blank.trim().is_empty() => {}
            // `use<'a>` is a bound, not an import.
            ("use", None) if !rest.starts_with('<') => {
                path.clear();
                tree = Some(Vec::new());
            }
            ("{", Some(open)) => {
                let outer = open.last().cloned().unwrap_or_default();
                open.push(outer + &path);
                path.clear();
            }
            ("," | "}" | ";", Some(open)) => {
                if !path.is_empty() {
                    found.push((line, open.last().cloned().unwrap_or_default() + &path));
                    path.clear();
                }
                match token {
                    "}" => drop(open.pop()),
                    ";" => tree = None,
                    _ => {}
                }
            }
            // `use a as b` is an import of `a`.
            ("as", Some(_)) => {
                let end = rest.find([',', '}', ';']).unwrap_or(rest.len());
                rest = &rest[end..];
            }
            (":", _) | ("*", Some(_)) => path.push_str(token),
            (word, Some(_)) => path.push_str(word),
            (word, None) if word.starts_with(is_word) => {
                if !path.ends_with("::") {
                    path.clear();
                }
                path.push_str(word);
                if !rest.starts_with("::") && path.contains("::") {
                    found.push((line, std::mem::take(&mut path)));
                }
            }
            _ => path.clear(),
        }
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The text with comments, strings and character literals blanked; the lines stay.
fn blank_text(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let after_word = code.ends_with(is_word);
        let length = literal(rest, after_word);
        if length == 0 {
            code.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        }
        let (dead, living) = rest.split_at(length);
        code.push(' ');
        code.extend(dead.chars().filter(|c| *c == '\n'));
        rest = living;
    }
    code
}

/// The length of the comment or literal that `text` begins with, 0 where it begins with neither.
fn literal(text: &str, after_word: bool) -> usize {
    let until = |start: usize, end: &str| {
        text[start..].find(end).map_or(text.len(), |at| start + at + end.len())
    };
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return until(2, "*/");
    }
    if text.starts_with('"') {
        return quoted(text, '"');
    }
    if let Some(raw) = text.strip_prefix('r').filter(|_| !after_word) {
        let fence = raw.len() - raw.trim_start_matches('#').len();
        if raw[fence..].starts_with('"') {
            return until(fence + 2, &format!("\"{}", "#".repeat(fence)));
        }
    }
    // A quote opens a character literal, unless it is the mark of a lifetime.
    let mut chars = text.chars();
    match (chars.next(), chars.next(), chars.next()) {
        (Some('\''), Some('\\'), _) | (Some('\''), Some(_), Some('\'')) => quoted(text, '\''),
        _ => 0,
    }
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// Blanks each item under `#[cfg(test)]`: one line, or all to the closing brace at the same
/// indentation, which is where rustfmt puts it.
fn blank_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut end: Option<String> = None;
    for line in code.lines() {
        let item = line.trim_start();
        match &end {
            None if item.starts_with("#[cfg(test)]") => {
                end = Some(format!("{}}}", &line[..line.len() - item.len()]));
            }
            None => kept.push_str(line),
            Some(brace) => {
                let outermost = line.len() - item.len() < brace.len();
                if line.trim_end() == brace || (outermost && item.trim_end().ends_with(';')) {
                    end = None;
                }
            }
        }
        kept.push('\n');
    }
    kept
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("src is readable") {
        let path = entry.expect("src is readable").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_module_imports_only_what_the_table_allows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files.sort();
    let mut found = Vec::new();
    let mut modules = BTreeSet::new();
    // A test module in a file of its own is named tests.rs.
    files.retain(|path| !path.ends_with("tests.rs"));
    for path in &files {
        let file = path.strip_prefix(&root).expect("a file of src").display().to_string();
        modules.insert(file.trim_end_matches(".rs").split('/').next().unwrap_or("").to_owned());
        found.extend(breaches(&file, &fs::read_to_string(path).expect("a source is UTF-8")));
    }
    for entry in known().into_iter().filter(|entry| !modules.contains(*entry)) {
        found.push(format!(
            "there is no module {entry}: take it out of CORE and MAY_IMPORT in test/architecture.rs"
        ));
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn a_planted_breach_is_found_at_its_line() {
    let check = |file: &str, text: &str, expected: &[&str]| {
        let found = breaches(file, text);
        assert_eq!(found.len(), expected.len(), "{file}: {text:?}: {found:?}");
        for (message, start) in found.iter().zip(expected) {
            assert!(message.starts_with(start), "{file}: {text:?}: {message}");
        }
    };
    check(
        "session.rs",
        "use crate::hub::Hub;",
        &["src/session.rs:1: crate::hub::Hub: session may"],
    );
    check(
        "wire.rs",
        "\nuse crate::{crypto, store::{self}};",
        &["src/wire.rs:2: crate::store::self"],
    );
    check("wire.rs", "use super::store::Database;", &["src/wire.rs:1: crate::store::Database"]);
    check("limit.rs", "fn f() {\n    crate::hub::go();\n}", &["src/limit.rs:2: crate::hub::go"]);
    check(
        "limit.rs",
        "use std::net::{IpAddr, TcpStream};",
        &["src/limit.rs:1: std::net::TcpStream"],
    );
    check("limit.rs", "use std::{\n    fmt,\n    fs,\n};", &["src/limit.rs:3: std::fs"]);
    check("ticket.rs", "let now = Instant::now();", &["src/ticket.rs:1: Instant::now: ticket is"]);
    check("ticket.rs", "f(time::SystemTime::now)", &["src/ticket.rs:1: time::SystemTime::now"]);
    check("crypto.rs", "use rand::rngs::SysRng as R;", &["src/crypto.rs:1: rand::rngs::SysRng"]);
    check("crypto.rs", "use rsa::rand_core::OsRng;", &["src/crypto.rs:1: rsa::rand_core::OsRng"]);
    check(
        "wire.rs",
        "fn f() -> impl A + use<> { crate::net::x() }",
        &["src/wire.rs:1: crate::net::x"],
    );
    check("route.rs", "    log::warn!(\"late\");", &["src/route.rs:1: log::warn"]);
    check("hub.rs", "pub use crate::net;", &["src/hub.rs:1: crate::net"]);
    check(
        "store/gateway.rs",
        "use super::super::hub::Hub;",
        &["src/store/gateway.rs:1: crate::hub"],
    );
    check("main.rs", "use swob_gateway::{cli, hub};", &["src/main.rs:1: crate::hub: main may"]);
    check("cli.rs", "use crate::wire;", &["src/cli.rs:1: crate::wire: cli may import client"]);
    check("pages.rs", "", &["src/pages.rs: the module pages is not in the table; enter it in"]);
    let after = "#[cfg(test)]\nmod tests {\n    use crate::hub;\n}\nuse crate::net;";
    check("wire.rs", after, &["src/wire.rs:5: crate::net"]);
    let after = "#[cfg(test)]\nmod tests;\nuse crate::net;";
    check("wire.rs", after, &["src/wire.rs:3: crate::net"]);
}

#[test]
fn what_the_table_allows_and_what_is_no_code_passes() {
    for (file, text) in [
        ("session.rs", "use crate::refusal::Refusal;\nuse std::time::{Duration, Instant};"),
        ("limit.rs", "use std::net::IpAddr;\nuse std::net::{Ipv4Addr, Ipv6Addr};"),
        ("wire.rs", "//! See [`crate::hub`].\n/* crate::hub::x */ fn f<'a>(x: &'a str) {}"),
        ("wire.rs", "const A: &str = \"crate::hub \\\" crate::net\"; const B: char = '\"';"),
        ("wire.rs", "const A: &str = r#\"crate::hub \" crate::net\"#;"),
        ("wire.rs", "#[cfg(test)]\nmod tests {\n    use std::fs;\n    fn f() {\n    }\n}"),
        ("store/gateway.rs", "use super::Database;\nuse crate::{config, crypto};\nlog::warn!();"),
        ("hub.rs", "use rand::rngs::SysRng;\nlet now = Instant::now();"),
        ("serve.rs", "use crate::{api, socket, store};"),
    ] {
        assert_eq!(breaches(file, text), Vec::<String>::new(), "{file}: {text:?}");
    }
}
