//! Everything that is drawn before a world begins, so that its seed tells all of it.

use super::{
    script::{Bounds, Script},
    world::POLICIES,
};
use crate::{
    control::fixture,
    l4::{Forward, LadderSettings, Script as RungScript},
    report::RungKind,
};
use balance_config::model::{
    Address, Cluster, Config, Endpoint, EndpointAddress, Listener, Peek, Policy, Route, RouteMatch, SniPattern,
};
use balance_engine::{buf::Sizes, clock::Timestamp, driver::sim::Faults, rng::Rng};
use std::{net::SocketAddr, time::Duration};

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// Nothing that anybody could see happens from without: every connection must go as its script says.
    pub(super) calm: bool,
    pub(super) sizes: Sizes,
    pub(super) buffer_bytes: u64,
    pub(super) max_tasks: usize,
    pub(super) queue_size: usize,
    pub(super) budget: u32,
    pub(super) pipe_size: u32,
    pub(super) pipe_bytes: u64,
    pub(super) ladder: LadderSettings,
    pub(super) proxy_faults: Faults,
    pub(super) outside_faults: Faults,
    pub(super) idle: Option<Duration>,
    pub(super) half_close: Option<Duration>,
    pub(super) connect_timeout: Duration,
    pub(super) connect_attempts: u8,
    pub(super) fail_timeout: Duration,
    pub(super) policies: Vec<Policy>,
    pub(super) backends: usize,
    pub(super) listeners: usize,
    /// How long first bytes are waited for on listeners that have routes; `None`: there are no routes.
    pub(super) peek: Option<Duration>,
    /// Tasks of the proxy are made to panic.
    pub(super) panics: bool,
    pub(super) clients: Vec<(Timestamp, usize, Script)>,
    pub(super) actions: Vec<(Timestamp, Action)>,
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    Kill(usize),
    Revive(usize),
    Silence(usize, bool),
    Reload(Change),
    /// Look into the shard from the control thread.
    Ask,
    Weather(Faults),
    Drain,
    Stop,
    /// Every connection that chooses an endpoint panics, until the cluster is replaced.
    PanicInChoice,
    /// Every connection to this backend panics when it moves bytes up: its counter overflows.
    PanicInTransfer(usize),
    MendTransfer(usize),
}

/// What a reload changes.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// A listener gets another cluster.
    Cluster {
        listener: usize,
        cluster: usize,
    },
    /// Backend and weight of each endpoint.
    Members {
        cluster: usize,
        members: Vec<(usize, u16)>,
    },
    Policy {
        cluster: usize,
        policy: Policy,
    },
    Remove {
        listener: usize,
    },
    Restore {
        listener: usize,
    },
}

/// How hard a world is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Peers misbehave, the proxy's kernel is slow and short, nothing else.
    Calm,
    /// As calm, with next to no buffers, and no time-outs that would hide a deadlock.
    Tight,
    /// Everything.
    Harsh,
}

