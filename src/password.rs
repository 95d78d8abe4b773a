//! How often a password may be wrong: for one user from one address, for one address, for one
//! user.
//!
//! Every table is bounded and in memory alone; the time is an argument. A restart forgets.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::mem;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::limit::Peer;
use crate::refusal::Refusal;
use crate::session::UserId;

/// How many keys a table of the past remembers, twice at most.
const MEMORY: usize = 50_000;

/// So many times in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many times.
    pub most: usize,
    /// Within how long.
    pub period: Duration,
}

/// What was touched lately, in two generations: when the young one is full it becomes the old
/// one, whose keys are forgotten if nothing touches them until the next time. So the table is
/// bounded, and to push one key out costs a stranger [`MEMORY`] others.
#[derive(Debug)]
struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash, V: Default> Recent<K, V> {
    fn new() -> Self {
        Recent { young: HashMap::new(), old: HashMap::new() }
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    fn touch(&mut self, key: K) -> &mut V {
        if self.young.len() >= MEMORY {
            self.old = mem::take(&mut self.young);
        }
        let old = self.old.remove(&key).unwrap_or_default();
        self.young.entry(key).or_insert(old)
    }

    fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

/// What is known of one key's tries.
#[derive(Debug, Default)]
struct Tries {
    /// When they were wrong.
    wrong: VecDeque<Instant>,
    /// How many are being judged at this moment.
    pending: usize,
}

/// The tries of each key.
#[derive(Debug)]
struct Ledger<K> {
    rates: Vec<Rate>,
    tries: Recent<K, Tries>,
}

/// Whether a key may try.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// It may.
    Free,
    /// Not while others are being judged, which may all turn out wrong.
    Crowded,
    /// Not for so long.
    Wait(Duration),
}

impl<K: Copy + Eq + Hash> Ledger<K> {
    fn new(rates: Vec<Rate>) -> Self {
        Ledger { rates, tries: Recent::new() }
    }

    fn verdict(&self, now: Instant, key: &K) -> Verdict {
        let Some(tries) = self.tries.get(key) else { return Verdict::Free };
        let by_rate = |rate: &Rate| {
            let live = |at: &&Instant| **at + rate.period > now;
            let wrong = tries.wrong.iter().rev().take_while(live).count();
            match wrong.checked_sub(rate.most) {
                Some(surplus) => {
                    let first = tries.wrong.len() - wrong + surplus;
                    Verdict::Wait(tries.wrong[first] + rate.period - now)
                }
                None if wrong + tries.pending >= rate.most => Verdict::Crowded,
                None => Verdict::Free,
            }
        };
        self.rates.iter().map(by_rate).max().unwrap_or(Verdict::Free)
    }

    fn begin(&mut self, key: K) {
        if !self.rates.is_empty() {
            self.tries.touch(key).pending += 1;
        }
    }

    /// What was wrong counts no more; what is pending does.
    fn forgive(&mut self, key: &K) {
        let (young, old) = (&mut self.tries.young, &mut self.tries.old);
        if let Some(tries) = young.get_mut(key).or_else(|| old.get_mut(key)) {
            tries.wrong.clear();
        }
    }

    fn end(&mut self, key: K, wrong_at: Option<Instant>) {
        let Some(kept) = self.rates.iter().map(|rate| rate.most).max() else { return };
        let tries = self.tries.touch(key);
        tries.pending = tries.pending.saturating_sub(1);
        tries.wrong.extend(wrong_at);
        if tries.wrong.len() > kept {
            tries.wrong.pop_front();
        }
        if tries.wrong.is_empty() && tries.pending == 0 {
            self.tries.remove(&key);
        }
    }
}

/// How often passwords may be wrong; an empty list is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordRates {
    /// For one user from one address.
    pub pair: Vec<Rate>,
    /// For all users from one address.
    pub address: Vec<Rate>,
    /// For one user from all addresses.
    pub user: Vec<Rate>,
}

/// A user id of whatever length, in 16 bytes.
type UserKey = [u8; 16];

/// Wrong passwords, by who tried and for whom. Unknown users count like known ones.
#[derive(Debug)]
pub struct Passwords {
    pair: Ledger<(UserKey, Peer)>,
    address: Ledger<Peer>,
    user: Ledger<UserKey>,
    /// Who was right before: a stranger's tries for the user do not lock them out.
    right: Recent<(UserKey, Peer), ()>,
}

