//! What the process knows about itself, from /proc.

use std::{fs, time::SystemTime};

/// Resident memory in bytes; `None` where /proc is not mounted.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Open descriptors of the process.
pub(crate) fn open_descriptors() -> Option<u64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count() as u64)
}

/// The user this process runs as, for its files.
pub(crate) fn effective_uid() -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").ok().map(|m| m.uid())
}

/// The time of day, for people who read when something happened.
#[expect(clippy::disallowed_methods, reason = "the control thread tells people the time; no shard does")]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}
