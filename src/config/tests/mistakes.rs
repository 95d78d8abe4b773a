//! What an administrator is told of settings that are wrong.

use super::*;

#[test]
fn all_mistakes_at_once_in_the_order_of_their_places() {
    wrong(
        "\u{feff}listen = 1\n[sync]\nsession_sleep_timeout = abc\n\nnonsense\n[mysq]\nx = 1\n[mysql]\nprot = 1\n\
         port = 1\nport = 2\n[http]\nlisten = localhost:1\nhost = a\ncolour = red\n[colour]\n[limits]\nidle_timeout =\n",
        &[
            ("GATEWAY_LOG_LEVEL", "loud"),
            ("GATEWAY_HTTP_LISTN", "x"),
            ("GATEWAY_X", ""),
            ("PATH", "x"),
        ],
        &[
            "ini:1: listen stands outside a section; write a section above it, such as [http]",
            "ini:3: [sync] session_sleep_timeout = abc is not a number of seconds; write for example 15 or 0.5",
            "ini:5: this is no setting; write key = value, or # before a comment",
            "ini:6: [mysq] is not a known section; did you mean [mysql]?",
            "ini:9: [mysql] prot is not a known key; did you mean port?",
            "ini:11: [mysql] port is set in line 10 already; remove one",
            "ini:13: [http] listen = localhost:1 is not an IP address with a port; \
             write for example 127.0.0.1:15000, 0.0.0.0:15000 or [::]:15000",
            "ini:14: [http] host is not a known key; it belongs under [mysql]",
            "ini:15: [http] colour is not a known key; its keys are listen, public_url, allowed_origins, trusted_proxies",
            "ini:16: [colour] is not a known section; the sections are \
             http, websocket, tls, sync, page, keys, mysql, mysql_be, limits, admin, log",
            "ini:18: [limits] idle_timeout is empty; write for example 15 or 0.5",
            "GATEWAY_HTTP_LISTN: is not a known variable; did you mean GATEWAY_HTTP_LISTEN?",
            "GATEWAY_LOG_LEVEL: [log] level = loud is not a level; write error, warn, info, debug or trace",
            "GATEWAY_X: is not a known variable; write GATEWAY_<SECTION>_<KEY> as in gateway.ini, or unset it",
        ],
    );
}

#[test]
fn mistakes_in_the_environment() {
    let check = |env: &[(&str, &str)], expected| wrong("", env, &[expected]);
    check(
        &[("GATEWAY_MYSQL_PORT", ""), ("MYSQL_PORT", "1")],
        "GATEWAY_MYSQL_PORT: [mysql] port is empty; write one from 1 to 65535",
    );
    check(
        &[("MYSQL_PORT", "x")],
        "MYSQL_PORT: [mysql] port = x is not a whole number; write one from 1 to 65535",
    );
    check(
        &[("MYSQL_BE_PORT", "0")],
        "MYSQL_BE_PORT: [mysql_be] port = 0 is out of range; write one from 1 to 65535",
    );
    check(
        &[("GATEWAY_KEYS_PRIVATE_KEY", "")],
        "GATEWAY_KEYS_PRIVATE_KEY: [keys] private_key is empty; write one, or leave the setting out for its default",
    );
    check(
        &[("GATEWAY_MYSQL_PASSWORD", "a"), ("GATEWAY_MYSQL_PASSWORD_FILE", "unix")],
        "GATEWAY_MYSQL_PASSWORD_FILE: GATEWAY_MYSQL_PASSWORD is set as well; unset one of the two",
    );
    check(
        &[("GATEWAY_MYSQL_PASSWORD_FILE", "none")],
        "GATEWAY_MYSQL_PASSWORD_FILE: none cannot be read (entity not found); name a readable file",
    );
    // Each mistake stays on its line.
    check(
        &[("GATEWAY_LOG_LEVEL", "a\nb")],
        "GATEWAY_LOG_LEVEL: [log] level = a b is not a level; write error, warn, info, debug or trace",
    );
}

#[test]
fn no_mistake_shows_a_secret() {
    let check = |text: &str, env: &[(&str, &str)]| {
        let mistakes = read(text, env).expect_err(text).join("\n");
        assert!(!mistakes.contains("hunter2"), "{mistakes}");
    };
    for line in [
        "password hunter2",
        "password: hunter2",
        "password hunter2 = x",
        "passwort = hunter2",
        "password = \"hunter2",
    ] {
        check(&format!("[mysql]\n{line}"), &[]);
        check(&format!("[mysql_be]\n{line}"), &[]);
        check(line, &[]);
    }
    check("[mysql]\npassword = hunter2\npassword = hunter2", &[]);
    check("[http]\npublic_url = http://me:hunter2@example.org", &[]);
    check("[http]\nallowed_origins = http://a, http://me:hunter2@example.org", &[]);
    check("", &[("GATEWAY_MYSQL_PASSWORD", "hunter2"), ("GATEWAY_MYSQL_PASSWORD_FILE", "unix")]);
    check("", &[("GATEWAY_MYSQL_PASWORD", "hunter2")]);
    let config = good("[mysql]\npassword = hunter2\n[mysql_be]\nhost = be", &[]);
    let debug = format!("{config:?}");
    assert!(debug.contains("***") && !debug.contains("hunter2"), "{debug}");
}
