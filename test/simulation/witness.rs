//! What must never happen, whatever the model says: judged from the events alone.

use std::collections::{BTreeMap, HashSet};

use swob_gateway::session::{Event, Reason, SessionId, SocketId};

#[derive(Default)]
pub struct Witness {
    /// The code that each socket shows or was paused with.
    pub shows: BTreeMap<SocketId, SessionId>,
    paused: HashSet<SocketId>,
    acknowledged: HashSet<SocketId>,
    pub gone: HashSet<SocketId>,
    /// Ids that were rotated, completed, expired or left behind.
    pub dead: HashSet<SessionId>,
}

impl Witness {
    /// `held` are the sessions whose claim somebody holds while the event leaves.
    pub fn event(&mut self, socket: SocketId, event: Event, held: &[SessionId]) {
        assert!(!self.gone.contains(&socket), "{event:?} for a socket that is gone");
        match event {
            Event::Show(id) => {
                assert!(!self.paused.contains(&socket), "{event:?} after the pause");
                assert!(!self.dead.contains(&id), "{event:?} of a dead id");
                self.dead.extend(self.shows.insert(socket, id));
            }
            Event::Pause => assert!(self.paused.insert(socket), "a second {event:?}"),
            Event::Ack => {
                assert!(self.paused.contains(&socket), "{event:?} before the pause");
                assert!(self.acknowledged.insert(socket), "a second {event:?}");
            }
            Event::Close(reason) => {
                let id = self.shows.remove(&socket).expect("a socket closes once, after a code");
                assert!(!held.contains(&id), "{event:?} while its session is claimed");
                let acknowledged = self.acknowledged.contains(&socket);
                assert_eq!(acknowledged, reason == Reason::Complete, "{event:?}");
                self.dead.insert(id);
            }
            Event::Cut => {
                assert!(!self.shows.contains_key(&socket), "{event:?} without a close");
                self.gone.insert(socket);
            }
        }
    }

    pub fn disconnected(&mut self, socket: SocketId) {
        self.gone.insert(socket);
        if let Some(id) = self.shows.remove(&socket).filter(|_| !self.paused.contains(&socket)) {
            self.dead.insert(id);
        }
    }
}
