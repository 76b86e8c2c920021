//! A bounded mailbox into a shard: many senders, one receiver that sleeps in its ring.
//!
//! ```text
//!   control thread ──try_send──► Mutex<queue> ──drain──► shard
//!                         │ empty → non-empty                ▲
//!                         └────────► eventfd ────poll────────┘
//! ```
//!
//! A mutex around a queue, because it is not on the request path: snapshots, commands and answers pass here, a few a
//! second, and the lock is held for a push or a swap, never for a system call or the drop of a message. A full mailbox
//! is back-pressure to the sender; a shard is never blocked by it.
//!
//! No wake-up is lost. The sender that makes the queue non-empty writes the eventfd after its push; the receiver resets
//! the eventfd *before* it takes the queue. So whatever a drain does not see was pushed into an empty queue after the
//! reset, and its sender's write is still to come or still readable. The price is a wake-up now and then that finds
//! nothing.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A mailbox for at most `capacity` messages.
///
/// # Errors
/// When the process or the system is out of descriptors for the eventfd.
pub fn channel<T>(capacity: usize) -> io::Result<(Sender<T>, Receiver<T>)> {
    let queue = Mutex::new(Queue { messages: VecDeque::new(), open: true });
    let shared = Arc::new(Shared { queue, capacity, event: File::from(crate::os::eventfd()?) });
    Ok((Sender(Arc::clone(&shared)), Receiver { shared, spare: VecDeque::new() }))
}

struct Queue<T> {
    messages: VecDeque<T>,
    /// False exactly when the receiver is gone.
    open: bool,
}

struct Shared<T> {
    queue: Mutex<Queue<T>>,
    capacity: usize,
    /// An eventfd: eight bytes in, eight bytes out. Readable whenever a drain may find something.
    event: File,
}

impl<T> Shared<T> {
    /// Nothing that runs under the lock can panic halfway, so a poisoned queue is a whole queue.
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a message was not sent; it comes back with the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendError<T> {
    /// The shard is behind: try again later.
    Full(T),
    /// The shard is gone.
    Closed(T),
}

impl<T> SendError<T> {
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(message) | Self::Closed(message) => message,
        }
    }
}

/// Without `T: Debug`, for messages are whole snapshots.
impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Closed(_) => "Closed",
        })
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the shard's mailbox is full",
            Self::Closed(_) => "the shard has ended",
        })
    }
}

impl<T> std::error::Error for SendError<T> {}

/// The sending end; clone one for every thread that talks to the shard.
pub struct Sender<T>(Arc<Shared<T>>);

impl<T> Sender<T> {
    /// Never blocks for longer than another thread's push.
    ///
    /// # Errors
    /// Gives the message back when the mailbox is full or closed.
    pub fn try_send(&self, message: T) -> Result<(), SendError<T>> {
        let mut queue = self.0.lock();
        if !queue.open {
            return Err(SendError::Closed(message));
        }
        if queue.messages.len() >= self.0.capacity {
            return Err(SendError::Full(message));
        }
        let wake = queue.messages.is_empty();
        queue.messages.push_back(message);
        drop(queue);
        if wake {
            self.wake();
        }
        Ok(())
    }

    /// True once the receiver is gone.
    pub fn is_closed(&self) -> bool {
        !self.0.lock().open
    }

    /// An eventfd refuses a write only when its counter stands at 2^64 - 2, and then it is readable anyway.
    fn wake(&self) {
        let written = (&self.0.event).write(&1_u64.to_ne_bytes());
        debug_assert!(matches!(written, Ok(8)), "waking a shard failed: {written:?}");
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("capacity", &self.0.capacity).finish_non_exhaustive()
    }
}

/// The shard's end. Dropping it closes the mailbox and drops what is queued, on the dropping thread.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// Swapped with the full queue, so that the lock is not held while messages move. Empty between two drains.
    spare: VecDeque<T>,
}

