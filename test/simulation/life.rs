//! One life of a server, played to the session table and to the model, compared after every step.

mod draw;
mod model;
mod witness;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rand::{Rng, RngExt as _};

use swob_gateway::limit::Peer;
use swob_gateway::refusal::Refusal;
use swob_gateway::session::{
    Attempt, Claim, Event, Reason, Rules, SessionId, Sessions, SocketId, UserId,
};

use model::{Model, Outcome};
use witness::Witness;

const RULES: Rules = Rules {
    sleep: Duration::from_secs(15),
    changes: 3,
    paused: Duration::from_secs(120),
    linger: Duration::from_secs(5),
    attempts: 5,
    detached: 6,
    detached_per_peer: usize::MAX,
};
/// How often each kind of event and result was met.
pub type Tally = BTreeMap<&'static str, u64>;
type Key = u8;
type Digest = [u8; 32];
type Told = (SocketId, Event);

#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Time passes and the timer fires.
    Pass(Duration),
    /// Time passes and the timer is late.
    Stall(Duration),
    Connect(usize),
    Disconnect(SocketId),
    Begin(SessionId, usize, Key),
    Attempt(SessionId, usize, Digest, Option<Key>),
    Refuse(SessionId, Digest, Refusal),
    Claim(SessionId, usize),
    /// The claim at this place among those held.
    Complete(usize),
    Release(usize),
    Leave,
}

fn kind(event: &Event) -> &'static str {
    match event {
        Event::Show(..) => "show",
        Event::Pause => "pause",
        Event::Ack => "ack",
        Event::Close(Reason::Complete) => "complete",
        Event::Close(Reason::Expired) => "expired",
        Event::Close(Reason::Leaving) => "leaving",
        Event::Cut => "cut",
    }
}

fn user(n: usize) -> UserId {
    UserId::parse(["ada", "eve", "Ada"][n]).unwrap()
}

/// An id that never was, in no order: a generator that repeats itself must not break this.
fn mint(minted: &mut u128) -> SessionId {
    *minted += 1;
    SessionId::new(minted.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes())
}

/// One server's life: the table, its model, and the world around them.
pub struct Life<'a> {
    rng: &'a mut dyn Rng,
    tally: &'a mut Tally,
    played: &'a AtomicU64,
    table: Sessions<Key>,
    model: Model,
    witness: Witness,
    now: Instant,
    /// In half of the lives time only trickles, so that sessions without a dashboard pile up.
    calm: bool,
    sockets: u64,
    /// Sessions that were not refused.
    opened: u64,
    minted: u128,
    /// Each id that was ever shown, with its user.
    ids: Vec<(SessionId, usize)>,
    open: Vec<SocketId>,
    claims: Vec<(SessionId, Claim)>,
    bodies: Vec<(SessionId, Digest)>,
}

impl<'a> Life<'a> {
    pub fn new(rng: &'a mut dyn Rng, tally: &'a mut Tally, played: &'a AtomicU64) -> Self {
        Life {
            calm: rng.random_bool(0.5),
            rng,
            tally,
            played,
            table: Sessions::new(RULES),
            model: Model::default(),
            witness: Witness::default(),
            now: Instant::now(),
            sockets: 0,
            opened: 0,
            minted: 0,
            ids: Vec::new(),
            open: Vec::new(),
            claims: Vec::new(),
            bodies: Vec::new(),
        }
    }

