//! Single promises, each in a world made for it. Most of them were broken once; a random world found it.

use super::{
    plan::{Action, Change, Plan},
    script::{Burst, Expected, Finish, Part, Script, Violence, When},
    world::{Summary, run_plan},
};
use balance_config::model::Policy;
use balance_engine::{buf::Sizes, clock::Timestamp, driver::sim::Faults, rng::Rng};
use std::time::Duration;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn at(millis: u64) -> Timestamp {
    Timestamp::START + ms(millis)
}

pub(super) fn burst(bytes: u64, after_received: u64, pause: Duration) -> Burst {
    Burst { bytes, after_received, pause }
}

const HELLO: u64 = super::ledger::HEADER;

pub(super) fn script(client: Vec<Burst>, backend: Vec<Burst>, finishes: (Finish, Finish)) -> Script {
    let hello = burst(HELLO, 0, Duration::ZERO);
    let part = |bursts: Vec<Burst>, finish| Part {
        bursts: [hello].into_iter().chain(bursts).collect(),
        reading: super::script::Reading::Eager,
        finish,
        violence: None,
    };
    Script {
        client: part(client, finishes.0),
        backend: part(backend, finishes.1),
        expected: Expected::Complete,
        is_probe: false,
    }
}

fn at_once() -> Finish {
    Finish::AfterPeer { pause: Duration::ZERO }
}

/// Much both ways at the same time.
pub(super) fn bulk(bytes: u64) -> Script {
    let pieces = || (0..8).map(|_| burst(bytes / 8, 0, ms(1))).collect();
    script(pieces(), pieces(), (Finish::AfterSending, at_once()))
}

/// The client's FIN comes after a pause longer than `half_close_timeout`: that counts from the FIN.
#[test]
fn a_half_closed_connection_is_given_its_time_from_the_fin_on() {
    let late_fin = burst(0, 0, ms(15_000));
    let answer = Finish::AfterPeer { pause: ms(8000) };
    let plan = Plan {
        half_close: Some(ms(10_000)),
        clients: vec![(at(1), 0, script(vec![late_fin], Vec::new(), (Finish::AfterSending, answer)))],
        ..Plan::quiet(1)
    };
    assert_eq!(run_plan(plan, None).complete, 1 + PROBES);
}

/// Probes that follow in a world with two backends.
pub(super) const PROBES: u64 = 4;

/// Waiting for a place in the shard is not idleness, however long it takes.
#[test]
fn a_connection_that_waits_for_its_place_is_not_idle() {
    let busy = (0..10).map(|_| burst(10, 0, ms(2000))).collect();
    let waiting =
        script(vec![burst(10, 0, ms(1000))], vec![burst(10, 18, ms(1000))], (Finish::AfterSending, at_once()));
    let plan = Plan {
        idle: Some(ms(5000)),
        max_tasks: 1,
        queue_size: 4,
        clients: vec![
            (at(1), 0, script(busy, Vec::new(), (Finish::AfterSending, at_once()))),
            (at(500), 0, waiting.clone()),
            (at(600), 0, waiting),
        ],
        ..Plan::quiet(2)
    };
    assert_eq!(run_plan(plan, None).complete, 3 + PROBES);
}

/// As long as bytes move now and then, nothing dies; when they stop, it does.
#[test]
fn active_connections_outlive_any_idle_timeout_and_idle_ones_do_not() {
    let slow = script((0..100).map(|_| burst(1, 0, ms(900))).collect(), Vec::new(), (Finish::AfterSending, at_once()));
    let down = script(Vec::new(), (0..100).map(|_| burst(1, 0, ms(900))).collect(), (at_once(), Finish::AfterSending));
    let mut idle = script(vec![burst(100, 0, ms(300))], Vec::new(), (Finish::Never, Finish::Never));
    idle.expected = Expected::IdleTimeout;
    let plan = Plan {
        idle: Some(ms(1000)),
        half_close: Some(ms(1000)),
        clients: vec![(at(1), 0, slow), (at(1), 0, down), (at(1), 0, idle)],
        ..Plan::quiet(3)
    };
    assert_eq!(run_plan(plan, None).complete, 2 + PROBES);
}

