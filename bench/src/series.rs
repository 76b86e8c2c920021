//! A run second by second.
//!
//! Every second a shard hands what it has counted to the controller and goes on with an empty tally; so a request is
//! counted once, the total is the sum of the seconds, and nothing is copied while it measures. Of a second that is over
//! its figures are kept and its histogram in a few hundred bytes.

use crate::{hdr, tally::Tally};
use std::time::Duration;

/// How long a point of the series is.
pub(crate) const STEP: Duration = Duration::from_secs(1);
/// What comes after a week of points is in the total only.
const POINTS_MAX: usize = 7 * 24 * 3600;

/// All shards' figures of one second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Point {
    /// When it ended, counted from the beginning of the measured time.
    pub(crate) end: Duration,
    /// How long it was.
    pub(crate) span: Duration,
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    /// Both ways.
    pub(crate) bytes: u64,
    /// In nanoseconds: p50, p99, p99.9 of what people wait for; zero where nothing was answered.
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
    /// CPU time of the shards' threads.
    pub(crate) cpu: Duration,
    /// Of the processes that the plan names; `None` where it names none.
    pub(crate) target_cpu: Option<Duration>,
    /// The histogram of what people wait for, in HdrHistogram's V2 form, compressed.
    pub(crate) histogram: Vec<u8>,
}

/// A second of which not every shard has reported.
struct Pending {
    number: usize,
    reported: usize,
    tally: Tally,
}

/// The points of the measured time in order, and the sum of everything.
pub(crate) struct Series {
    pub(crate) points: Vec<Point>,
    pub(crate) total: Tally,
    /// CPU time of each shard's thread in the measured time.
    pub(crate) shard_cpu: Vec<Duration>,
    pending: Vec<Pending>,
}

impl Series {
    pub(crate) fn new(shards: usize) -> Self {
        Self { points: Vec::new(), total: Tally::new(), shard_cpu: vec![Duration::ZERO; shards], pending: Vec::new() }
    }

    /// What a shard counted before it measured.
    pub(crate) fn add_before(&mut self, tally: &Tally) {
        self.total.merge(tally);
        self.total.cpu = Duration::ZERO;
    }

    /// What a shard counted in second `number`. Returns the point where it is complete by that; `target_cpu` is what
    /// the target has used since the last one.
    pub(crate) fn add(
        &mut self,
        shard: usize,
        number: usize,
        tally: &Tally,
        target_cpu: impl FnOnce() -> Option<Duration>,
    ) -> Option<&Point> {
        self.total.merge(tally);
        self.shard_cpu[shard] += tally.cpu;
        let place = self.pending.iter().position(|p| p.number == number).unwrap_or_else(|| {
            self.pending.push(Pending { number, reported: 0, tally: Tally::new() });
            self.pending.len() - 1
        });
        let pending = &mut self.pending[place];
        pending.tally.merge(tally);
        pending.reported += 1;
        if pending.reported < self.shard_cpu.len() {
            return None;
        }
        let pending = self.pending.swap_remove(place);
        self.complete(&pending, target_cpu())
    }

    /// The measured time is over, after so long: the last point is as long as what is left.
    pub(crate) fn finish(&mut self, measured: Duration) {
        let mut left = std::mem::take(&mut self.pending);
        left.sort_by_key(|p| p.number);
        for pending in left {
            self.complete(&pending, None);
        }
        self.points.sort_by_key(|p| p.end);
        if let Some(last) = self.points.last_mut() {
            let start = last.end - last.span;
            last.end = measured.max(start);
            last.span = last.end - start;
        }
        // What closes with nothing in it is no second.
        let is_empty = |p: &Point| p.span < STEP / 100 && p.requests + p.errors + p.bytes == 0;
        if self.points.len() > 1 && self.points.last().is_some_and(is_empty) {
            self.points.pop();
        }
    }

    fn complete(&mut self, pending: &Pending, target_cpu: Option<Duration>) -> Option<&Point> {
        if self.points.len() == POINTS_MAX {
            return None;
        }
        let tally = &pending.tally;
        let waits = tally.waits();
        let quantile = |quantile| waits.value_at_quantile(quantile);
        self.points.push(Point {
            end: STEP * (pending.number as u32 + 1),
            span: STEP,
            requests: tally.requests,
            errors: tally.errors.total(),
            bytes: tally.bytes_in + tally.bytes_out,
            p50: quantile(0.5),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: waits.max(),
            cpu: tally.cpu,
            target_cpu,
            histogram: hdr::encode(waits),
        });
        self.points.last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(count: u64) -> Tally {
        let mut tally = Tally::new();
        (0..count).for_each(|_| tally.answered(Duration::from_micros(5), None));
        tally.moved(count, count);
        tally.cpu = Duration::from_millis(count);
        tally
    }

    #[test]
    fn a_point_is_complete_with_its_last_shard() {
        let mut series = Series::new(2);
        assert!(series.add(0, 0, &answered(3), || None).is_none());
        assert!(series.add(0, 1, &answered(1), || None).is_none());
        let point = series.add(1, 0, &answered(4), || Some(Duration::from_secs(1))).expect("both have reported");
        assert_eq!((point.requests, point.bytes, point.end), (7, 14, STEP));
        assert_eq!((point.cpu, point.target_cpu), (Duration::from_millis(7), Some(Duration::from_secs(1))));
        assert_eq!((point.p50, point.p999), (5_003, 5_003), "to within a thousandth");
        assert_eq!(series.shard_cpu, [Duration::from_millis(4), Duration::from_millis(4)]);
        series.finish(Duration::from_millis(1500));
        assert_eq!((series.points.len(), series.total.requests), (2, 8));
        assert_eq!(series.points[1].span, Duration::from_millis(500));
    }

    #[test]
    fn what_came_before_is_in_the_total_only() {
        let mut series = Series::new(1);
        series.add_before(&answered(3));
        assert!(series.points.is_empty());
        assert_eq!((series.total.requests, series.shard_cpu[0]), (3, Duration::ZERO));
    }

    #[test]
    fn a_moment_that_is_left_over_is_no_point() {
        let mut series = Series::new(1);
        let _ = series.add(0, 0, &answered(3), || None);
        let _ = series.add(0, 1, &Tally::new(), || None);
        series.finish(Duration::from_millis(1001));
        assert_eq!(series.points.len(), 1);
    }
}
