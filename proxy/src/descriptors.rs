//! For how many connections there are descriptors, where each takes two real ones.
//!
//! With epoll, and with a ring that has no direct descriptors, a client that is accepted must find a descriptor left
//! for its endpoint. So there is a limit on connections in all shards together, which holds like the limit of a
//! listener: whoever comes then waits in the kernel's queue. Shards whose sockets are direct descriptors take no part.
//!
//! ```text
//!   0        used otherwise    accept loops   pipes       connections, two each       ulimit -n
//!   ├──────────────┼────────────────┼───────────┼──────────────┴──────────────┤
//! ```

use crate::{
    permits::{Limit, WaitList},
    process,
};
use balance_engine::os;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

/// For pages of the admin endpoint, questions to resolvers, and files that are read.
const SPARE: u64 = 16;
/// What an accept loop may have accepted and not admitted: one that waits, or as many as it has accepts in flight.
const NARROW: u64 = 1;
const WIDE: u64 = 16;
/// Pipes get this part of what there is, two descriptors each.
const PIPES_SHARE: u64 = 8;

/// The limit, shared by the control thread and the shards.
#[derive(Debug)]
pub struct Descriptors {
    limit: Arc<Limit>,
    /// Open before any listener was.
    used: AtomicU64,
    /// There are enough of them for every accept loop to take bursts.
    wide: AtomicBool,
}

impl Default for Descriptors {
    fn default() -> Self {
        Self { limit: Limit::new(None, WaitList::new()), used: AtomicU64::new(0), wide: AtomicBool::new(false) }
    }
}

impl Descriptors {
    pub(crate) fn limit(&self) -> &Arc<Limit> {
        &self.limit
    }

    /// Whether an accept loop may have several accepts in flight.
    pub(crate) fn is_wide(&self) -> bool {
        self.wide.load(Relaxed)
    }

    /// Everything is open but listeners and connections.
    pub(crate) fn measure(&self) {
        self.used.store(process::open_descriptors().unwrap_or(SPARE), Relaxed);
    }

    /// There are so many accept loops now, each with a socket of its own.
    pub(crate) fn divide(&self, loops: usize) {
        let plan = Plan::new(os::nofile_limit(), self.used.load(Relaxed), loops as u64);
        self.wide.store(plan.wide, Relaxed);
        self.limit.set_max(Some(plan.connections));
    }
}

/// How many pipes may be open in all shards, where they compete with connections.
pub(crate) fn pipes_max() -> u64 {
    (os::nofile_limit() / PIPES_SHARE / 2).max(1)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    connections: u32,
    wide: bool,
}

impl Plan {
    fn new(limit: u64, used: u64, loops: u64) -> Self {
        let free = limit.saturating_sub(used + loops + SPARE);
        let wide = loops * WIDE <= free / 4;
        let accepted = loops * if wide { WIDE } else { NARROW };
        let connections = free.saturating_sub(accepted + limit / PIPES_SHARE) / 2;
        // With fewer than two for a connection nothing could be served at all.
        Self { connections: u32::try_from(connections).unwrap_or(u32::MAX).max(1), wide }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_divided() {
        for (limit, used, loops, connections, wide) in [
            (1_000_000, 60, 32, 437_190, true),
            (1024, 40, 2, 403, true),
            (1024, 40, 32, 388, false),
            (64, 22, 2, 7, false),
            (32, 30, 4, 1, false),
        ] {
            assert_eq!(Plan::new(limit, used, loops), Plan { connections, wide }, "{limit} {used} {loops}");
        }
    }

    /// Whatever the numbers are, all that may be open at once is within the limit.
    #[test]
    fn nothing_is_given_away_twice() {
        for limit in (100..5000).step_by(37) {
            for loops in 1..30 {
                let used = 30;
                let plan = Plan::new(limit, used, loops);
                if plan.connections > 1 {
                    let accepted = loops * if plan.wide { WIDE } else { NARROW };
                    let most = used + SPARE + loops + accepted + 2 * (limit / PIPES_SHARE / 2);
                    assert!(most + 2 * u64::from(plan.connections) <= limit, "{limit} {loops}: {plan:?}");
                }
            }
        }
    }
}
