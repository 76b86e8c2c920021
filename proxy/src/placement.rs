//! Which cores the shards and the control thread run on.

use balance_config::model::{Cores, Runtime};
use balance_engine::cores::{self, Placement, PlacementError, Request};

/// To be asked before any thread of the process is pinned.
///
/// # Errors
/// Names the cores that this process may not run on.
pub(crate) fn place(runtime: &Runtime) -> Result<Placement, PlacementError> {
    let request = match &runtime.cores {
        Cores::Auto => Request::Auto,
        Cores::List(list) => Request::List(list.clone()),
    };
    cores::place(&request, &cores::available(), runtime.shards_per_core)
}

/// Keeps the control thread off the shards' cores, where there is another one.
pub(crate) fn pin_control(placement: &Placement) {
    if let Some(core) = placement.control
        && let Err(error) = cores::pin(core)
    {
        tracing::warn!(%error, "the control thread is not pinned");
    }
}
