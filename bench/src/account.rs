//! What a process and all that it has started use: CPU time, the wait for it, and memory. From `/proc`, see
//! proc_pid_stat(5) and proc_pid_smaps(5).
//!
//! Threads of the kernel that work for a process (those of its rings) are threads of it there, so they are in. What the
//! kernel does for nobody in particular (ksoftirqd) is in no process's account.

use std::{collections::BTreeMap, fs, time::Duration};

/// `/proc` counts in ticks of USER_HZ, which is 100 on every architecture we ship for.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of some process trees up to a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) used: Duration,
    /// Every thread that lives.
    threads: BTreeMap<u32, Thread>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Thread {
    ran: Duration,
    /// It could have run, and something else had its core.
    waited: Duration,
}

impl Account {
    /// Of these processes and of all that they have started. `None` when one of them is not there.
    pub(crate) fn of(roots: &[u32]) -> Option<Self> {
        let mut account = Self::default();
        for id in tree(roots) {
            match processor_time(id) {
                Some(ticks) => account.add(threads(id), ticks),
                // It may have ended since it was listed.
                None if !roots.contains(&id) => {}
                None => return None,
            }
        }
        Some(account)
    }

    /// The threads' books are kept to the nanosecond (where the kernel has CONFIG_SCHED_INFO), and those of threads
    /// that have ended are gone; the process's has these in ticks, rounded down.
    fn add(&mut self, threads: BTreeMap<u32, Thread>, ticks: Duration) {
        let sum = threads.values().map(|thread| thread.ran).sum();
        self.used += ticks.max(sum);
        self.threads.extend(threads);
    }

    pub(crate) fn since(&self, before: &Self) -> Duration {
        self.used.saturating_sub(before.used)
    }

    /// How long the busiest thread waited for its core since `before`.
    pub(crate) fn waited_since(&self, before: &Self) -> Duration {
        let past = |id: &u32| before.threads.get(id).copied().unwrap_or_default();
        let busiest = self.threads.iter().max_by_key(|(id, thread)| thread.ran.saturating_sub(past(id).ran));
        busiest.map_or(Duration::ZERO, |(id, thread)| thread.waited.saturating_sub(past(id).waited))
    }
}

fn threads(process: u32) -> BTreeMap<u32, Thread> {
    let of = |thread: u32| {
        let text = fs::read_to_string(format!("/proc/{process}/task/{thread}/schedstat")).ok()?;
        Some((thread, schedstat(&text)?))
    };
    numbers(&format!("/proc/{process}/task")).into_iter().filter_map(of).collect()
}

/// Memory of a process tree, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// What is in memory, pages that two processes share counted twice.
    pub(crate) rss: u64,
    /// The same with shared pages divided among their users.
    pub(crate) pss: u64,
}

impl Memory {
    pub(crate) fn of(root: u32) -> Self {
        tree(&[root]).into_iter().fold(Self::default(), |sum, id| {
            let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
            Self { rss: sum.rss + kilobytes(&text, "Rss:"), pss: sum.pss + kilobytes(&text, "Pss:") }
        })
    }

    pub(crate) fn max(self, other: Self) -> Self {
        Self { rss: self.rss.max(other.rss), pss: self.pss.max(other.pss) }
    }
}

/// The processes and all that descend from them.
fn tree(roots: &[u32]) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = numbers("/proc")
        .into_iter()
        .filter_map(|id| Some((id, parent(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)?)))
        .collect();
    let mut found = roots.to_vec();
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        let children = parents.iter().filter(|(id, of)| *of == parent && !found.contains(id)).map(|(id, _)| *id);
        let children: Vec<u32> = children.collect();
        found.extend(children);
        next += 1;
    }
    found
}

fn numbers(directory: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

fn processor_time(process: u32) -> Option<Duration> {
    stat_time(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

/// proc_pid_stat(5): `pid (name) state ppid …`, utime and stime being fields 14 and 15. A name may hold anything.
fn stat_time(stat: &str) -> Option<Duration> {
    let mut fields = after_name(stat)?.skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK * user.checked_add(system)?)
}

fn parent(stat: &str) -> Option<u32> {
    after_name(stat)?.nth(1)?.parse().ok()
}

fn after_name(stat: &str) -> Option<impl Iterator<Item = &str>> {
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace())
}

/// `ran waited slices`, in nanoseconds.
fn schedstat(text: &str) -> Option<Thread> {
    let mut fields = text.split_ascii_whitespace().map(|field| field.parse().map(Duration::from_nanos));
    Some(Thread { ran: fields.next()?.ok()?, waited: fields.next()?.ok()? })
}

/// The value of `name  123 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_ascii_whitespace().next()?.parse().ok());
    value.unwrap_or(0_u64) << 10
}

#[cfg(test)]
mod tests {
    use super::*;
    use balance_engine::{
        child::{Group, Place, Priority},
        cores,
    };
    use std::{
        io::Read,
        process::{Command, Stdio},
    };

    const STAT: &str = "42 (a ) b) S 7 42 42 0 -1 4194560 100 0 0 0 150 50 7 8 20 0 3 0 100 1000 10";

    #[test]
    fn fields_are_found_after_any_name() {
        assert_eq!((stat_time(STAT), parent(STAT)), (Some(Duration::from_secs(2)), Some(7)));
        assert_eq!((stat_time("42 (short) S 1"), parent("")), (None, None));
        let times = Thread { ran: Duration::from_nanos(5), waited: Duration::from_nanos(6) };
        assert_eq!((schedstat("5 6 7\n"), schedstat("5"), schedstat("")), (Some(times), None, None));
        assert_eq!((kilobytes("Rss: 10 kB\nPss:  4 kB\n", "Pss:"), kilobytes("", "Pss:")), (4096, 0));
    }

    fn account(threads: &[(u32, u64, u64)], ticks: u64) -> Account {
        let of = |&(id, ran, waited)| {
            (id, Thread { ran: Duration::from_millis(ran), waited: Duration::from_millis(waited) })
        };
        let mut account = Account::default();
        account.add(threads.iter().map(of).collect(), TICK * ticks as u32);
        account
    }

    #[test]
    fn a_thread_that_ended_is_paid_for_by_its_process() {
        let before = account(&[(1, 10, 1), (2, 23, 5)], 3);
        let after = account(&[(1, 15, 1), (2, 57, 9), (3, 7, 0)], 7);
        assert_eq!(after.since(&before), Duration::from_millis(46));
        assert_eq!(after.waited_since(&before), Duration::from_millis(4));
        assert_eq!(account(&[(1, 15, 1)], 8).since(&before), Duration::from_millis(47));
        assert_eq!(account(&[], 4).since(&account(&[], 3)), TICK);
    }

    #[test]
    fn children_of_children_count() {
        let mut command = Command::new("sh");
        command.args(["-c", "sh -c 'echo; sleep 1000' & wait"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let place = Place { cores: cores::available(), priority: Priority::Normal };
        let mut group = Group::start(&mut command, &place).expect("a shell");
        let mut line = [0];
        let mut out = group.leader().stdout.take().expect("a pipe");
        out.read_exact(&mut line).expect("the child of the child runs");
        let all = tree(&[group.id()]);
        assert!(all.len() >= 2, "{all:?}");
        assert!(Account::of(&[group.id()]).expect("it is there").threads.len() >= 2);
        assert!(Memory::of(group.id()).pss > 0);
    }

    #[test]
    fn a_missing_process_is_noticed() {
        assert_eq!(Account::of(&[]), Some(Account::default()));
        // Beyond the largest number that a process can have.
        assert_eq!(Account::of(&[std::process::id(), 1 << 30]), None);
    }
}
