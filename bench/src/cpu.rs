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
    fn processes_are_added_and_a_missing_one_is_noticed() {
        let us = std::process::id();
        assert_eq!(used_by(&[]), Some(Duration::ZERO));
        assert!(used_by(&[us]).expect("we are here") > Duration::ZERO);
        // Beyond the largest number that a process can have.
        assert_eq!(used_by(&[us, 1 << 30]), None);
    }
}
