//! What the rounds came to, for people and for programs.

use super::frame::{CaseResult, Effort, Figures};
use balance_config::units::format_duration;
use serde_json::{Value, json};
use std::fmt::Write;

/// The cases of one part.
pub(super) struct Suite {
    pub(super) name: &'static str,
    pub(super) effort: Effort,
    pub(super) core: Option<u16>,
    pub(super) results: Vec<CaseResult>,
}

impl Suite {
    /// Ends with an empty line.
    pub(super) fn text(&self) -> String {
        let mut text =
            format!("{}, {} rounds of {}", self.name, self.effort.rounds, format_duration(self.effort.sample));
        if let Some(core) = self.core {
            let _ = write!(text, " on core {core}");
        }
        let _ = writeln!(text, "; in the last column the first line's time is 1\n");
        let _ = writeln!(text, "{:64}{:>10}{:>10}{:>10}{:>10}", "ns an operation", "median", "least", "most", "ratio");
        for case in &self.results {
            let mut label = format!("{} (a {})", case.name, case.operation);
            for figures in &case.candidates {
                write_row(&mut text, &label, figures, &case.candidates[0]);
                label.clear();
            }
        }
        text.push('\n');
        text
    }

    fn json(&self) -> Value {
        let cases: Vec<Value> = self.results.iter().map(case_json).collect();
        json!({
            "part": self.name,
            "rounds": self.effort.rounds,
            "sample_s": self.effort.sample.as_secs_f64(),
            "core": self.core,
            "cases": cases,
        })
    }
}

fn write_row(text: &mut String, label: &str, figures: &Figures, first: &Figures) {
    let (median, least, most) = (figures.median(), figures.least(), figures.most());
    let ratio = figures.ratio(first);
    let _ = writeln!(text, "{label:50}{:14}{median:>10.1}{least:>10.1}{most:>10.1}{ratio:>10.2}", figures.name);
}

fn case_json(case: &CaseResult) -> Value {
    let first = &case.candidates[0];
    let candidates: Vec<Value> = case
        .candidates
        .iter()
        .map(|figures| {
            json!({
                "name": figures.name,
                "ns": { "median": figures.median(), "min": figures.least(), "max": figures.most() },
                "ratio": figures.ratio(first),
                "rounds": figures.rounds,
            })
        })
        .collect();
    json!({ "name": case.name, "operation": case.operation, "candidates": candidates })
}

/// One object for all parts. Its keys are a promise to scripts.
pub(super) fn json(suites: &[Suite]) -> Value {
    let parts: Vec<Value> = suites.iter().map(Suite::json).collect();
    json!({ "bench": "micro", "version": env!("CARGO_PKG_VERSION"), "parts": parts })
}
