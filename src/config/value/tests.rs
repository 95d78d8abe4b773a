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
    for text in ["", "db:3306", "[::1]", "a b", "a..b", ".a", "a/b", "1.2.3", "999.0.0.1", "é"] {
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
    for text in ["", ",", "15000", ":15000", "localhost:80", "127.0.0.1", "::1:80", "1.1.1.1:65536"]
    {
        wrong(text, "is not an IP address with a port");
    }
    wrong("[::]:1, me:2", "holds me:2, which is not an IP address with a port");
}

#[test]
fn an_address_that_this_machine_alone_reaches() {
    for text in ["127.0.0.1:0", "127.8.8.8:15001", "[::1]:15001"] {
        assert_eq!(loopback(text), Ok(text.parse().unwrap()));
    }
    for text in ["0.0.0.0:15001", "[::]:15001", "192.0.2.7:15001"] {
        let expected = "is reached from other machines, which this listener must not be";
        assert_eq!(what(loopback(text)), Err(expected.to_owned()), "{text}");
    }
    for text in ["", "15001", "localhost:15001", "127.0.0.1"] {
        assert!(loopback(text).is_err(), "{text}");
    }
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
