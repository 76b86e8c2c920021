//! All shards of the process, as the control thread talks to them: every question has a deadline.

use crate::{
    command::Command,
    link::{SendError, ShardLink},
    report::{ConnectionFilter, ConnectionReport, ShardReport},
    snapshot::{BindId, Snapshot},
};
use std::{os::fd::OwnedFd, sync::Arc, time::Duration};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

/// How long a page waits for a shard. A healthy one answers within a turn.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// How long a shard may take until it runs a new snapshot. It has answered a question just before.
const APPLY_WAIT: Duration = Duration::from_secs(10);
/// How often a full mailbox or a thread that is about to end is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What came of asking one shard.
#[derive(Clone, Debug)]
pub(crate) enum Answer<T> {
    Here(T),
    /// No answer in time. The shard may come back.
    Stalled,
    /// Its thread is gone.
    Ended,
}

impl<T> Answer<T> {
    pub(crate) fn get(&self) -> Option<&T> {
        match self {
            Self::Here(value) => Some(value),
            Self::Stalled | Self::Ended => None,
        }
    }

    pub(crate) fn here(self) -> Option<T> {
        match self {
            Self::Here(value) => Some(value),
            Self::Stalled | Self::Ended => None,
        }
    }
}

pub(crate) struct Fleet {
    links: Vec<Box<dyn ShardLink>>,
    answer_wait: Duration,
}

impl Fleet {
    pub(crate) fn new(links: Vec<Box<dyn ShardLink>>, answer_wait: Duration) -> Self {
        Self { links, answer_wait }
    }

    pub(crate) fn links(&self) -> &[Box<dyn ShardLink>] {
        &self.links
    }

    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    /// One report a shard, in the shards' order.
    pub(crate) async fn reports(&self) -> Vec<Answer<ShardReport>> {
        self.reports_within(self.answer_wait).await
    }

    pub(crate) async fn reports_within(&self, wait: Duration) -> Vec<Answer<ShardReport>> {
        self.ask(wait, Command::Report).await
    }

    /// The rows of every shard that answers; the filter's limit holds for all of them together.
    pub(crate) async fn connections(&self, filter: &ConnectionFilter) -> Vec<Answer<Vec<ConnectionReport>>> {
        let mut answers =
            self.ask(self.answer_wait, |answer| Command::Connections { filter: filter.clone(), answer }).await;
        let mut left = filter.limit;
        for answer in &mut answers {
            if let Answer::Here(rows) = answer {
                rows.truncate(left);
                left -= rows.len();
            }
        }
        answers
    }

    /// Hands `snapshot` to every shard that lives, `sockets` being one list a shard.
    /// Returns the shards that have not taken it in time; it waits in their mailboxes.
    pub(crate) async fn apply(&self, snapshot: &Arc<Snapshot>, mut sockets: Vec<Vec<(BindId, OwnedFd)>>) -> Vec<u16> {
        sockets.resize_with(self.links.len(), Vec::new);
        let deadline = Instant::now() + APPLY_WAIT;
        let mut pending = Vec::with_capacity(self.links.len());
        for (link, sockets) in self.links.iter().zip(sockets) {
            let (done, applied) = oneshot::channel();
            let command = Command::Apply { snapshot: snapshot.clone(), sockets, done };
            let sent = send_patiently(&**link, command, deadline).await;
            pending.push((link, sent, applied));
        }
        let mut lagging = Vec::new();
        for (link, sent, applied) in pending {
            // The old snapshot comes back in the answer and is dropped here.
            let in_time = sent && matches!(timeout_at(deadline, applied).await, Ok(Ok(_)));
            if !in_time && !link.finished() {
                lagging.push(link.shard());
            }
        }
        lagging
    }

    /// Tells every shard to stop accepting. The answers come when a shard has no connection left.
    pub(crate) async fn drain(&self, deadline: Instant) -> Vec<oneshot::Receiver<()>> {
        let mut pending = Vec::with_capacity(self.links.len());
        for link in &self.links {
            let (done, drained) = oneshot::channel();
            if send_patiently(&**link, Command::Drain { done }, deadline).await {
                pending.push(drained);
            }
        }
        pending
    }

    /// Ends every shard. Returns those whose thread is still there after `grace`.
    pub(crate) async fn stop(&self, grace: Duration) -> Vec<u16> {
        let deadline = Instant::now() + grace;
        for link in &self.links {
            send_patiently(&**link, Command::Stop, deadline).await;
        }
        loop {
            let left: Vec<u16> = self.links.iter().filter(|l| !l.finished()).map(|l| l.shard()).collect();
            if left.is_empty() || Instant::now() >= deadline {
                return left;
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Asks all first and waits then, so that one slow shard costs no more than the deadline.
    async fn ask<T>(&self, wait: Duration, command: impl Fn(oneshot::Sender<T>) -> Command) -> Vec<Answer<T>> {
        let deadline = Instant::now() + wait;
        let mut pending = Vec::with_capacity(self.links.len());
        for link in &self.links {
            let (sender, receiver) = oneshot::channel();
            pending.push((link, link.send(command(sender)), receiver));
        }
        let mut answers = Vec::with_capacity(pending.len());
        for (link, sent, receiver) in pending {
            let asked = match sent {
                Ok(()) => true,
                Err(SendError::Closed) => {
                    answers.push(Answer::Ended);
                    continue;
                }
                // It has not emptied its mailbox since the last questions, but may be about to.
                Err(SendError::Full(back)) => send_patiently(&**link, *back, deadline).await,
            };
            let answer = if asked { timeout_at(deadline, receiver).await.ok() } else { None };
            answers.push(match answer {
                Some(Ok(value)) => Answer::Here(value),
                // The question was dropped with its shard.
                Some(Err(_)) => Answer::Ended,
                None if link.finished() => Answer::Ended,
                None => Answer::Stalled,
            });
        }
        answers
    }
}

/// Tries until the mailbox has room. False when it never had, or the shard is gone.
async fn send_patiently(link: &dyn ShardLink, mut command: Command, deadline: Instant) -> bool {
    loop {
        command = match link.send(command) {
            Ok(()) => return true,
            Err(SendError::Closed) => return false,
            Err(SendError::Full(back)) => *back,
        };
        if Instant::now() >= deadline {
            return false;
        }
        sleep(LOOK_AGAIN).await;
    }
}
