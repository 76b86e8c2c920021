//! `bench latency`: percentiles, what they should be, and how the answers spread.

use crate::{
    cli::LatencyArgs,
    failure::Failure,
    load,
    plan::Plan,
    report::{Report, number},
    values,
};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::{fmt::Write, time::Duration};

/// What a percentile should be below.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    /// From 0 to 1.
    pub(crate) quantile: f64,
    /// As it was written: `p99`.
    pub(crate) name: String,
    pub(crate) limit: Duration,
}

impl Target {
    /// `p99=10ms`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, limit) = text.split_once('=').ok_or("write a percentile and a time, as in p99=10ms")?;
        let quantile = quantile(name)?;
        Ok(Self { quantile, name: name.into(), limit: values::time_span(limit)? })
    }

    fn measured(&self, waits: &Histogram<u64>) -> Duration {
        Duration::from_nanos(waits.value_at_quantile(self.quantile))
    }

    pub(crate) fn is_met(&self, waits: &Histogram<u64>) -> bool {
        !waits.is_empty() && self.measured(waits) < self.limit
    }
}

/// `p50`, `p99.9`, `max`.
pub(crate) fn quantile(name: &str) -> Result<f64, String> {
    if name == "max" {
        return Ok(1.0);
    }
    match name.strip_prefix('p').and_then(|number| number.parse::<f64>().ok()) {
        Some(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err(format!("{name:?} is no percentile; write p50, p99.9 or max, as in p99=10ms")),
    }
}

/// `balance-shard bench latency`.
pub(crate) fn command(args: &LatencyArgs) -> Result<(), Failure> {
    let plan = Plan::either(&args.either)?;
    load::command("latency", plan, &args.either.target.backend, &args.either.load, &args.targets)?
        .judge(args.fail_on_miss)
}

/// Upper ends of the rows of the distribution, in microseconds: 1, 2 and 5 in each power of ten.
const ENDS: [u64; 19] = [
    50,
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    60_000_000,
    7_200_000_000,
];
/// The longest bar, in characters.
const BAR: f64 = 40.0;

/// Rows of the distribution: from, to (µs), how many.
fn distribution(waits: &Histogram<u64>) -> Vec<(u64, u64, u64)> {
    let mut rows = Vec::new();
    let mut from = 0;
    for to in ENDS {
        let below = |us: u64| if us == 0 { 0 } else { waits.count_between(0, us * 1000 - 1) };
        let count = below(to) - below(from);
        rows.push((from, to, count));
        from = to;
    }
    let first = rows.iter().position(|row| row.2 > 0).unwrap_or(0);
    let last = rows.iter().rposition(|row| row.2 > 0).map_or(0, |last| last + 1);
    rows.drain(..).take(last).skip(first).collect()
}

/// The targets beside what was measured, and the distribution. Ends with a newline.
pub(crate) fn text(report: &Report, targets: &[Target]) -> String {
    let waits = report.proxy.tally.waits();
    let mut text = String::from("\n");
    for target in targets {
        let measured = target.measured(waits).as_secs_f64() * 1e3;
        let limit = target.limit.as_secs_f64() * 1e3;
        let (mark, word) = if target.is_met(waits) { ('✓', "below") } else { ('✗', "not below") };
        let _ = writeln!(text, "{mark} {} {measured:.3} ms is {word} {limit} ms", target.name);
    }
    let rows = distribution(waits);
    let most = rows.iter().map(|row| row.2).max().unwrap_or(0).max(1);
    for (from, to, count) in rows {
        let share = count as f64 * 100.0 / waits.len() as f64;
        let bar = "█".repeat((count as f64 * BAR / most as f64).ceil() as usize);
        let (from, to) = (from as f64 / 1e3, to as f64 / 1e3);
        let _ = writeln!(text, "{from:>9} – {to:<9} ms {:>14} {share:6.2} % {bar}", number(count as f64, 0));
    }
    text
}

/// For the JSON: `targets` and `distribution`.
pub(crate) fn add_json(report: &Report, targets: &[Target], json: &mut Value) {
    let waits = report.proxy.tally.waits();
    let row = |(from, to, count): (u64, u64, u64)| json!({ "from_us": from, "to_us": to, "count": count });
    json["distribution"] = distribution(waits).into_iter().map(row).collect();
    let target = |target: &Target| {
        json!({
            "percentile": target.name,
            "limit_us": target.limit.as_secs_f64() * 1e6,
            "measured_us": (!waits.is_empty()).then(|| target.measured(waits).as_secs_f64() * 1e6),
            "met": target.is_met(waits),
        })
    };
    json["targets"] = targets.iter().map(target).collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::Mode, report::tests::outcome};

    fn report(latency_us: u64) -> Report {
        Report::new("latency", outcome(Mode::PingPong, latency_us), None)
    }

    #[test]
    fn targets_as_they_are_written() {
        let target = Target::parse("p99.9=5ms").unwrap();
        assert!((target.quantile - 0.999).abs() < 1e-9 && target.limit == Duration::from_millis(5));
        assert!((Target::parse("max=1s").unwrap().quantile - 1.0).abs() < 1e-9);
        for wrong in ["p99", "p101=1ms", "99=1ms", "p99=0ms", "p99=fast", "mean=1ms"] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mark_says_whether_a_target_is_met() {
        let targets = [Target::parse("p99=10ms").unwrap(), Target::parse("p50=1ms").unwrap()];
        let text = text(&report(5_000), &targets);
        assert!(text.contains("✓ p99 5.0") && text.contains("ms is below 10 ms"), "{text}");
        assert!(text.contains("✗ p50 5.0") && text.contains("is not below 1 ms"), "{text}");
        let mut json = json!({});
        add_json(&report(5_000), &targets, &mut json);
        assert_eq!((&json["targets"][0]["met"], &json["targets"][1]["met"]), (&true.into(), &false.into()));
    }

    #[test]
    fn every_answer_is_in_one_row() {
        let mut report = report(40);
        for us in [100, 199, 200, 4_999, 7_200_000_000] {
            report.proxy.tally.answered(Duration::from_micros(us), None);
        }
        let waits = report.proxy.tally.waits().clone();
        let rows = distribution(&waits);
        assert_eq!((rows[0].0, rows[0].1, rows[0].2), (0, 50, 2000));
        assert_eq!(rows.iter().map(|row| row.2).sum::<u64>(), waits.len());
    }
}
