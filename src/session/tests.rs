use std::time::Duration;

use super::*;
use crate::histogram::Histogram;

const RULES: Rules = Rules {
    sleep: Duration::from_secs(15),
    changes: 3,
    paused: Duration::from_secs(120),
    linger: Duration::from_secs(5),
    attempts: 5,
    detached: 2,
    detached_per_peer: 9,
};
const SOCKET: SocketId = SocketId(7);

/// The table under test with its clock, in seconds, and its ids, counted from 1.
struct Desk {
    table: Sessions<&'static str>,
    start: Instant,
    minted: u8,
}

fn id(n: u8) -> SessionId {
    SessionId::new([n; 16])
}

fn peer(n: u8) -> Peer {
    Peer::of([127, 0, 0, n].into())
}

fn user() -> UserId {
    UserId::parse("ada").unwrap()
}

impl Desk {
    /// A table with one socket that has just been shown the code 1.
    fn shown() -> Self {
        let mut desk = Desk { table: Sessions::new(RULES), start: Instant::now(), minted: 1 };
        desk.table.connect(desk.start, id(1), user(), peer(1), SOCKET).unwrap();
        desk.expect(&[(SOCKET, Event::Show(id(1)))]);
        desk
    }

    fn paused() -> Self {
        let mut desk = Desk::shown();
        desk.table.begin(desk.start, id(1), &user(), &"key").unwrap();
        desk.expect(&[(SOCKET, Event::Pause)]);
        desk
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    fn pass(&mut self, seconds: u64, events: &[(SocketId, Event)]) {
        let minted = &mut self.minted;
        self.table.handle_timeout(self.start + Duration::from_secs(seconds), &mut || {
            *minted += 1;
            id(*minted)
        });
        self.expect(events);
    }

    fn expect(&mut self, events: &[(SocketId, Event)]) {
        let seen: Vec<_> = std::iter::from_fn(|| self.table.poll_event()).collect();
        assert_eq!(seen, events);
    }
}

#[test]
fn an_id_of_a_user_or_a_session_is_taken_byte_for_byte_or_refused() {
    let longest = "x".repeat(255);
    for good in ["a", "111", "dead3662-5f78-11ed-b8e7-6d06c3aaf3c6", "A.b_c~d", "...", &longest] {
        assert_eq!(UserId::parse(good).unwrap().as_str(), good);
    }
    let long = "x".repeat(256);
    for bad in ["", ".", "..", "a/b", "a%41", "a b", "ä", "a\0", "a\n", &long] {
        assert_eq!(UserId::parse(bad).unwrap_err().status(), 400, "{bad:?}");
    }
    let text = "000102030405060708090a0b0c0d0eff";
    assert_eq!(SessionId::parse(text).unwrap().to_string(), text);
    for bad in ["", "000", "000102030405060708090A0B0C0D0EFF", "+00102030405060708090a0b0c0d0eff"] {
        assert_eq!(SessionId::parse(bad), Err(Refusal::Session), "{bad:?}");
    }
}

#[test]
fn a_code_changes_until_the_limit_and_then_the_socket_closes() {
    let mut desk = Desk::shown();
    desk.pass(14, &[]);
    desk.pass(15, &[(SOCKET, Event::Show(id(2)))]);
    assert_eq!(desk.table.begin(desk.at(15), id(1), &user(), &"key"), Err(Refusal::Session));
    desk.pass(30, &[(SOCKET, Event::Show(id(3)))]);
    desk.pass(45, &[(SOCKET, Event::Close(Reason::Expired))]);
    desk.pass(50, &[(SOCKET, Event::Cut)]);
    assert!(desk.table.is_empty());
    assert_eq!(desk.table.poll_timeout(), None);
}

#[test]
fn a_server_that_slept_through_two_rotations_shows_one_code_for_its_full_time() {
    let mut desk = Desk::shown();
    desk.pass(44, &[(SOCKET, Event::Show(id(2)))]);
    assert_eq!(desk.table.poll_timeout(), Some(desk.at(59)));
}

#[test]
fn the_first_key_binds_the_session_and_its_repeat_gains_nothing() {
    let mut desk = Desk::paused();
    let repeat = desk.at(60);
    assert_eq!(desk.table.begin(repeat, id(1), &user(), &"key"), Ok(()));
    desk.expect(&[]);
    assert_eq!(desk.table.poll_timeout(), Some(desk.at(120)));
    assert_eq!(desk.table.begin(repeat, id(1), &user(), &"other"), Err(Refusal::Session));
    let stranger = UserId::parse("eve").unwrap();
    assert_eq!(desk.table.begin(repeat, id(1), &stranger, &"key"), Err(Refusal::Session));
    desk.pass(120, &[(SOCKET, Event::Close(Reason::Expired))]);
}

#[test]
fn one_phone_wins_the_claim_and_its_session_cannot_expire() {
    let mut desk = Desk::paused();
    let claim = desk.table.claim(id(1), &user()).unwrap();
    assert_eq!(desk.table.claim(id(1), &user()).unwrap_err(), Refusal::Session);
    desk.pass(500, &[]);
    desk.table.complete(desk.at(500), claim);
    desk.expect(&[(SOCKET, Event::Ack), (SOCKET, Event::Close(Reason::Complete))]);
    assert_eq!(desk.table.begin(desk.at(500), id(1), &user(), &"key"), Err(Refusal::Session));
}

#[test]
fn a_claim_that_could_not_be_stored_leaves_the_rest_of_the_paused_time() {
    let mut desk = Desk::paused();
    let claim = desk.table.claim(id(1), &user()).unwrap();
    desk.table.release(claim);
    assert_eq!(desk.table.poll_timeout(), Some(desk.at(120)));
    assert!(desk.table.claim(id(1), &user()).is_ok());
}

#[test]
fn a_dashboard_that_leaves_takes_its_code_along_but_not_the_phone() {
    let mut desk = Desk::shown();
    desk.table.disconnect(SOCKET);
    assert_eq!(desk.table.begin(desk.start, id(1), &user(), &"key"), Err(Refusal::Session));

    let mut desk = Desk::paused();
    desk.table.disconnect(SOCKET);
    let claim = desk.table.claim(id(1), &user()).unwrap();
    desk.table.complete(desk.start, claim);
    desk.expect(&[]);
    assert!(desk.table.is_empty());
}

#[test]
fn paused_sessions_without_a_dashboard_are_bounded_by_refusing_the_newcomer() {
    let mut desk = Desk::paused();
    desk.table.disconnect(SOCKET);
    for n in [2, 3] {
        let socket = SocketId(u64::from(n));
        let opened = desk.table.connect(desk.start, id(n), user(), peer(1), socket);
        assert_eq!(opened.is_ok(), n == 2, "{n}");
        if opened.is_ok() {
            desk.table.begin(desk.start, id(n), &user(), &"key").unwrap();
            desk.table.disconnect(socket);
        }
    }
    let claim = desk.table.claim(id(1), &user()).unwrap();
    desk.table.complete(desk.start, claim);
    assert!(desk.table.connect(desk.start, id(4), user(), peer(1), SOCKET).is_ok());
}

#[test]
fn one_address_cannot_fill_the_table_with_sessions_whose_dashboards_have_left() {
    let rules = Rules { detached: 9, detached_per_peer: 2, ..RULES };
    let (mut table, now) = (Sessions::new(rules), Instant::now());
    let open = |table: &mut Sessions<_>, n: u8, peer| {
        let socket = SocketId(n.into());
        table.connect(now, id(n), user(), peer, socket)?;
        table.begin(now, id(n), &user(), &"key").unwrap();
        table.disconnect(socket);
        Ok(())
    };
    assert_eq!(open(&mut table, 1, peer(1)), Ok(()));
    assert_eq!(open(&mut table, 2, peer(1)), Ok(()));
    assert_eq!(open(&mut table, 3, peer(1)), Err(Refusal::Crowd(RULES.paused)));
    assert_eq!(open(&mut table, 4, peer(2)), Ok(()));
    table.handle_timeout(now + RULES.paused, &mut || id(9));
    assert_eq!(open(&mut table, 5, peer(1)), Ok(()));
}

#[test]
fn five_wrong_bodies_use_up_a_session_and_an_exact_repeat_uses_nothing() {
    let mut desk = Desk::paused();
    let now = desk.at(20);
    for n in 0..5 {
        let granted = desk.table.attempt(now, id(1), &user(), [n; 32], None);
        assert_eq!(granted, Ok(Attempt::Granted("key")));
        desk.table.refuse(id(1), [n; 32], Refusal::Credentials);
    }
    let sixth = desk.table.attempt(now, id(1), &user(), [9; 32], None);
    assert_eq!(sixth, Err(Refusal::Attempts(Duration::from_secs(100))));
    let repeat = desk.table.attempt(now, id(1), &user(), [4; 32], None);
    assert_eq!(repeat, Ok(Attempt::Repeated(Refusal::Credentials)));
}

#[test]
fn a_body_that_comes_twice_at_once_takes_one_try() {
    let mut desk = Desk::paused();
    let mut attempt = || desk.table.attempt(desk.start, id(1), &user(), [1; 32], None);
    assert_eq!(attempt(), Ok(Attempt::Granted("key")));
    assert_eq!(attempt(), Ok(Attempt::Pending));
}

#[test]
fn what_may_pass_gives_the_try_back() {
    let mut desk = Desk::paused();
    for n in 0..20 {
        assert!(desk.table.attempt(desk.start, id(1), &user(), [n; 32], None).is_ok(), "{n}");
        let wait = Duration::from_secs(2);
        let refusal = if n % 2 == 0 { Refusal::Away(wait) } else { Refusal::Attempts(wait) };
        desk.table.refuse(id(1), [n; 32], refusal);
    }
}

#[test]
fn a_password_before_any_key_is_malformed_and_one_with_another_key_is_foreign() {
    let mut desk = Desk::shown();
    let early = desk.table.attempt(desk.start, id(1), &user(), [0; 32], None);
    assert_eq!(early.unwrap_err().status(), 400);
    let mut desk = Desk::paused();
    let foreign = desk.table.attempt(desk.start, id(1), &user(), [0; 32], Some(&"other"));
    assert_eq!(foreign, Err(Refusal::Session));
}

#[test]
fn a_server_that_leaves_closes_every_socket_but_lets_a_claimed_session_complete() {
    let mut desk = Desk::paused();
    desk.table.connect(desk.start, id(2), user(), peer(1), SocketId(8)).unwrap();
    desk.expect(&[(SocketId(8), Event::Show(id(2)))]);
    let claim = desk.table.claim(id(1), &user()).unwrap();
    desk.table.leave(desk.start);
    desk.expect(&[(SocketId(8), Event::Close(Reason::Leaving))]);
    desk.table.complete(desk.start, claim);
    desk.expect(&[(SOCKET, Event::Ack), (SOCKET, Event::Close(Reason::Complete))]);
}

#[test]
fn the_tally_tells_how_sessions_end() {
    let check = |desk: &Desk, shown, scanned, ended: &[End]| {
        let tally = desk.table.tally();
        assert_eq!((tally.shown, tally.scanned), (shown, scanned));
        assert_eq!(tally.ended, End::ALL.map(|end| u64::from(ended.contains(&end))), "{ended:?}");
    };
    let mut desk = Desk::shown();
    for seconds in [15, 30, 45] {
        desk.table.handle_timeout(desk.at(seconds), &mut || id(seconds as u8));
    }
    check(&desk, 3, 0, &[End::Expired]);
    desk.table.disconnect(SOCKET);
    check(&desk, 3, 0, &[End::Expired]);

    let mut desk = Desk::shown();
    desk.table.disconnect(SOCKET);
    check(&desk, 1, 0, &[End::Abandoned]);

    // A dashboard that leaves after the scan changes nothing for the phone.
    let mut desk = Desk::paused();
    desk.table.disconnect(SOCKET);
    check(&desk, 1, 1, &[]);
    desk.pass(120, &[]);
    check(&desk, 1, 1, &[End::PausedOut]);

    let mut desk = Desk::paused();
    let claim = desk.table.claim(id(1), &user()).unwrap();
    desk.table.leave(desk.at(1));
    check(&desk, 1, 1, &[]);
    desk.table.complete(desk.at(2), claim);
    check(&desk, 1, 1, &[End::Acked]);

    let mut desk = Desk::paused();
    desk.table.leave(desk.at(1));
    check(&desk, 1, 1, &[End::Stopped]);
}

#[test]
fn the_tally_tells_how_late_a_handshake_came_that_came_too_late() {
    let late = |histogram: &Histogram| (histogram.cumulated().last().unwrap().1, histogram.sum());
    let mut desk = Desk::shown();
    desk.pass(15, &[(SOCKET, Event::Show(id(2)))]);
    for seconds in [19, 20] {
        let body = desk.table.attempt(desk.at(seconds), id(1), &user(), [1; 32], Some(&"key"));
        assert_eq!(body, Err(Refusal::Session));
    }
    assert_eq!(late(&desk.table.tally().after_rotation), (1, 4.0));
    assert_eq!(desk.table.begin(desk.at(20), id(9), &user(), &"key"), Err(Refusal::Session));
    assert_eq!(late(&desk.table.tally().after_rotation), (1, 4.0));

    let mut desk = Desk::paused();
    desk.pass(120, &[(SOCKET, Event::Close(Reason::Expired))]);
    let body = desk.table.attempt(desk.at(130), id(1), &user(), [1; 32], None);
    assert_eq!(body, Err(Refusal::Session));
    assert_eq!(late(&desk.table.tally().after_pause), (1, 10.0));
    assert_eq!(late(&desk.table.tally().after_rotation), (0, 0.0));
}
