//! One value as written -> its type, or what is wrong with it and what to write instead.
//!
//! Where the value comes from is not known here, so nothing here prints a place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use log::LevelFilter;

use crate::limit::Network;
use crate::password::Rate;
use crate::wire::Endpoint;

/// What is wrong with a value, as it follows the value in a sentence, and the remedy.
#[derive(Debug, PartialEq)]
pub struct Bad {
    pub what: String,
    pub remedy: String,
}

fn bad<T>(what: impl Into<String>, remedy: impl Into<String>) -> Result<T, Bad> {
    Err(Bad { what: what.into(), remedy: remedy.into() })
}

/// A text as a mistake shows it: on one line, and without what a URL may hold before its `@`.
pub fn shown(text: &str) -> String {
    if text.contains('@') { "***".into() } else { text.replace(char::is_control, " ") }
}

/// Longest time-out; longer ones are slips such as milliseconds.
pub const HOUR: Duration = Duration::from_secs(3600);

/// Seconds, decimals allowed, above 0 and up to an hour.
pub fn seconds(text: &str) -> Result<Duration, Bad> {
    let remedy = "write for example 15 or 0.5";
    // Rust also reads signs, exponents and `inf`.
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number = text.parse().ok().filter(|_| plain);
    let Some(number) = number else { return bad("is not a number of seconds", remedy) };
    match Duration::try_from_secs_f64(number) {
        Ok(Duration::ZERO) => bad("is not above 0", remedy),
        Ok(time) if time <= HOUR => Ok(time),
        _ => bad("is more than 3600 seconds", remedy),
    }
}

/// So many in a period, several with commas between: `3/2m, 7/1h`. None where the text is empty.
pub fn rates(longest: Duration) -> impl Fn(&str) -> Result<Vec<Rate>, Bad> {
    const REMEDY: &str = "write for example 3/2m, 7/1h, with s, m, h or d behind the period";
    let rate = move |item: &str| {
        let (most, period) = item.split_once('/')?;
        let unit = period.chars().last()?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 24 * 3600,
            _ => return None,
        };
        let most = number(1..=1000)(most.trim()).ok()?;
        let count = number(1..=86400_u64)(period.trim_end_matches(unit).trim()).ok()?;
        Some(Rate { most, period: Duration::from_secs(count * seconds) })
    };
    move |text| {
        each(text, |item| match rate(item) {
            None => bad("is no number of attempts in a period", REMEDY),
            Some(rate) if rate.period > longest => {
                bad(format!("has a period over {} hours", longest.as_secs() / 3600), REMEDY)
            }
            Some(rate) => Ok(rate),
        })
    }
}

/// A whole number within a range.
pub fn number<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, Bad>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    move |text| {
        let remedy = format!("write one from {} to {}", range.start(), range.end());
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return bad("is not a whole number", remedy);
        }
        // Digits alone fail to parse only where they are too many for the type.
        match text.parse() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => bad("is out of range", remedy),
        }
    }
}

/// A TCP port to connect to.
pub fn port(text: &str) -> Result<u16, Bad> {
    number(1..=u16::MAX)(text)
}

/// Yes or no.
pub fn yes_no(text: &str) -> Result<bool, Bad> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Ok(true),
        "no" | "false" | "off" | "0" => Ok(false),
        _ => bad("is neither yes nor no", "write yes or no"),
    }
}

/// How much to log.
pub fn level(text: &str) -> Result<LevelFilter, Bad> {
    match text.parse() {
        Ok(level) if level != LevelFilter::Off => Ok(level),
        _ => bad("is not a level", "write error, warn, info, debug or trace"),
    }
}

/// Any text but none.
pub fn name(text: &str) -> Result<String, Bad> {
    let remedy = "write one, or leave the setting out for its default";
    if text.is_empty() { bad("is no text", remedy) } else { Ok(text.to_owned()) }
}

/// A host to connect to.
pub fn host(text: &str) -> Result<String, Bad> {
    if text.parse::<IpAddr>().is_ok() || is_host_name(text) {
        return Ok(text.to_owned());
    }
    bad(
        "is not a host",
        "write a name or an IP address, for example 127.0.0.1, and the port at its own key",
    )
}

