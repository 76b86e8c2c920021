//! `balance-shard bench compare`: saved results beside the first of them, and how sure the difference is.

mod duels;
mod runs;
mod text;

use crate::{
    bootstrap::{Interval, RESAMPLES},
    failure::Failure,
    report,
    results::{self, File},
};
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;
pub(crate) use text::words;

#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    /// What --json wrote: the base first, then one or more to compare with it
    #[arg(value_name = "FILE", required = true, num_args = 2..)]
    files: Vec<PathBuf>,
    /// Exit with 1 where something is worse by more than this factor, and not by chance
    #[arg(long, value_name = "FACTOR", value_parser = factor)]
    fail_above: Option<f64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (1.0..1000.0).contains(&factor) => Ok(factor),
        _ => Err("write a factor from 1 on, as in 1.05".into()),
    }
}

/// Two results, figure by figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) base: String,
    pub(crate) other: String,
    /// What they do not have in common and should.
    pub(crate) warnings: Vec<String>,
    pub(crate) figures: Vec<Compared>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Compared {
    pub(crate) name: String,
    pub(crate) base: f64,
    pub(crate) other: f64,
    /// `other / base`; none where the base is zero.
    pub(crate) ratio: Option<f64>,
    pub(crate) interval: Option<Interval>,
    pub(crate) less_is_better: bool,
}

/// What the interval says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Better,
    Worse,
    /// 1 is within the interval.
    Chance,
    /// There is no interval.
    Unknown,
}

impl Compared {
    pub(crate) fn new(name: impl Into<String>, less_is_better: bool, base: f64, other: f64) -> Self {
        let ratio = (base > 0.0).then(|| other / base);
        Self { name: name.into(), base, other, ratio, interval: None, less_is_better }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let Some(Interval { low, high }) = self.interval else { return Verdict::Unknown };
        match (low > 1.0, high < 1.0, self.less_is_better) {
            (true, _, true) | (_, true, false) => Verdict::Worse,
            (_, true, true) | (true, _, false) => Verdict::Better,
            _ => Verdict::Chance,
        }
    }

    /// Worse by more than `factor`. By chance, or where nothing is known of chance, is not.
    fn fails(&self, factor: f64) -> bool {
        let worse = |ratio: f64| if self.less_is_better { ratio } else { 1.0 / ratio };
        self.verdict() == Verdict::Worse && self.ratio.is_some_and(|ratio| worse(ratio) > factor)
    }
}

pub(crate) const METHOD: &str = "95 % percentile bootstrap of 4,000 resamples: of a run's seconds in moving blocks, of a \
     duel's rounds one by one; without four of them on both sides there is no interval";

pub(crate) fn command(args: &CompareArgs) -> Result<(), Failure> {
    let comparisons = all(&results::read_all(&args.files)?)?;
    if args.json {
        let value = json!({
            "bench": "compare",
            "version": env!("CARGO_PKG_VERSION"),
            "method": METHOD,
            "resamples": RESAMPLES,
            "comparisons": comparisons,
        });
        report::print(&format!("{value}\n"))?;
    } else {
        report::print(&text::text(&comparisons))?;
    }
    match args.fail_above {
        Some(factor) => verdict(&comparisons, factor),
        None => Ok(()),
    }
}

fn verdict(comparisons: &[Comparison], factor: f64) -> Result<(), Failure> {
    let failing = comparisons.iter().flat_map(|comparison| {
        let failing = comparison.figures.iter().filter(|figure| figure.fails(factor));
        failing.map(move |figure| {
            format!(
                "{} of {} is {:.2} × {}'s",
                figure.name,
                comparison.other,
                figure.ratio.unwrap_or(0.0),
                comparison.base
            )
        })
    });
    let failing: Vec<String> = failing.collect();
    if failing.is_empty() {
        return Ok(());
    }
    Err(Failure::runtime(format!("worse by more than {factor}: {}", failing.join("; "))))
}

/// Each with the first.
///
/// # Errors
/// Results of two kinds, or duels that have nobody in common.
pub(crate) fn all(files: &[File]) -> Result<Vec<Comparison>, Failure> {
    let Some((base, others)) = files.split_first() else { return Ok(Vec::new()) };
    let mut comparisons = Vec::new();
    for other in others {
        match (base, other) {
            (File::Run(base), File::Run(other)) => comparisons.push(runs::compare(base, other)),
            (File::Duel(base), File::Duel(other)) => comparisons.extend(duels::compare(base, other)?),
            _ => return Err(Failure::usage("a duel compares with a duel, and a run with a run")),
        }
    }
    Ok(comparisons)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(ratio: f64, [low, high]: [f64; 2], less_is_better: bool) -> Compared {
        let interval = Some(Interval { low, high });
        Compared { interval, ..Compared::new("x", less_is_better, 1.0, ratio) }
    }

    #[test]
    fn worse_is_what_lies_on_the_wrong_side_of_one() {
        assert_eq!(compared(1.1, [1.05, 1.2], true).verdict(), Verdict::Worse);
        assert_eq!(compared(1.1, [1.05, 1.2], false).verdict(), Verdict::Better);
        assert_eq!(compared(0.9, [0.8, 0.95], true).verdict(), Verdict::Better);
        assert_eq!(compared(0.9, [0.8, 0.95], false).verdict(), Verdict::Worse);
        assert_eq!(compared(1.1, [0.95, 1.2], true).verdict(), Verdict::Chance);
        assert_eq!(Compared::new("x", true, 1.0, 2.0).verdict(), Verdict::Unknown);
        assert_eq!(Compared::new("x", true, 0.0, 2.0).ratio, None);
    }

    #[test]
    fn a_limit_is_for_what_is_worse_and_sure() {
        let fails = |compared: Compared| compared.fails(1.05);
        assert!(fails(compared(1.1, [1.02, 1.2], true)) && fails(compared(0.9, [0.8, 0.95], false)));
        assert!(!fails(compared(1.04, [1.02, 1.2], true)), "not by so much");
        assert!(!fails(compared(1.1, [0.99, 1.2], true)), "by chance, perhaps");
        assert!(!fails(Compared::new("x", true, 1.0, 2.0)), "nobody knows");
        let comparison = Comparison {
            base: "a".into(),
            other: "b".into(),
            warnings: Vec::new(),
            figures: vec![compared(1.1, [1.02, 1.2], true)],
        };
        let message = verdict(std::slice::from_ref(&comparison), 1.05).expect_err("worse").message;
        assert_eq!(message, "worse by more than 1.05: x of b is 1.10 × a's");
        assert!(verdict(&[comparison], 1.2).is_ok());
        assert!(factor("1.05").is_ok() && ["0.9", "a", "NaN", "inf"].iter().all(|text| factor(text).is_err()));
    }
}
