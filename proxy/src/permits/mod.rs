//! Limits on connections that hold over all shards, without a counter that every connection writes.
//!
//! ```text
//!                 Limit: free ──batch──► share of shard 0 ──take──► Permit (a live connection)
//!                   ▲  ▲ └────batch────► share of shard 1             │
//!                   │  └───excess, or somebody waits─── share ◄──drop─┘
//!                   └──── another shard found `free` empty: all shares are collected
//! ```
//!
//! A limit of `n` is `n` permits, each at any time in one of three places: free, in the share of a shard, or held by a
//! connection. So there are never more connections than permits, whatever the shards do at the same time. A shard takes
//! permits in batches and keeps a few that come back, in a counter on a cache line of its own; far from the limit that
//! line is all that a connection writes. The batch shrinks with what is free, and the last permits go one by one.
//!
//! A share is a convenience of its shard, not a possession: who finds nothing free collects the shares of all, under a
//! lock that is otherwise taken once a batch. So a busy shard can use the whole limit at once, and an idle one need not
//! be awake to give back what it keeps.
//!
//! Lowering a limit below what is in use makes `free` negative, and collects the shares. As long as it is, permits that
//! come back pay the debt, and none is given out; connections that hold one live on.
//!
//! Who cannot have a permit may wait in a [`WaitList`]. No permit comes back unnoticed:
//!
//! * who waits is in the list before it looks for a permit the last time;
//! * who makes one available looks at the list after that;
//! * permits on their way between what is free and a share are under the lock, and so is the last look: a shard that
//!   was suspended in between makes the one that looks wait, not miss them.
//!
//! All of these are sequentially consistent, so that one of the two sees the other.

mod permit;
#[cfg(test)]
mod tests;
mod turn;
mod waits;

pub(crate) use permit::{Grants, Inside, Permit, Place};
pub(crate) use turn::{Caller, Turn};
pub use waits::WaitList;
pub(crate) use waits::{Calls, Ticket};

use std::{
    cell::{Cell, OnceCell},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU32, Ordering::SeqCst},
    },
};

/// Permits that a shard takes at once, at most.
const BATCH_MAX: i64 = 64;
/// A batch is what is free divided by this; so is what a shard keeps of the whole limit. Sixteen shards together can
/// keep half.
const BATCH_SHARE: i64 = 32;
/// Stands for no limit. Permits are counted all the same: a reload may set one.
const UNLIMITED: u32 = u32::MAX;

/// Something on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Padded<T>(T);

/// The reserve of one shard. Its shard adds and takes; others only empty it, under the lock of the limit.
type Share = Padded<AtomicU32>;

/// How many connections there may be over all shards. One for each listener, cluster and endpoint, for as long as it
/// keeps its identity.
pub struct Limit {
    /// Permits that are neither in a share nor held. Negative: so many must come back before one is given out.
    free: Padded<AtomicI64>,
    /// Changes under the lock of `shares`.
    max: AtomicU32,
    shares: Mutex<Vec<Arc<Share>>>,
    waits: Arc<WaitList>,
}

impl Limit {
    /// `None`: unlimited. Whoever waits for one of these permits does so in `waits`, which limits may share.
    pub fn new(max: Option<u32>, waits: Arc<WaitList>) -> Arc<Self> {
        let max = max.unwrap_or(UNLIMITED);
        Arc::new(Self {
            free: Padded(AtomicI64::new(i64::from(max))),
            max: AtomicU32::new(max),
            shares: Mutex::default(),
            waits,
        })
    }

    pub fn max(&self) -> Option<u32> {
        Some(self.max.load(SeqCst)).filter(|max| *max != UNLIMITED)
    }

    /// Permits that shards have: held by connections, and in reserve. Above the limit only after it was lowered.
    pub fn leased(&self) -> u64 {
        let leased = i64::from(self.max.load(SeqCst)) - self.free.0.load(SeqCst);
        u64::try_from(leased).unwrap_or(0)
    }

    pub fn waits(&self) -> &Arc<WaitList> {
        &self.waits
    }

    /// Raise or lower the limit. No connection is ended by it.
    pub fn set_max(&self, max: Option<u32>) {
        let max = max.unwrap_or(UNLIMITED);
        let shares = self.lock();
        let old = self.max.swap(max, SeqCst);
        if old == max {
            return;
        }
        self.free.0.fetch_add(i64::from(max) - i64::from(old), SeqCst);
        // Whoever puts a permit into its share from here on sees the debt and pays.
        self.collect(&shares);
        drop(shares);
        self.waits.call_first(None);
    }

    /// Not a panic of ours can leave these half changed.
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Share>>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collect(&self, shares: &[Arc<Share>]) {
        let collected: i64 = shares.iter().map(|share| i64::from(share.0.swap(0, SeqCst))).sum();
        if collected > 0 {
            self.free.0.fetch_add(collected, SeqCst);
        }
    }

