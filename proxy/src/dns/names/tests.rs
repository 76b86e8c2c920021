use super::*;
use tokio::time::Instant;

fn settings() -> model::Dns {
    model::Dns {
        servers: vec![],
        ttl_min: Duration::from_secs(5),
        ttl_max: Duration::from_secs(300),
        timeout: Duration::from_secs(2),
        family: DnsFamily::V4,
    }
}

fn ip(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn ok(last: &[u8], ttl_s: u64) -> Outcome {
    Outcome::Addresses { addresses: last.iter().map(|l| ip(*l)).collect(), ttl: Duration::from_secs(ttl_s) }
}

fn v6(text: &str) -> Outcome {
    Outcome::Addresses { addresses: vec![text.parse().unwrap()], ttl: Duration::from_secs(60) }
}

fn failed(verdict: Verdict) -> Outcome {
    Outcome::Failed(verdict)
}

/// The names `hosts` of one configuration, and a clock of their own.
struct World {
    names: Names,
    now: Instant,
}

impl World {
    fn new(settings: &model::Dns, hosts: &[&str]) -> Self {
        let now = Instant::now();
        let mut names = Names::new(settings.clone(), 1);
        names.add(hosts.iter().copied(), settings, now);
        Self { names, now }
    }

    /// Goes to where something is due, and takes it.
    fn next(&mut self) -> Question {
        self.now = self.now.max(self.names.next_due().expect("something is due"));
        self.names.begin_due(self.now).expect("it is due now")
    }

    /// Answers whatever is due next.
    fn answer(&mut self, outcome: Outcome) -> Handled {
        let question = self.next();
        self.names.handle(&question, outcome, self.now)
    }

    /// The same, where the next question is known to be of this type.
    fn answer_of(&mut self, record: Record, outcome: Outcome) -> Handled {
        let question = self.next();
        assert_eq!(question.record, record);
        self.names.handle(&question, outcome, self.now)
    }

    fn pause(&self) -> Duration {
        self.names.next_due().expect("something is due") - self.now
    }

    fn last_bytes(&self, host: &str) -> Vec<u8> {
        let last = |a: IpAddr| match a {
            IpAddr::V4(v4) => v4.octets()[3],
            IpAddr::V6(v6) => v6.octets()[15],
        };
        self.names.addresses(host).into_iter().map(last).collect()
    }
}

#[track_caller]
fn about(pause: Duration, seconds: u64) {
    let expected = Duration::from_secs(seconds);
    let tenth = expected / 10;
    assert!(pause >= expected - tenth && pause <= expected + tenth, "{pause:?} is not about {expected:?}");
}

#[test]
fn a_ttl_counts_between_floor_and_ceiling() {
    let check = |ttl_s: u64, pause_s: u64| {
        let mut world = World::new(&settings(), &["a"]);
        world.answer(ok(&[1], ttl_s));
        about(world.pause(), pause_s);
    };
    check(0, 5);
    check(1, 5);
    check(60, 60);
    check(86_400, 300);
    check(1 << 31, 300);
    check(u64::from(u32::MAX), 300);
}

#[test]
fn failures_are_asked_again_ever_later() {
    let mut world = World::new(&settings(), &["a"]);
    world.answer(ok(&[1], 60));
    for expected in [5, 10, 20, 40, 80, 160, 300, 300] {
        world.answer(failed(Verdict::Timeout));
        about(world.pause(), expected);
    }
    let handled = world.answer(ok(&[1], 60));
    assert_eq!((handled.recovered_after, handled.changed), (8, false));
    about(world.pause(), 60);
    world.answer(failed(Verdict::Timeout));
    about(world.pause(), 5);
}

#[test]
fn a_name_without_any_address_is_asked_for_more_often() {
    let mut world = World::new(&settings(), &["a"]);
    for expected in [5, 10, 20, 30, 30] {
        world.answer(failed(Verdict::Unreachable));
        about(world.pause(), expected);
    }
}

#[test]
fn no_failure_takes_an_address_away() {
    let check = |outcome: Outcome, verdict: Verdict| {
        let mut world = World::new(&settings(), &["a"]);
        assert!(world.answer(ok(&[2, 1], 60)).changed);
        let handled = world.answer(outcome);
        assert_eq!(handled.failed, Some(Failed { verdict, streak: 1 }));
        assert!(!handled.changed);
        assert_eq!(world.last_bytes("a"), [1, 2]);
        let report = world.names.report(world.now);
        assert_eq!(report[0].failing, Some(("A", verdict)));
        assert_eq!(report[0].results[verdict as usize], 1);
        assert!(report[0].age.unwrap() >= Duration::from_secs(54));
    };
    for verdict in Verdict::ALL.into_iter().filter(|v| !matches!(v, Verdict::Ok | Verdict::Empty)) {
        check(failed(verdict), verdict);
    }
    check(Outcome::Empty, Verdict::Empty);
    check(ok(&[], 60), Verdict::Empty);
    // What is no address of a machine counts as none.
    let nowhere = ["0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1"];
    let addresses = nowhere.iter().map(|a| a.parse().unwrap()).collect();
    check(Outcome::Addresses { addresses, ttl: Duration::ZERO }, Verdict::Empty);
}

#[test]
fn the_order_of_an_answer_and_repeats_are_no_change() {
    let mut world = World::new(&settings(), &["a"]);
    assert!(world.answer(ok(&[3, 1, 2], 5)).changed);
    assert!(!world.answer(ok(&[1, 2, 3], 5)).changed);
    assert!(!world.answer(ok(&[2, 2, 3, 1, 1], 5)).changed);
    assert!(world.answer(ok(&[1, 2], 5)).changed);
    assert_eq!(world.last_bytes("a"), [1, 2]);
}

#[test]
fn an_answer_is_capped() {
    let mut world = World::new(&settings(), &["a"]);
    let many = (0..60_000_u32).map(|i| IpAddr::from((0x0a00_0000 + i).to_be_bytes())).collect();
    world.answer(Outcome::Addresses { addresses: many, ttl: Duration::ZERO });
    assert_eq!(world.names.addresses("a").len(), ADDRESSES_MAX);
}

fn dual() -> World {
    World::new(&model::Dns { family: DnsFamily::Any, ..settings() }, &["a"])
}

#[test]
fn a_name_with_one_kind_of_address_does_not_fail() {
    for (first, second) in [(ok(&[1], 60), Outcome::Empty), (Outcome::Empty, v6("fd00::1"))] {
        let mut world = dual();
        assert_eq!(world.answer_of(Record::A, first).failed, None);
        assert_eq!(world.answer_of(Record::Aaaa, second).failed, None);
        assert_eq!(world.last_bytes("a"), [1]);
        assert_eq!(world.names.report(world.now)[0].failing, None);
    }
}

#[test]
fn a_kind_of_address_may_go_while_the_other_stays() {
    let mut world = dual();
    world.answer_of(Record::A, ok(&[1], 60));
    world.answer_of(Record::Aaaa, v6("fd00::2"));
    assert_eq!(world.last_bytes("a"), [1, 2]);
    let question = world.next();
    let handled = world.names.handle(&question, Outcome::Empty, world.now);
    assert_eq!((handled.changed, handled.failed), (true, None));
    // The last kind stays.
    let other = loop {
        let next = world.next();
        if next.record != question.record {
            break next;
        }
        world.names.handle(&next, Outcome::Empty, world.now);
    };
    let handled = world.names.handle(&other, Outcome::Empty, world.now);
    assert!(!handled.changed && handled.failed.is_some());
    assert_eq!(world.names.addresses("a").len(), 1);
}

#[test]
fn a_name_without_any_kind_fails_as_empty() {
    let mut world = dual();
    assert_eq!(world.answer_of(Record::A, Outcome::Empty).failed, None);
    assert_eq!(world.answer_of(Record::Aaaa, Outcome::Empty).failed.map(|f| f.verdict), Some(Verdict::Empty));
    about(world.pause(), 5);
}

#[test]
fn one_dead_kind_does_not_slow_down_the_other() {
    let mut world = dual();
    world.answer_of(Record::A, ok(&[1], 10));
    world.answer_of(Record::Aaaa, failed(Verdict::Timeout));
    let mut asked = 0;
    let end = world.now + Duration::from_secs(100);
    while world.now < end {
        let question = world.next();
        let outcome = match question.record {
            Record::A => {
                asked += 1;
                ok(&[1], 10)
            }
            Record::Aaaa => failed(Verdict::Timeout),
        };
        world.names.handle(&question, outcome, world.now);
    }
    assert!((9..=11).contains(&asked), "{asked}");
    let report = &world.names.report(world.now)[0];
    assert_eq!(report.failing, Some(("AAAA", Verdict::Timeout)));
    assert!(report.age.unwrap() < Duration::from_secs(12));
}

#[test]
fn questions_at_once_are_bounded() {
    let hosts: Vec<String> = (0..1000).map(|i| format!("h{i}")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let mut world = World::new(&settings(), &hosts);
    let mut asking: Vec<Question> = std::iter::from_fn(|| world.names.begin_due(world.now)).collect();
    assert_eq!(asking.len(), ASKING_MAX);
    assert!(world.names.next_due().is_none());
    let mut answered = 0;
    while let Some(question) = asking.pop() {
        world.names.handle(&question, ok(&[1], 60), world.now);
        answered += 1;
        asking.extend(world.names.begin_due(world.now));
    }
    assert_eq!(answered, 1000);
    assert!(world.names.all_tried());
    // They have become due at one moment, and do not again.
    let times: BTreeSet<Instant> = world.names.due.iter().map(|(at, ..)| *at).collect();
    assert!(times.len() > 900);
    assert!(*times.last().unwrap() - *times.first().unwrap() > Duration::from_secs(10));
}

#[test]
fn names_that_stay_keep_their_addresses_and_their_time() {
    let mut world = World::new(&settings(), &["a", "b"]);
    world.answer(ok(&[1], 60));
    world.answer(ok(&[2], 60));
    world.names.add(["b", "c"], &settings(), world.now);
    assert!(!world.names.all_tried());
    world.names.retain(&["b", "c"].into());
    assert_eq!(world.next().host, "c".into());
    assert_eq!((world.last_bytes("a"), world.last_bytes("b")), (vec![], vec![2]));
    about(world.names.next_due().unwrap() - world.now, 60);
}

#[test]
fn an_answer_to_what_nobody_asks_any_more_is_nothing() {
    let mut world = World::new(&settings(), &["a"]);
    let question = world.next();
    world.names.retain(&[].into());
    assert_eq!(world.names.handle(&question, ok(&[1], 60), world.now), Handled::default());
    world.names.add(["a"], &settings(), world.now);
    assert_eq!(world.names.handle(&question, ok(&[1], 60), world.now), Handled::default());
    assert!(world.answer(ok(&[2], 60)).changed);
    assert_eq!(world.names.handle(&question, ok(&[1], 60), world.now), Handled::default());
    assert_eq!(world.last_bytes("a"), [2]);
}

#[test]
fn other_servers_are_asked_at_once_and_what_is_known_stays() {
    let mut world = World::new(&settings(), &["a"]);
    world.answer(ok(&[1], 60));
    let question = world.next();
    let other = model::Dns { servers: vec!["192.0.2.1:53".parse().unwrap()], ..settings() };
    world.names.add(["a"], &other, world.now);
    assert_eq!(world.last_bytes("a"), [1]);
    let again = world.next();
    assert_eq!(world.names.handle(&question, ok(&[9], 60), world.now), Handled::default());
    assert!(world.names.handle(&again, ok(&[2], 60), world.now).changed);
}

#[test]
fn a_family_that_is_not_wanted_any_more_is_dropped() {
    let mut world = dual();
    world.answer_of(Record::A, ok(&[1], 60));
    world.answer_of(Record::Aaaa, v6("fd00::2"));
    world.names.add(["a"], &settings(), world.now);
    assert_eq!(world.last_bytes("a"), [1]);
    assert_eq!(world.next().record, Record::A);
    assert!(world.names.next_due().is_none());
}

/// Whatever happens, in any order: see `Model::check`.
#[test]
fn any_sequence_of_events_keeps_the_promises() {
    for seed in 0..200 {
        let mut model = Model::new(seed);
        for _ in 0..300 {
            model.step();
            model.check();
        }
        model.settle();
    }
}

struct Model {
    seed: u64,
    rng: Rng,
    names: Names,
    settings: model::Dns,
    now: Instant,
    wanted: BTreeSet<&'static str>,
    asking: Vec<Question>,
    /// What the last good answers were, by the plainest rule there is.
    good: BTreeMap<&'static str, [Vec<IpAddr>; 2]>,
}

const HOSTS: [&str; 24] = [
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u", "v", "w",
    "x",
];

impl Model {
    fn new(seed: u64) -> Self {
        let settings = model::Dns { family: DnsFamily::Any, ..settings() };
        Self {
            seed,
            rng: Rng::new(seed),
            names: Names::new(settings.clone(), seed),
            settings,
            now: Instant::now(),
            wanted: BTreeSet::new(),
            asking: Vec::new(),
            good: BTreeMap::new(),
        }
    }

    fn step(&mut self) {
        match self.rng.below(10) {
            0 => self.reload(),
            1..4 => self.now += self.rng.duration_up_to(Duration::from_secs(40)),
            4..7 => self.asking.extend(self.names.begin_due(self.now)),
            _ => self.answer(),
        }
    }

    fn reload(&mut self) {
        if self.rng.chance(1, 4) {
            self.settings.servers = vec![([192, 0, 2, 1], self.rng.below(9) as u16).into()];
        }
        let mut wanted = BTreeSet::new();
        for _ in 0..self.rng.below(24) {
            wanted.insert(HOSTS[self.rng.index(HOSTS.len())]);
        }
        self.names.add(wanted.iter().copied(), &self.settings, self.now);
        if self.rng.chance(1, 4) {
            // Refused after all: the names of before stay, the new ones go.
            wanted = self.wanted.clone();
        }
        self.names.retain(&wanted);
        self.good.retain(|host, _| wanted.contains(host));
        self.wanted = wanted;
    }

    fn answer(&mut self) {
        if self.asking.is_empty() {
            return;
        }
        let at = self.rng.index(self.asking.len());
        let question = self.asking.swap_remove(at);
        let outcome = self.outcome(question.record);
        let before = self.names.addresses(&question.host);
        let current = self.is_current(&question);
        let handled = self.names.handle(&question, outcome.clone(), self.now);
        let after = self.names.addresses(&question.host);
        assert_eq!(handled.changed, before != after, "seed {}", self.seed);
        assert!(before.is_empty() || !after.is_empty(), "seed {}: the last address went", self.seed);
        if !current {
            assert_eq!(handled, Handled::default(), "seed {}", self.seed);
            return;
        }
        let Some(host) = self.wanted.get(&*question.host) else { return };
        let good = self.good.entry(host).or_default();
        match cleaned(outcome) {
            Outcome::Addresses { addresses, .. } => good[question.record as usize] = addresses,
            Outcome::Empty if !good[question.record.other() as usize].is_empty() => {
                good[question.record as usize].clear();
            }
            Outcome::Empty | Outcome::Failed(_) => {}
        }
    }

    fn outcome(&mut self, record: Record) -> Outcome {
        match self.rng.below(8) {
            0 => Outcome::Empty,
            1 => failed(Verdict::NxDomain),
            2 => failed(Verdict::ServFail),
            3 => failed(Verdict::Timeout),
            _ => {
                let count = self.rng.below(4);
                let any = |rng: &mut Rng| match record {
                    Record::A => IpAddr::from([10, 0, 0, rng.below(4) as u8]),
                    Record::Aaaa => IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, rng.below(4) as u16]),
                };
                let addresses = (0..count).map(|_| any(&mut self.rng)).collect();
                Outcome::Addresses { addresses, ttl: Duration::from_secs(self.rng.below(1000)) }
            }
        }
    }

    fn is_current(&self, question: &Question) -> bool {
        let name = self.names.names.get(&question.host);
        let track = name.and_then(|n| n.track(question.record));
        track.is_some_and(|t| t.turn == Turn::Asking { ticket: question.ticket })
    }

    fn check(&self) {
        let seed = self.seed;
        let asking = self.asking.iter().filter(|q| self.is_current(q)).count();
        assert_eq!(self.names.asking, asking, "seed {seed}");
        assert!(asking <= ASKING_MAX, "seed {seed}");
        let hosts: BTreeSet<&str> = self.names.hosts().map(|h| &**h).collect();
        assert_eq!(hosts, self.wanted, "seed {seed}");
        // Every question is in the queue or being asked, and never so far away that a change goes unnoticed.
        assert_eq!(self.names.due.len() + asking, 2 * hosts.len(), "seed {seed}");
        let farthest = self.now + self.settings.ttl_max + self.settings.ttl_max / 10;
        assert!(self.names.due.iter().all(|(at, ..)| *at <= farthest), "seed {seed}");
        for host in &hosts {
            let known = self.names.addresses(host);
            let good = self.good.get(host).map(|g| g.concat()).unwrap_or_default();
            assert_eq!(known, good, "seed {seed}: {host}");
            assert!(known.is_sorted(), "seed {seed}");
        }
    }

    /// Once answers are good and everybody gets one, every name has addresses.
    fn settle(&mut self) {
        let end = self.now + 2 * self.settings.ttl_max;
        while self.now < end {
            let mut asking = std::mem::take(&mut self.asking);
            asking.extend(std::iter::from_fn(|| self.names.begin_due(self.now)));
            for question in asking {
                self.names.handle(&question, ok(&[7], 60), self.now);
            }
            self.now += Duration::from_secs(1);
        }
        assert!(self.wanted.iter().all(|h| !self.names.addresses(h).is_empty()), "seed {}", self.seed);
    }
}
