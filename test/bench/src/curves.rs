//! How figures grow: `hold` over the number of sockets, handshakes over the number of phones.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::Done;
use crate::chart::{Panel, picture};
use crate::gateway::Installation;
use crate::get::crowd;
use crate::handshake::{Form, Phones};
use crate::hold::hold;
use crate::report::quantile;

/// The last is cut to what the machine carries.
const SOCKETS: [usize; 5] = [1_000, 2_000, 5_000, 10_000, 20_000];
const PHONES: [u8; 7] = [1, 2, 4, 8, 16, 32, 64];
const ROUND: Duration = Duration::from_secs(3);

/// Draws the README's curves into a folder.
pub fn run(installation: &Installation, folder: &str) -> Done {
    let folder = Path::new(folder);
    fs::write(folder.join("curve-handshake.svg"), handshakes(installation)?)?;
    fs::write(folder.join("curve-hold.svg"), sockets(installation)?)?;
    Ok(())
}

fn sockets(installation: &Installation) -> Done<String> {
    let (mut memory, mut middle, mut late) = (Vec::new(), Vec::new(), Vec::new());
    for sockets in SOCKETS {
        let held = hold(installation, sockets, 1)?;
        let (number, mib) = (held.sockets as f64, held.resident / f64::from(1 << 20));
        let [p50, p99] = [0.5, 0.99].map(|share| quantile(held.lateness.clone(), share) * 1e3);
        println!(
            "hold sockets={number} lost={} mib={mib:.1} p50_ms={p50:.2} p99_ms={p99:.2}",
            held.lost
        );
        memory.push((number, mib));
        middle.push((number, p50));
        late.push((number, p99));
        if held.sockets < sockets {
            break;
        }
    }
    Ok(picture(&[
        Panel {
            title: "Resident memory beyond the idle server, MiB",
            x: "sockets",
            factors: false,
            curves: vec![("", memory)],
        },
        Panel {
            title: "Lateness of a rotation, ms",
            x: "sockets",
            factors: false,
            curves: vec![("99 of 100", late), ("half", middle)],
        },
    ]))
}

fn handshakes(installation: &Installation) -> Done<String> {
    let (gateway, _) = installation.start(&[])?;
    let phones = Phones::new(installation)?;
    let mut forms =
        [("two-step", Form::TwoStep, Vec::new()), ("one-step", Form::OneStep, Vec::new())];
    let mut cpu = Vec::new();
    for number in PHONES {
        let before = gateway.process.cpu()?;
        let mut sum = 0;
        for (name, form, curve) in &mut forms {
            let (done, took) = crowd(number, ROUND, &|n| phones.phone(n, gateway.api, *form))?;
            let rate = done as f64 / took.as_secs_f64();
            println!("handshake phones={number} form={name} a_second={rate:.0}");
            curve.push((f64::from(number), rate));
            sum += done;
        }
        let used = (gateway.process.cpu()? - before).as_secs_f64();
        cpu.push((f64::from(number), used / sum as f64 * 1e3));
    }
    phones.check()?;
    Ok(picture(&[
        Panel {
            title: "Handshakes a second",
            x: "phones at once",
            factors: true,
            curves: forms.into_iter().map(|(name, _, curve)| (name, curve)).collect(),
        },
        Panel {
            title: "CPU of the server for one, ms",
            x: "phones at once",
            factors: true,
            curves: vec![("both forms", cpu)],
        },
    ]))
}
