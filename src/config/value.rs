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

/// An address to listen on that this machine alone reaches.
pub fn loopback(text: &str) -> Result<SocketAddr, Bad> {
    let remedy = "write for example 127.0.0.1:15001 or [::1]:15001, or nothing for no listener";
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(address),
        Ok(_) => bad("is reached from other machines, which this listener must not be", remedy),
        Err(_) => bad("is not an IP address with a port", remedy),
    }
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
mod tests;
