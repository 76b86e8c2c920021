//! Vectored sends, with and without a copy, from whatever memory.

use super::{
    flow::{Pace, Sink, byte_at},
    rig::{Rig, Setup, Ticket},
};
use crate::{
    batch::Batch,
    buf::Class,
    driver::{Desc, Op, Outcome},
    ops::Chunk,
};
use std::collections::VecDeque;

/// Sent and not yet given back, at most.
const UNRELEASED_MAX: usize = 8;

/// Sends batches of numbered bytes, each once the one before is sent, as the kernel is done with them or not.
struct Batches {
    desc: Desc,
    /// Bytes that are in batches which have been begun.
    begun: u64,
    total: u64,
    /// The one that is being sent, and its bytes.
    sending: Option<(Ticket, u64)>,
    unreleased: VecDeque<Ticket>,
    /// Of the last batch only so much was sent, and the rest has to wait for its return.
    short: Option<u32>,
    rest: Option<Box<Batch>>,
    registered: u64,
}

impl Batches {
    fn poll(&mut self, rig: &mut Rig) {
        self.collect(rig);
        if self.sending.is_some() || self.short.is_some() || self.unreleased.len() == UNRELEASED_MAX {
            return;
        }
        let batch = self.rest.take().or_else(|| self.next(rig));
        let zero_copy = rig.rng.chance(3, 4);
        self.sending = batch.map(|batch| {
            let bytes = batch.bytes();
            (rig.start(Op::SendBatch { desc: self.desc, batch, zero_copy }), bytes)
        });
    }

    fn next(&mut self, rig: &mut Rig) -> Option<Box<Batch>> {
        let mut batch = Box::<Batch>::default();
        for _ in 0..1 + rig.rng.index(5) {
            let class = if rig.rng.chance(1, 8) { Class::Small } else { Class::Medium };
            let mut buffer = rig.pool.take(class).expect("a buffer");
            // Full ones among them, which are one piece with their neighbours.
            let full = rig.rng.chance(1, 2);
            let len = if full { buffer.len() } else { 1 + rig.rng.index(buffer.len()) };
            let len = len.min((self.total - self.begun) as usize);
            if len == 0 {
                break;
            }
            for byte in &mut buffer[..len] {
                *byte = byte_at(self.begun);
                self.begun += 1;
            }
            batch.push(Chunk { buffer, len: len as u32 });
        }
        (!batch.is_empty()).then_some(batch)
    }

    fn collect(&mut self, rig: &mut Rig) {
        if let Some((ticket, bytes)) = self.sending
            && let Some(completion) = rig.next(ticket)
        {
            self.sending = None;
            match completion.outcome {
                Outcome::BatchSent { batch: Some(mut batch), result } => {
                    batch.advance(result.expect("sent"));
                    self.rest = (!batch.is_empty()).then_some(batch);
                }
                Outcome::BatchSent { batch: None, result } => {
                    self.unreleased.push_back(ticket);
                    // Nothing, where the socket took none for the moment.
                    let sent = result.unwrap_or(0);
                    self.short = (u64::from(sent) < bytes).then_some(sent);
                }
                other => panic!("{other:?} of a batch"),
            }
        }
        while let Some(ticket) = self.unreleased.front().copied()
            && let Some(completion) = rig.next(ticket)
        {
            self.unreleased.pop_front();
            let Outcome::Released { mut batch, registered, .. } = completion.outcome else { panic!("{completion:?}") };
            self.registered += u64::from(registered);
            if self.unreleased.is_empty()
                && let Some(sent) = self.short.take()
            {
                batch.advance(sent);
                self.rest = (!batch.is_empty()).then_some(batch);
            }
        }
    }

    fn is_done(&self) -> bool {
        let waits = self.sending.is_some() || self.short.is_some() || self.rest.is_some();
        self.begun == self.total && !waits && self.unreleased.is_empty()
    }
}

pub(crate) fn batches_arrive_in_order_and_come_back(setup: &Setup) {
    setup.each(|rig| {
        for expected in [false, true] {
            let (left, right) = rig.pair();
            let can_register = expected && rig.driver.expect_zero_copy(left).is_ok();
            let total = rig.bulk / 2;
            let (sending, short, rest) = (None, None, None);
            let unreleased = VecDeque::new();
            let mut batches = Batches { desc: left, begun: 0, total, sending, unreleased, short, rest, registered: 0 };
            let mut sink = Sink::new(right, Pace::Hesitant);
            rig.run_until("all is sent", |rig| {
                batches.poll(rig);
                sink.poll(rig);
                batches.is_done()
            });
            let shutdown = rig.start(Op::Shutdown { desc: left });
            rig.last(shutdown);
            rig.run_until("the stream ends", |rig| {
                sink.poll(rig);
                sink.end.is_some()
            });
            assert_eq!((sink.end, sink.received), (Some(Ok(())), total));
            if can_register {
                assert!(batches.registered > 0, "registered memory is used where it is");
                let kept = rig.driver.counters().registered_bytes;
                assert!((1 << 20..=2 << 20).contains(&kept), "{kept} bytes are registered");
            }
        }
        // Nobody sends any more: what was registered is given up.
        for _ in 0..3 {
            rig.driver.shrink();
        }
        assert_eq!(rig.driver.counters().registered_bytes, 0);
    });
}
