//! The cap on the buffer memory of all shards together.
//!
//! A limit that holds across shards must not be a counter written per request. So a shard leases bytes when it
//! allocates a chunk and gives them back when it frees the chunk; between the two it hands out buffers without looking
//! here. A [`Lease`] is a value owned by the memory it pays for, which is why none can be forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One per process, shared by the pools and rings of all shards.
#[derive(Debug)]
pub struct Budget {
    bytes_max: u64,
    /// Never above `bytes_max`.
    leased: AtomicU64,
}

impl Budget {
    pub fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { bytes_max, leased: AtomicU64::new(0) })
    }

    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Bytes that all shards hold now.
    pub fn leased(&self) -> u64 {
        self.leased.load(Ordering::Relaxed)
    }

    /// `None` when the cap leaves no room for `bytes`.
    ///
    /// The number guards no other memory, so relaxed is enough.
    pub fn lease(self: &Arc<Self>, bytes: u64) -> Option<Lease> {
        let room = |leased: u64| leased.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        self.leased.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
        Some(Lease { budget: Arc::clone(self), bytes })
    }
}

/// Bytes taken from a [`Budget`]; dropping it gives them back.
#[derive(Debug)]
#[must_use = "dropping a lease gives it back"]
pub struct Lease {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Lease {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.leased.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_leased_comes_back() {
        let budget = Budget::new(100);
        let first = budget.lease(60).unwrap();
        assert!(budget.lease(41).is_none());
        let second = budget.lease(40).unwrap();
        assert_eq!((budget.leased(), first.bytes()), (100, 60));
        drop(first);
        assert_eq!(budget.leased(), 40);
        drop(second);
        assert_eq!(budget.leased(), 0);
        assert!(budget.lease(u64::MAX).is_none());
    }

    #[test]
    fn threads_together_stay_below_the_cap() {
        let budget = Budget::new(10);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let lease = budget.lease(3);
                        assert!(budget.leased() <= 10);
                        drop(lease);
                    }
                });
            }
        });
        assert_eq!(budget.leased(), 0);
    }
}
