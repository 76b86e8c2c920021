//! A shard's side of waiting: a place in a [`WaitList`] that wakes its task when it is called.

use super::{Calls, Ticket, WaitList};
use balance_engine::slab::{Key, Slab};
use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    task::{Context, Waker},
};

/// Those who wait on one shard, whatever for.
pub(crate) struct Caller {
    calls: Arc<Calls>,
    waiting: RefCell<Slab<Waiting>>,
}

struct Waiting {
    called: bool,
    waker: Option<Waker>,
}

impl Caller {
    pub(crate) fn new(calls: Arc<Calls>) -> Rc<Self> {
        Rc::new(Self { calls, waiting: RefCell::default() })
    }

    /// Wake those who were called.
    pub(crate) fn answer(&self) {
        for key in self.calls.take() {
            let mut waiting = self.waiting.borrow_mut();
            let Some(one) = Key::from_u64(key).and_then(|key| waiting.get_mut(key)) else { continue };
            one.called = true;
            if let Some(waker) = one.waker.take() {
                waker.wake();
            }
        }
    }
}

/// A place in a list. Dropping it leaves the list.
pub(crate) struct Turn {
    caller: Rc<Caller>,
    waits: Arc<WaitList>,
    ticket: Ticket,
    key: Key,
}

impl Turn {
    /// `None` when `max` wait already.
    pub(crate) fn enter(caller: &Rc<Caller>, waits: &Arc<WaitList>, max: usize) -> Option<Self> {
        let key = caller.waiting.borrow_mut().insert(Waiting { called: true, waker: None });
        let Some(ticket) = waits.enter(max, &caller.calls, key.to_u64()) else {
            caller.waiting.borrow_mut().remove(key);
            return None;
        };
        Some(Self { caller: Rc::clone(caller), waits: Arc::clone(waits), ticket, key })
    }

    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Whether to try now: this is the first in the list, and it has just come or was called since it tried last. If
    /// not, the task is woken when it is.
    pub(crate) fn is_called(&self, context: &Context<'_>) -> bool {
        let mut waiting = self.caller.waiting.borrow_mut();
        let Some(one) = waiting.get_mut(self.key) else { return false };
        one.waker = Some(context.waker().clone());
        std::mem::take(&mut one.called) && self.is_first()
    }

    pub(crate) fn is_first(&self) -> bool {
        self.waits.is_first(self.ticket)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.caller.waiting.borrow_mut().remove(self.key);
        self.waits.leave(self.ticket);
    }
}
