//! What the kernel tells of this process (proc(5)).

use std::fs;

use crate::metrics::Process;

/// The kernel's clock ticks a second as processes see it, on every Linux.
const TICKS: f64 = 100.0;

/// As it is now.
pub fn read() -> Process {
    let file = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let (status, limits, stat) = (file("status"), file("limits"), file("stat"));
    Process {
        resident: number(&status, "VmRSS:").map(|kibibytes| kibibytes * 1024),
        threads: number(&status, "Threads:"),
        descriptors: fs::read_dir("/proc/self/fd").ok().map(|open| open.count() as u64),
        most_descriptors: number(&limits, "Max open files"),
        processor: processor(&stat),
    }
}

/// The first number behind a name at the start of a line.
fn number(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The 14th and 15th fields, counted behind the name in parentheses, which may hold anything.
fn processor(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_this_process() {
        let process = read();
        assert!(process.resident.unwrap() > 1 << 20);
        assert!(process.threads.unwrap() >= 1 && process.descriptors.unwrap() >= 3);
        assert!(process.processor.is_some());
    }

    #[test]
    fn what_the_kernel_says_is_found_by_its_name() {
        assert_eq!(number("Name:\tx\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12));
        let limits = "Limit  Soft\nMax open files            1024                 524288   files\n";
        assert_eq!(number(limits, "Max open files"), Some(1024));
        assert_eq!(number("Max open files   unlimited\n", "Max open files"), None);
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0";
        assert_eq!(processor(stat), Some(2.0));
        assert_eq!(processor(""), None);
    }
}
