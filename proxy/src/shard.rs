//! The data path's door: one running shard. A placeholder until the data path is here.

use crate::link::{ShardLink, ShardSpec, StartError};

/// Starts a shard on its own thread and waits until its driver runs.
///
/// # Errors
/// The driver cannot run, or the thread cannot start.
pub(crate) fn start(spec: ShardSpec) -> Result<Box<dyn ShardLink>, StartError> {
    crate::control::fake::start(spec)
}
