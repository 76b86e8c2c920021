//! Comparisons for people.

use super::{Compared, Comparison, METHOD, Verdict};
use crate::{duel::aligned, report::number, results::Figure};
use std::fmt::Write;

/// Ends with a newline.
pub(super) fn text(comparisons: &[Comparison]) -> String {
    let mut text = String::new();
    for comparison in comparisons {
        let _ = writeln!(text, "{} beside {}", comparison.other, comparison.base);
        comparison.warnings.iter().for_each(|warning| {
            let _ = writeln!(text, "  {warning}");
        });
        let mut rows = vec![["", "base", "other", "ratio", "95 %", ""].map(ToOwned::to_owned).to_vec()];
        rows.extend(comparison.figures.iter().map(row));
        text.push_str(&aligned(&rows));
        text.push('\n');
    }
    let _ = writeln!(text, "{METHOD}");
    text
}

fn row(figure: &Compared) -> Vec<String> {
    let decimals = |value: f64| if value == value.trunc() { 0 } else { Figure::decimals(value) };
    let value = |value: f64| number(value, decimals(value));
    vec![
        figure.name.clone(),
        value(figure.base),
        value(figure.other),
        figure.ratio.map_or_else(|| "–".into(), |ratio| format!("{ratio:.3}")),
        figure.interval.map_or_else(|| "–".into(), |i| format!("{:.3}–{:.3}", i.low, i.high)),
        words(figure.verdict()).into(),
    ]
}

pub(crate) fn words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::Chance => "no difference seen",
        Verdict::Unknown => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::Interval;

    #[test]
    fn a_row_has_everything() {
        let mut figure = Compared::new("p99 µs", true, 1234.0, 1357.4);
        assert_eq!(row(&figure), ["p99 µs", "1,234", "1,357", "1.100", "–", ""]);
        figure.interval = Some(Interval { low: 1.05, high: 1.15 });
        assert_eq!(row(&figure)[4..], ["1.050–1.150", "worse"]);
        assert_eq!(row(&Compared::new("errors", true, 0.0, 3.0)), ["errors", "0", "3", "–", "–", ""]);
    }

    #[test]
    fn warnings_stand_before_the_figures() {
        let comparison = Comparison {
            base: "a".into(),
            other: "b".into(),
            warnings: vec!["size differs: 1, 2".into()],
            figures: vec![Compared::new("MB/s", false, 2.5, 5.0)],
        };
        let text = text(&[comparison]);
        assert!(text.starts_with("b beside a\n  size differs: 1, 2\n"), "{text}");
        assert!(text.contains("2.50") && text.contains("2.000") && text.ends_with(&format!("{METHOD}\n")), "{text}");
    }
}
