//! Operation slots: who waits for what, until the last completion.
//!
//! ```text
//!             submit                completion                 collected
//!   (none) ───────────► InFlight ──────────────► Finished ───────────────► (none)
//!                          │ abandoned                │ abandoned
//!                          ▼                          ▼
//!                        Orphan ── completion ──► resource given back, (none)
//!
//!   receives:  Armed ⇄ Starved,  Armed → Stopping → Paused → Armed,  … → Ended
//! ```
//!
//! The memory of an operation is the driver's (see [`crate::driver`]); a slot has the waiter and the result, but for
//! what a receive has brought, which is in the [`Backlog`]. A slot is freed at its operation's last completion and not
//! before, so a key can never name somebody else's operation.

use crate::{
    backlog::{Backlog, List},
    buf::Buffer,
    clock::Timestamp,
    driver::{Desc, Errno, Outcome, Token},
    slab::{Key, Slab},
};
use std::{
    task::{Context, Poll, Waker},
    time::Duration,
};

/// Something received.
#[derive(Debug)]
pub struct Chunk {
    pub buffer: Buffer,
    /// `buffer[..len]` is what came.
    pub len: u32,
}

/// What a receiving socket has to say.
#[derive(Debug)]
pub enum Received {
    Data(Chunk),
    /// The peer has closed its write half.
    Eof,
    Failed(Errno),
}

/// How a stream of receives ended.
#[derive(Clone, Copy, Debug)]
enum End {
    Eof,
    Failed(Errno),
}

/// What a receive reads, and how; see [`crate::driver::Op::Recv`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) desc: Desc,
    pub(crate) bulk: bool,
    pub(crate) once: bool,
}

/// Where a receive stands with the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arm {
    /// In flight.
    Armed,
    /// In flight and cancelled; `resume` says what its last completion leads to.
    Stopping { resume: bool },
    /// Not in flight; the reader does not want more now.
    Paused,
    /// Not in flight for want of a buffer; re-armed when there is one.
    Starved,
    /// Not in flight; nothing more will come.
    Ended,
}

/// How much a stream receives at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Small buffers, one after another.
    Small,
    /// Large ones, several at once.
    Bulk,
    /// One small buffer; then it pauses.
    Once,
}

struct Stream {
    desc: Desc,
    way: Way,
    arm: Arm,
    /// The reader is behind, so the receive was stopped; it is armed again when the reader has caught up.
    full: bool,
    abandoned: bool,
    unread: List,
    end: Option<End>,
}

enum State {
    InFlight,
    Finished(Outcome),
    /// Nobody waits for it.
    Orphan,
    /// An operation of several completions, kept until they are asked for, each with whether more will follow. There
    /// are two at most, so a vector will do.
    Series(Vec<(Outcome, bool)>),
    Stream(Stream),
}

struct Slot {
    token: Token,
    waker: Option<Waker>,
    state: State,
}

/// Every idle connection has two of these, for its receives: 64 bytes with their generation.
const _: () = assert!(size_of::<Slot>() <= 56);

/// What the caller must do after a completion was filed.
#[derive(Debug)]
pub(crate) enum Followup {
    Nothing,
    /// Submit the receive of this slot again.
    Rearm(Key, Reading),
    /// Put it on the starved list.
    Starve(Key),
    /// Nobody wants this descriptor.
    CloseStray(Desc),
    /// The reader is behind: stop receiving.
    Cancel(Token),
}

/// Chunks that wait for a slow reader at most, before the receive is stopped. The kernel may deliver some more until it
/// has stopped.
const QUEUED_CHUNKS_MAX: usize = 16;
/// The same while buffers are scarce: slow readers must not hold what the others need.
const QUEUED_CHUNKS_SCARCE: usize = 2;
/// Stopping all receives in flight is work for as many as there are, so it is not done more often.
const STOP_EVERY: Duration = Duration::from_secs(1);

/// All slots of a shard.
#[derive(Default)]
pub(crate) struct Ops {
    slots: Slab<Slot>,
    backlog: Backlog,
    /// Buffers are scarce; looked at once a turn.
    scarce: bool,
    /// For this scarcity, receives in flight were stopped.
    has_stopped: bool,
    /// When they last were.
    stopped_at: Option<Timestamp>,
}