/// One try for a password, to be ended by [`Passwords::end`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Try {
    /// `None` for what names no user: verification and removal count per address alone.
    user: Option<UserKey>,
    peer: Peer,
}

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The password was right: the pair begins anew.
    Right,
    /// The password was wrong.
    Wrong,
    /// It ended for another reason.
    None,
}

impl Passwords {
    /// Nobody was wrong yet.
    pub fn new(rates: PasswordRates) -> Self {
        Passwords {
            pair: Ledger::new(rates.pair),
            address: Ledger::new(rates.address),
            user: Ledger::new(rates.user),
            right: Recent::new(),
        }
    }

    /// Begins a try; `None` while others must be judged first, for tries side by side must not
    /// outrun the limit.
    ///
    /// # Errors
    /// [`Refusal::Attempts`], with how long to wait.
    pub fn begin(
        &mut self,
        now: Instant,
        user: Option<&UserId>,
        peer: Peer,
    ) -> Result<Option<Try>, Refusal> {
        let user = user.map(user_key);
        let mut verdict = self.address.verdict(now, &peer);
        if let Some(user) = user {
            verdict = verdict.max(self.pair.verdict(now, &(user, peer)));
            if self.right.get(&(user, peer)).is_none() {
                verdict = verdict.max(self.user.verdict(now, &user));
            }
        }
        match verdict {
            Verdict::Wait(wait) => Err(Refusal::Attempts(wait)),
            Verdict::Crowded => Ok(None),
            Verdict::Free => {
                self.address.begin(peer);
                if let Some(user) = user {
                    self.pair.begin((user, peer));
                    self.user.begin(user);
                }
                Ok(Some(Try { user, peer }))
            }
        }
    }

    /// Ends a try.
    pub fn end(&mut self, now: Instant, attempt: Try, judgement: Judgement) {
        let Try { user, peer } = attempt;
        let wrong_at = (judgement == Judgement::Wrong).then_some(now);
        self.address.end(peer, wrong_at);
        let Some(user) = user else { return };
        self.pair.end((user, peer), wrong_at);
        self.user.end(user, wrong_at);
        if judgement == Judgement::Right {
            self.pair.forgive(&(user, peer));
            self.right.touch((user, peer));
        }
    }
}

