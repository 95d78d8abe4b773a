//! The harness: a schema, a server, a dashboard, a phone, each of which ends with its test.

pub mod dashboard;
pub mod doctor;
pub mod front;
pub mod http;
pub mod mariadb;
pub mod phone;
pub mod prometheus;
pub mod proxy;
pub mod schema;
pub mod server;
pub mod tls;

pub use dashboard::Dashboard;
pub use http::{Answer, get, post, request};
pub use mariadb::Mariadb;
pub use phone::Phone;
pub use schema::Schema;
pub use server::Server;

use std::thread;
use std::time::{Duration, Instant};

/// The user of sql/dev.sql.
pub const USER: &str = "dead3662-5f78-11ed-b8e7-6d06c3aaf3c6";
/// Their password.
pub const PASSWORD: &str = "dummy_password";

/// Whether the long forms are asked for, as `make soak` does.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment how long to run")]
pub fn soak() -> bool {
    std::env::var("TEST_SOAK").is_ok()
}

/// Does this with each of these at once, in threads.
pub fn at_once<I: Send, T: Send>(
    each: impl IntoIterator<Item = I>,
    work: impl Fn(I) -> T + Sync,
) -> Vec<T> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = each.into_iter().map(|it| scope.spawn(move || work(it))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Waits until a condition holds; a test that waits in vain fails by name.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
