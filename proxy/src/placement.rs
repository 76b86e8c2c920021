//! Which cores the shards run on.

use balance_config::model::{Cores, Runtime};
use balance_engine::cores::{self, Request};

/// The core of every shard, in the shards' order.
///
/// # Errors
/// Names the cores that this process may run on.
pub(crate) fn place(runtime: &Runtime) -> Result<Vec<Option<u16>>, String> {
    let request = match &runtime.cores {
        Cores::Auto => Request::Auto,
        Cores::List(list) => Request::List(list.clone()),
    };
    let placement = cores::place(&request, &cores::available(), runtime.shards_per_core).map_err(|e| e.to_string())?;
    if let Some(core) = placement.control {
        // Where it cannot be pinned it floats, which costs a shard some time and nothing else.
        let _floats = cores::pin(core);
    }
    Ok(placement.shards.into_iter().map(Some).collect())
}
