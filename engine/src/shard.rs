//! The loop of a shard: wait, file completions, take messages, fire timers, run tasks.

use crate::{
    clock::{Clock, Timestamp},
    core::{Handle, Scratch},
    mailbox::Receiver,
};
use std::{io, ops::ControlFlow, os::fd::AsRawFd, time::Duration};

/// What a shard does with the messages in its mailbox.
pub trait Inbox {
    type Message;

    /// One message, between two turns. `Break` ends the shard: its tasks are dropped, its operations cancelled and
    /// drained, and then [`run`] returns.
    fn handle(&mut self, message: Self::Message) -> ControlFlow<()>;

    /// After every turn, when all tasks have run. For what depends on several of them (the last connection has ended).
    fn after_turn(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// How long draining may take before the shard gives up on its driver and says so.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Run a shard on this thread until its inbox says `Break`.
///
/// # Errors
/// A driver that broke, or that did not give back every operation.
pub fn run<I: Inbox>(
    handle: &Handle,
    clock: &Clock,
    mailbox: &mut Receiver<I::Message>,
    inbox: &mut I,
) -> io::Result<()> {
    handle.watch_wake(mailbox.fd().as_raw_fd());
    let core = &handle.0;
    let mut scratch = Scratch::default();
    let mut messages = Vec::new();
    loop {
        let woken = core.wait(core.shrink_due(), &mut scratch)?;
        if woken {
            let count = mailbox.drain(&mut messages);
            handle.count(|s| s.messages += count as u64);
            for message in messages.drain(..) {
                if inbox.handle(message).is_break() {
                    return end(handle, &mut scratch);
                }
            }
        }
        core.run_ready(clock);
        if inbox.after_turn().is_break() {
            return end(handle, &mut scratch);
        }
        if core.shrink_when_due() {
            scratch.shrink();
        }
    }
}

/// Run a shard without a mailbox until a future is done: benches, tests and simulations.
///
/// # Errors
/// A driver that broke.
///
/// # Panics
/// Where the future panics.
pub fn block_on<T: 'static>(handle: &Handle, future: impl Future<Output = T> + 'static) -> io::Result<T> {
    use std::{cell::RefCell, rc::Rc};
    let result = Rc::new(RefCell::new(None));
    let place = Rc::clone(&result);
    let task = async move { *place.borrow_mut() = Some(future.await) };
    let _always_admitted = handle.spawn(crate::executor::Admission::Always, task);
    let clock = Clock::monotonic();
    let mut scratch = Scratch::default();
    loop {
        if handle.0.executor.has_ready() {
            handle.0.run_ready(&clock);
        }
        if let Some(value) = result.borrow_mut().take() {
            return Ok(value);
        }
        assert!(Rc::strong_count(&result) > 1, "the future panicked");
        handle.0.wait(handle.0.shrink_due(), &mut scratch)?;
        handle.0.shrink_when_due();
    }
}

/// End a shard that was driven by [`block_on`].
///
/// # Errors
/// As [`run`].
pub fn finish(handle: &Handle) -> io::Result<()> {
    end(handle, &mut Scratch::default())
}

/// Cancel everything, then turn until the driver holds nothing more: only then may memory go.
fn end(handle: &Handle, scratch: &mut Scratch) -> io::Result<()> {
    let core = &handle.0;
    core.executor.abort_all();
    // Not the time of the last turn, which may be long ago when the loop was not running.
    let started = core.read_clock();
    while core.in_flight() > 0 {
        if handle.now() > started + DRAIN_MAX {
            let left = core.in_flight();
            return Err(io::Error::other(format!("{left} operations did not end within {DRAIN_MAX:?}")));
        }
        core.wait(Some(handle.now() + Duration::from_millis(10)), scratch)?;
    }
    debug_assert_eq!(handle.stats().ops_in_flight, 0, "slots without an operation");
    Ok(())
}

/// For a simulation: take one turn, run what is ready once, and say what time it is.
///
/// # Errors
/// A driver that broke.
pub fn step(handle: &Handle, limit: Option<Timestamp>) -> io::Result<Timestamp> {
    let mut scratch = Scratch::default();
    handle.0.wait(limit, &mut scratch)?;
    handle.0.run_ready(&Clock::monotonic());
    Ok(handle.now())
}