impl Ops {
    pub(crate) fn single(&mut self) -> Key {
        self.slots.insert(Slot { token: Token::NONE, waker: None, state: State::InFlight })
    }

    /// An operation whose result nobody waits for.
    pub(crate) fn orphan(&mut self) -> Key {
        self.slots.insert(Slot { token: Token::NONE, waker: None, state: State::Orphan })
    }

    pub(crate) fn series(&mut self) -> Key {
        self.slots.insert(Slot { token: Token::NONE, waker: None, state: State::Series(Vec::new()) })
    }

    pub(crate) fn stream(&mut self, desc: Desc) -> Key {
        let stream = Stream {
            desc,
            way: Way::Small,
            arm: Arm::Armed,
            full: false,
            abandoned: false,
            unread: List::default(),
            end: None,
        };
        self.slots.insert(Slot { token: Token::NONE, waker: None, state: State::Stream(stream) })
    }

    pub(crate) fn set_token(&mut self, key: Key, token: Token) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.token = token;
        }
    }

    /// Whether buffers are scarce from here on. When they have become so, returns what to cancel: receives that were
    /// armed before go on after a completion, and would take more than anybody is to have now.
    pub(crate) fn set_scarce(&mut self, scarce: bool, now: Timestamp) -> Vec<Token> {
        self.scarce = scarce;
        self.has_stopped &= scarce;
        if !scarce || self.has_stopped || self.stopped_at.is_some_and(|at| now < at + STOP_EVERY) {
            return Vec::new();
        }
        self.has_stopped = true;
        self.stopped_at = Some(now);
        let in_flight = self.slots.iter_mut().filter_map(|(_, slot)| match &mut slot.state {
            State::Stream(stream) if stream.arm == Arm::Armed && !stream.abandoned => {
                stream.arm = Arm::Stopping { resume: true };
                Some(slot.token)
            }
            _ => None,
        });
        in_flight.collect()
    }

    /// On what a starved receive would go on; `None`: it is none any more.
    pub(crate) fn starved(&self, key: Key) -> Option<Reading> {
        let Some(Slot { state: State::Stream(stream), .. }) = self.slots.get(key) else { return None };
        (stream.arm == Arm::Starved).then(|| stream.reading())
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn is_sparse(&self) -> bool {
        self.slots.is_sparse() || self.backlog.is_sparse()
    }

    pub(crate) fn shrink(&mut self) {
        self.slots.shrink();
        self.backlog.shrink();
    }

    /// What cancels this operation; `None` once it has ended.
    pub(crate) fn token_in_flight(&self, key: Key) -> Option<Token> {
        self.slots.get(key).filter(|slot| matches!(slot.state, State::InFlight)).map(|slot| slot.token)
    }

    /// The result of a single operation, once.
    pub(crate) fn poll_single(&mut self, key: Key, context: &Context<'_>) -> Poll<Outcome> {
        let Some(slot) = self.slots.get_mut(key) else {
            debug_assert!(false, "a result was collected twice");
            return Poll::Ready(Outcome::Failed(Errno::CANCELED));
        };
        if !matches!(slot.state, State::Finished(_)) {
            register(&mut slot.waker, context);
            return Poll::Pending;
        }
        match self.slots.remove(key).map(|s| s.state) {
            Some(State::Finished(outcome)) => Poll::Ready(outcome),
            _ => Poll::Ready(Outcome::Failed(Errno::CANCELED)),
        }
    }

    /// The next outcome of a series; the slot is gone with the last one, and `true` says so.
    pub(crate) fn poll_series(&mut self, key: Key, context: &Context<'_>) -> Poll<(Outcome, bool)> {
        let Some(Slot { waker, state: State::Series(outcomes), .. }) = self.slots.get_mut(key) else {
            debug_assert!(false, "polled a series that is over");
            return Poll::Ready((Outcome::Failed(Errno::CANCELED), true));
        };
        if outcomes.is_empty() {
            register(waker, context);
            return Poll::Pending;
        }
        let (outcome, more) = outcomes.remove(0);
        if !more {
            self.slots.remove(key);
        }
        Poll::Ready((outcome, !more))
    }

    /// The next thing received, and the receive to submit again where the reader has just caught up.
    pub(crate) fn poll_stream(&mut self, key: Key, context: &Context<'_>) -> (Poll<Received>, Followup) {
        let Some(Slot { waker, state: State::Stream(stream), .. }) = self.slots.get_mut(key) else {
            debug_assert!(false, "polled a receive that is none");
            return (Poll::Ready(Received::Failed(Errno::CANCELED)), Followup::Nothing);
        };
        // Looked at here, for mostly nothing has come.
        if !stream.unread.is_empty()
            && let Some(chunk) = self.backlog.pop(&mut stream.unread)
        {
            let followup = if stream.full && stream.unread.is_empty() { self.resume(key) } else { Followup::Nothing };
            return (Poll::Ready(Received::Data(chunk)), followup);
        }
        let poll = match stream.end {
            Some(End::Eof) => Poll::Ready(Received::Eof),
            Some(End::Failed(errno)) => Poll::Ready(Received::Failed(errno)),
            None => {
                register(waker, context);
                Poll::Pending
            }
        };
        (poll, Followup::Nothing)
    }

    /// Ready when the stream has failed, whatever is still to be read before that.
    pub(crate) fn poll_broken(&mut self, key: Key, context: &Context<'_>) -> Poll<Errno> {
        let Some(Slot { waker, state: State::Stream(stream), .. }) = self.slots.get_mut(key) else {
            return Poll::Pending;
        };
        if let Some(End::Failed(errno)) = stream.end {
            return Poll::Ready(errno);
        }
        register(waker, context);
        Poll::Pending
    }

    /// The stream has failed, whatever is still to be read before that.
    pub(crate) fn is_broken(&self, key: Key) -> bool {
        matches!(self.slots.get(key), Some(Slot { state: State::Stream(Stream { end: Some(End::Failed(_)), .. }), .. }))
    }

    /// The stream has something to say to whoever polls it.
    pub(crate) fn has_news(&self, key: Key) -> bool {
        matches!(self.slots.get(key), Some(Slot { state: State::Stream(stream), .. }) if stream.has_news())
    }

    /// The reader wants no more for now. Returns what to cancel.
    pub(crate) fn pause(&mut self, key: Key) -> Option<Token> {
        let Some(Slot { token, state: State::Stream(stream), .. }) = self.slots.get_mut(key) else { return None };
        // Paused by the reader's own will, it is not resumed by catching up.
        stream.full = false;
        match stream.arm {
            Arm::Armed => {
                stream.arm = Arm::Stopping { resume: false };
                Some(*token)
            }
            Arm::Stopping { .. } => {
                stream.arm = Arm::Stopping { resume: false };
                None
            }
            Arm::Starved => {
                stream.arm = Arm::Paused;
                None
            }
            Arm::Paused | Arm::Ended => None,
        }
    }

    /// The reader wants more again.
    pub(crate) fn resume(&mut self, key: Key) -> Followup {
        let Some(Slot { state: State::Stream(stream), .. }) = self.slots.get_mut(key) else {
            return Followup::Nothing;
        };
        stream.full = false;
        match stream.arm {
            Arm::Paused => {
                stream.arm = Arm::Armed;
                Followup::Rearm(key, stream.reading())
            }
            Arm::Stopping { .. } => {
                stream.arm = Arm::Stopping { resume: true };
                Followup::Nothing
            }
            Arm::Armed | Arm::Starved | Arm::Ended => Followup::Nothing,
        }
    }

    /// How the receive is armed from the next time on.
    pub(crate) fn set_bulk(&mut self, key: Key, bulk: bool) {
        if let Some(Slot { state: State::Stream(stream), .. }) = self.slots.get_mut(key) {
            stream.way = if bulk { Way::Bulk } else { Way::Small };
        }
    }

    pub(crate) fn set_once(&mut self, key: Key, once: bool) {
        if let Some(Slot { state: State::Stream(stream), .. }) = self.slots.get_mut(key) {
            stream.way = if once { Way::Once } else { Way::Small };
        }
    }

    /// Paused, nothing in flight, and everything that had come was read: the socket can be read in another way.
    pub(crate) fn is_quiet(&self, key: Key) -> bool {
        let Some(Slot { state: State::Stream(stream), .. }) = self.slots.get(key) else { return false };
        stream.arm == Arm::Paused && !stream.full && stream.unread.is_empty() && stream.end.is_none()
    }

    /// A starved receive gets its chance: whether it is still one, and on what.
    pub(crate) fn unstarve(&mut self, key: Key) -> Option<Reading> {
        let Some(Slot { state: State::Stream(stream), .. }) = self.slots.get_mut(key) else { return None };
        if stream.arm != Arm::Starved {
            return None;
        }
        stream.arm = Arm::Armed;
        Some(stream.reading())
    }

    /// Nobody waits any more. Returns what to cancel, and a descriptor that has nobody now.
    pub(crate) fn abandon(&mut self, key: Key) -> (Option<Token>, Option<Desc>) {
        let Some(slot) = self.slots.get_mut(key) else { return (None, None) };
        slot.waker = None;
        match &mut slot.state {
            State::InFlight => {
                slot.state = State::Orphan;
                (Some(slot.token), None)
            }
            State::Orphan => (None, None),
            State::Series(outcomes) => {
                if outcomes.iter().any(|(_, more)| !more) {
                    self.slots.remove(key);
                    return (None, None);
                }
                slot.state = State::Orphan;
                (Some(slot.token), None)
            }
            State::Finished(_) => {
                let state = self.slots.remove(key).map(|s| s.state);
                (None, if let Some(State::Finished(outcome)) = state { stray(&outcome) } else { None })
            }
            State::Stream(stream) => {
                stream.abandoned = true;
                self.backlog.clear(&mut stream.unread);
                match stream.arm {
                    Arm::Armed => (Some(slot.token), None),
                    Arm::Stopping { .. } => (None, None),
                    Arm::Paused | Arm::Starved | Arm::Ended => {
                        self.slots.remove(key);
                        (None, None)
                    }
                }
            }
        }
    }

    /// File one completion.
    pub(crate) fn complete(&mut self, key: Key, outcome: Outcome, more: bool) -> Followup {
        let Some(slot) = self.slots.get_mut(key) else {
            debug_assert!(false, "a completion for a slot that has ended: {outcome:?}");
            return stray(&outcome).map_or(Followup::Nothing, Followup::CloseStray);
        };
        match &mut slot.state {
            State::Stream(stream) => {
                let mut followup = stream.file(key, outcome, more, &mut self.backlog);
                let limit = match (stream.way == Way::Once, self.scarce) {
                    (true, _) => 1,
                    (false, true) => QUEUED_CHUNKS_SCARCE,
                    (false, false) => QUEUED_CHUNKS_MAX,
                };
                if stream.is_overfull(limit) {
                    stream.full = stream.way != Way::Once;
                    // A receive that has just ended by itself is not in flight: there is nothing to cancel.
                    (stream.arm, followup) = match followup {
                        Followup::Rearm(..) => (Arm::Paused, Followup::Nothing),
                        _ => (Arm::Stopping { resume: false }, Followup::Cancel(slot.token)),
                    };
                }
                if stream.abandoned {
                    self.backlog.clear(&mut stream.unread);
                    if !more {
                        self.slots.remove(key);
                    }
                    return Followup::Nothing;
                }
                if let Some(waker) = slot.waker.take_if(|_| stream.has_news() || stream.arm == Arm::Paused) {
                    waker.wake();
                }
                followup
            }
            State::Series(outcomes) => {
                outcomes.push((outcome, more));
                if let Some(waker) = slot.waker.take() {
                    waker.wake();
                }
                Followup::Nothing
            }
            State::Orphan => {
                if !more {
                    self.slots.remove(key);
                }
                stray(&outcome).map_or(Followup::Nothing, Followup::CloseStray)
            }
            State::InFlight | State::Finished(_) => {
                debug_assert!(matches!(slot.state, State::InFlight), "two last completions");
                slot.state = State::Finished(outcome);
                if let Some(waker) = slot.waker.take() {
                    waker.wake();
                }
                Followup::Nothing
            }
        }
    }
}

