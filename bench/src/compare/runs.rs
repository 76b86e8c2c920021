//! Two runs of the load generator.
//!
//! Rates and CPU time are sums over the seconds of a run, and have an interval from these seconds. A percentile has
//! none as such, for the requests of a busy second have much in common; so beside that of the whole run stands the
//! middle one of the seconds', which has.

use super::{Compared, Comparison};
use crate::{
    bootstrap,
    results::{Moment, Run},
    stats::median,
};

pub(super) fn compare(base: &Run, other: &Run) -> Comparison {
    let mut figures = Vec::new();
    if base.requests > 0 && other.requests > 0 {
        let mut row = Compared::new("requests/s", false, base.requests_per_s, other.requests_per_s);
        row.interval = of_sums(base, other, |m| Some((m.requests as f64, m.span_s)));
        figures.push(row);
    }
    let mut row = Compared::new("MB/s", false, base.bytes_per_s / 1e6, other.bytes_per_s / 1e6);
    row.interval = of_sums(base, other, |m| Some((m.bytes as f64, m.span_s)));
    figures.push(row);
    figures.extend(target_cpu(base, other));
    type Value = fn(&Moment) -> Option<f64>;
    let percentiles: [(&str, Value); 2] = [("p50", |m| m.p50_us), ("p99", |m| m.p99_us)];
    for (key, of) in percentiles {
        figures.extend(of_seconds(base, other, key, of));
    }
    for (key, name) in
        [("mean", "mean µs"), ("p50", "p50 µs"), ("p99", "p99 µs"), ("p99_9", "p99.9 µs"), ("max", "max µs")]
    {
        if let (Some(base), Some(other)) = (base.latency(key), other.latency(key)) {
            figures.push(Compared::new(name, true, base, other));
        }
    }
    figures.push(Compared::new("errors", true, base.errors as f64, other.errors as f64));
    Comparison { base: base.name.clone(), other: other.name.clone(), warnings: warnings(base, other), figures }
}

fn target_cpu(base: &Run, other: &Run) -> Option<Compared> {
    let counts_requests = base.requests > 0;
    let name = if counts_requests { "target CPU µs/request" } else { "target CPU s/GB" };
    let mut row = Compared::new(name, true, base.target_cpu_per_unit()?, other.target_cpu_per_unit()?);
    row.interval = of_sums(base, other, |m| {
        let units = if counts_requests { m.requests } else { m.bytes };
        Some((m.target_cpu_s?, units as f64))
    });
    Some(row)
}

/// Of the ratio of `Σ of.0 / Σ of.1` of one to that of the other.
fn of_sums(base: &Run, other: &Run, of: impl Fn(&Moment) -> Option<(f64, f64)>) -> Option<bootstrap::Interval> {
    let values = |run: &Run| run.series.iter().map(&of).collect::<Option<Vec<_>>>();
    let (base, other) = (values(base)?, values(other)?);
    let quotient = |values: &[(f64, f64)], places: &[usize]| {
        let (over, under) = places.iter().fold((0.0, 0.0), |(a, b), p| (a + values[*p].0, b + values[*p].1));
        over / under
    };
    bootstrap::of_two_series([base.len(), other.len()], |b, o| quotient(&other, o) / quotient(&base, b))
}

fn of_seconds(base: &Run, other: &Run, key: &str, of: fn(&Moment) -> Option<f64>) -> Option<Compared> {
    let values = |run: &Run| run.series.iter().filter_map(of).collect::<Vec<_>>();
    let (base, other) = (values(base), values(other));
    if base.is_empty() || other.is_empty() {
        return None;
    }
    let middle = |values: &[f64], places: &[usize]| median(places.iter().map(|place| values[*place]).collect());
    let name = format!("{key} µs, the middle second");
    let mut row = Compared::new(name, true, median(base.clone()), median(other.clone()));
    row.interval = bootstrap::of_two_series([base.len(), other.len()], |b, o| middle(&other, o) / middle(&base, b));
    Some(row)
}

/// Different settings or machines: then the ratio is not of what the user thinks.
fn warnings(base: &Run, other: &Run) -> Vec<String> {
    let mut warnings = Vec::new();
    for (key, value) in &base.settings {
        match other.settings.iter().find(|(name, _)| name == key) {
            Some((_, theirs)) if theirs != value => warnings.push(format!("{key} differs: {value}, {theirs}")),
            Some(_) => {}
            None => warnings.push(format!("{key} differs: {value}, not set")),
        }
    }
    let only_theirs = other.settings.iter().filter(|(key, _)| !base.settings.iter().any(|(name, _)| name == key));
    warnings.extend(only_theirs.map(|(key, value)| format!("{key} differs: not set, {value}")));
    for key in ["kernel", "cpu", "cores"] {
        let (ours, theirs) = (&base.machine[key], &other.machine[key]);
        if !ours.is_null() && !theirs.is_null() && ours != theirs {
            warnings.push(format!("the machines differ: {key} {ours}, {theirs}"));
        }
    }
    for run in [base, other].iter().filter(|run| run.client_bound) {
        warnings.push(format!("{}: the load generator was the limit", run.name));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{compare::Verdict, results::run_value};

    fn run(name: &str, us: f64, seconds: usize) -> Run {
        Run::read(name, &run_value(us, seconds)).expect("a run")
    }

    fn figure<'a>(comparison: &'a Comparison, name: &str) -> &'a Compared {
        comparison.figures.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("{name} in {comparison:?}"))
    }

    #[test]
    fn a_run_that_takes_twice_as_long_is_twice_as_long() {
        let comparison = compare(&run("a", 50.0, 10), &run("b", 100.0, 12));
        for name in ["p50 µs", "p99 µs", "target CPU µs/request"] {
            let ratio = figure(&comparison, name).ratio.expect("not over zero");
            assert!((ratio - 2.0).abs() < 1e-9, "{name}: {ratio}");
        }
        let cpu = figure(&comparison, "target CPU µs/request");
        let interval = cpu.interval.expect("ten seconds are enough");
        assert!(1.9 < interval.low && interval.low < 2.0 && 2.0 < interval.high && interval.high < 2.1, "{interval:?}");
        assert_eq!(cpu.verdict(), Verdict::Worse);
        let seconds = figure(&comparison, "p99 µs, the middle second");
        assert!(seconds.ratio.is_some_and(|ratio| (2.0..2.05).contains(&ratio)), "{seconds:?}");
        assert_eq!(seconds.verdict(), Verdict::Worse);
        assert_eq!(figure(&comparison, "requests/s").verdict(), Verdict::Chance);
        assert_eq!(figure(&comparison, "errors").base, 2.0);
        assert!(comparison.warnings.is_empty(), "{:?}", comparison.warnings);
    }

    #[test]
    fn short_runs_have_no_interval() {
        let comparison = compare(&run("a", 50.0, 3), &run("b", 100.0, 10));
        assert!(comparison.figures.iter().all(|figure| figure.interval.is_none()));
    }

    #[test]
    fn what_differs_is_said() {
        let base = run("a", 50.0, 10);
        let mut other = run("b", 50.0, 10);
        other.settings[0].1 = "7".into();
        other.settings.push(("rate".into(), "9".into()));
        other.machine["kernel"] = "5.4".into();
        other.client_bound = true;
        let warnings = compare(&base, &other).warnings;
        assert_eq!(warnings.len(), 4, "{warnings:?}");
        assert!(warnings.contains(&"rate differs: not set, 9".into()), "{warnings:?}");
        assert!(warnings.contains(&"b: the load generator was the limit".into()), "{warnings:?}");
    }
}