/// Addresses to listen on, at least one.
pub fn addresses(text: &str) -> Result<Vec<SocketAddr>, Bad> {
    let remedy = "write for example 127.0.0.1:15000, 0.0.0.0:15000 or [::]:15000";
    let what = "is not an IP address with a port";
    let found = each(text, |item| item.parse().or_else(|_| bad(what, remedy)))?;
    if found.is_empty() { bad(what, remedy) } else { Ok(found) }
}

/// IP addresses of peers, maybe none.
pub fn peers(text: &str) -> Result<Vec<IpAddr>, Bad> {
    let remedy = "write for example 192.0.2.7, or several with commas between";
    let address = |item: &str| item.parse().or_else(|_| bad("is not an IP address", remedy));
    Ok(each(text, address)?.into_iter().map(|address: IpAddr| address.to_canonical()).collect())
}

/// Where the API is reached from outside; none where the text is empty.
pub fn api_url(text: &str) -> Result<Option<Endpoint>, Bad> {
    optional(text, |text| endpoint(text, ["http", "https"]))
}

/// Where the sync sockets are reached from outside; none where the text is empty.
pub fn socket_url(text: &str) -> Result<Option<Endpoint>, Bad> {
    optional(text, |text| endpoint(text, ["ws", "wss"]))
}

/// Origins in the form in which browsers send them.
pub fn origins(text: &str) -> Result<Vec<String>, Bad> {
    each(text, |item| match item {
        "*" => bad(
            "allows every site, which browsers refuse where credentials are sent",
            "write each dashboard's origin, for example https://dashboard.example.org",
        ),
        "null" => bad(
            "stands for pages without an origin, which any site can make",
            "serve the dashboard from a host and write its origin, for example https://dashboard.example.org",
        ),
        item => Ok(endpoint(item, ["http", "https"])?.origin()),
    })
}

/// Networks in CIDR form, and addresses.
pub fn networks(text: &str) -> Result<Vec<Network>, Bad> {
    each(text, |item| {
        let (address, length) = item.split_once('/').map_or((item, None), |(a, l)| (a, Some(l)));
        let remedy = "write for example 127.0.0.1, 10.0.0.0/8 or fd00::/8";
        let Ok(address) = address.parse() else { return bad("is no IP address", remedy) };
        let most = if IpAddr::is_ipv4(&address) { 32 } else { 128 };
        let length = match length {
            None => most,
            Some(length) => number(0..=most)(length).map_err(|bad| Bad {
                what: format!("has a length that {}", bad.what),
                remedy: remedy.into(),
            })?,
        };
        Network::new(address, length).map_or_else(
            || bad("has bits behind its length", "write the network's first address"),
            Ok,
        )
    })
}

/// A value that may be left empty.
pub fn optional<T>(text: &str, parse: impl Fn(&str) -> Result<T, Bad>) -> Result<Option<T>, Bad> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

/// The items of a comma separated list; of several, the bad one is named.
fn each<T>(text: &str, parse: impl Fn(&str) -> Result<T, Bad>) -> Result<Vec<T>, Bad> {
    let items: Vec<&str> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    let name = |item: &str, bad: Bad| match items.len() {
        1 => bad,
        _ => Bad { what: format!("holds {}, which {}", shown(item), bad.what), ..bad },
    };
    items.iter().map(|item| parse(item).map_err(|bad| name(item, bad))).collect()
}

/// A URL of scheme, host and maybe port. A path cannot be served: phones take the user id as path
/// segment 4 (contract §2).
fn endpoint(text: &str, [plain, tls]: [&str; 2]) -> Result<Endpoint, Bad> {
    let remedy =
        format!("write for example {tls}://gateway.example.org or {plain}://192.0.2.7:8000");
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let secure = scheme.eq_ignore_ascii_case(tls);
    if !secure && !scheme.eq_ignore_ascii_case(plain) {
        return bad(format!("begins neither with {plain}:// nor with {tls}://"), remedy);
    }
    if rest.contains(['/', '?', '#', '@', '\\']) {
        return bad("has more than scheme, host and port", remedy);
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !rest.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let Some(host) = url_host(host) else { return bad("has no proper host", remedy) };
    let port = match port {
        Some(text) => self::port(text).or_else(|_| bad("has no proper port", remedy))?,
        None if secure => 443,
        None => 80,
    };
    Ok(Endpoint { secure, host, port })
}

/// A host in the form that browsers give it.
fn url_host(text: &str) -> Option<String> {
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().ok().map(|address| format!("[{address}]"));
    }
    is_host_name(text).then(|| text.to_ascii_lowercase())
}

