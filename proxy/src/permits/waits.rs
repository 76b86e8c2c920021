//! Who waits for a permit, in order, over all shards.

use super::Padded;
use balance_engine::mailbox::Bell;
use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

/// A queue of all shards. Only the first in it tries to get what it waits for, so nobody is overtaken; it is called
/// when that may have become possible, and who leaves the first place calls the next.
///
/// The lock is taken by those who wait and, while somebody does, by those who give back. Nobody else writes here.
#[derive(Default)]
pub struct WaitList {
    /// The length of the queue.
    waiting: Padded<AtomicUsize>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    /// Sorted by ticket.
    entries: VecDeque<Entry>,
    next: u64,
}

struct Entry {
    ticket: Ticket,
    /// Names the one that waits on its shard.
    key: u64,
    calls: Arc<Calls>,
}

/// A place in a [`WaitList`], never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

impl WaitList {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn len(&self) -> usize {
        self.waiting.0.load(SeqCst)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.is_empty()
    }

    /// Queue up; `None` when `max` wait already. Whoever is first now looks for a permit once more: one that came back
    /// before it was here called nobody.
    pub(crate) fn enter(&self, max: usize, calls: &Arc<Calls>, key: u64) -> Option<Ticket> {
        let mut queue = self.lock();
        if queue.entries.len() >= max {
            return None;
        }
        let ticket = Ticket(queue.next);
        queue.next += 1;
        queue.entries.push_back(Entry { ticket, key, calls: Arc::clone(calls) });
        self.waiting.0.store(queue.entries.len(), SeqCst);
        Some(ticket)
    }

    pub(crate) fn is_first(&self, ticket: Ticket) -> bool {
        self.lock().entries.front().is_some_and(|first| first.ticket == ticket)
    }

    /// Give the place up, served or not.
    pub(crate) fn leave(&self, ticket: Ticket) {
        let mut queue = self.lock();
        let Ok(at) = queue.entries.binary_search_by_key(&ticket, |entry| entry.ticket) else { return };
        let left = queue.entries.remove(at);
        self.waiting.0.store(queue.entries.len(), SeqCst);
        let next = if at == 0 { queue.first_but(None) } else { None };
        drop(queue);
        drop(left);
        call(next);
    }

    /// Something may have become available. Who waits at `mine` knows.
    pub(crate) fn call_first(&self, mine: Option<Ticket>) {
        if self.is_waiting() {
            let first = self.lock().first_but(mine);
            call(first);
        }
    }

    /// Nothing that runs under the lock can leave it half changed.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn first_but(&self, mine: Option<Ticket>) -> Option<(Arc<Calls>, u64)> {
        let first = self.entries.front().filter(|first| Some(first.ticket) != mine)?;
        Some((Arc::clone(&first.calls), first.key))
    }
}

/// Without the lock, for it may take a system call. Should the first leave meanwhile, it calls the next itself.
fn call(first: Option<(Arc<Calls>, u64)>) {
    if let Some((calls, key)) = first {
        calls.call(key);
    }
}

impl fmt::Debug for WaitList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitList").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// What other shards call to those who wait on this one.
#[derive(Default)]
pub(crate) struct Calls {
    keys: Mutex<Vec<u64>>,
    /// True exactly while there are keys.
    any: AtomicBool,
    /// Wakes the shard. `None` where a test looks by itself.
    bell: Option<Bell>,
}

impl Calls {
    pub(crate) fn new(bell: Option<Bell>) -> Arc<Self> {
        Arc::new(Self { bell, ..Self::default() })
    }

    fn call(&self, key: u64) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.contains(&key) {
            return;
        }
        keys.push(key);
        // The first of several rings; the others are found together with it.
        if !self.any.swap(true, SeqCst)
            && let Some(bell) = &self.bell
        {
            bell.ring();
        }
    }

    /// Who was called since the last time. Costs a load when nobody was.
    pub(crate) fn take(&self) -> Vec<u64> {
        if !self.any.load(SeqCst) {
            return Vec::new();
        }
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        self.any.store(false, SeqCst);
        mem::take(&mut *keys)
    }

    #[cfg(test)]
    pub(super) fn call_for_test(&self, key: u64) {
        self.call(key);
    }

    #[cfg(test)]
    pub(super) fn any_for_test(&self) -> bool {
        self.any.load(SeqCst)
    }
}