impl Plan {
    pub(super) fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x0b5e_55ed);
        let kind = [Kind::Calm, Kind::Calm, Kind::Tight, Kind::Harsh, Kind::Harsh, Kind::Harsh][rng.index(6)];
        let mut plan = Self::quiet(seed);
        plan.size_up(&mut rng, kind);
        plan.set_time_limits(&mut rng, kind);
        plan.set_weather(&mut rng, kind);
        plan.peek_at_some(kind);
        plan.invite(&mut rng);
        plan.schedule(&mut rng, kind);
        plan
    }

    /// A world without surprises, for tests that bring their own.
    pub(super) fn quiet(seed: u64) -> Self {
        Self {
            seed,
            calm: true,
            sizes: Sizes::default(),
            buffer_bytes: 64 << 20,
            max_tasks: 1000,
            queue_size: 100,
            budget: 32,
            pipe_size: 64 << 10,
            pipe_bytes: 64 << 20,
            ladder: LadderSettings::default(),
            proxy_faults: Faults::NONE,
            outside_faults: Faults::NONE,
            idle: Some(Duration::from_secs(30)),
            half_close: Some(Duration::from_secs(10)),
            connect_timeout: Duration::from_secs(2),
            connect_attempts: 3,
            fail_timeout: Duration::from_secs(5),
            policies: vec![Policy::RoundRobin],
            backends: 2,
            listeners: 1,
            peek: None,
            panics: false,
            clients: Vec::new(),
            actions: Vec::new(),
        }
    }

    fn size_up(&mut self, rng: &mut Rng, kind: Kind) {
        self.listeners = 1 + rng.index(2);
        self.backends = 1 + rng.index(5);
        let clusters = self.listeners + rng.index(2);
        self.policies = (0..clusters).map(|_| POLICIES[rng.index(4)]).collect();
        // Not on calm days: a reader that stands still may hold the last buffer until it is cut, and others meanwhile.
        if kind == Kind::Tight || kind == Kind::Harsh && rng.chance(1, 6) {
            // Nothing that is received is larger, so no class but the smallest is ever used.
            let one = 256 << 10;
            self.sizes = Sizes { small: one, medium: one, large: one, huge: one };
            self.buffer_bytes = (1 + rng.below(8)) * one as u64;
        }
        if rng.chance(1, 3) {
            self.max_tasks = 1 + rng.index(6);
            self.queue_size = rng.index(4);
        }
        let doublings = rng.index(6);
        self.budget = 1 + rng.below(1 << doublings) as u32;
        self.pipe_bytes = [1, 64 << 10, 300 << 10, 64 << 20][rng.index(4)];
        self.pipe_size = [4 << 10, 64 << 10, 256 << 10][rng.index(3)];
        let forward = match rng.index(10) {
            kind @ 0..5 => Forward::Always(RungKind::ALL[kind]),
            5 | 6 => Forward::Auto,
            _ => Forward::Scripted(RungScript::AtRandom { seed: rng.next_u64(), one_in: 2 << rng.index(7) }),
        };
        self.ladder = LadderSettings {
            forward,
            promote_bytes: 1 << rng.index(17),
            promote_after: 1 + rng.index(3) as u8,
            demote_after: 1 + rng.index(4) as u8,
            zc_min: 1 << rng.index(17),
            budget: 1 << rng.index(21),
        };
    }

    fn set_time_limits(&mut self, rng: &mut Rng, kind: Kind) {
        let mut limit = |min: u64, max: u64| {
            let some = kind == Kind::Harsh || kind == Kind::Calm && rng.chance(3, 4);
            some.then(|| Duration::from_millis(min + rng.below(max - min)))
        };
        self.idle = limit(5000, 30_000);
        self.half_close = limit(3000, 20_000);
        self.connect_timeout = Duration::from_millis(1000 + rng.below(4000));
        self.connect_attempts = 1 + rng.index(4) as u8;
        self.fail_timeout = Duration::from_millis(100 + rng.below(20_000));
    }

    fn set_weather(&mut self, rng: &mut Rng, kind: Kind) {
        let harmless = Faults { accept_exhausted: 0.05, ..Faults::HARMLESS };
        let base = if kind == Kind::Harsh { Faults { spurious_poll: 0.1, ..Faults::HARSH } } else { harmless };
        self.proxy_faults = weather(rng, &base);
        let outside = weather(rng, &Faults { install_exhausted: 0.0, ..Faults::HARMLESS });
        self.outside_faults = outside;
        if kind == Kind::Harsh && rng.chance(1, 2) {
            self.outside_faults.reset = 0.2;
            self.outside_faults.reset_discards = 0.5;
        }
    }

    /// Draws of its own, so that other worlds stay as they were.
    fn peek_at_some(&mut self, kind: Kind) {
        let mut rng = Rng::new(self.seed ^ 0x7175_1ce5);
        if rng.chance(1, 3) {
            let short = kind == Kind::Harsh && rng.chance(1, 2);
            let limit = if short { rng.duration_up_to(Duration::from_secs(2)) } else { Duration::from_secs(3600) };
            self.peek = Some(limit);
        }
    }

    fn invite(&mut self, rng: &mut Rng) {
        let shortest = [self.idle, self.half_close].into_iter().flatten().min();
        let bounds = Bounds {
            burst_max: [4 << 10, 32 << 10, 256 << 10][rng.index(3)],
            pause_max: shortest.map_or(Duration::from_secs(1), |limit| limit / 8),
            half_close_pause_max: self.half_close.map_or(Duration::from_secs(1), |limit| limit / 4),
            fin_pause_max: self.idle.map_or(Duration::from_secs(20), |limit| limit / 2),
            idle: self.idle,
            half_close: self.half_close,
            // Whoever stops reading is cut by a time-out only.
            violence: rng.chance(2, 3) && self.idle.is_some() && self.half_close.is_some(),
        };
        let spread = Duration::from_micros(1 << rng.index(24));
        for _ in 0..3 + rng.index(30) {
            let at = Timestamp::START + Duration::from_millis(1) + rng.duration_up_to(spread);
            self.clients.push((at, rng.index(self.listeners), Script::draw(rng, &bounds)));
        }
    }

    fn schedule(&mut self, rng: &mut Rng, kind: Kind) {
        let spread = Duration::from_micros(1 << (10 + rng.index(15)));
        let harsh = kind == Kind::Harsh;
        for _ in 0..rng.index(12) {
            let at = Timestamp::START + rng.duration_up_to(spread);
            let action = self.action(rng, harsh);
            self.actions.push((at, action));
        }
        self.calm = !harsh;
        if harsh && rng.chance(1, 6) {
            let at = Timestamp::START + rng.duration_up_to(spread);
            let action = if rng.chance(1, 2) { Action::Drain } else { Action::Stop };
            // A shard that drains is told nothing new.
            self.actions.retain(|(_, action)| !matches!(action, Action::Reload(_)));
            self.actions.push((at, action));
        }
        self.actions.sort_by_key(|(at, _)| *at);
    }

    fn action(&self, rng: &mut Rng, harsh: bool) -> Action {
        let backend = rng.index(self.backends);
        let cluster = rng.index(self.policies.len());
        let listener = rng.index(self.listeners);
        match rng.index(if harsh { 10 } else { 4 }) {
            0 => Action::Ask,
            1 => Action::Reload(Change::Cluster { listener, cluster }),
            2 => {
                let empty = usize::from(!harsh || rng.chance(3, 4));
                let members = (0..empty + rng.index(self.backends)).map(|_| rng.index(self.backends));
                let mut members: Vec<usize> = members.collect();
                members.sort_unstable();
                members.dedup();
                let weighted = members.into_iter().map(|backend| (backend, 1 + rng.index(4) as u16));
                Action::Reload(Change::Members { cluster, members: weighted.collect() })
            }
            3 => Action::Reload(Change::Policy { cluster, policy: POLICIES[rng.index(4)] }),
            4 => Action::Kill(backend),
            5 => Action::Revive(backend),
            6 => Action::Silence(backend, rng.chance(2, 3)),
            7 => Action::Reload(Change::Remove { listener }),
            8 => Action::Reload(Change::Restore { listener }),
            _ => Action::Weather(weather(rng, &Faults::HARSH)),
        }
    }

    /// Nothing is accepted any more after a while.
    pub(super) fn drains(&self) -> bool {
        self.actions.iter().any(|(_, action)| matches!(action, Action::Drain | Action::Stop))
    }

    /// A time-out is noticed so much later at most.
    pub(super) fn slack(&self) -> Duration {
        Duration::from_millis(50) + self.proxy_faults.late_max * 4 + self.outside_faults.late_max * 4
    }

    pub(super) fn listener_names(&self) -> Vec<String> {
        (0..self.listeners).map(|number| format!("l{number}")).collect()
    }

    /// Every listener has a cluster of its own, with every backend in it.
    pub(super) fn config(&self, fronts: &[SocketAddr], backends: &[SocketAddr]) -> Config {
        let all: Vec<(usize, u16)> = (0..self.backends).map(|backend| (backend, 1)).collect();
        let clusters = self.policies.iter().enumerate().map(|(number, policy)| Cluster {
            policy: *policy,
            endpoints: endpoints(&all, backends),
            connect_timeout: self.connect_timeout,
            connect_attempts: self.connect_attempts,
            fail_timeout: self.fail_timeout,
            ..fixture::cluster(&format!("c{number}"), &[])
        });
        let listeners = (0..self.listeners).map(|number| self.listener(number, fronts));
        fixture::config(listeners.collect(), clusters.collect())
    }

    /// As [`Plan::config`], with endpoints taking turns.
    pub(super) fn restored(&self, fronts: &[SocketAddr], backends: &[SocketAddr]) -> Config {
        let mut config = self.config(fronts, backends);
        for cluster in &mut config.clusters {
            cluster.policy = Policy::RoundRobin;
        }
        config
    }

    fn listener(&self, number: usize, fronts: &[SocketAddr]) -> Listener {
        // Nobody asks for that name, so connections take the way of those that speak no TLS.
        let when = RouteMatch { sni: vec![SniPattern::Exact("a.example".to_owned())], alpn: Vec::new() };
        let other = format!("c{}", (number + 1) % self.policies.len());
        let routes = self.peek.map(|_| Route { when, cluster: other });
        Listener {
            bind: vec![Address::Ip(fronts[number])],
            routes: routes.into_iter().collect(),
            peek: Peek { timeout: self.peek.unwrap_or_default(), bytes_max: 16 << 10 },
            idle_timeout: self.idle,
            half_close_timeout: self.half_close,
            ..fixture::listener(&format!("l{number}"), &[], &format!("c{number}"))
        }
    }
}

