//! Many sockets through rotations: who is lost, what each costs, how late its codes change.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use crate::Done;
use crate::gateway::{Gateway, Installation, user};
use crate::http::Http;
use crate::process::Process;
use crate::report::{Report, Target, quantile};
use crate::websocket::{Kind, WebSocket};

const SOCKETS: usize = 10_000;
const ROTATIONS: usize = 3;
const SLEEP: Duration = Duration::from_secs(15);
/// How many open sockets at once.
const HANDS: usize = 8;
/// How many sockets one address opens.
const AN_ADDRESS: usize = 200;
/// After so long without the rotation that is due a socket counts as lost.
const LOST: Duration = Duration::from_secs(10);

pub fn run(installation: &Installation, report: &mut Report) -> Done {
    let held = hold(installation, SOCKETS, ROTATIONS)?;
    let name = match held.sockets {
        SOCKETS => "sockets held",
        _ => "sockets held, as many as this machine carries",
    };
    report.add("hold", name, held.sockets as f64, "", Target::None);
    report.add("hold", "lost", held.lost as f64, "", Target::AtMost(0.0));
    let kib = held.resident / held.sockets as f64 / 1024.0;
    report.add("hold", "resident a socket, beyond idle", kib, "KiB", Target::AtMost(18.0));
    let late = |share| quantile(held.lateness.clone(), share) * 1e3;
    report.add("hold", "rotation lateness, median", late(0.5), "ms", Target::None);
    report.add("hold", "rotation lateness, p99", late(0.99), "ms", Target::AtMost(25.0));
    let thousand = held.rotation * 1e3;
    report.add("hold", "CPU of 1,000 rotations", thousand, "s", Target::AtMost(0.08));
    let quiet = held.quiet * 1e2;
    report.add("hold", "CPU between rotations", quiet, "% of a core", Target::AtMost(0.1));
    Ok(())
}

/// What a hold has shown.
pub struct Held {
    pub sockets: usize,
    pub lost: usize,
    /// Bytes beyond the idle server, at the end.
    pub resident: f64,
    /// Seconds, of each rotation of each socket.
    pub lateness: Vec<f64>,
    /// Seconds of CPU for one rotation.
    pub rotation: f64,
    /// The share of a core that the server took while nothing was due.
    pub quiet: f64,
}

/// Holds so many sockets, or as many as fit.
pub fn hold(installation: &Installation, sockets: usize, rotations: usize) -> Done<Held> {
    let changes = (rotations + 2).to_string();
    let settings = [
        ("GATEWAY_LIMITS_MAX_CONNECTIONS", sockets.to_string()),
        ("GATEWAY_SYNC_SESSION_SLEEP_TIMEOUT", SLEEP.as_secs().to_string()),
        ("GATEWAY_SYNC_SESSION_CHANGE_LIMIT", changes),
    ];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let (gateway, _) = installation.start(&settings)?;
    let sockets = sockets.min(gateway.sockets_that_fit()?);
    // What the first ones take for all.
    drop(open(gateway.api, 100)?);
    thread::sleep(Duration::from_secs(1));
    let idle = gateway.process.resident()?;
    let begun = Instant::now();
    let open = open(gateway.api, sockets)?;
    let opened = Instant::now();
    eprintln!("  {sockets} sockets open after {:.1} s", (opened - begun).as_secs_f64());
    let mut watch = Watch { gateway: &gateway, open, lateness: Vec::new() };
    watch.hold(idle, begun, opened, rotations)
}

/// A socket with the moment of its last code, and how many codes have come.
struct Open {
    socket: WebSocket,
    last: Instant,
    changes: usize,
    lost: bool,
}

