//! A limit on connections that are being opened at once, so that a server's accept queue does not overflow: a SYN that
//! finds it full is dropped, and comes again a second later.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

pub(super) struct Gate {
    free: Cell<usize>,
    waiting: RefCell<VecDeque<Waker>>,
}

/// The right to open one connection; dropping it lets the next one in.
pub(super) struct Permit(Rc<Gate>);

impl Gate {
    pub(super) fn new(permits: usize) -> Rc<Self> {
        Rc::new(Self { free: Cell::new(permits), waiting: RefCell::default() })
    }

    /// # Cancel safety
    /// Holds nothing until it is done. One that is dropped after it was woken may leave a permit unused until the next
    /// one comes back.
    pub(super) async fn enter(self: &Rc<Self>) -> Permit {
        poll_fn(|context| {
            if self.free.get() == 0 {
                self.waiting.borrow_mut().push_back(context.waker().clone());
                return Poll::Pending;
            }
            self.free.set(self.free.get() - 1);
            Poll::Ready(Permit(Rc::clone(self)))
        })
        .await
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.free.set(self.0.free.get() + 1);
        if let Some(waker) = self.0.waiting.borrow_mut().pop_front() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{pin::pin, task::Context};

    #[test]
    fn one_too_many_waits_for_a_permit_to_come_back() {
        let gate = Gate::new(1);
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(first) = pin!(gate.enter()).poll(&mut context) else { panic!("a permit is free") };
        let mut second = pin!(gate.enter());
        assert!(second.as_mut().poll(&mut context).is_pending());
        drop(first);
        assert!(gate.waiting.borrow().is_empty(), "the one that waits was woken");
        assert!(second.poll(&mut context).is_ready());
        assert_eq!(gate.free.get(), 1);
    }
}
