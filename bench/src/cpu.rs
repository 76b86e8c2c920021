//! CPU time of this process and of others, from the kernel's account of them.

use crate::account::Account;
use std::{fs, time::Duration};

/// `/proc` counts in ticks of USER_HZ, which is 100 on every architecture we ship for.
const TICK: Duration = Duration::from_millis(10);

/// User and system time of all threads so far, those of the kernel that work for our rings included. Zero where
/// `/proc` is not mounted.
pub(crate) fn used() -> Duration {
    fs::read_to_string("/proc/self/stat").ok().and_then(|stat| parse(&stat)).unwrap_or_default()
}

/// The sum for these processes and all that they have started; `None` when one of them is not there.
pub(crate) fn used_by(processes: &[u32]) -> Option<Duration> {
    Account::of(processes).map(|account| account.used)
}

/// A thread and its CPU time so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Thread {
    id: u32,
    pub(crate) name: String,
    pub(crate) used: Duration,
}

/// The threads of these processes; those that are not to be looked at are left out.
pub(crate) fn threads_of(processes: &[u32]) -> Vec<Thread> {
    let entries = processes.iter().filter_map(|id| fs::read_dir(format!("/proc/{id}/task")).ok()).flatten().flatten();
    let thread = |entry: fs::DirEntry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let name = stat.split_once('(')?.1.rsplit_once(')')?.0.to_owned();
        Some(Thread { id, name, used: parse(&stat)? })
    };
    entries.filter_map(thread).collect()
}

/// The thread that has used most between two looks, and how much that was.
pub(crate) fn busiest(before: &[Thread], after: &[Thread]) -> Option<Thread> {
    let since = |thread: &Thread| {
        let earlier = before.iter().find(|other| other.id == thread.id).map_or(Duration::ZERO, |other| other.used);
        Thread { used: thread.used.saturating_sub(earlier), ..thread.clone() }
    };
    after.iter().map(since).max_by_key(|thread| thread.used)
}

/// proc_pid_stat(5): `pid (name) state …`, utime and stime being fields 14 and 15. A name may hold anything.
fn parse(stat: &str) -> Option<Duration> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK * user.checked_add(system)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 7 8 20 0 3 0 100 1000 10";
        assert_eq!(parse(stat), Some(Duration::from_secs(2)));
        assert_eq!(parse("42 (short) S 1"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn the_busiest_thread_is_the_one_that_used_most_meanwhile() {
        let thread = |id, ms| Thread { id, name: format!("t{id}"), used: Duration::from_millis(ms) };
        let busiest = busiest(&[thread(1, 1000), thread(2, 10)], &[thread(1, 1050), thread(2, 100), thread(3, 80)]);
        assert_eq!(busiest, Some(thread(2, 90)));
        assert_eq!(super::busiest(&[], &[]), None);
        assert!(threads_of(&[std::process::id()]).iter().any(|thread| !thread.name.is_empty()));
    }

    #[test]
    fn processes_are_added_and_a_missing_one_is_noticed() {
        let us = std::process::id();
        assert_eq!(used_by(&[]), Some(Duration::ZERO));
        assert!(used_by(&[us]).expect("we are here") > Duration::ZERO);
        // Beyond the largest number that a process can have.
        assert_eq!(used_by(&[us, 1 << 30]), None);
    }
}