    /// Plays the step to the table and to the model, and compares all that can be seen of them.
    pub fn play(&mut self, step: Step) {
        self.played.fetch_add(1, Relaxed);
        if let Step::Pass(span) | Step::Stall(span) = step {
            self.now += span;
        }
        let held: Vec<SessionId> = self.claims.iter().map(|(id, _)| *id).collect();
        let fresh = mint(&mut self.minted);
        let mut minted = Vec::new();
        let outcome = self.act(step, fresh, &mut minted);
        let mut events: Vec<Told> = std::iter::from_fn(|| self.table.poll_event()).collect();
        let shown = |told: &Told| match told.1 {
            Event::Show(id) => Some(id),
            _ => None,
        };
        if let Step::Pass(_) = step {
            let shown: Vec<_> = events.iter().filter_map(shown).collect();
            assert_eq!(shown, minted, "{step:?}: each fresh id is shown once");
        }

        let mut due = Vec::new();
        let expected = self.expect(step, fresh, &held, &events, &mut due);
        // Time strikes all sockets at once: only the order for each of them is promised.
        if matches!(step, Step::Pass(_) | Step::Leave) {
            events.sort_by_key(|(socket, _)| *socket);
            due.sort_by_key(|(socket, _)| *socket);
        }
        assert_eq!(outcome, expected, "result of {step:?}");
        assert_eq!(events, due, "events of {step:?}");
        assert_eq!(self.table.len(), self.model.sessions.len(), "length after {step:?}");
        assert_eq!(self.table.is_empty(), self.model.sessions.is_empty());
        let next = self.model.next_deadline();
        assert_eq!(self.table.poll_timeout(), next, "deadline after {step:?}");
        let ended: u64 = self.table.tally().ended.iter().sum();
        let opened =
            self.opened + u64::from(matches!((step, &outcome), (Step::Connect(_), Outcome::Done)));
        assert_eq!(ended + self.table.len() as u64, opened, "tally after {step:?}");
        self.opened = opened;

        self.watch(step, &outcome, &events, &held);
    }

    /// The table's part of [`Self::play`].
    fn act(&mut self, step: Step, fresh: SessionId, minted: &mut Vec<SessionId>) -> Outcome {
        let now = self.now;
        match step {
            Step::Stall(_) => {}
            Step::Pass(_) => self.table.handle_timeout(now, &mut || {
                minted.push(mint(&mut self.minted));
                minted[minted.len() - 1]
            }),
            Step::Connect(who) => {
                let peer = Peer::of([127, 0, 0, 1].into());
                let socket = SocketId(self.sockets);
                let opened = self.table.connect(now, fresh, user(who), peer, socket);
                return Outcome::of(opened, |()| Outcome::Done);
            }
            Step::Disconnect(socket) => self.table.disconnect(socket),
            Step::Begin(id, who, key) => {
                let begun = self.table.begin(now, id, &user(who), &key);
                return Outcome::of(begun, |()| Outcome::Done);
            }
            Step::Attempt(id, who, digest, key) => {
                let tried = self.table.attempt(now, id, &user(who), digest, key.as_ref());
                return Outcome::of(tried, Self::attempted);
            }
            Step::Refuse(id, digest, refusal) => self.table.refuse(id, digest, refusal),
            Step::Claim(id, who) => {
                return Outcome::of(self.table.claim(id, &user(who)), |claim| {
                    let held = self.claims.iter().any(|(other, _)| *other == id);
                    assert!(!held, "two hold a claim of {id}");
                    self.claims.push((id, claim));
                    Outcome::Done
                });
            }
            Step::Complete(at) => self.table.complete(now, self.claims.swap_remove(at).1),
            Step::Release(at) => self.table.release(self.claims.swap_remove(at).1),
            Step::Leave => self.table.leave(now),
        }
        Outcome::Done
    }

    fn attempted(attempt: Attempt<Key>) -> Outcome {
        match attempt {
            Attempt::Granted(key) => Outcome::Granted(key),
            Attempt::Pending => Outcome::Pending,
            Attempt::Repeated(refusal) => Outcome::Repeated(refusal),
        }
    }

