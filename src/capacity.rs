//! How many connections a machine carries: its limits in, the caps of both ports out.
//!
//! Pure arithmetic; [`crate::machine`] reads the limits. A connection, on whichever port, takes a
//! descriptor, a thread, the thread's `MAPS` mappings and `MEMORY`.

/// Mappings of one thread: its stack, the stack on which an overflow is told, a guard before each.
const MAPS: u64 = 4;
/// Bytes of an idle connection: its thread's pages and buffers in the process, and about as much
/// again in the kernel (stack, task, socket, page tables).
const MEMORY: u64 = 64 << 10;

/// A limit of the machine, by the name under which administrators know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Open files of the process.
    Descriptors,
    /// Threads of the whole machine.
    Threads,
    /// Process ids of the whole machine; each thread takes one.
    ThreadIds,
    /// Threads of the service's control group.
    Tasks,
    /// Threads of the account, unless that is root.
    Processes,
    /// Mappings of the process.
    Maps,
    /// Memory of the machine, or of the service's control group, in bytes.
    Memory,
}

/// One limit as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Which one.
    pub limit: Limit,
    /// How much there is.
    pub figure: u64,
    /// What others have taken of it.
    pub used: u64,
}

/// The caps of both ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Open connections to the API.
    pub api: usize,
    /// Open sync sockets.
    pub sockets: usize,
    /// The limit that gives way first, where any is known.
    pub smallest: Option<Bound>,
}

impl Limit {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Limit::Descriptors => "RLIMIT_NOFILE",
            Limit::Threads => "kernel.threads-max",
            Limit::ThreadIds => "kernel.pid_max",
            Limit::Tasks => "pids.max",
            Limit::Processes => "RLIMIT_NPROC",
            Limit::Maps => "vm.max_map_count",
            Limit::Memory => "memory",
        }
    }

    /// What one connection takes of it.
    fn each(self) -> u64 {
        match self {
            Limit::Maps => MAPS,
            Limit::Memory => MEMORY,
            _ => 1,
        }
    }

    /// What the server takes of it beside its connections.
    fn reserve(self) -> u64 {
        match self {
            Limit::Maps => 1000,
            Limit::Memory => 64 << 20,
            Limit::Descriptors => 32,
            _ => 16,
        }
    }

    /// How an administrator raises it to `figure`.
    pub fn remedy(self, figure: u64) -> String {
        match self {
            Limit::Descriptors => {
                format!("LimitNOFILE={figure} in the unit, or ulimit -Hn {figure}")
            }
            Limit::Threads | Limit::ThreadIds | Limit::Maps => {
                format!("sysctl -w {}={figure}", self.name())
            }
            Limit::Tasks => format!("TasksMax={figure} in the unit"),
            Limit::Processes => format!("LimitNPROC={figure} in the unit, or ulimit -Hu {figure}"),
            Limit::Memory => {
                format!("{} MiB free, and MemoryMax= of the unit where it is set", figure >> 20)
            }
        }
    }
}

impl Bound {
    /// How many connections fit, on both ports together.
    pub fn fits(&self) -> u64 {
        let free = self.figure.saturating_sub(self.used);
        free.saturating_sub(self.limit.reserve()) / self.limit.each()
    }

    /// The figure under which `asked` connections on each port fit.
    pub fn wanted(&self, asked: usize) -> u64 {
        let both = u64::try_from(asked).unwrap_or(u64::MAX).saturating_mul(2);
        let taken = both.saturating_mul(self.limit.each());
        taken.saturating_add(self.limit.reserve()).saturating_add(self.used)
    }
}

impl Capacity {
    /// The caps where `asked` connections are wanted on each port. Where the machine does not
    /// carry that many twice, the API gives way first, for a phone's connection is short and a
    /// socket stays; a quarter of what fits is left to it.
    pub fn of(bounds: &[Bound], asked: usize) -> Self {
        let smallest = bounds.iter().min_by_key(|bound| bound.fits()).copied();
        let fits = smallest.map_or(u64::MAX, |bound| bound.fits());
        let fits = usize::try_from(fits).unwrap_or(usize::MAX);
        let api = fits.saturating_sub(asked).clamp((fits / 4).min(asked), asked);
        let sockets = (fits - api).min(asked);
        Capacity { api: api.max(1), sockets: sockets.max(1), smallest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(limit: Limit, figure: u64, used: u64) -> Bound {
        Bound { limit, figure, used }
    }

    #[test]
    fn a_limit_carries_what_the_server_and_others_leave_of_it() {
        let check = |limit, figure, used, expected| {
            assert_eq!(bound(limit, figure, used).fits(), expected, "{limit:?} {figure}");
        };
        check(Limit::Descriptors, 1024, 0, 992);
        check(Limit::Descriptors, 20_032, 0, 20_000);
        check(Limit::Descriptors, 20, 0, 0);
        check(Limit::Threads, 15_000, 300, 14_684);
        check(Limit::ThreadIds, 32_768, 300, 32_452);
        check(Limit::Tasks, 4_915, 20, 4_879);
        check(Limit::Tasks, 10, 20, 0);
        check(Limit::Processes, u64::MAX, 0, u64::MAX - 16);
        check(Limit::Maps, 65_530, 0, 16_132);
        check(Limit::Memory, 1 << 30, 300 << 20, (1024 - 300 - 64) << 4);
    }

    #[test]
    fn the_api_gives_way_before_the_sockets() {
        let check = |fits: u64, asked, api, sockets| {
            let bounds = [bound(Limit::Tasks, fits + 16, 0), bound(Limit::Threads, 1 << 40, 0)];
            let expected = Capacity { api, sockets, smallest: Some(bounds[0]) };
            assert_eq!(Capacity::of(&bounds, asked), expected, "{fits} {asked}");
        };
        check(50_000, 10_000, 10_000, 10_000);
        check(20_000, 10_000, 10_000, 10_000);
        check(16_132, 10_000, 6_132, 10_000);
        check(13_333, 10_000, 3_333, 10_000);
        check(12_000, 10_000, 3_000, 9_000);
        check(4_000, 10_000, 1_000, 3_000);
        check(100, 60, 40, 60);
        check(8, 1, 1, 1);
        check(1, 10_000, 1, 1);
        check(0, 10_000, 1, 1);
    }

    #[test]
    fn without_a_known_limit_the_settings_hold() {
        let expected = Capacity { api: 7, sockets: 7, smallest: None };
        assert_eq!(Capacity::of(&[], 7), expected);
    }

    #[test]
    fn the_figure_wanted_carries_what_was_asked() {
        for limit in [
            Limit::Descriptors,
            Limit::Threads,
            Limit::ThreadIds,
            Limit::Tasks,
            Limit::Processes,
            Limit::Maps,
            Limit::Memory,
        ] {
            let small = bound(limit, 0, 500);
            let raised = bound(limit, small.wanted(10_000), 500);
            assert_eq!(raised.fits(), 20_000, "{limit:?}");
            let capacity = Capacity::of(&[raised], 10_000);
            assert_eq!((capacity.api, capacity.sockets), (10_000, 10_000));
            assert!(limit.remedy(20_500).contains(if limit == Limit::Memory {
                "0 MiB"
            } else {
                "=20500"
            }));
        }
    }
}
