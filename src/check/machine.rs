//! This machine: its clock, and how many connections it carries under the limits of whoever runs
//! the command.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::capacity::Capacity;
use crate::config::Config;
use crate::finding::Finding;
use crate::machine::{limits, raise_descriptors};

/// 2026-11-22, which no clock was before while this program was at work.
const MADE: u64 = 1_795_305_600;

/// The clock, and the limit that gives way first.
pub fn judge(config: &Config) -> Vec<Finding> {
    clock(now()).into_iter().chain(carries(config)).collect()
}

/// The seconds since 1970 by this machine's clock.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// Certificates and limits are judged by it, and a machine without a battery starts in 1970.
fn clock(now: u64) -> Option<Finding> {
    (now < MADE).then(|| {
        Finding::warning(
            "the clock of this machine is before the day that this program was made",
            "let it follow the network's time: timedatectl set-ntp true",
        )
    })
}

fn carries(config: &Config) -> Option<Finding> {
    raise_descriptors();
    let asked = config.limits.max_connections;
    let Capacity { api, sockets, smallest } = Capacity::of(&limits(), asked);
    let smallest = smallest?;
    let name = smallest.limit.name();
    Some(if api < asked || sockets < asked {
        Finding::warning(
            format!(
                "[limits] max_connections = {asked} does not fit: {api} on the API's port and \
                 {sockets} sockets do, for {name} is {}, of which {} are taken",
                smallest.figure, smallest.used
            ),
            format!(
                "{}; or set max_connections = {}",
                smallest.limit.remedy(smallest.wanted(asked)),
                api.min(sockets)
            ),
        )
    } else {
        Finding::good(format!(
            "[limits] max_connections = {asked} fits on each port; {name} gives way first, at {}",
            smallest.fits()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_without_a_battery_is_told() {
        assert!(clock(86_400).is_some());
        assert_eq!(clock(MADE), None);
        assert_eq!(clock(now()), None);
    }
}