    /// The model's part of [`Self::play`], from the claims `held` before the step; `seen` are the
    /// table's events and `due` becomes the model's.
    fn expect(
        &mut self,
        step: Step,
        fresh: SessionId,
        held: &[SessionId],
        seen: &[Told],
        due: &mut Vec<Told>,
    ) -> Outcome {
        let now = self.now;
        let model = &mut self.model;
        match step {
            Step::Stall(_) => {}
            Step::Pass(_) => *due = model.pass(now, seen),
            Step::Connect(who) => {
                let opened = model.connect(now, fresh, who, SocketId(self.sockets));
                return Outcome::of(opened, |show| {
                    due.push(show);
                    Outcome::Done
                });
            }
            Step::Disconnect(socket) => model.disconnect(socket),
            Step::Begin(id, who, key) => {
                return Outcome::of(model.begin(now, id, who, key), |pause| {
                    due.extend(pause);
                    Outcome::Done
                });
            }
            Step::Attempt(id, who, digest, key) => {
                return Outcome::of(model.attempt(now, id, who, digest, key), Self::attempted);
            }
            Step::Refuse(id, digest, refusal) => model.refuse(id, digest, refusal),
            Step::Claim(id, who) => return Outcome::of(model.claim(id, who), |()| Outcome::Done),
            Step::Complete(at) => *due = model.complete(now, held[at]),
            Step::Release(at) => model.release(held[at]),
            Step::Leave => *due = model.leave(now),
        }
        Outcome::Done
    }

    /// Counts what happened and asserts the invariants.
    fn watch(&mut self, step: Step, seen: &Outcome, events: &[Told], held: &[SessionId]) {
        if let Some(kind) = seen.kind() {
            *self.tally.entry(kind).or_default() += 1;
        }
        let granted = matches!(
            seen,
            Outcome::Done | Outcome::Granted(_) | Outcome::Pending | Outcome::Repeated(_)
        );
        let done = match step {
            Step::Complete(at) => Some(held[at]),
            _ => None,
        };
        match step {
            Step::Begin(id, ..) | Step::Attempt(id, ..) | Step::Claim(id, _) => {
                assert!(!granted || !self.witness.dead.contains(&id), "{step:?} on a dead id");
            }
            Step::Disconnect(socket) => {
                self.witness.disconnected(socket);
                self.open.retain(|other| *other != socket);
            }
            Step::Connect(_) => {
                self.open.extend(granted.then_some(SocketId(self.sockets)));
                self.sockets += 1;
            }
            Step::Refuse(_, _, refusal) if refusal.status() >= 500 => {
                *self.tally.entry("server fault").or_default() += 1;
            }
            _ => {}
        }
        if let Step::Attempt(id, _, digest, _) = step
            && granted
        {
            self.bodies.push((id, digest));
        }
        let held: Vec<_> = held.iter().copied().filter(|id| Some(*id) != done).collect();
        for (socket, event) in events {
            *self.tally.entry(kind(event)).or_default() += 1;
            self.witness.event(*socket, *event, &held);
            if let Event::Show(id) = event {
                let shown = self.model.sessions.iter().find(|s| s.socket == Some(*socket));
                self.ids.push((*id, shown.expect("a code has its session").user));
            }
        }
        if let Some(id) = done {
            let paused = |socket: &SocketId| self.witness.shows.get(socket) == Some(&id);
            assert!(!self.open.iter().any(paused), "{id} is complete and its socket not told");
            self.witness.dead.insert(id);
        }
    }

    /// The server leaves: claims end one way or the other, and then nothing must be left.
    pub fn end(&mut self) {
        self.play(Step::Leave);
        while !self.claims.is_empty() {
            let at = self.held();
            let release = self.rng.random_bool(0.3);
            self.play(if release { Step::Release(at) } else { Step::Complete(at) });
        }
        self.play(Step::Pass(RULES.paused));
        self.play(Step::Pass(RULES.linger));
        assert!(self.table.is_empty(), "sessions outlive their server");
        assert_eq!(self.table.poll_timeout(), None, "a deadline outlives its server");
        let cut: Vec<_> = self.open.iter().filter(|s| !self.witness.gone.contains(s)).collect();
        assert!(cut.is_empty(), "{cut:?} were neither closed nor cut");
    }
}
