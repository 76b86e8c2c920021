//! For people.

use crate::{Cost, Costs};
use balance_bench::micro::{CaseResult, Figures};
use std::fmt::Write;

/// The cases of one part; ends with an empty line.
pub(crate) fn text(part: &'static str, times: &[CaseResult], costs: &Costs) -> String {
    let mut text = format!(
        "{part:52}{:>16}{:>10}{:>10}{:>10}{:>14}{:>14}\n",
        "", "ns", "least", "ratio", "allocations", "instructions"
    );
    for case in times {
        let mut label = format!("{} (a {})", case.name, case.operation);
        let none = Vec::new();
        let costs = costs.get(&(part, case.name)).unwrap_or(&none);
        for (figures, cost) in case.candidates.iter().zip(costs) {
            row(&mut text, &label, figures, figures.ratio(&case.candidates[0]), cost);
            label.clear();
        }
    }
    text.push('\n');
    text
}

fn row(text: &mut String, label: &str, figures: &Figures, ratio: f64, cost: &Cost) {
    let (ns, least) = (figures.median(), figures.least());
    let _ = write!(text, "{label:52}{:>16}{ns:>10.1}{least:>10.1}{ratio:>10.2}", figures.name);
    let instructions = cost.instructions.map_or_else(|| "-".into(), |count| format!("{count:.1}"));
    let _ = writeln!(text, "{:>14.3}{instructions:>14}", cost.allocations);
}
