//! Ping-pong with and without peers beside it, round by round.

use super::{
    Outcome,
    json::{outcome, settings},
    micros,
    text::{headline, number},
};
use crate::{failure::Failure, stats::median};
use serde_json::{Value, json};
use std::fmt::Write;

/// The two runs of a round.
pub(crate) struct Pair {
    pub(crate) without: Outcome,
    pub(crate) with: Outcome,
}

/// At least one round.
pub(crate) struct Comparison {
    pub(crate) pairs: Vec<Pair>,
}

/// What is compared: its key in JSON, its name on paper, its decimals.
struct Figure {
    key: &'static str,
    name: &'static str,
    decimals: usize,
    of: fn(&Outcome) -> f64,
}

const FIGURES: [Figure; 4] = [
    Figure { key: "p50_us", name: "p50 µs", decimals: 0, of: |o| quantile(o, 0.50) },
    Figure { key: "p99_us", name: "p99 µs", decimals: 0, of: |o| quantile(o, 0.99) },
    Figure { key: "requests_per_s", name: "requests/s", decimals: 0, of: |o| o.rate(o.tally.requests) },
    Figure {
        key: "target_cpu_us_per_request",
        name: "target CPU µs/request",
        decimals: 2,
        of: |o| o.target_micros_per_request().unwrap_or_default(),
    },
];

fn quantile(outcome: &Outcome, quantile: f64) -> f64 {
    micros(outcome.tally.latency.value_at_quantile(quantile) as f64)
}

/// Over all rounds.
struct Summary {
    without: f64,
    with: f64,
    /// The ratios within the rounds: the middle one, and the range.
    ratio: f64,
    least: f64,
    most: f64,
}

impl Comparison {
    /// Those that were measured.
    fn figures(&self) -> impl Iterator<Item = &'static Figure> {
        let has_target = self.pairs.iter().all(|pair| pair.with.target_cpu.is_some());
        FIGURES.iter().filter(move |figure| has_target || !figure.key.starts_with("target"))
    }

    fn summary(&self, figure: &Figure) -> Summary {
        let of = |pick: fn(&Pair) -> &Outcome| self.pairs.iter().map(|p| (figure.of)(pick(p))).collect::<Vec<_>>();
        let (without, with) = (of(|p| &p.without), of(|p| &p.with));
        let ratios: Vec<f64> = with.iter().zip(&without).map(|(with, without)| with / without).collect();
        Summary {
            without: median(without),
            with: median(with),
            least: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            most: ratios.iter().copied().fold(0.0, f64::max),
            ratio: median(ratios),
        }
    }

    /// Ends with a newline.
    pub(crate) fn text(&self) -> String {
        let mut text = headline(&self.pairs[0].with);
        for figure in self.figures() {
            let _ = writeln!(text, "\n{:24}{:>12}{:>12}{:>10}", figure.name, "without", "with", "ratio");
            for (round, pair) in self.pairs.iter().enumerate() {
                let (without, with) = ((figure.of)(&pair.without), (figure.of)(&pair.with));
                write_row(&mut text, &format!("  round {}", round + 1), figure, [without, with], with / without);
                text.push('\n');
            }
            let sum = self.summary(figure);
            write_row(&mut text, "  median", figure, [sum.without, sum.with], sum.ratio);
            let _ = writeln!(text, "  ({:.2}–{:.2})", sum.least, sum.most);
        }
        let errors: u64 = self.outcomes().map(|o| o.tally.errors.total()).sum();
        let _ = writeln!(text, "\n{:24}{:>12}", "errors", number(errors as f64, 0));
        text
    }

    /// Its keys are a promise to scripts.
    pub(crate) fn json(&self) -> Value {
        let rounds: Vec<Value> = self
            .pairs
            .iter()
            .map(|pair| json!({ "without": outcome(&pair.without), "with": outcome(&pair.with) }))
            .collect();
        let mut report = json!({
            "bench": "tcp",
            "version": env!("CARGO_PKG_VERSION"),
            "settings": settings(&self.pairs[0].with),
            "rounds": rounds,
        });
        for figure in self.figures() {
            let sum = self.summary(figure);
            report["summary"][figure.key] = json!({
                "without": sum.without,
                "with": sum.with,
                "ratio": { "median": sum.ratio, "min": sum.least, "max": sum.most },
            });
        }
        report
    }

    fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.pairs.iter().flat_map(|pair| [&pair.without, &pair.with])
    }

    /// # Errors
    /// A run that shows nothing, or connections that should have stayed and did not: then the comparison is none. It
    /// has been printed before.
    pub(crate) fn verdict(&self) -> Result<(), Failure> {
        for outcome in self.outcomes() {
            outcome.verdict()?;
            let (asked, open) = (u64::from(outcome.plan.all_connections()), outcome.tally.open);
            if open < asked {
                return Err(Failure::runtime(format!("of {asked} connections {open} were open at the end of a run")));
            }
        }
        Ok(())
    }
}

fn write_row(text: &mut String, name: &str, figure: &Figure, [without, with]: [f64; 2], ratio: f64) {
    let (without, with) = (number(without, figure.decimals), number(with, figure.decimals));
    let _ = write!(text, "{name:24}{without:>12}{with:>12}{ratio:>10.2}");
}