/// Underscores are no part of RFC 1123, but of container networks.
fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    // Browsers read a name that ends in a number as an IPv4 address.
    let numeric = text.rsplit('.').next().is_some_and(|last| last.parse::<u64>().is_ok());
    text.len() <= 253
        && text.split('.').all(label)
        && (!numeric || text.parse::<Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what<T>(result: Result<T, Bad>) -> Result<T, String> {
        result.map_err(|bad| {
            assert!(bad.remedy.starts_with("write ") || bad.remedy.contains("and write "));
            bad.what
        })
    }

    #[test]
    fn times() {
        let check = |text, expected: Result<u64, &str>| {
            let expected = expected.map(Duration::from_millis).map_err(str::to_owned);
            assert_eq!(what(seconds(text)), expected, "{text}");
        };
        check("15", Ok(15_000));
        check("0.5", Ok(500));
        check(".25", Ok(250));
        check("0.001", Ok(1));
        check("3600", Ok(3_600_000));
        check("3600.1", Err("is more than 3600 seconds"));
        check("99999999999999999999999", Err("is more than 3600 seconds"));
        check("0", Err("is not above 0"));
        check("0.00000000001", Err("is not above 0"));
        for text in ["", ".", "-1", "+1", "1e3", "inf", "nan", "15s", "0,5", "1 5"] {
            check(text, Err("is not a number of seconds"));
        }
    }

    #[test]
    fn numbers() {
        let check = |text, expected: Result<u32, &str>| {
            let result = what(number(1..=1000)(text));
            assert_eq!(result, expected.map_err(str::to_owned), "{text}");
        };
        check("1", Ok(1));
        check("1000", Ok(1000));
        check("0", Err("is out of range"));
        check("1001", Err("is out of range"));
        check("99999999999", Err("is out of range"));
        for text in ["", "+2", "-2", "2.0", "two", "0x2", "٣"] {
            check(text, Err("is not a whole number"));
        }
        assert_eq!(port("65535"), Ok(65535));
        assert!(port("65536").is_err());
        assert!(port("0").is_err());
    }

    #[test]
    fn words() {
        for text in ["yes", "true", "ON", "1"] {
            assert_eq!(yes_no(text), Ok(true), "{text}");
        }
        for text in ["no", "False", "off", "0"] {
            assert_eq!(yes_no(text), Ok(false), "{text}");
        }
        assert!(yes_no("").is_err());
        assert!(yes_no("maybe").is_err());
        assert_eq!(level("warn"), Ok(LevelFilter::Warn));
        assert_eq!(level("DEBUG"), Ok(LevelFilter::Debug));
        assert!(level("off").is_err());
        assert!(level("").is_err());
    }

    #[test]
    fn hosts() {
        for text in ["127.0.0.1", "::1", "localhost", "db.example.org", "gateway_db", "a1.b2"] {
            assert_eq!(host(text), Ok(text.to_owned()));
        }
        for text in ["", "db:3306", "[::1]", "a b", "a..b", ".a", "a/b", "1.2.3", "999.0.0.1", "é"]
        {
            assert!(host(text).is_err(), "{text}");
        }
        assert!(host(&"a".repeat(64)).is_err());
        assert!(host(&"a.".repeat(127)).is_err());
    }

    #[test]
    fn listen_addresses() {
        let check = |text, expected: &[&str]| {
            let expected = expected.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(addresses(text), Ok(expected), "{text}");
        };
        check("127.0.0.1:15000", &["127.0.0.1:15000"]);
        check("0.0.0.0:0 , [::]:80,", &["0.0.0.0:0", "[::]:80"]);
        let wrong = |text, expected: &str| {
            assert_eq!(what(addresses(text)), Err(expected.to_owned()), "{text}");
        };
        for text in
            ["", ",", "15000", ":15000", "localhost:80", "127.0.0.1", "::1:80", "1.1.1.1:65536"]
        {
            wrong(text, "is not an IP address with a port");
        }
        wrong("[::]:1, me:2", "holds me:2, which is not an IP address with a port");
    }

    #[test]
    fn addresses_of_peers() {
        let check = |text, expected: &[&str]| {
            let expected = expected.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(peers(text), Ok(expected), "{text}");
        };
        check("", &[]);
        check("192.0.2.7", &["192.0.2.7"]);
        check("192.0.2.7, ::1,::ffff:192.0.2.8", &["192.0.2.7", "::1", "192.0.2.8"]);
        for text in ["be", "192.0.2.7:80", "192.0.2.0/24", "[::1]"] {
            assert_eq!(what(peers(text)), Err("is not an IP address".into()), "{text}");
        }
    }

    #[test]
    fn urls() {
        let check = |text, secure, host: &str, port| {
            let expected = Endpoint { secure, host: host.into(), port };
            assert_eq!(api_url(text), Ok(Some(expected)), "{text}");
        };
        check("http://example.org", false, "example.org", 80);
        check("https://example.org", true, "example.org", 443);
        check("HTTPS://Example.ORG:9000", true, "example.org", 9000);
        check("http://192.0.2.7:15000", false, "192.0.2.7", 15000);
        check("https://[2001:DB8:0::1]", true, "[2001:db8::1]", 443);
        check("http://[::1]:15000", false, "[::1]", 15000);
        assert_eq!(api_url(""), Ok(None));
        let wrong = |text, expected: &str| {
            assert_eq!(what(api_url(text)), Err(expected.to_owned()), "{text}");
        };
        for text in ["example.org", "ws://example.org", "//example.org", "://example.org", "x"] {
            wrong(text, "begins neither with http:// nor with https://");
        }
        for text in
            ["http://h/", "http://h/v2", "http://h?a", "http://h#a", "http://u:p@h", "http://h\\x"]
        {
            wrong(text, "has more than scheme, host and port");
        }
        for text in [
            "http://",
            "http://:80",
            "http://a b",
            "http://::1",
            "http://[::1",
            "http://\"",
            "http://[x]",
        ] {
            wrong(text, "has no proper host");
        }
        for text in ["http://h:", "http://h:0", "http://h:65536", "http://h:+80", "http://h:x"] {
            wrong(text, "has no proper port");
        }
        let expected = Endpoint { secure: true, host: "h".into(), port: 443 };
        assert_eq!(socket_url("wss://h"), Ok(Some(expected)));
        let wrong = what(socket_url("https://h"));
        assert_eq!(wrong, Err("begins neither with ws:// nor with wss://".into()));
    }

    #[test]
    fn networks_of_proxies() {
        let check = |text, count| assert_eq!(networks(text).map(|n| n.len()), Ok(count), "{text}");
        check("", 0);
        check("127.0.0.1, ::1", 2);
        check("10.0.0.0/8,fd00::/8", 2);
        assert_eq!(networks("10.0.0.1/32"), networks("10.0.0.1"));
        let wrong = |text, expected: &str| {
            assert_eq!(what(networks(text)), Err(expected.to_owned()), "{text}");
        };
        wrong("localhost", "is no IP address");
        wrong("127.0.0.1:80", "is no IP address");
        wrong("10.0.0.0/33", "has a length that is out of range");
        wrong("10.0.0.0/x", "has a length that is not a whole number");
        wrong("10.0.0.1/8", "has bits behind its length");
        wrong("::1, 10.0.0.1/8", "holds 10.0.0.1/8, which has bits behind its length");
    }

    #[test]
    fn browsers_origins() {
        let check = |text, expected: &[&str]| {
            let expected = expected.iter().map(|&text| text.to_owned()).collect();
            assert_eq!(origins(text), Ok(expected), "{text}");
        };
        check("", &[]);
        check("https://A.example:443", &["https://a.example"]);
        check("http://a:80,https://a:80", &["http://a", "https://a:80"]);
        check("http://localhost:18000", &["http://localhost:18000"]);
        let wrong = |text, expected: &str| {
            let what = what(origins(text)).expect_err(text);
            assert!(what.starts_with(expected), "{what}");
        };
        wrong("*", "allows every site");
        wrong("null", "stands for pages without an origin");
        wrong("https://a, *", "holds *, which allows every site");
        wrong("https://a/", "has more than");
        wrong("a.example", "begins neither");
    }
}
