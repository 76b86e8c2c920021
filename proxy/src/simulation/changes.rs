//! From every rung to every other, in mid-transfer, with whatever may come in between.
//!
//! ```sh
//! BALANCE_SIM_SEED=7 cargo test -p balance-proxy simulation::changes       # one seed of each test, as a failure says
//! ```

use super::{
    plan::Plan,
    scenes::{PROBES, at, bulk, burst, script},
    script::{Expected, Finish, Script, Violence, When},
    tests::{number, reported},
    world::{Summary, run_plan},
};
use crate::{
    l4::{Forward, LadderSettings, Script as RungScript},
    report::RungKind,
};
use balance_engine::driver::sim::Faults;
use std::{ops::Range, time::Duration};

/// Every change that there is: from, to.
pub(super) fn pairs() -> impl Iterator<Item = (RungKind, RungKind)> {
    let all = RungKind::ALL;
    all.into_iter().flat_map(move |from| all.into_iter().filter(move |to| *to != from).map(move |to| (from, to)))
}

fn seeds(usual: Range<u64>) -> Range<u64> {
    number("BALANCE_SIM_SEED").map_or(usual, |seed| seed..seed + 1)
}

/// Run a world of these rungs, and say which it was if it fails.
fn run(rungs: (RungKind, RungKind), plan: Plan, teardown: Option<u64>) -> Summary {
    let about = format!("between {} and {}", rungs.0.as_str(), rungs.1.as_str());
    reported(plan.seed, teardown, &about, "simulation::changes", || run_plan(plan, teardown))
}

/// A connection with much to say both ways, which goes to and fro between two rungs. How often depends on the seed.
fn swinging(rungs: (RungKind, RungKind), seed: u64) -> Plan {
    let script = RungScript::Between { rungs: [rungs.0, rungs.1], steps: 1 + seed as u32 % 7 };
    let forward = Forward::Scripted(script);
    let ladder = LadderSettings { forward, zc_min: 1 << (seed % 14), ..LadderSettings::default() };
    Plan { ladder, backends: 1, clients: vec![(at(1), 0, bulk(64 << 10))], ..Plan::quiet(seed) }
}

/// What its client and the probes of its backend come to.
const ALL_COMPLETE: u64 = 1 + PROBES / 2;

#[test]
fn there_are_twenty_changes() {
    assert_eq!(pairs().count(), 20);
}

/// Both directions change several times while bytes are under way, and every byte arrives.
#[test]
fn every_change_keeps_every_byte() {
    for rungs in pairs() {
        for seed in seeds(0..14) {
            let summary = run(rungs, swinging(rungs, seed), None);
            assert_eq!(summary.complete, ALL_COMPLETE, "{rungs:?}, seed {seed}");
            let seen = summary.changes[rungs.0 as usize][rungs.1 as usize];
            assert!(seen >= 2, "{rungs:?}, seed {seed}: {:?}", summary.changes);
        }
    }
}

/// Sends and receives cut anywhere, waits that end for nothing, completions that come late, no descriptor, no pipe: the
/// peers notice nothing.
#[test]
fn nothing_that_runs_short_during_a_change_is_noticed() {
    let mut refused = 0;
    for rungs in pairs() {
        for seed in seeds(0..21) {
            let pipe_bytes = [1, 64 << 10, 64 << 20][seed as usize % 3];
            let often = Faults { short_send: 0.5, short_recv: 0.5, install_exhausted: 0.3, ..Faults::HARMLESS };
            let plan = Plan { proxy_faults: often, pipe_bytes, budget: 1 + seed as u32 % 5, ..swinging(rungs, seed) };
            let summary = run(rungs, plan, None);
            assert_eq!(summary.complete, ALL_COMPLETE, "{rungs:?}, seed {seed}");
            refused += summary.refused;
        }
    }
    assert!(refused > 0, "no rung was ever refused");
}

/// Either side resets, or closes, after any of its sends and receives.
#[test]
fn a_reset_at_any_step_of_a_change_is_passed_on() {
    for rungs in pairs() {
        for seed in seeds(0..80) {
            let mut plan = swinging(rungs, seed);
            // What happens at different moments is often learned of at the same one.
            plan.proxy_faults = Faults { short_send: 0.2, short_recv: 0.2, cq_overflow: 0.1, ..Faults::NONE };
            let script = &mut plan.clients[0].2;
            let part = if seed % 2 == 0 { &mut script.client } else { &mut script.backend };
            part.violence = Some(Violence { when: When::Events(seed as u32 / 2), reset: seed % 3 != 0 });
            script.expected = Expected::Anything;
            // The world checks it at every end.
            run(rungs, plan, None);
        }
    }
}

/// A client that has said what it had to say resets while it is answered.
fn hanging_up(events: u32) -> Script {
    let answer = (0..60).map(|number| burst(1 + 13 * number % 900, 0, Duration::from_micros(20))).collect();
    let mut script = script(vec![burst(10, 0, Duration::ZERO)], answer, (Finish::Never, Finish::AfterSending));
    script.client.violence = Some(Violence { when: When::Events(events), reset: true });
    script.expected = Expected::Anything;
    script
}

/// A write that is told of a reset takes it off the socket; what is read after that looks like an end, and is none.
/// Batches and splices of the ring were once forgotten when an end was read while they were under way.
#[test]
fn a_reset_that_a_write_was_told_of_is_no_end_on_any_rung() {
    for rung in RungKind::ALL {
        for seed in seeds(0..60) {
            let ladder = LadderSettings { forward: Forward::Always(rung), zc_min: 1, ..LadderSettings::default() };
            let clients = (0..20).map(|client| (at(client), 0, hanging_up(3 + 2 * client as u32))).collect();
            let proxy_faults = Faults { cq_overflow: 0.1, splice_swallows: 0.5, ..Faults::NONE };
            // Whoever has little to do at once may be interrupted between two writes.
            let budget = 1 + seed as u32 % 4;
            run((rung, rung), Plan { ladder, clients, proxy_faults, budget, ..Plan::quiet(seed) }, None);
        }
    }
}

/// A worker thread of the kernel gives a splice up: the connection is reset, and never cut short in silence.
#[test]
fn a_splice_that_is_given_up_ends_its_connection_as_a_reset() {
    for rungs in pairs().filter(|rungs| rungs.1 == RungKind::UringSplice) {
        for seed in seeds(0..30) {
            let mut plan = Plan { calm: false, ..swinging(rungs, seed) };
            plan.proxy_faults.splice_canceled = 0.2;
            run(rungs, plan, None);
        }
    }
}

/// Turns in which the bytes of a small transfer move.
const TURNS_OF_TRANSFER: u64 = 400;

/// The shard ends after any of its turns.
#[test]
fn a_shard_can_be_torn_down_at_any_step_of_a_change() {
    let plan = |rungs, seed| Plan { budget: 2, clients: vec![(at(1), 0, bulk(16 << 10))], ..swinging(rungs, seed) };
    for (first, rungs) in (0..).zip(pairs()) {
        for seed in seeds(first..first + 1) {
            let last = run(rungs, plan(rungs, seed), None).turns.min(TURNS_OF_TRANSFER);
            let turns = number("BALANCE_SIM_TEARDOWN").map_or(1..last, |turn| turn..turn + 1);
            for turn in turns {
                run(rungs, plan(rungs, seed), Some(turn));
            }
        }
    }
}
