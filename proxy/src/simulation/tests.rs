//! What is promised, as seeds.

use super::{
    changes::pairs,
    plan::Plan,
    script::{Reading, Script},
    world::{Summary, run, run_plan},
};
use crate::l4::Changes;
use balance_engine::clock::Timestamp;
use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::Duration,
};

pub(super) fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Run a world, and say how to run it again where it fails.
fn checked(seed: u64, teardown: Option<u64>) -> Summary {
    reported(seed, teardown, "drawn", "simulation::tests::one", || run(seed, teardown))
}

/// Run a world, and say which it was, and by which test to run it again, where it fails.
pub(super) fn reported(
    seed: u64,
    teardown: Option<u64>,
    about: &str,
    test: &str,
    run: impl FnOnce() -> Summary,
) -> Summary {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let teardown = teardown.map(|turn| format!("BALANCE_SIM_TEARDOWN={turn} ")).unwrap_or_default();
        eprintln!(
            "the world of seed {seed}, {about}, has failed; again:\n    \
             BALANCE_SIM_SEED={seed} {teardown}cargo test -p balance-proxy --lib {test} -- --nocapture"
        );
        resume_unwind(panic)
    })
}

#[derive(Default)]
struct Total {
    worlds: u64,
    connections: u64,
    complete: u64,
    turns: u64,
    bytes: u64,
    spliced: u64,
    changes: Changes,
}

impl Total {
    fn add(&mut self, summary: Summary) {
        self.worlds += 1;
        self.connections += summary.connections;
        self.complete += summary.complete;
        self.turns += summary.turns;
        self.bytes += summary.bytes;
        self.spliced += summary.spliced;
        let parts = summary.changes.as_flattened();
        self.changes.as_flattened_mut().iter_mut().zip(parts).for_each(|(total, part)| *total += part);
    }

    /// Each of the changes from one rung to another has happened so often at least.
    fn check_changes(&self, times: u64) {
        for (from, to) in pairs() {
            let seen = self.changes[from as usize][to as usize];
            assert!(seen >= times, "{seen} changes from {} to {} instead of {times}", from.as_str(), to.as_str());
        }
    }

    fn print(&self, what: &str) {
        println!("{what}: changes of rung, from and to in the order of the kinds: {:?}", self.changes);
        println!(
            "{what}: {} worlds, {} connections ({} to the last byte), {} turns, {} bytes delivered, {} spliced",
            self.worlds, self.connections, self.complete, self.turns, self.bytes, self.spliced
        );
    }
}

/// The world of one seed, as the message of a failure says.
#[test]
fn one_world_by_its_seed() {
    let seed = number("BALANCE_SIM_SEED").unwrap_or(1);
    let summary = checked(seed, number("BALANCE_SIM_TEARDOWN"));
    println!("{summary:?}");
}

/// So many worlds each of the tests below runs.
const WORLDS: u64 = 1300;

fn random(lane: u64) {
    let worlds = number("BALANCE_SIM_SEEDS").unwrap_or(WORLDS);
    let first = number("BALANCE_SIM_FIRST").unwrap_or(1) + (lane << 32);
    let mut total = Total::default();
    for seed in first..first + worlds {
        total.add(checked(seed, None));
    }
    total.print("random worlds");
    // A few worlds by hand may miss some.
    if worlds >= WORLDS {
        total.check_changes(100);
    }
}

#[test]
fn random_worlds_keep_every_promise() {
    random(0);
}

#[test]
fn random_worlds_keep_every_promise_elsewhere() {
    random(1);
}

/// Each has shown a fault that is mended.
#[test]
fn worlds_that_failed_once_hold() {
    // A worker took a reset off a socket in the middle of its splice, and told of that splice after the receive had
    // been told of an end, which was passed on.
    checked(509_666, None);
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 1..20 {
        assert_eq!(checked(seed, None), checked(seed, None), "seed {seed}");
    }
}

/// A shard that ends after any of its turns gives everything back, and every peer is told.
#[test]
fn a_shard_can_be_torn_down_after_any_turn() {
    let mut total = Total::default();
    for seed in 1..=number("BALANCE_SIM_SEEDS").unwrap_or(12) {
        let turns = checked(seed, None).turns;
        let step = (turns / 100).max(1);
        for turn in (1..=turns).step_by(step as usize) {
            total.add(checked(seed, Some(turn)));
        }
    }
    total.print("torn down");
}

/// An answer of 512 KiB that is read so, with next to nothing else in the world. How many were cut as idle.
fn downloads(seeds: Range<u64>, reading: Reading) -> u64 {
    let mut idle = 0;
    for seed in seeds {
        let mut plan = Plan::quiet(seed);
        plan.idle = Some(Duration::from_secs(30));
        let start = Timestamp::START + Duration::from_millis(1);
        plan.clients = vec![(start, 0, Script::download(512 << 10, reading))];
        println!("seed {seed}");
        idle += run_plan(plan, None).idle;
    }
    idle
}

/// In some of these worlds (2, 9 and 10) the kernels have all of the answer soon, and the relay has nothing to do for
/// longer than the time-out.
#[test]
fn a_slow_reader_is_not_idle() {
    let reading = Reading::Slow { every: 16 << 10, pause: Duration::from_millis(2200) };
    assert_eq!(downloads(0..12, reading), 0);
}

#[test]
fn a_reader_that_has_stopped_is_idle() {
    assert_eq!(downloads(0..5, Reading::Stops { after: 100 }), 5);
}
