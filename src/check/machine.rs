//! How many connections this machine carries, under the limits of whoever runs the command.

use crate::capacity::Capacity;
use crate::config::Config;
use crate::finding::Finding;
use crate::machine::{limits, raise_descriptors};

/// The limit that gives way first.
pub fn judge(config: &Config) -> Option<Finding> {
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
