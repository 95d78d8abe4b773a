//! How long things took, in buckets: what a quantile is reckoned from.

use std::time::Duration;

/// The most buckets that a histogram has, the last one without a bound counted.
const MOST: usize = 15;

/// For what a phone waits for, in seconds: the apps give up after 10.
pub const WAITS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Durations, counted by size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: [u64; MOST],
    sum: f64,
}

impl Histogram {
    /// Buckets up to these bounds in seconds, which rise, and one for what is beyond.
    pub const fn new(bounds: &'static [f64]) -> Self {
        assert!(bounds.len() < MOST);
        Histogram { bounds, counts: [0; MOST], sum: 0.0 }
    }

    /// Counts one.
    pub fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.counts[self.bounds.partition_point(|bound| *bound < seconds)] += 1;
        self.sum += seconds;
    }

    /// Each bound with how many were not above it; the last is without a bound, and counts all.
    pub fn cumulated(&self) -> impl Iterator<Item = (Option<f64>, u64)> {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        bounds.zip(self.counts).scan(0, |sum, (bound, count)| {
            *sum += count;
            Some((bound, *sum))
        })
    }

    /// All of them together, in seconds.
    pub fn sum(&self) -> f64 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_counts_in_every_bucket_that_holds_it() {
        let mut histogram = Histogram::new(&[0.5, 1.0]);
        for millis in [100, 500, 501, 1000, 7000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let seen: Vec<_> = histogram.cumulated().collect();
        assert_eq!(seen, [(Some(0.5), 2), (Some(1.0), 4), (None, 5)]);
        assert!((histogram.sum() - 9.101).abs() < 1e-9);
        assert_eq!(Histogram::new(WAITS).cumulated().count(), MOST);
    }
}
