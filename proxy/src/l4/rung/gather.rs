//! Bulk receives, gathered and sent by one call: the rungs `bundle` and `send-zc`; and bulk on `copy`, where that is
//! all there may be.
//!
//! ```text
//!   source ──► several large buffers at once ──► batch ──► one vectored send ──► buffers back
//!                                                           │ zero copy
//!                                                           ▼
//!                                             sent: the next batch may go
//!                                             released: these buffers are free
//! ```
//!
//! Zero-copy sends are made from memory that is registered with the ring, as far as it goes, or else from any.
//!
//! Memory is lent to the kernel until it is released, so what is sent but not released counts against a limit, or a
//! peer that acknowledges nothing would hold any amount. Where the kernel reports again and again that it copied after
//! all (loopback always does), zero copy costs and gives nothing, and the direction goes on without.

use super::Step;
use balance_engine::{
    Received,
    batch::Batch,
    driver::Errno,
    net::{BatchEvent, BatchSend, Socket},
};
use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

/// Sent and not yet released, at most.
const UNRELEASED_MAX: u64 = 4 << 20;
/// Copies in a row that switch zero copy off for a direction.
const COPIES_MAX: u32 = 8;

pub(in crate::l4) struct Gather {
    /// Being filled; taken from what was sent before.
    filling: Box<Batch>,
    sending: Option<BatchSend>,
    /// Batches that are sent but that the kernel still looks at, with their bytes, oldest first.
    unreleased: VecDeque<(BatchSend, u64)>,
    unreleased_bytes: u64,
    /// Bytes of the batch that is being sent.
    in_flight: u64,
    zero_copy: ZeroCopy,
    /// Of the last batch only so much was sent without a copy. The rest is sent once the kernel has released it.
    short: Option<u32>,
    /// The rung is to be left.
    reads_no_more: bool,
    /// The end of the source, to be told when all is sent.
    ended: Option<Step>,
}

/// Whether and when batches are sent without a copy.
#[derive(Clone, Copy, Debug)]
pub(in crate::l4) enum ZeroCopy {
    Off,
    /// For batches of at least so many bytes. `copies`: reports in a row that it was none.
    From {
        bytes: u32,
        copies: u32,
    },
}

/// What the kernel reported about zero copy in one step.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::l4) struct ZeroCopyReports {
    pub(in crate::l4) zero_copied: u32,
    pub(in crate::l4) copied: u32,
    /// Of both, those from registered memory.
    pub(in crate::l4) registered: u32,
    pub(in crate::l4) switched_off: bool,
}

impl Gather {
    pub(in crate::l4) fn new(source: &mut Socket, zero_copy: ZeroCopy) -> Self {
        source.set_bulk_recv(true);
        Self::of(zero_copy)
    }

    /// Of what the source receives as it is: small buffers.
    pub(in crate::l4) fn small() -> Self {
        Self::of(ZeroCopy::Off)
    }

    fn of(zero_copy: ZeroCopy) -> Self {
        Self {
            filling: Box::default(),
            sending: None,
            unreleased: VecDeque::new(),
            unreleased_bytes: 0,
            in_flight: 0,
            zero_copy,
            short: None,
            reads_no_more: false,
            ended: None,
        }
    }

    pub(in crate::l4) fn step(
        &mut self,
        source: &mut Socket,
        sink: &Socket,
        read: &mut Option<u32>,
        reports: &mut ZeroCopyReports,
        context: &mut Context<'_>,
    ) -> Step {
        self.collect_released(reports, context);
        if self.sending.is_some() {
            return self.collect_sent(sink, context);
        }
        if self.short.is_some() || self.unreleased_bytes >= UNRELEASED_MAX {
            return Step::Waiting;
        }
        if !self.reads_no_more {
            *read = self.fill(source, context);
        }
        if !self.filling.is_empty() {
            self.send(sink);
            return Step::Moved { sent: 0 };
        }
        match self.ended {
            // A reset does not wait for anything; an end waits until the kernel has let go of the last bytes.
            Some(Step::SourceEnded) if !self.unreleased.is_empty() => Step::Waiting,
            Some(end) => end,
            None => Step::Waiting,
        }
    }