impl<T> Receiver<T> {
    /// Poll this for readability, then [`Receiver::drain`]. It does not block, so poll it and do not read it.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.shared.event.as_fd()
    }

    /// Appends everything that has arrived, in order for each sender, and re-arms the eventfd. Returns how much it was.
    pub fn drain(&mut self, messages: &mut Vec<T>) -> usize {
        self.reset();
        std::mem::swap(&mut self.shared.lock().messages, &mut self.spare);
        let count = self.spare.len();
        messages.extend(self.spare.drain(..));
        count
    }

    /// Reading an eventfd sets it to zero; when it is zero already the answer is EAGAIN, and all is well too.
    fn reset(&self) {
        let read = (&self.shared.event).read(&mut [0; 8]);
        debug_assert!(
            read.as_ref().map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |bytes| *bytes == 8),
            "resetting a mailbox failed: {read:?}"
        );
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.open = false;
        let orphans = std::mem::take(&mut queue.messages);
        // A message's drop may be slow, or may look at the mailbox: not under the lock.
        drop(queue);
        drop(orphans);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("event", &self.shared.event).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::thread;

    use super::*;

    /// Waits as a ring does, until the eventfd is readable.
    fn readable<T>(receiver: &Receiver<T>, timeout_ms: i32) -> bool {
        let mut poll = libc::pollfd { fd: receiver.fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid entry, alive during the call.
        unsafe { libc::poll(&raw mut poll, 1, timeout_ms) == 1 }
    }

    fn drained<T>(receiver: &mut Receiver<T>) -> Vec<T> {
        let mut messages = Vec::new();
        assert_eq!(receiver.drain(&mut messages), messages.len());
        messages
    }

    #[test]
    fn messages_arrive_in_order_and_wake_once() {
        let (sender, mut receiver) = channel(8).unwrap();
        assert!(!readable(&receiver, 0));
        for message in 0..5 {
            sender.try_send(message).unwrap();
        }
        let mut counter = [0; 8];
        assert_eq!((&receiver.shared.event).read(&mut counter).unwrap(), 8);
        assert_eq!(u64::from_ne_bytes(counter), 1, "only the first of a burst writes the eventfd");
        assert_eq!(drained(&mut receiver), [0, 1, 2, 3, 4]);
        sender.try_send(5).unwrap();
        assert!(readable(&receiver, 0));
        assert_eq!(drained(&mut receiver), [5]);
        assert!(!readable(&receiver, 0));
        assert!(drained(&mut receiver).is_empty());
    }

    #[test]
    fn a_full_mailbox_gives_the_message_back() {
        let (sender, mut receiver) = channel(2).unwrap();
        sender.try_send("a").unwrap();
        sender.try_send("b").unwrap();
        assert_eq!(sender.try_send("c"), Err(SendError::Full("c")));
        assert_eq!(drained(&mut receiver), ["a", "b"]);
        sender.try_send("c").unwrap();
        assert_eq!(sender.try_send("d").and_then(|()| sender.try_send("e")).unwrap_err().into_inner(), "e");
    }

    #[test]
    fn dropping_the_receiver_drops_what_is_queued_and_closes() {
        let (sender, receiver) = channel(2).unwrap();
        let witness = Arc::new(());
        sender.try_send(Arc::clone(&witness)).unwrap();
        assert!(!sender.is_closed());
        drop(receiver);
        assert_eq!(Arc::strong_count(&witness), 1);
        assert!(sender.clone().is_closed());
        assert!(matches!(sender.try_send(witness), Err(SendError::Closed(_))));
    }

    /// Three threads send in bursts and wait for room; the receiver sleeps between drains. A lost wake-up would leave
    /// it asleep with messages in the queue and everybody waiting: the poll would time out.
    #[test]
    fn no_wake_up_is_lost() {
        const SENDERS: u64 = 3;
        const EACH: u64 = 20_000;
        let (sender, receiver) = channel::<(u64, u64)>(16).unwrap();
        thread::scope(move |scope| {
            let mut receiver = receiver;
            for name in 0..SENDERS {
                let sender = sender.clone();
                scope.spawn(move || {
                    for number in 0..EACH {
                        while let Err(error) = sender.try_send((name, number)) {
                            assert!(matches!(error, SendError::Full(_)), "the receiver failed");
                            thread::yield_now();
                        }
                    }
                });
            }
            let mut expected = [0; SENDERS as usize];
            let mut messages = Vec::new();
            while expected != [EACH; SENDERS as usize] {
                assert!(readable(&receiver, 10_000), "asleep with {expected:?} received");
                receiver.drain(&mut messages);
                for (name, number) in messages.drain(..) {
                    assert_eq!(number, expected[name as usize]);
                    expected[name as usize] += 1;
                }
            }
        });
    }

    /// The protocol itself, every interleaving of it: two senders of two steps each (push, then write if the queue was
    /// empty) against a receiver that waits, resets and takes, for ever. Wherever all senders are done and the receiver
    /// sleeps, the queue must be empty.
    #[test]
    fn the_protocol_has_no_interleaving_that_loses_a_wake_up() {
        let mut seen = std::collections::HashSet::new();
        let mut open = vec![Model::default()];
        while let Some(model) = open.pop() {
            if !seen.insert(model) {
                continue;
            }
            let next = model.successors();
            assert!(!next.is_empty() || model.queued == 0, "asleep with a message queued: {model:?}");
            open.extend(next);
        }
        assert!(seen.len() > 100, "the model hardly moved: {}", seen.len());
    }

    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    struct Model {
        queued: u8,
        event: bool,
        /// Messages that a sender has pushed, and whether it still owes the write for the last.
        senders: [(u8, bool); 2],
        receiver: Step,
    }

    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    enum Step {
        #[default]
        Wait,
        Reset,
        Take,
    }

    impl Model {
        fn successors(self) -> Vec<Self> {
            let mut next: Vec<Self> = (0..2).filter_map(|sender| self.after_sender(sender)).collect();
            next.extend(self.after_receiver());
            next
        }

        fn after_sender(mut self, sender: usize) -> Option<Self> {
            let (sent, owes) = &mut self.senders[sender];
            if *owes {
                *owes = false;
                self.event = true;
            } else if *sent < 3 {
                *sent += 1;
                *owes = self.queued == 0;
                self.queued += 1;
            } else {
                return None;
            }
            Some(self)
        }

        fn after_receiver(mut self) -> Option<Self> {
            self.receiver = match self.receiver {
                Step::Wait if !self.event => return None,
                Step::Wait => Step::Reset,
                Step::Reset => {
                    self.event = false;
                    Step::Take
                }
                Step::Take => {
                    self.queued = 0;
                    Step::Wait
                }
            };
            Some(self)
        }
    }
}
