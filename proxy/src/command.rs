//! What the control thread may ask of a shard. Travels through the shard's mailbox.

use crate::{
    report::{ConnectionFilter, ConnectionReport, ShardReport},
    snapshot::{BindId, Snapshot},
};
use std::{os::fd::OwnedFd, sync::Arc};
use tokio::sync::oneshot;

/// A message to one shard. Answers come back by oneshot: sending on one never blocks the shard.
pub enum Command {
    /// Run this snapshot from the next turn on. The old one comes back, to be dropped off the shard.
    /// `sockets` holds this shard's own listening socket for every [`BindId`] that the snapshot before did not have;
    /// sockets of ids that the new one lacks are closed.
    Apply {
        snapshot: Arc<Snapshot>,
        sockets: Vec<(BindId, OwnedFd)>,
        done: oneshot::Sender<Applied>,
    },
    Report(oneshot::Sender<ShardReport>),
    Connections {
        filter: ConnectionFilter,
        answer: oneshot::Sender<Vec<ConnectionReport>>,
    },
    /// Stop accepting; let connections finish. `done` fires when none is left.
    Drain {
        done: oneshot::Sender<()>,
    },
    /// End every connection with [`crate::report::Reason::Drained`], drain the ring, and leave.
    Stop,
}

/// A shard's answer to [`Command::Apply`].
pub struct Applied {
    pub version: u64,
    /// The snapshot that ran before; dropping it is the control thread's work.
    pub previous: Option<Arc<Snapshot>>,
}