    /// Take what has come. Returns how much it was, if there is no more for now.
    fn fill(&mut self, source: &mut Socket, context: &mut Context<'_>) -> Option<u32> {
        while self.ended.is_none() && self.filling.has_room() {
            match source.poll_recv(context) {
                Poll::Ready(Received::Data(chunk)) => self.filling.push(chunk),
                Poll::Ready(Received::Eof) => self.ended = Some(Step::SourceEnded),
                Poll::Ready(Received::Failed(_)) => self.ended = Some(Step::SourceReset),
                Poll::Pending => {
                    let bytes = u32::try_from(self.filling.bytes()).unwrap_or(u32::MAX);
                    return (bytes > 0).then_some(bytes);
                }
            }
        }
        None
    }

    /// Finish what has been read, so that the rung can be left.
    pub(in crate::l4) fn read_no_more(&mut self) {
        self.reads_no_more = true;
    }

    pub(in crate::l4) fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    /// Nothing is on its way: the rung can be left.
    pub(in crate::l4) fn is_empty(&self) -> bool {
        self.filling.is_empty() && self.sending.is_none() && self.unreleased.is_empty()
    }

    fn send(&mut self, sink: &Socket) {
        let batch = std::mem::take(&mut self.filling);
        let zero_copy = match self.zero_copy {
            ZeroCopy::Off => false,
            ZeroCopy::From { bytes, .. } => batch.bytes() >= u64::from(bytes),
        };
        self.in_flight = batch.bytes();
        self.sending = Some(BatchSend::start(sink, batch, zero_copy));
    }

    fn collect_sent(&mut self, sink: &Socket, context: &mut Context<'_>) -> Step {
        let Some(mut sending) = self.sending.take() else { return Step::Waiting };
        match sending.poll(context) {
            Poll::Pending => {
                self.sending = Some(sending);
                Step::Waiting
            }
            Poll::Ready(BatchEvent::Sent { batch: None, result: Err(Errno::AGAIN) }) => {
                self.sent_without_copy(sending, 0)
            }
            Poll::Ready(BatchEvent::Sent { result: Err(errno), .. }) => Step::SinkBroken(errno),
            Poll::Ready(BatchEvent::Sent { batch: Some(mut batch), result: Ok(sent) }) => {
                batch.advance(sent);
                self.filling = batch;
                if !self.filling.is_empty() {
                    self.send(sink);
                }
                Step::Moved { sent }
            }
            Poll::Ready(BatchEvent::Sent { batch: None, result: Ok(sent) }) => self.sent_without_copy(sending, sent),
            Poll::Ready(BatchEvent::Released { .. }) => Step::SinkBroken(Errno::BROKEN_PIPE),
        }
    }

    fn sent_without_copy(&mut self, sending: BatchSend, sent: u32) -> Step {
        self.short = (u64::from(sent) < self.in_flight).then_some(sent);
        self.unreleased_bytes += self.in_flight;
        self.unreleased.push_back((sending, self.in_flight));
        Step::Moved { sent }
    }

    fn collect_released(&mut self, reports: &mut ZeroCopyReports, context: &mut Context<'_>) {
        while let Some((send, bytes)) = self.unreleased.front_mut()
            && let Poll::Ready(event) = send.poll(context)
        {
            self.unreleased_bytes -= *bytes;
            self.unreleased.pop_front();
            let BatchEvent::Released { mut batch, copied, registered } = event else { continue };
            reports.registered += u32::from(registered);
            self.note(copied, reports);
            if self.unreleased.is_empty()
                && let Some(sent) = self.short.take()
            {
                batch.advance(sent);
                self.filling = batch;
            }
        }
    }

    fn note(&mut self, was_copied: bool, reports: &mut ZeroCopyReports) {
        let ZeroCopy::From { copies, .. } = &mut self.zero_copy else { return };
        if was_copied {
            reports.copied += 1;
            *copies += 1;
        } else {
            reports.zero_copied += 1;
            *copies = 0;
        }
        if *copies >= COPIES_MAX {
            self.zero_copy = ZeroCopy::Off;
            reports.switched_off = true;
        }
    }
}
