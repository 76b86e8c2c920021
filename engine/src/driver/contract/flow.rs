//! One direction of a connection: a source of numbered bytes, and a sink that knows them.

use super::rig::{Rig, Ticket};
use crate::driver::{CloseHow, Desc, Errno, Op, Outcome};

/// The byte at a place of a stream: no two stretches look alike, so that nothing can be lost, doubled or swapped.
pub(super) fn byte_at(place: u64) -> u8 {
    (place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8
}

/// Sends `total` bytes, then closes its half.
pub(super) struct Source {
    desc: Desc,
    sent: u64,
    total: u64,
    op: Option<Ticket>,
    shutdown: Option<Ticket>,
    pub(super) done: bool,
}

impl Source {
    pub(super) fn new(desc: Desc, total: u64) -> Self {
        Self { desc, sent: 0, total, op: None, shutdown: None, done: false }
    }

    pub(super) fn poll(&mut self, rig: &mut Rig) {
        if let Some(op) = self.op {
            match rig.next(op).map(|completion| completion.outcome) {
                None => return,
                Some(Outcome::Sent { sent, .. }) => self.sent += u64::from(sent),
                Some(other) => panic!("{other:?} of a send"),
            }
        }
        if self.sent < self.total {
            self.op = Some(self.start_send(rig));
            return;
        }
        self.op = None;
        match self.shutdown {
            None => self.shutdown = Some(rig.start(Op::Shutdown { desc: self.desc })),
            Some(shutdown) => self.done |= rig.next(shutdown).is_some(),
        }
    }

    fn start_send(&self, rig: &mut Rig) -> Ticket {
        let mut buffer = rig.buffer();
        let from = rig.rng.index(64);
        let room = (buffer.len() - from).min((self.total - self.sent) as usize);
        let to = from + 1 + rig.rng.index(room);
        for (offset, byte) in buffer[from..to].iter_mut().enumerate() {
            *byte = byte_at(self.sent + offset as u64);
        }
        rig.start(Op::Send { desc: self.desc, buffer, from: from as u32, to: to as u32 })
    }
}

/// How eagerly a sink reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    Eager,
    /// Now and then it cancels its receive and looks away for a while.
    Hesitant,
}

/// Receives and checks until the stream ends.
pub(super) struct Sink {
    desc: Desc,
    pace: Pace,
    pub(super) received: u64,
    op: Option<Ticket>,
    /// Turns to look away.
    pause: u64,
    pub(super) end: Option<Result<(), Errno>>,
    /// Receives ended for want of buffers.
    pub(super) starved: u64,
}

impl Sink {
    pub(super) fn new(desc: Desc, pace: Pace) -> Self {
        Self { desc, pace, received: 0, op: None, pause: 0, end: None, starved: 0 }
    }

    pub(super) fn poll(&mut self, rig: &mut Rig) {
        if self.end.is_some() {
            return;
        }
        let Some(op) = self.op else {
            self.pause = self.pause.saturating_sub(1);
            if self.pause == 0 {
                let bulk = rig.rng.chance(1, 3);
                self.op = Some(rig.start(Op::Recv { desc: self.desc, bulk, once: false }));
            }
            return;
        };
        while let Some(completion) = rig.next(op) {
            if !completion.more {
                self.op = None;
            }
            self.take(completion.outcome);
        }
        if self.op.is_some() && self.pace == Pace::Hesitant && rig.rng.chance(1, 8) {
            rig.cancel(op);
        }
    }

    fn take(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Received { buffer, len } => {
                for byte in &buffer[..len as usize] {
                    assert_eq!(*byte, byte_at(self.received), "wrong byte at {}", self.received);
                    self.received += 1;
                }
            }
            Outcome::Eof => self.end = Some(Ok(())),
            Outcome::Failed(Errno::CANCELED) => self.pause = 1 + self.received % 7,
            Outcome::Failed(Errno::NO_BUFFERS) => self.starved += 1,
            Outcome::Failed(errno) => self.end = Some(Err(errno)),
            other => panic!("{other:?} of a receive"),
        }
    }
}

/// Sends `bytes` each way over a new connection, closes it, and checks that everything arrived.
pub(super) fn exchange(rig: &mut Rig, bytes: [u64; 2], paces: [Pace; 2]) {
    let (left, right) = rig.pair();
    let mut sources = [Source::new(left, bytes[0]), Source::new(right, bytes[1])];
    let mut sinks = [Sink::new(right, paces[0]), Sink::new(left, paces[1])];
    rig.run_until("both directions end", |rig| {
        sources.iter_mut().for_each(|source| source.poll(rig));
        sinks.iter_mut().for_each(|sink| sink.poll(rig));
        sources.iter().all(|source| source.done) && sinks.iter().all(|sink| sink.end.is_some())
    });
    for (sink, expected) in sinks.iter().zip(bytes) {
        assert_eq!((sink.end, sink.received), (Some(Ok(())), expected));
    }
    rig.close(left, CloseHow::Graceful);
    rig.close(right, CloseHow::Graceful);
}