/// Opens sockets, a few at once.
fn open(api: SocketAddr, number: usize) -> Done<Vec<Open>> {
    let some = |hand: usize| {
        let mut http = Http::new(Ipv4Addr::LOCALHOST, api)?;
        let request = Http::request("GET", &format!("/v2/sync/users/{}", user(hand)), "");
        let mut opened = Vec::new();
        for n in (hand..number).step_by(HANDS) {
            let url = std::str::from_utf8(http.expect(&request)?)?;
            let [.., high, low] = (n / AN_ADDRESS + 1).to_be_bytes();
            let mut socket = WebSocket::open(Ipv4Addr::new(127, 2, high, low), url)?;
            socket.text()?;
            let last = Instant::now();
            socket.stream.set_nonblocking(true)?;
            opened.push(Open { socket, last, changes: 0, lost: false });
        }
        Done::Ok(opened)
    };
    let some = &some;
    thread::scope(|scope| {
        let hands =
            (0..HANDS).map(|hand| thread::Builder::new().spawn_scoped(scope, move || some(hand)));
        let hands = hands.collect::<Result<Vec<_>, _>>()?;
        let mut all = Vec::new();
        for hand in hands {
            all.extend(hand.join().map_err(|_| "a client panicked")??);
        }
        Ok(all)
    })
}

struct Watch<'a> {
    gateway: &'a Gateway,
    open: Vec<Open>,
    lateness: Vec<f64>,
}

impl Watch<'_> {
    fn hold(&mut self, idle: u64, begun: Instant, opened: Instant, rotations: usize) -> Done<Held> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (n, open) in self.open.iter().enumerate() {
            let data = epoll::EventData::new_u64(u64::try_from(n)?);
            epoll::add(&poll, open.socket.stream.as_fd(), data, epoll::EventFlags::IN)?;
        }
        let process = &self.gateway.process;
        // Codes and pings are due in a train as long as the opening was; before the first train
        // nothing is.
        let (from, to) = (opened + Duration::from_secs(1), begun + SLEEP - SLEEP / 30);
        let quiet = (from < to).then(|| self.quiet(&poll, process, from, to)).transpose()?;
        let before = process.threads()?;
        self.until_all_have(&poll, 1, opened + SLEEP + LOST)?;
        let train = process.threads()?.since(&before);
        eprintln!("  first rotation done");
        let last = SLEEP * u32::try_from(rotations)? + LOST;
        self.until_all_have(&poll, rotations, opened + last)?;
        let resident = process.resident()?.saturating_sub(idle);
        let lost = self.open.iter().filter(|open| open.lost || open.changes < rotations).count();
        Ok(Held {
            sockets: self.open.len(),
            lost,
            resident: resident as f64,
            lateness: std::mem::take(&mut self.lateness),
            rotation: train.as_secs_f64() / self.open.len() as f64,
            quiet: quiet.unwrap_or(f64::NAN),
        })
    }

    /// The server's share of a core while nothing is due.
    fn quiet(
        &mut self,
        poll: &impl std::os::fd::AsFd,
        process: &Process,
        from: Instant,
        to: Instant,
    ) -> Done<f64> {
        self.until(poll, from)?;
        let (before, from) = (process.threads()?, Instant::now());
        self.until(poll, to)?;
        let taken = process.threads()?.since(&before);
        Ok(taken.as_secs_f64() / from.elapsed().as_secs_f64())
    }

    fn until_all_have(
        &mut self,
        poll: &impl std::os::fd::AsFd,
        changes: usize,
        deadline: Instant,
    ) -> Done {
        while Instant::now() < deadline
            && self.open.iter().any(|open| !open.lost && open.changes < changes)
        {
            self.until(poll, (Instant::now() + Duration::from_millis(100)).min(deadline))?;
        }
        Ok(())
    }

    /// Reads what comes until then.
    fn until(&mut self, poll: &impl std::os::fd::AsFd, then: Instant) -> Done {
        let mut events = Vec::with_capacity(256);
        loop {
            let left = then.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            events.clear();
            let left = Timespec::try_from(left)?;
            let events_buffer = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(poll, events_buffer, Some(&left)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                self.read(usize::try_from(event.data.u64())?);
            }
        }
    }

    fn read(&mut self, n: usize) {
        let (open, lateness) = (&mut self.open[n], &mut self.lateness);
        let now = Instant::now();
        let read = open.socket.poll(|kind| match kind {
            Kind::Text => {
                let late = now.saturating_duration_since(open.last + SLEEP);
                lateness.push(late.as_secs_f64());
                open.last = now;
                open.changes += 1;
            }
            Kind::Close => open.lost = true,
            Kind::Ping => {}
        });
        open.lost |= read.is_err();
    }
}
