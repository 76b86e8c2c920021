//! What is counted of requests: how many, how they ended, how long they took.
//!
//! Every label is bounded: methods by those that are known, statuses by their class, and the rest by the configuration.

use super::Record;
use crate::{
    h1::Method,
    report::{BOUNDS, LATENCY_BUCKETS, METHOD_COUNT, RequestsReport},
};
use std::{cell::Cell, time::Duration};

/// Requests of one route, or to one endpoint, on one shard.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    by: [[Cell<u64>; 5]; METHOD_COUNT],
    buckets: [Cell<u64>; BOUNDS + 1],
    sum: Cell<Duration>,
}

impl Requests {
    pub(crate) fn count(&self, record: &Record) {
        let class = usize::from(record.status / 100).clamp(1, 5) - 1;
        bump(&self.by[index_of(record.method)][class]);
        let took = record.ended.map_or(Duration::ZERO, |ended| ended - record.started);
        let bucket = LATENCY_BUCKETS.partition_point(|limit| *limit < took);
        bump(&self.buckets[bucket]);
        self.sum.set(self.sum.get() + took);
    }

    pub(crate) fn report(&self) -> RequestsReport {
        RequestsReport {
            by: self.by.each_ref().map(|classes| classes.each_ref().map(Cell::get)),
            buckets: self.buckets.each_ref().map(Cell::get),
            sum: self.sum.get(),
        }
    }
}

fn bump(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

/// As in [`crate::report::METHODS`].
const fn index_of(method: Method) -> usize {
    match method {
        Method::Get => 0,
        Method::Head => 1,
        Method::Post => 2,
        Method::Put => 3,
        Method::Delete => 4,
        Method::Options => 5,
        Method::Trace => 6,
        Method::Patch => 7,
        Method::Connect | Method::Other => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::METHODS;
    use balance_engine::clock::Timestamp;

    #[test]
    fn a_request_is_counted_by_method_status_and_time() {
        let requests = Requests::default();
        for (method, status, millis) in [(Method::Get, 200, 0), (Method::Get, 204, 3), (Method::Other, 503, 60_000)] {
            let mut record = Record::new(Timestamp::START, method);
            record.status = status;
            record.ended = Some(Timestamp::START + Duration::from_millis(millis));
            requests.count(&record);
        }
        let report = requests.report();
        assert_eq!((report.by[0][1], report.by[8][4]), (2, 1));
        assert_eq!(report.buckets.iter().sum::<u64>(), 3);
        assert_eq!((report.buckets[0], report.buckets[LATENCY_BUCKETS.len()]), (1, 1));
        assert_eq!(report.sum, Duration::from_millis(60_003));
    }

    #[test]
    fn every_method_has_its_word() {
        for (method, word) in [(Method::Get, "GET"), (Method::Patch, "PATCH"), (Method::Connect, "other")] {
            assert_eq!(METHODS[index_of(method)], word);
        }
    }
}