fn user_key(user: &UserId) -> UserKey {
    let digest: [u8; 32] = Sha256::digest(user.as_str()).into();
    let (key, _) = digest.split_first_chunk().expect("32 bytes begin with 16");
    *key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(most: usize, minutes: u64) -> Rate {
        Rate { most, period: Duration::from_secs(60 * minutes) }
    }

    fn passwords() -> Passwords {
        Passwords::new(PasswordRates {
            pair: vec![rate(3, 2), rate(5, 15)],
            address: vec![rate(30, 15)],
            user: vec![rate(50, 60)],
        })
    }

    fn peer(n: u8) -> Peer {
        Peer::of([127, 0, 0, n].into())
    }

    fn user(text: &str) -> UserId {
        UserId::parse(text).unwrap()
    }

    /// A try that is judged at once; how long to wait, in seconds, where there is none.
    fn attempt(
        passwords: &mut Passwords,
        now: Instant,
        who: (&str, u8),
        judgement: Judgement,
    ) -> Option<u64> {
        match passwords.begin(now, Some(&user(who.0)), peer(who.1)) {
            Ok(Some(attempt)) => {
                passwords.end(now, attempt, judgement);
                None
            }
            Err(Refusal::Attempts(wait)) => Some(wait.as_secs()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_rate_of_a_pair_counts_in_its_own_period() {
        let mut passwords = passwords();
        let start = Instant::now();
        let mut check = |minutes: u64, expected: Option<u64>| {
            let now = start + Duration::from_secs(60 * minutes);
            let wait = attempt(&mut passwords, now, ("ada", 1), Judgement::Wrong);
            assert_eq!(wait, expected, "{minutes}");
        };
        for _ in 0..3 {
            check(0, None);
        }
        check(0, Some(120));
        check(1, Some(60));
        check(2, None);
        check(2, None);
        check(2, Some(13 * 60));
        check(14, Some(60));
        check(15, None);
    }

    #[test]
    fn another_user_or_another_address_is_another_pair() {
        let mut passwords = passwords();
        let now = Instant::now();
        let mut wrong = |who| attempt(&mut passwords, now, who, Judgement::Wrong).is_some();
        for _ in 0..3 {
            assert!(!wrong(("ada", 1)));
        }
        assert!(wrong(("ada", 1)));
        assert!(!wrong(("ada", 2)));
        assert!(!wrong(("eve", 1)));
    }

    #[test]
    fn one_address_is_wrong_for_no_more_than_thirty_users() {
        let mut passwords = passwords();
        let now = Instant::now();
        for n in 0..30 {
            let name = n.to_string();
            assert_eq!(attempt(&mut passwords, now, (&name, 1), Judgement::Wrong), None);
        }
        assert_eq!(attempt(&mut passwords, now, ("ada", 1), Judgement::Right), Some(900));
    }

    #[test]
    fn a_stranger_cannot_lock_out_an_owner_who_was_right_before() {
        let mut passwords = passwords();
        let now = Instant::now();
        attempt(&mut passwords, now, ("ada", 1), Judgement::Right);
        for n in 2..52 {
            assert_eq!(attempt(&mut passwords, now, ("ada", n), Judgement::Wrong), None);
        }
        assert_eq!(attempt(&mut passwords, now, ("ada", 100), Judgement::Wrong), Some(3600));
        assert_eq!(attempt(&mut passwords, now, ("ada", 1), Judgement::Wrong), None);
    }

    #[test]
    fn a_right_password_clears_its_pair_and_another_end_counts_nothing() {
        let mut passwords = passwords();
        let now = Instant::now();
        let mut end = |judgement| attempt(&mut passwords, now, ("ada", 1), judgement);
        for _ in 0..40 {
            assert_eq!(end(Judgement::None), None);
        }
        for _ in 0..5 {
            assert_eq!(end(Judgement::Wrong), None);
            assert_eq!(end(Judgement::Wrong), None);
            assert_eq!(end(Judgement::Right), None);
        }
    }

    #[test]
    fn tries_side_by_side_wait_for_each_other() {
        let mut passwords = passwords();
        let now = Instant::now();
        let ada = user("ada");
        let begin = |passwords: &mut Passwords| passwords.begin(now, Some(&ada), peer(1));
        let tries = [0; 3].map(|_| begin(&mut passwords).unwrap().unwrap());
        assert_eq!(begin(&mut passwords), Ok(None));
        passwords.end(now, tries[0], Judgement::Right);
        let fourth = begin(&mut passwords).unwrap().unwrap();
        assert_eq!(begin(&mut passwords), Ok(None));
        for attempt in [tries[1], tries[2], fourth] {
            passwords.end(now, attempt, Judgement::Wrong);
        }
        assert!(begin(&mut passwords).is_err());
    }

    #[test]
    fn what_names_no_user_counts_per_address() {
        let mut passwords = passwords();
        let now = Instant::now();
        for _ in 0..30 {
            let attempt = passwords.begin(now, None, peer(1)).unwrap().unwrap();
            passwords.end(now, attempt, Judgement::Wrong);
        }
        assert!(passwords.begin(now, None, peer(1)).is_err());
        assert!(passwords.begin(now, Some(&user("ada")), peer(1)).is_err());
        assert!(passwords.begin(now, None, peer(2)).is_ok());
    }

    #[test]
    fn without_rates_nothing_is_refused_or_remembered() {
        let none = PasswordRates { pair: vec![], address: vec![], user: vec![] };
        let mut passwords = Passwords::new(none);
        let now = Instant::now();
        for _ in 0..1000 {
            assert_eq!(attempt(&mut passwords, now, ("ada", 1), Judgement::Wrong), None);
        }
        assert!(passwords.address.tries.young.is_empty());
    }

    #[test]
    fn a_table_of_the_past_is_bounded() {
        let mut recent: Recent<usize, usize> = Recent::new();
        for n in 0..3 * MEMORY {
            *recent.touch(n) += 1;
            *recent.touch(0) += 1;
            assert!(recent.young.len() + recent.old.len() <= 2 * MEMORY);
        }
        assert_eq!(recent.get(&1), None);
        assert_eq!(recent.get(&0), Some(&(3 * MEMORY + 1)));
    }
}