impl Change {
    pub(super) fn apply(&self, config: &mut Config, fronts: &[SocketAddr], backends: &[SocketAddr], plan: &Plan) {
        let named = |number: &usize| format!("l{number}");
        match self {
            Self::Cluster { listener, cluster } => {
                if let Some(at) = config.listeners.iter().position(|l| l.name == named(listener)) {
                    config.listeners[at].cluster = Some(format!("c{cluster}"));
                }
            }
            Self::Members { cluster, members } => config.clusters[*cluster].endpoints = endpoints(members, backends),
            Self::Policy { cluster, policy } => config.clusters[*cluster].policy = *policy,
            Self::Remove { listener } => config.listeners.retain(|l| l.name != named(listener)),
            Self::Restore { listener } => {
                if config.listeners.iter().all(|l| l.name != named(listener)) {
                    config.listeners.push(plan.listener(*listener, fronts));
                }
            }
        }
    }
}

fn endpoints(members: &[(usize, u16)], backends: &[SocketAddr]) -> Vec<Endpoint> {
    let endpoint = |(backend, weight): &(usize, u16)| {
        let address = EndpointAddress::Address(Address::Ip(backends[*backend]));
        Endpoint { address, weight: *weight, max_connections: None }
    };
    members.iter().map(endpoint).collect()
}

/// Each kind of fault with an intensity of its own.
fn weather(rng: &mut Rng, base: &Faults) -> Faults {
    let mut of = |probability: f64| match rng.index(4) {
        0 => 0.0,
        1 => probability / 4.0,
        2 => probability,
        _ => (probability * 3.0).min(0.9),
    };
    Faults {
        short_send: of(base.short_send),
        short_recv: of(base.short_recv),
        multishot_end: of(base.multishot_end),
        no_buffers: of(base.no_buffers),
        late: of(base.late),
        cancel_race: of(base.cancel_race),
        lost: of(base.lost),
        accept_exhausted: of(base.accept_exhausted),
        install_exhausted: of(base.install_exhausted),
        spurious_poll: of(base.spurious_poll),
        splice_swallows: of(base.splice_swallows),
        splice_canceled: of(base.splice_canceled),
        connect_exhausted: of(base.connect_exhausted),
        connect_refused: of(base.connect_refused),
        connect_silent: of(base.connect_silent),
        connect_late: of(base.connect_late),
        reset: of(base.reset),
        reset_discards: of(base.reset_discards),
        close_late: of(base.close_late),
        cq_overflow: of(base.cq_overflow),
        ..base.clone()
    }
}
