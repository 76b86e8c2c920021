//! Which shard runs on which core.
//!
//! Only cores that this process may use count: `sched_getaffinity` knows of `taskset` and of the cpusets of cgroups, so
//! a container limited to two cores of sixty-four sees two.

use std::fmt;

use core_affinity::CoreId;

/// What the operator asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Request {
    /// Every core this process may run on.
    #[default]
    Auto,
    List(Vec<u16>),
}

/// Where everything runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The core of each shard, by the shard's number.
    pub shards: Vec<u16>,
    /// A core for the control thread that no shard runs on; `None` when there is none, and then it floats.
    pub control: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlacementError {
    /// The system does not tell which cores there are.
    NoCores,
    /// The list of cores is empty, or there are to be no shards on a core.
    NoShards,
    /// A core is in the list twice.
    Repeated { core: u16 },
    /// A core does not exist, or this process may not run on it.
    Unavailable { core: u16, available: Vec<u16> },
}

impl fmt::Display for PlacementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCores => f.write_str("the system does not tell which cores this process may use"),
            Self::NoShards => f.write_str("the request leaves no shard to run"),
            Self::Repeated { core } => write!(f, "core {core} is listed twice"),
            Self::Unavailable { core, available } => {
                write!(f, "core {core} does not exist or is not allowed here; there are: {}", Ranges(available))
            }
        }
    }
}

impl std::error::Error for PlacementError {}

/// Writes ascending cores as an operator would: `0-3, 8`.
#[derive(Clone, Copy, Debug)]
pub struct Ranges<'a>(pub &'a [u16]);

impl fmt::Display for Ranges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.0.chunk_by(|left, right| left.checked_add(1) == Some(*right));
        for (number, run) in runs.enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            match run {
                [first, .., last] => write!(f, "{separator}{first}-{last}")?,
                run => run.iter().try_for_each(|core| write!(f, "{separator}{core}"))?,
            }
        }
        Ok(())
    }
}

/// The cores that the calling thread may run on, ascending.
///
/// To be asked before any thread is pinned: a pinned thread may run on one only, and so may those it starts.
pub fn available() -> Vec<u16> {
    let ids = core_affinity::get_core_ids().unwrap_or_default();
    let mut cores: Vec<u16> = ids.into_iter().filter_map(|core| u16::try_from(core.id).ok()).collect();
    cores.sort_unstable();
    cores
}

/// Decides where shards and the control thread run. `available` is ascending, as [`available`] gives it.
///
/// With several shards a core, which only tests want, neighbouring numbers are on different cores.
///
/// # Errors
/// When the request cannot be met as it stands; it is never met in part.
pub fn place(request: &Request, available: &[u16], shards_per_core: u16) -> Result<Placement, PlacementError> {
    if available.is_empty() {
        return Err(PlacementError::NoCores);
    }
    let cores = match request {
        Request::Auto => available,
        Request::List(cores) => cores,
    };
    if cores.is_empty() || shards_per_core == 0 {
        return Err(PlacementError::NoShards);
    }
    for (position, &core) in cores.iter().enumerate() {
        if available.binary_search(&core).is_err() {
            return Err(PlacementError::Unavailable { core, available: available.to_vec() });
        }
        if cores[..position].contains(&core) {
            return Err(PlacementError::Repeated { core });
        }
    }
    let shards = (0..shards_per_core).flat_map(|_| cores).copied().collect();
    // The last free core: the first ones take the interrupts more often than not.
    let control = available.iter().rev().find(|core| !cores.contains(core)).copied();
    Ok(Placement { shards, control })
}

/// The core could not be pinned to: it went offline or out of the process's cpuset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinError {
    pub core: u16,
}

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot run on core {}: it is offline or no longer allowed", self.core)
    }
}

impl std::error::Error for PinError {}

/// Binds the calling thread, and the threads it starts from now on, to one core.
///
/// # Errors
/// When the kernel refuses the core.
pub fn pin(core: u16) -> Result<(), PinError> {
    // A `cpu_set_t` has room for so many; setting a higher bit would panic.
    let representable = usize::from(core) < libc::CPU_SETSIZE as usize;
    if representable && core_affinity::set_for_current(CoreId { id: usize::from(core) }) {
        return Ok(());
    }
    Err(PinError { core })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(cores: &[u16]) -> Request {
        Request::List(cores.to_vec())
    }

    #[test]
    fn auto_takes_every_core_and_lets_the_control_thread_float() {
        let placement = place(&Request::Auto, &[0, 1, 5], 1).unwrap();
        assert_eq!(placement, Placement { shards: vec![0, 1, 5], control: None });
    }

    #[test]
    fn the_control_thread_gets_a_core_of_its_own_if_it_can() {
        let placement = place(&list(&[3, 1]), &[0, 1, 2, 3], 1).unwrap();
        assert_eq!(placement, Placement { shards: vec![3, 1], control: Some(2) });
    }

    #[test]
    fn several_shards_a_core_go_round() {
        let placement = place(&list(&[0, 1]), &[0, 1], 2).unwrap();
        assert_eq!(placement.shards, [0, 1, 0, 1]);
    }

    #[test]
    fn a_core_that_does_not_exist_is_refused_with_those_that_do() {
        let error = place(&list(&[1, 7]), &[0, 1, 2, 4, 8, 9], 1).unwrap_err();
        let text = "core 7 does not exist or is not allowed here; there are: 0-2, 4, 8-9";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn requests_that_make_no_sense_are_refused() {
        assert_eq!(place(&Request::Auto, &[], 1), Err(PlacementError::NoCores));
        assert_eq!(place(&list(&[]), &[0], 1), Err(PlacementError::NoShards));
        assert_eq!(place(&Request::Auto, &[0], 0), Err(PlacementError::NoShards));
        assert_eq!(place(&list(&[0, 0]), &[0], 1), Err(PlacementError::Repeated { core: 0 }));
    }

    /// In a thread of its own, so that the other tests keep their cores.
    #[test]
    fn a_pinned_thread_may_run_on_its_core_only() {
        std::thread::spawn(|| {
            let last = *available().last().expect("some core is allowed");
            assert_eq!(pin(last), Ok(()));
            assert_eq!(available(), [last]);
            assert_eq!(pin(u16::MAX), Err(PinError { core: u16::MAX }));
        })
        .join()
        .unwrap();
    }
}