/// One buffer for everybody, no time-out to end a deadlock.
#[test]
fn a_single_buffer_serves_everybody() {
    for seed in 0..10 {
        let one = 256 << 10;
        let plan = Plan {
            sizes: Sizes { small: one, medium: one, large: one, huge: one },
            buffer_bytes: one as u64,
            idle: None,
            half_close: None,
            clients: (0..6).map(|client| (at(client), 0, bulk(64 << 10))).collect(),
            proxy_faults: Faults { short_send: 0.3, no_buffers: 0.1, ..Faults::NONE },
            ..Plan::quiet(seed)
        };
        assert_eq!(run_plan(plan, None).complete, 6 + PROBES, "seed {seed}");
    }
}

/// Either side resets while both directions are busy: the other is told of a reset, never of an end.
#[test]
fn a_reset_is_passed_on_as_a_reset() {
    let mut rng = Rng::new(5);
    for seed in 0..60 {
        let broken = |rng: &mut Rng| {
            let mut script = bulk(100 << 10);
            let part = if rng.chance(1, 2) { &mut script.client } else { &mut script.backend };
            part.violence = Some(Violence { when: When::Events(rng.below(60) as u32), reset: true });
            script.expected = Expected::Anything;
            script
        };
        let plan = Plan {
            clients: (0..5).map(|client| (at(client), 0, broken(&mut rng))).collect(),
            proxy_faults: Faults { short_send: 0.3, short_recv: 0.3, ..Faults::NONE },
            ..Plan::quiet(seed)
        };
        // The worlds check it at every end.
        run_plan(plan, None);
    }
}

/// A slow reader behind receives that end by themselves at any moment.
#[test]
fn a_slow_reader_gets_everything() {
    for seed in 0..20 {
        let mut slow = bulk(200 << 10);
        slow.backend.reading = super::script::Reading::Slow { every: 20 << 10, pause: ms(300) };
        slow.client.reading = super::script::Reading::Slow { every: 30 << 10, pause: ms(200) };
        let plan = Plan {
            clients: vec![(at(1), 0, slow.clone()), (at(1), 0, slow)],
            proxy_faults: Faults { multishot_end: 0.3, short_recv: 0.5, cancel_race: 0.5, ..Faults::NONE },
            ..Plan::quiet(seed)
        };
        assert_eq!(run_plan(plan, None).complete, 2 + PROBES, "seed {seed}");
    }
}

/// Endpoints that die and come back are used again; meanwhile others serve, and nobody is refused.
#[test]
fn a_dead_endpoint_is_passed_over_and_used_again() {
    for seed in 0..10 {
        let short = |client: u64| (at(100 * client), 0, bulk(1000));
        let plan = Plan {
            backends: 3,
            // A connection in the moment of the death is lost, whatever the proxy does.
            clients: (0..80).filter(|c| !(18..22).contains(c)).map(short).collect(),
            actions: vec![(at(2000), Action::Kill(0)), (at(5000), Action::Revive(0))],
            fail_timeout: ms(1000),
            ..Plan::quiet(seed)
        };
        assert_eq!(run_plan(plan, None).complete, 76 + 6, "seed {seed}");
    }
}

/// What a panic left behind: its own connections reset and counted, the others untouched.
fn panicking(spell: Action, heal: Option<Action>) -> Summary {
    let clients = (0..10).map(|client| {
        let pieces = || (0..20).map(|_| burst(100, 0, ms(50))).collect();
        (at(client * 100), 0, script(pieces(), pieces(), (Finish::AfterSending, at_once())))
    });
    let heal = heal.map(|action| (at(700), action));
    let plan = Plan {
        clients: clients.collect(),
        actions: [(at(450), spell)].into_iter().chain(heal).collect(),
        panics: true,
        ..Plan::quiet(6)
    };
    run_plan(plan, None)
}

/// A connection that panics while it chooses an endpoint ends alone.
#[test]
fn a_panic_while_connecting_ends_one_connection() {
    let mend = Action::Reload(Change::Policy { cluster: 0, policy: Policy::LeastConnections });
    let summary = panicking(Action::PanicInChoice, Some(mend));
    assert_eq!((summary.panicked, summary.complete), (2, 8 + PROBES));
}

/// A connection that panics in mid-transfer ends alone: its peers see a reset, not an end.
#[cfg(debug_assertions)]
#[test]
fn a_panic_in_mid_transfer_ends_one_connection() {
    let summary = panicking(Action::PanicInTransfer(0), Some(Action::MendTransfer(0)));
    assert!((1..9).contains(&summary.panicked), "{summary:?}");
    assert_eq!(summary.complete + summary.panicked, 10 + PROBES);
}