impl Stream {
    fn reading(&self) -> Reading {
        Reading { desc: self.desc, bulk: self.way == Way::Bulk, once: self.way == Way::Once }
    }

    /// Still receiving although the reader is far behind.
    fn is_overfull(&self, limit: usize) -> bool {
        self.arm == Arm::Armed && self.unread.len() >= limit
    }

    fn has_news(&self) -> bool {
        !self.unread.is_empty() || self.end.is_some()
    }

    fn file(&mut self, key: Key, outcome: Outcome, more: bool, backlog: &mut Backlog) -> Followup {
        match outcome {
            Outcome::Received { buffer, len } => {
                backlog.push(&mut self.unread, Chunk { buffer, len });
                if more { Followup::Nothing } else { self.over(key, false) }
            }
            Outcome::Eof => self.finish(End::Eof),
            Outcome::Failed(Errno::CANCELED) if matches!(self.arm, Arm::Stopping { .. }) => self.over(key, false),
            Outcome::Failed(Errno::NO_BUFFERS) => self.over(key, true),
            Outcome::Failed(errno) => self.finish(End::Failed(errno)),
            other => {
                debug_assert!(false, "a receive completed with {other:?}");
                self.finish(End::Failed(Errno(libc::EIO)))
            }
        }
    }

    fn finish(&mut self, end: End) -> Followup {
        self.arm = Arm::Ended;
        self.end = Some(end);
        Followup::Nothing
    }

