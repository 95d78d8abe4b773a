//! Session URLs a second over keep-alive, against hyper answering the same bytes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Done;
use crate::gateway::{Installation, user};
use crate::http::Http;
use crate::process::Process;
use crate::reference::Reference;
use crate::report::{Report, Target, median};

pub const CLIENTS: u8 = 16;
const ROUNDS: usize = 8;
const ROUND: Duration = Duration::from_millis(1500);

pub fn run(installation: &Installation, report: &mut Report) -> Done {
    let (gateway, _) = installation.start(&[])?;
    let reference = Reference::start()?;
    let ask = |_, api| client(api);
    let duel = duel((&gateway.process, gateway.api), (&reference.process, reference.api), &ask)?;
    duel.tell("get", report, ["gateway", "hyper", "share of hyper", "gateway CPU"], "a second");
    Ok(())
}

/// One keep-alive connection; each call is one request.
fn client(api: SocketAddr) -> Done<impl FnMut() -> Done> {
    let mut http = Http::new(Ipv4Addr::LOCALHOST, api)?;
    let request = Http::request("GET", &format!("/v2/sync/users/{}", user(0)), "");
    Ok(move || http.expect(&request).map(drop))
}

/// What came of two servers that took turns.
pub struct Duel {
    /// Done a second, in each round.
    ours: Vec<f64>,
    theirs: Vec<f64>,
    /// Seconds of our CPU for each.
    cpu: Vec<f64>,
}

/// Lets two servers take turns, each asked by all clients at once; `client` makes the n-th client
/// of a server.
pub fn duel<C: FnMut() -> Done>(
    ours: (&Process, SocketAddr),
    theirs: (&Process, SocketAddr),
    client: &(impl Fn(u8, SocketAddr) -> Done<C> + Sync),
) -> Done<Duel> {
    let mut duel = Duel { ours: Vec::new(), theirs: Vec::new(), cpu: Vec::new() };
    // The first turn of each warms it up.
    for round in 0..=ROUNDS {
        // Who begins changes, so that none has the better half of a change in the machine's mood.
        let order = if round % 2 == 0 { [true, false] } else { [false, true] };
        for own in order {
            let (process, api) = if own { ours } else { theirs };
            let before = process.cpu()?;
            let (number, took) = crowd(CLIENTS, ROUND, &|n| client(n, api))?;
            let cpu = process.cpu()? - before;
            if round == 0 {
                continue;
            }
            let rate = number as f64 / took.as_secs_f64();
            if own {
                duel.ours.push(rate);
                duel.cpu.push(cpu.as_secs_f64() / number as f64);
            } else {
                duel.theirs.push(rate);
            }
        }
        if let (Some(ours), Some(theirs)) = (duel.ours.last(), duel.theirs.last()) {
            eprintln!("  round {round}: {ours:.0} a second, {theirs:.0} the other");
        }
    }
    Ok(duel)
}

impl Duel {
    pub fn tell(
        self,
        mode: &'static str,
        report: &mut Report,
        [ours, theirs, share, cpu]: [&'static str; 4],
        unit: &'static str,
    ) {
        let ratios = self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| ours / theirs);
        let ratio = median(ratios.collect());
        report.add(mode, ours, median(self.ours), unit, Target::None);
        report.add(mode, theirs, median(self.theirs), unit, Target::None);
        report.add(mode, cpu, median(self.cpu) * 1e6, "µs each", Target::None);
        report.add(mode, share, ratio, "(median of the rounds)", Target::AtLeast(0.8));
    }
}

/// Many clients at once, for a time; how often they were done, and how long that took.
pub fn crowd<C: FnMut() -> Done>(
    clients: u8,
    time: Duration,
    client: &(impl Fn(u8) -> Done<C> + Sync),
) -> Done<(usize, Duration)> {
    let over = AtomicBool::new(false);
    let begun = Instant::now();
    let work = |n| {
        let mut once = client(n)?;
        let mut done = 0;
        while !over.load(Ordering::Relaxed) {
            once()?;
            done += 1;
        }
        Done::Ok(done)
    };
    let number = thread::scope(|scope| {
        let threads = (0..clients).map(|n| {
            let work = &work;
            thread::Builder::new().spawn_scoped(scope, move || work(n))
        });
        let threads = threads.collect::<Result<Vec<_>, _>>()?;
        thread::sleep(time);
        over.store(true, Ordering::Relaxed);
        let mut sum = 0;
        for thread in threads {
            sum += thread.join().map_err(|_| "a client panicked")??;
        }
        Done::Ok(sum)
    })?;
    Ok((number, begun.elapsed()))
}
