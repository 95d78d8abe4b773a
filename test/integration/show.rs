//! `swob-gateway check --show`: every setting, and where it is from.

use std::fs;

use crate::check::check;
use crate::support::server::Folder;

#[test]
fn every_setting_is_shown_with_its_place_and_no_secret() {
    let folder = Folder::furnished();
    let text = "[mysql]\nhost = db\npassword = hunter2\n[mysql_be]\ndatabase = be\n";
    fs::write(folder.0.join("gateway.ini"), text).unwrap();
    let settings = [("MYSQL_BE_PASSWORD", "hunter3"), ("GATEWAY_LOG_LEVEL", "debug")];
    let (code, said) = check(&folder, &["--show"], &settings);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("hunter"), "{said}");
    let line = |what: &str| {
        let line = said.lines().find(|line| line.contains(what));
        line.unwrap_or_else(|| panic!("no {what:?} in:\n{said}")).split_whitespace().next().unwrap()
    };
    assert_eq!(line("[http] listen = 127.0.0.1:0"), "GATEWAY_HTTP_LISTEN");
    assert_eq!(line("[mysql] host = db"), "gateway.ini:2");
    assert_eq!(line("[mysql] password = ***"), "gateway.ini:3");
    assert_eq!(line("[mysql] port = 3306"), "default");
    assert_eq!(line("[mysql_be] host =   (so db)"), "default");
    assert_eq!(line("[mysql_be] database = be"), "gateway.ini:5");
    assert_eq!(line("[mysql_be] password = ***"), "MYSQL_BE_PASSWORD");
    assert_eq!(line("[log] level = debug"), "GATEWAY_LOG_LEVEL");
    assert_eq!(line("[keys] ring =   (so ring)"), "default");
    let shipped = include_str!("../../gateway.ini");
    let keys = shipped.lines().filter(|line| line.starts_with('#') && !line.starts_with("# "));
    assert_eq!(said.lines().count(), keys.filter(|line| line.contains('=')).count());
    // With mistakes they are shown as well, and told.
    let (code, said) = check(&folder, &["--show"], &[("GATEWAY_LOG_LEVEL", "loud")]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("[log] level = loud\n") && said.contains("is not a level"), "{said}");
}
