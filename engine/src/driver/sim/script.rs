//! A socket whose receives complete as a trace says, to the letter.

use super::{
    net::{Net, OpRef},
    socket::End,
    trace::{Step, Trace},
};
use crate::driver::{Errno, Outcome};
use std::{collections::VecDeque, rc::Rc};

/// A trace, and the bytes that its receives bring: `payload`, over and over.
#[derive(Clone, Debug)]
pub struct Script {
    steps: VecDeque<Step>,
    payload: Rc<[u8]>,
    at: usize,
}

impl Script {
    /// # Panics
    /// When there is no payload.
    pub fn new(trace: &Trace, payload: &[u8]) -> Self {
        assert!(!payload.is_empty(), "a script needs bytes to bring");
        Self { steps: trace.steps.iter().copied().collect(), payload: payload.into(), at: 0 }
    }

    /// What comes next, if it comes now. A recorded ECANCELED waits for its cancellation. A cancellation that comes
    /// earlier than the recorded one lets everything up to it still come; one that was not recorded at all ends the
    /// receive at once.
    fn next(&self, cancelled: bool) -> Option<Step> {
        let canceled = Step::End(Errno::CANCELED);
        match self.steps.front().copied() {
            Some(step) if step == canceled => cancelled.then_some(canceled),
            None => cancelled.then_some(canceled),
            Some(_) if cancelled && self.next_end() != Some(canceled) => Some(canceled),
            Some(step) => Some(step),
        }
    }

    fn next_end(&self) -> Option<Step> {
        self.steps.iter().copied().find(|step| step.is_last())
    }

    fn advance(&mut self, done: Step) {
        if self.steps.front() == Some(&done) {
            self.steps.pop_front();
        }
    }

    fn write(&mut self, to: &mut [u8]) {
        for byte in to {
            *byte = self.payload[self.at % self.payload.len()];
            self.at += 1;
        }
    }
}

impl Net {
    pub(super) fn pump_script(&mut self, end: End, op: OpRef) {
        let cancelled = self.pending(op).is_some_and(|pending| pending.cancelled);
        let Some(script) = self.side(end).and_then(|side| side.script.as_mut()) else { return };
        let Some(step) = script.next(cancelled) else { return };
        if let Step::Recv { len, more } = step {
            return self.receive_scripted(end, op, len, more);
        }
        script.advance(step);
        match step {
            Step::Eof => self.finish(op, Outcome::Eof),
            Step::End(errno) | Step::Err(errno) => self.fail(op, errno),
            Step::Recv { .. } => unreachable!("returned above"),
        }
        self.pump_soon(end);
    }

    /// # Panics
    /// When the trace has received more at once than the largest buffer holds: it was recorded elsewhere.
    fn receive_scripted(&mut self, end: End, op: OpRef, len: u32, more: bool) {
        let pool = &self.hosts[op.host].pool;
        let class = pool.optimal(len as usize).expect("the trace fits the pool's buffers");
        let Some(mut buffer) = pool.take(class) else {
            // The step is not done: it comes when there are buffers again.
            return self.fail(op, Errno::NO_BUFFERS);
        };
        if let Some(script) = self.side(end).and_then(|side| side.script.as_mut()) {
            script.write(&mut buffer[..len as usize]);
            script.advance(Step::Recv { len, more });
        }
        self.received(op, Outcome::Received { buffer, len }, more);
        self.pump_soon(end);
    }
}
