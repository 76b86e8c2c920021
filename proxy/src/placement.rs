//! Which cores the shards run on.

use balance_config::model::{Cores, Runtime};

/// The core of every shard, in the shards' order. `None`: not pinned.
///
/// # Errors
/// Names the cores that this process may not run on.
pub(crate) fn place(runtime: &Runtime) -> Result<Vec<Option<u16>>, String> {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let available = u16::try_from(available).unwrap_or(u16::MAX);
    let cores = match &runtime.cores {
        Cores::Auto => (0..available).collect(),
        Cores::List(list) => list.clone(),
    };
    let missing: Vec<String> = cores.iter().filter(|c| **c >= available).map(ToString::to_string).collect();
    if !missing.is_empty() {
        return Err(format!("core {} is not there: this process may use 0-{}", missing.join(", "), available - 1));
    }
    let per_core = usize::from(runtime.shards_per_core.max(1));
    Ok(cores.into_iter().flat_map(|c| std::iter::repeat_n(Some(c), per_core)).collect())
}
