//! The limits of this machine and of the service on it, as the kernel tells them.
//!
//! Reads and raises; what the limits carry is [`crate::capacity`]'s. A limit that cannot be read
//! bounds nothing here: the kernel will say so when it is met.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};

use crate::capacity::{Bound, Limit};

/// Lets the process open as many files as it may: the soft limit is 1024 by custom, for programs
/// that use select(2).
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        log::warn!("the limit of descriptors stays as it is cause={error}");
    }
}

/// Every limit that bounds the number of connections.
pub fn limits() -> Vec<Bound> {
    let mut found = files(Path::new("/"));
    let mut own = |limit, resource| {
        // `None` is no limit.
        let figure = getrlimit(resource).current;
        found.extend(figure.map(|figure| Bound { limit, figure, used: 0 }));
    };
    own(Limit::Descriptors, Resource::Nofile);
    // setrlimit(2): it does not hold for root.
    if !geteuid().is_root() {
        own(Limit::Processes, Resource::Nproc);
    }
    found
}

/// The limits that stand in files below `root`.
fn files(root: &Path) -> Vec<Bound> {
    let kernel = |name: &str| number(&root.join("proc/sys").join(name));
    let threads = threads(root);
    let mut found = Vec::new();
    let mut add = |limit, figure: Option<u64>, used| {
        found.extend(figure.map(|figure| Bound { limit, figure, used }));
    };
    add(Limit::Threads, kernel("kernel/threads-max"), threads);
    add(Limit::ThreadIds, kernel("kernel/pid_max"), threads);
    add(Limit::Maps, kernel("vm/max_map_count"), 0);
    let machine = fields(&root.join("proc/meminfo"));
    let kib = |name| field(&machine, name).map(|kib| kib.saturating_mul(1024));
    let total = kib("MemTotal:");
    let free = kib("MemAvailable:").or(total).unwrap_or(0);
    add(Limit::Memory, total, total.unwrap_or(0).saturating_sub(free));
    for group in groups(root, "pids") {
        let used = number(&group.join("pids.current")).unwrap_or(0);
        add(Limit::Tasks, number(&group.join("pids.max")), used);
    }
    for group in groups(root, "memory") {
        add_memory(&group, &mut add);
    }
    found
}

/// A control group's memory, under the names of version 2 and of version 1; what the kernel can
/// take back from the cache of files counts as free.
fn add_memory(group: &Path, add: &mut impl FnMut(Limit, Option<u64>, u64)) {
    let stat = fields(&group.join("memory.stat"));
    for (most, current, cache) in [
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ] {
        let used = number(&group.join(current)).unwrap_or(0);
        let used = used.saturating_sub(field(&stat, cache).unwrap_or(0));
        add(Limit::Memory, number(&group.join(most)), used);
    }
}

/// Threads of the whole machine now (proc_loadavg(5)).
fn threads(root: &Path) -> u64 {
    let text = fs::read_to_string(root.join("proc/loadavg")).unwrap_or_default();
    let count = text.split_whitespace().nth(3).and_then(|field| field.split('/').nth(1));
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// The folders of the control group that bounds `controller`, and of all groups around it, whose
/// limits hold as well (cgroups(7)). In a container the path told may lie outside; its own limits
/// are then at the root.
fn groups(root: &Path, controller: &str) -> Vec<PathBuf> {
    let told = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut found = Vec::new();
    for line in told.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let home = match controllers {
            "" => PathBuf::from("sys/fs/cgroup"),
            named if named.split(',').any(|name| name == controller) => {
                Path::new("sys/fs/cgroup").join(named)
            }
            _ => continue,
        };
        let own = Path::new(path.trim_start_matches('/'));
        found.extend(own.ancestors().map(|group| root.join(&home).join(group)));
    }
    found
}

/// The number in a file of one; `max`, or a file that is not there, is none.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn fields(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().map(str::split_whitespace);
    let mut line = lines.find(|line| line.clone().next() == Some(name))?;
    line.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root with these files, which goes with its test.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("machine-{}-{name}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Root(root)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn check(name: &str, planted: &[(&str, &str)], expected: &[(Limit, u64, u64)]) {
        let root = Root::new(name, planted);
        let expected: Vec<_> =
            expected.iter().map(|&(limit, figure, used)| Bound { limit, figure, used }).collect();
        assert_eq!(files(&root.0), expected, "{name}");
    }

    #[test]
    fn the_limits_of_the_machine() {
        let planted = [
            ("proc/sys/kernel/threads-max", "15377\n"),
            ("proc/sys/kernel/pid_max", "32768\n"),
            ("proc/sys/vm/max_map_count", "65530\n"),
            ("proc/loadavg", "0.00 0.01 0.05 2/117 4711\n"),
            ("proc/meminfo", "MemTotal: 2000 kB\nMemFree: 100 kB\nMemAvailable: 1500 kB\n"),
        ];
        let expected = [
            (Limit::Threads, 15_377, 117),
            (Limit::ThreadIds, 32_768, 117),
            (Limit::Maps, 65_530, 0),
            (Limit::Memory, 2000 << 10, 500 << 10),
        ];
        check("whole", &planted, &expected);
        check("none", &[("proc/version", "")], &[]);
    }

    #[test]
    fn the_limits_of_a_service_and_of_the_slice_around_it() {
        let slice = "sys/fs/cgroup/system.slice";
        let own = format!("{slice}/gateway.service");
        let planted = [
            ("proc/self/cgroup", "0::/system.slice/gateway.service\n"),
            (&format!("{own}/pids.max"), "4915\n"),
            (&format!("{own}/pids.current"), "7\n"),
            (&format!("{own}/memory.max"), "max\n"),
            (&format!("{slice}/pids.max"), "max\n"),
            (&format!("{slice}/memory.max"), "1000000\n"),
            (&format!("{slice}/memory.current"), "300000\n"),
            (&format!("{slice}/memory.stat"), "anon 1\ninactive_file 100000\n"),
        ];
        let expected = [(Limit::Tasks, 4915, 7), (Limit::Memory, 1_000_000, 200_000)];
        check("v2", &planted, &expected);
    }

    #[test]
    fn the_limits_of_a_container_under_version_1() {
        let planted = [
            ("proc/self/cgroup", "9:pids:/docker/1f\n4:cpu,memory:/docker/1f\n0::/\n"),
            ("sys/fs/cgroup/pids/pids.max", "100\n"),
            ("sys/fs/cgroup/pids/pids.current", "3\n"),
            ("sys/fs/cgroup/cpu,memory/memory.limit_in_bytes", "5000\n"),
            ("sys/fs/cgroup/cpu,memory/memory.usage_in_bytes", "900\n"),
            ("sys/fs/cgroup/cpu,memory/memory.stat", "total_inactive_file 1000\n"),
        ];
        check("v1", &planted, &[(Limit::Tasks, 100, 3), (Limit::Memory, 5000, 0)]);
    }
}
