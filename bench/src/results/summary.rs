//! What the rounds of a duel come to: medians with their spread, and ratios to the reference.
//!
//! Rounds are interleaved, so a ratio is taken within each round, where both met the same machine, and the middle one
//! counts. A busy host only ever adds time: `best` is the least of one over the least of the other.

use super::{Contest, Entrant, Sample, Unit};
use crate::{
    bootstrap::{self, Interval},
    stats::median,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The middle of the rounds and the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(Self { median: median(values.to_vec()), least, most })
    }
}

/// One proxy over the reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Ratio {
    #[serde(flatten)]
    pub(crate) rounds: Spread,
    /// Of the median of the rounds' ratios; none with too few rounds.
    pub(crate) interval: Option<Interval>,
    /// The best round of one over the best of the other.
    pub(crate) best: f64,
}

/// What is compared.
pub(crate) struct Figure {
    pub(crate) key: &'static str,
    /// By unit: requests, bytes, connections.
    names: [&'static str; 3],
    pub(crate) less_is_better: bool,
    of: fn(&Sample, Unit) -> Option<f64>,
}

const FIGURES: [Figure; 6] = [
    Figure {
        key: "cpu_per_unit",
        names: ["CPU µs/req", "CPU s/GB", ""],
        less_is_better: true,
        of: |s, _| s.cpu_per_unit,
    },
    Figure {
        key: "rate",
        names: ["req/s", "GB/s", ""],
        less_is_better: false,
        of: |s, unit| match unit {
            Unit::Request => Some(s.requests_per_s),
            Unit::Byte => Some(s.bytes_per_s / 1e9),
            Unit::Connection => None,
        },
    },
    Figure { key: "p50_us", names: ["p50 µs", "", ""], less_is_better: true, of: |s, _| s.p50_us },
    Figure { key: "p99_us", names: ["p99 µs", "", ""], less_is_better: true, of: |s, _| s.p99_us },
    Figure { key: "p99_9_us", names: ["p99.9 µs", "", ""], less_is_better: true, of: |s, _| s.p99_9_us },
    Figure {
        key: "memory",
        names: ["MiB", "MiB", "B/connection"],
        less_is_better: true,
        of: |s, unit| match unit {
            Unit::Request | Unit::Byte => Some(s.pss_bytes as f64 / f64::from(1 << 20)),
            Unit::Connection if s.connections == 0 => None,
            Unit::Connection => Some(s.pss_bytes.saturating_sub(s.idle_pss_bytes) as f64 / s.connections as f64),
        },
    },
];

impl Figure {
    /// Empty where it has no meaning.
    pub(crate) fn name(&self, unit: Unit) -> &'static str {
        self.names[unit as usize]
    }

    pub(crate) fn of(&self, sample: &Sample, unit: Unit) -> Option<f64> {
        if self.name(unit).is_empty() { None } else { (self.of)(sample, unit) }
    }

    /// Digits after the point that say something.
    pub(crate) fn decimals(value: f64) -> usize {
        match value.abs() {
            v if v >= 100.0 => 0,
            v if v >= 10.0 => 1,
            v if v >= 1.0 => 2,
            _ => 3,
        }
    }
}

/// A proxy that had less of its core than this, what something else took of it included, was not the limit.
const SATURATED: f64 = 0.93;
/// A proxy that had to wait longer for its core than this part of the time was measured together with something else.
pub(crate) const WAITED_MAX: f64 = 0.12;