    /// The receive has ended although the stream has not.
    fn over(&mut self, key: Key, starved: bool) -> Followup {
        let wanted = match self.arm {
            Arm::Armed => starved || self.way != Way::Once,
            Arm::Stopping { resume } => resume,
            Arm::Paused | Arm::Starved | Arm::Ended => false,
        };
        match (wanted, starved) {
            (false, _) => {
                self.arm = Arm::Paused;
                Followup::Nothing
            }
            (true, true) => {
                self.arm = Arm::Starved;
                Followup::Starve(key)
            }
            (true, false) => {
                self.arm = Arm::Armed;
                Followup::Rearm(key, self.reading())
            }
        }
    }
}

/// A descriptor in a result that nobody collects.
fn stray(outcome: &Outcome) -> Option<Desc> {
    match outcome {
        Outcome::Accepted { desc, .. } | Outcome::Connected(desc) => Some(*desc),
        _ => None,
    }
}

fn register(waker: &mut Option<Waker>, context: &Context<'_>) {
    match waker {
        Some(known) if known.will_wake(context.waker()) => {}
        _ => *waker = Some(context.waker().clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buf::{Budget, BufferPool, Class, Sizes};
    use std::task::Waker;

    fn received(pool: &BufferPool) -> Outcome {
        Outcome::Received { buffer: pool.take(Class::Small).expect("a buffer"), len: 1 }
    }

    /// Nothing of the receive is in flight then that could say so; it must be armed when the reader has caught up.
    #[test]
    fn an_ending_receive_that_fills_the_queue_waits_for_the_reader() {
        let pool = BufferPool::new(Sizes::default(), Budget::new(1 << 20));
        let mut ops = Ops::default();
        let key = ops.stream(Desc(1));
        for _ in 1..QUEUED_CHUNKS_MAX {
            assert!(matches!(ops.complete(key, received(&pool), true), Followup::Nothing));
        }
        assert!(matches!(ops.complete(key, received(&pool), false), Followup::Nothing));
        let context = Context::from_waker(Waker::noop());
        let mut armed = 0;
        while let (Poll::Ready(Received::Data(_)), followup) = ops.poll_stream(key, &context) {
            armed += u32::from(matches!(followup, Followup::Rearm(..)));
        }
        assert_eq!(armed, 1);
    }
}
