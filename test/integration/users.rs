//! The users model: who is a user, and by which row of the BE (contract §1, §3, §6).

use crate::support::{PASSWORD, Phone, Schema, Server, USER, post};

/// The status of a whole two-step handshake of a user with a password.
fn sync(server: &Server, user: &str, password: &str) -> u16 {
    let (_dashboard, url) = server.code(user);
    let phone = Phone::new();
    assert_eq!(post(&server.api, &url, &phone.key_body()).status, 200);
    post(&server.api, &url, &Phone::password_body(password)).status
}

#[test]
fn a_user_syncs_with_their_own_password_and_their_own_id() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    assert_eq!(sync(&server, USER, PASSWORD), 200);
    assert_eq!(sync(&server, USER, "Dummy_password"), 401);
    assert_eq!(sync(&server, USER, ""), 401);
    assert_eq!(sync(&server, "nobody", PASSWORD), 401);
    // MySQL finds the row without regard to case; the user is another all the same.
    assert_eq!(sync(&server, &USER.to_uppercase(), PASSWORD), 401);
}

#[test]
fn a_user_without_exactly_one_verified_phone_is_refused_like_a_wrong_password() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let set = |status: &str| {
        schema
            .execute(&format!("UPDATE usersInfos SET status = '{status}' WHERE userId = '{USER}'"));
    };
    set("unverified");
    assert_eq!(sync(&server, USER, PASSWORD), 401);
    set("verified");
    assert_eq!(sync(&server, USER, PASSWORD), 200);
    schema.execute(&format!(
        "INSERT INTO usersInfos (name, country_code, full_phone_number, status, userId) \
         VALUES ('n', 'c', 'f00d', 'verified', '{USER}')"
    ));
    assert_eq!(sync(&server, USER, PASSWORD), 401);
    schema.execute(&format!("DELETE FROM usersInfos WHERE userId = '{USER}'"));
    assert_eq!(sync(&server, USER, PASSWORD), 401);
}

#[test]
fn platforms_are_told_apart_by_what_the_user_has_saved() {
    let schema = Schema::new();
    let server = Server::start(&schema, &[]);
    let (_dashboard, url) = server.code(USER);
    let answer = post(&server.api, &url, &Phone::new().one_step_body(PASSWORD)).json();
    let names = |list: &str| -> Vec<String> {
        let platforms = answer["user_platforms"][list].as_array().unwrap();
        platforms.iter().map(|p| p["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("saved_platforms"), ["gmail"]);
    assert_eq!(names("unsaved_platforms"), ["twitter", "telegram", "slack"]);
    let gmail = &answer["user_platforms"]["saved_platforms"][0];
    assert!(gmail["description"].is_object(), "{gmail}");
    assert_eq!(gmail["initialization_url"], "/platforms/gmail/protocols/oauth2");
    assert_eq!((&gmail["type"], &gmail["letter"]), (&"email".into(), &"g".into()));
}

#[test]
fn a_later_be_without_a_table_of_platforms_serves_as_well() {
    let schema = Schema::new();
    for change in [
        "CREATE TABLE saved (id INT PRIMARY KEY AUTO_INCREMENT, platformId VARCHAR(255), userId VARCHAR(255))",
        "INSERT INTO saved (platformId, userId) SELECT 'gmail', userId FROM wallets",
        "DROP TABLE wallets",
        "DROP TABLE platforms",
        "RENAME TABLE saved TO wallets",
        "DROP TABLE credentials",
    ] {
        schema.execute(change);
    }
    let folder = crate::support::server::Folder::new();
    let salt = folder.0.join("salt");
    std::fs::write(&salt, "b7c1c9605b98de2b055b5a13ac22765e\nanother line\n").unwrap();
    let server = Server::start(&schema, &[("HASHING_SALT", salt.to_str().unwrap())]);
    let (_dashboard, url) = server.code(USER);
    let answer = Phone::new().sync(&server.api, &url);
    assert_eq!(answer.status, 200, "{answer:?}");
    let platforms = &answer.json()["user_platforms"];
    assert_eq!(platforms[0]["name"], "gmail");
    assert_eq!(platforms.as_array().unwrap().len(), 1);
}

#[test]
fn a_be_database_of_its_own_is_only_read() {
    let (gateway, be) = (Schema::new(), Schema::new());
    let account = format!("be_{}", be.name);
    let grant = |table: &str| {
        be.execute(&format!("GRANT SELECT ON {}.{table} TO '{account}'@'%'", be.name));
    };
    be.execute(&format!("CREATE USER '{account}'@'%' IDENTIFIED BY 'only#reads;'"));
    ["users", "usersInfos", "wallets", "platforms", "credentials"].iter().for_each(|t| grant(t));
    gateway.execute("DROP TABLE usersInfos, wallets, platforms, users, credentials");
    let server = Server::start(
        &gateway,
        &[
            ("MYSQL_BE_HOST", &be.host),
            ("MYSQL_BE_PORT", &be.port),
            ("MSYQL_BE_USERNAME", &account),
            ("MYSQL_BE_PASSWORD", "only#reads;"),
            ("MYSQL_BE_DATABASE", &be.name),
        ],
    );
    assert_eq!(sync(&server, USER, PASSWORD), 200);
    assert_eq!(gateway.rows().len(), 1);
    assert_eq!(be.rows().len(), 0);
    be.execute(&format!("DROP USER '{account}'@'%'"));
}
