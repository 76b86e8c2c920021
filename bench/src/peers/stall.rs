//! A server that stands still.

use balance_engine::clock::Timestamp;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Until when nobody is answered, in nanoseconds of the engine's clock; all shards of a server share it.
#[derive(Clone, Default)]
pub(crate) struct Stall(Arc<AtomicU64>);

impl Stall {
    pub(super) fn until(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.load(Ordering::Relaxed))
    }

    /// One that goes on is not made longer.
    pub(crate) fn begin(&self, now: Timestamp, until: Timestamp) {
        if self.until() <= now {
            self.0.store(until.as_nanos(), Ordering::Relaxed);
        }
    }
}
