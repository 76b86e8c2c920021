//! What happened, as one number to compare and, on demand, as lines to read.

use crate::{
    clock::Timestamp,
    driver::{Completion, Outcome},
    rng::splitmix64,
};

#[derive(Default)]
pub(super) struct Journal {
    pub(super) digest: u64,
    pub(super) lines: Option<Vec<String>>,
}

impl Journal {
    pub(super) fn note(&mut self, now: Timestamp, host: usize, completion: &Completion) {
        let (kind, detail) = facts(&completion.outcome);
        for fact in [now.as_nanos(), host as u64, completion.key.0, kind, detail, u64::from(completion.more)] {
            self.digest ^= fact;
            self.digest = splitmix64(&mut self.digest);
        }
        if let Some(lines) = &mut self.lines {
            let name = NAMES[kind as usize];
            let more = if completion.more { " more" } else { "" };
            lines.push(format!("{} host {host} op {:x} {name} {detail}{more}", now.as_nanos(), completion.key.0));
        }
    }
}

const NAMES: [&str; 12] = [
    "accepted",
    "connected",
    "received",
    "eof",
    "sent",
    "send-failed",
    "done",
    "failed",
    "batch-sent",
    "released",
    "spliced",
    "unacked",
];

/// An index into [`NAMES`], and the number that matters most.
fn facts(outcome: &Outcome) -> (u64, u64) {
    match outcome {
        Outcome::Accepted { desc, .. } => (0, u64::from(desc.0)),
        Outcome::Connected(desc) => (1, u64::from(desc.0)),
        Outcome::Received { len, .. } => (2, u64::from(*len)),
        Outcome::Eof => (3, 0),
        Outcome::Sent { sent, .. } => (4, u64::from(*sent)),
        Outcome::SendFailed { errno, .. } => (5, errno.0 as u64),
        Outcome::Done => (6, 0),
        Outcome::Failed(errno) => (7, errno.0 as u64),
        Outcome::BatchSent { result, .. } => (8, result.map_or(0, u64::from)),
        Outcome::Released { copied, .. } => (9, u64::from(*copied)),
        Outcome::Spliced { result, .. } => (10, result.map_or(0, u64::from)),
        Outcome::Unacked(bytes) => (11, u64::from(*bytes)),
    }
}
