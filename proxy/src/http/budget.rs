//! How many requests may be tried again, so that a broken cluster is not buried under second tries.
//!
//! A bucket: every request puts a part of a token in, time puts some in as well, a further try takes a whole one. What
//! it holds at most is what a burst of failures may spend at once.

use balance_engine::clock::Timestamp;
use std::{cell::Cell, time::Duration};

/// What one cluster's requests of one shard have to spend.
#[derive(Debug)]
pub(crate) struct Budget {
    /// In thousandths of a token.
    thousandths: Cell<u64>,
    /// For each request.
    per_request: u64,
    /// For each second.
    per_second: u64,
    refilled: Cell<Timestamp>,
    /// Tries that it did not allow.
    pub(crate) exhausted: Cell<u64>,
}

/// Saved over requests, at most: a hundred tries.
const SAVED_MAX: u64 = 100_000;

impl Budget {
    /// `percent` of the requests, and this shard's part of `per_second`, which all shards share.
    pub(crate) fn new(percent: u8, per_second: u32, shards: usize, now: Timestamp) -> Self {
        let per_second = u64::from(per_second) * 1000 / shards.max(1) as u64;
        Self {
            thousandths: Cell::new(per_second),
            per_request: u64::from(percent) * 10,
            per_second,
            refilled: Cell::new(now),
            exhausted: Cell::new(0),
        }
    }

    /// A request was begun.
    pub(crate) fn save(&self) {
        self.thousandths.set((self.thousandths.get() + self.per_request).min(self.saved_max()));
    }

    /// Spend one further try, if there is one to spend.
    pub(crate) fn take(&self, now: Timestamp) -> bool {
        let passed = now - self.refilled.replace(now);
        let gained = self.per_second as u128 * passed.min(Duration::from_secs(60)).as_millis() / 1000;
        let there = (self.thousandths.get() + gained as u64).min(self.saved_max());
        let enough = there >= 1000;
        self.thousandths.set(if enough { there - 1000 } else { there });
        self.exhausted.set(self.exhausted.get() + u64::from(!enough));
        enough
    }

    /// A second's worth of what time gives, and what requests have saved.
    fn saved_max(&self) -> u64 {
        self.per_second.max(1000) + SAVED_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_requests_and_some_each_second() {
        let start = Timestamp::START;
        let budget = Budget::new(20, 10, 1, start);
        let spend = |now| (0..1000).take_while(|_| budget.take(now)).count();
        assert_eq!(spend(start), 10, "what a second gives is there from the start");
        (0..100).for_each(|_| budget.save());
        assert_eq!(spend(start), 20, "a fifth of a hundred");
        assert_eq!(spend(start + Duration::from_millis(500)), 5, "half a second's");
        assert_eq!(budget.exhausted.get(), 3);
    }

    #[test]
    fn what_is_saved_has_an_end() {
        let budget = Budget::new(100, 0, 4, Timestamp::START);
        (0..100_000).for_each(|_| budget.save());
        assert_eq!((0..1000).take_while(|_| budget.take(Timestamp::START)).count(), 101);
    }

    #[test]
    fn shards_share_what_time_gives() {
        let start = Timestamp::START;
        let budget = Budget::new(0, 10, 4, start);
        assert_eq!((0..1000).take_while(|_| budget.take(start)).count(), 2, "two and a half");
    }
}