    fn in_debt(&self) -> bool {
        self.free.0.load(SeqCst) < 0
    }

    /// Take this many of what is free.
    fn take_free(&self, count: i64) -> bool {
        self.free.0.fetch_update(SeqCst, SeqCst, |free| (free >= count).then(|| free - count)).is_ok()
    }

    /// What a shard may take now. The last ones go one by one, and so does everything while somebody waits.
    fn batch(&self) -> i64 {
        let free = self.free.0.load(SeqCst);
        if self.waits.is_waiting() { 1 } else { (free / BATCH_SHARE).clamp(1, BATCH_MAX) }
    }

    /// What a shard may keep.
    fn reserve_max(&self) -> u32 {
        (i64::from(self.max.load(SeqCst)) / BATCH_SHARE).clamp(1, BATCH_MAX) as u32
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limit").field("max", &self.max()).field("leased", &self.leased()).finish_non_exhaustive()
    }
}

/// How hard to look for a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// In what is free and what this shard has: two loads.
    Near,
    /// In the shares of other shards as well, which are collected.
    Everywhere,
}

/// A shard's access to a [`Limit`].
pub(crate) struct Lease {
    limit: Arc<Limit>,
    /// Made by the first connection: a configuration may have many endpoints of which a shard uses few.
    share: OnceCell<Arc<Share>>,
    live: Cell<u32>,
}

impl Lease {
    pub(crate) fn new(limit: &Arc<Limit>) -> Self {
        Self { limit: Arc::clone(limit), share: OnceCell::new(), live: Cell::new(0) }
    }

    pub(crate) fn limit(&self) -> &Arc<Limit> {
        &self.limit
    }

    /// Permits that are held on this shard.
    pub(crate) fn live(&self) -> u32 {
        self.live.get()
    }

    /// Take a permit, wherever there is one.
    fn draw(&self) -> bool {
        let found = self.take_reserved() || self.refill() || self.take_collected();
        self.live.set(self.live.get() + u32::from(found));
        found
    }

    /// A permit could be had. Looking everywhere is exact but for what others do at the same time.
    pub(crate) fn has_some(&self, look: Look) -> bool {
        let free = || self.limit.free.0.load(SeqCst);
        match free() {
            ..0 => false,
            1.. => true,
            0 if self.share.get().is_some_and(|share| share.0.load(SeqCst) > 0) => true,
            0 if look == Look::Near => false,
            0 => {
                self.limit.collect(&self.limit.lock());
                free() > 0
            }
        }
    }

    fn share(&self) -> &Arc<Share> {
        self.share.get_or_init(|| {
            let share = Arc::<Share>::default();
            self.limit.lock().push(Arc::clone(&share));
            share
        })
    }

    fn take_reserved(&self) -> bool {
        self.share().0.fetch_update(SeqCst, SeqCst, |reserve| reserve.checked_sub(1)).is_ok()
    }

    fn refill(&self) -> bool {
        let limit = &self.limit;
        let batch = limit.batch();
        if batch > 1 {
            let share = self.share();
            let _on_their_way = limit.lock();
            if limit.take_free(batch) {
                share.0.fetch_add(batch as u32 - 1, SeqCst);
                return true;
            }
        }
        limit.take_free(1)
    }

    fn take_collected(&self) -> bool {
        let shares = self.limit.lock();
        self.limit.collect(&shares);
        self.limit.take_free(1)
    }

    /// A permit comes back. `mine`: the caller's own place in the list; it need not be told.
    fn give_back(&self, mine: Option<Ticket>) {
        self.live.set(self.live.get() - 1);
        let reserve = self.share().0.fetch_add(1, SeqCst) + 1;
        let limit = &self.limit;
        if limit.waits.is_waiting() || limit.in_debt() {
            self.surrender(0, mine);
        } else if reserve > limit.reserve_max() {
            self.surrender(limit.reserve_max() / 2, mine);
        }
    }

    /// Give back all of the reserve but `keep`.
    fn surrender(&self, keep: u32, mine: Option<Ticket>) {
        let Some(share) = self.share.get() else { return };
        let on_their_way = self.limit.lock();
        let reserve = share.0.fetch_update(SeqCst, SeqCst, |reserve| (reserve > keep).then_some(keep));
        if let Ok(reserve) = reserve {
            self.limit.free.0.fetch_add(i64::from(reserve - keep), SeqCst);
            drop(on_their_way);
            self.limit.waits.call_first(mine);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(share) = self.share.take() else { return };
        let mut shares = self.limit.lock();
        self.limit.collect(std::slice::from_ref(&share));
        shares.retain(|other| !Arc::ptr_eq(other, &share));
        drop(shares);
        self.limit.waits.call_first(None);
    }
}