impl Contest {
    /// Those that have a meaning here.
    pub(crate) fn figures(&self) -> impl Iterator<Item = &'static Figure> {
        let unit = self.unit;
        FIGURES.iter().filter(move |figure| !figure.name(unit).is_empty())
    }

    /// Of every round that has one.
    pub(crate) fn values(&self, entrant: &Entrant, figure: &Figure) -> Vec<f64> {
        entrant.samples().filter_map(|sample| figure.of(sample, self.unit)).collect()
    }

    pub(crate) fn spread(&self, entrant: &Entrant, figure: &Figure) -> Option<Spread> {
        Spread::of(&self.values(entrant, figure))
    }

    /// What both had in each round: this one's and the reference's.
    fn pairs(&self, entrant: &Entrant, figure: &Figure) -> Vec<(f64, f64)> {
        let Some(reference) = self.entrant(&self.reference) else { return Vec::new() };
        let value = |entrant: &Entrant, round: usize| {
            let sample = entrant.rounds.get(round)?.sample.as_ref()?;
            figure.of(sample, self.unit).filter(|value| *value > 0.0)
        };
        (0..entrant.rounds.len()).filter_map(|r| Some((value(entrant, r)?, value(reference, r)?))).collect()
    }

    /// To the reference, in every round in which both have a figure.
    pub(crate) fn ratios(&self, entrant: &Entrant, figure: &Figure) -> Vec<f64> {
        self.pairs(entrant, figure).into_iter().map(|(ours, theirs)| ours / theirs).collect()
    }

    /// To the reference; none where one of the two has no figure.
    pub(crate) fn ratio(&self, entrant: &Entrant, figure: &Figure) -> Option<Ratio> {
        let ratios = self.ratios(entrant, figure);
        let (ours, theirs): (Vec<f64>, Vec<f64>) = self.pairs(entrant, figure).into_iter().unzip();
        let (ours, theirs) = (Spread::of(&ours)?, Spread::of(&theirs)?);
        let best = if figure.less_is_better { ours.least / theirs.least } else { ours.most / theirs.most };
        let interval =
            bootstrap::independent(ratios.len(), |places| median(places.iter().map(|p| ratios[*p]).collect()));
        Some(Ratio { rounds: Spread::of(&ratios)?, interval, best })
    }

    /// Servers and load were the limit, so the rate says little of the proxy. Where a schedule is the limit it is the
    /// same for everybody.
    pub(crate) fn is_lower_bound(&self, entrant: &Entrant) -> bool {
        let has_schedule = self.load.iter().any(|word| word == "--rate" || word == "-R");
        let busy = |s: &Sample| s.proxy_busy + s.waited;
        let busy = Spread::of(&entrant.samples().map(busy).collect::<Vec<_>>());
        self.unit != Unit::Connection && !has_schedule && busy.is_some_and(|busy| busy.median < SATURATED)
    }

    /// The most that anybody waited for its core, as a part of the time.
    pub(crate) fn most_waited(&self) -> f64 {
        self.proxies.iter().flat_map(Entrant::samples).map(|sample| sample.waited).fold(0.0, f64::max)
    }

    /// For JSON: every proxy's figures and ratios.
    pub(crate) fn summary(&self) -> Value {
        let of = |entrant: &Entrant| {
            let mut map = Map::new();
            for figure in self.figures() {
                let Some(spread) = self.spread(entrant, figure) else { continue };
                map.insert(figure.key.into(), json!({ "rounds": spread, "ratio": self.ratio(entrant, figure) }));
            }
            map.insert("errors".into(), entrant.errors().into());
            Value::Object(map)
        };
        self.proxies.iter().map(|entrant| (entrant.name.clone(), of(entrant))).collect::<Map<_, _>>().into()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        duel::Protocol,
        results::{Duel, Round, Settings},
    };

    pub(crate) fn sample(cpu: f64, rate: f64) -> Sample {
        Sample {
            requests_per_s: rate,
            bytes_per_s: rate * 128.0,
            cpu_per_unit: Some(cpu),
            p50_us: Some(100.0),
            p99_us: Some(cpu * 100.0),
            p99_9_us: None,
            errors: 1,
            connections: 1000,
            pss_bytes: 3 << 20,
            rss_bytes: 4 << 20,
            idle_pss_bytes: 2 << 20,
            proxy_busy: 0.95,
            load_busy: 0.9,
            waited: 0.01,
            run: Value::Null,
        }
    }

    pub(crate) fn entrant(name: &str, samples: &[Option<Sample>]) -> Entrant {
        let round = |sample: &Option<Sample>| Round {
            failed: sample.is_none().then(|| "it said no".to_owned()),
            sample: sample.clone(),
        };
        Entrant {
            name: name.into(),
            about: format!("about {name}"),
            version: "1.0".into(),
            note: None,
            rounds: samples.iter().map(round).collect(),
        }
    }

    /// The reference takes 10, 20, 10, 40 µs; the other half of it, but for a round in which it fails.
    pub(crate) fn contest() -> Contest {
        let reference = [10.0, 20.0, 10.0, 40.0].map(|cpu| Some(sample(cpu, 1000.0)));
        let other = [Some(sample(5.0, 2000.0)), Some(sample(10.0, 1500.0)), None, Some(sample(24.0, 1000.0))];
        Contest {
            name: "test".into(),
            about: "a test".into(),
            protocol: Protocol::Tcp,
            unit: Unit::Request,
            server: Vec::new(),
            load: Vec::new(),
            reference: "reference".into(),
            proxies: vec![
                entrant("reference", &reference),
                entrant("other", &other),
                entrant("broken", &[const { None }; 4]),
            ],
        }
    }

    pub(crate) fn duel() -> Duel {
        Duel {
            bench: "duel".into(),
            version: "0.1.0".into(),
            commit: None,
            machine: json!({ "kernel": "6.18", "cpu": "a <fast> one", "cores": 2 }),
            settings: Settings {
                rounds: 4,
                duration_s: 2.0,
                warm_s: 1.0,
                proxy_core: 0,
                load_cores: vec![1],
                priority: "ordinary priority".into(),
                network: "a network namespace of its own, reno".into(),
                equal: [("threads".to_owned(), "1".to_owned())].into(),
            },
            missing: Vec::new(),
            scenarios: vec![contest()],
        }
    }

    fn figure(key: &str) -> &'static Figure {
        FIGURES.iter().find(|f| f.key == key).expect("a figure")
    }

    #[test]
    fn ratios_are_taken_within_rounds() {
        let contest = contest();
        let other = contest.entrant("other").expect("it is there");
        let ratio = contest.ratio(other, figure("cpu_per_unit")).expect("both have figures");
        assert_eq!(ratio.rounds, Spread { median: 0.5, least: 0.5, most: 0.6 });
        assert_eq!((ratio.best, ratio.interval), (0.5, None), "three rounds are too few for an interval");
        let rate = contest.ratio(other, figure("rate")).expect("both have figures");
        assert_eq!((rate.rounds.median, rate.best), (1.5, 2.0));
        let reference = contest.entrant("reference").expect("it is there");
        let one = contest.ratio(reference, figure("cpu_per_unit")).expect("itself");
        assert_eq!((one.rounds.median, one.interval), (1.0, Some(Interval { low: 1.0, high: 1.0 })));
    }

    #[test]
    fn spreads_are_over_the_rounds_that_succeeded() {
        let contest = contest();
        let other = contest.entrant("other").expect("it is there");
        let spread = contest.spread(other, figure("cpu_per_unit"));
        assert_eq!(spread, Some(Spread { median: 10.0, least: 5.0, most: 24.0 }));
        assert_eq!((contest.spread(other, figure("p99_9_us")), other.errors()), (None, 3));
        assert_eq!(contest.spread(other, figure("memory")).map(|s| s.median), Some(3.0));
        let broken = contest.entrant("broken").expect("it is there");
        assert_eq!((broken.failure(), other.failure()), (Some("it said no"), None));
        assert_eq!(contest.ratio(broken, figure("cpu_per_unit")), None);
    }

    #[test]
    fn units_have_their_own_figures() {
        let keys = |unit| {
            let contest = Contest { unit, ..contest() };
            contest.figures().map(|f| f.name(unit)).collect::<Vec<_>>()
        };
        assert_eq!(keys(Unit::Byte), ["CPU s/GB", "GB/s", "MiB"]);
        assert_eq!(keys(Unit::Connection), ["B/connection"]);
        let contest = Contest { unit: Unit::Connection, ..contest() };
        let memory = contest.spread(contest.entrant("other").expect("it is there"), figure("memory"));
        assert_eq!(memory.map(|s| s.median), Some(1048.576), "1 MiB more for 1,000 connections");
    }

    #[test]
    fn the_summary_has_everybody() {
        let summary = contest().summary();
        assert_eq!(summary["other"]["cpu_per_unit"]["ratio"]["median"], 0.5);
        assert_eq!(summary["other"]["rate"]["rounds"]["most"], 2000.0);
        assert_eq!(summary["broken"], json!({ "errors": 0 }));
    }

    #[test]
    fn a_proxy_that_was_not_the_limit_is_marked() {
        let mut contest = contest();
        assert!(!contest.is_lower_bound(&contest.proxies[0]));
        let slow = Sample { proxy_busy: 0.7, ..sample(1.0, 1.0) };
        contest.proxies[0] = entrant("reference", &[Some(slow.clone())]);
        assert!(contest.is_lower_bound(&contest.proxies[0]));
        contest.proxies[1] = entrant("other", &[Some(Sample { waited: 0.3, ..slow })]);
        assert!(!contest.is_lower_bound(&contest.proxies[1]), "it would have had more of its core");
        assert_eq!(contest.most_waited(), 0.3);
        contest.load = vec!["--rate".into(), "5".into()];
        assert!(!contest.is_lower_bound(&contest.proxies[0]), "all have the same rate");
    }
}
