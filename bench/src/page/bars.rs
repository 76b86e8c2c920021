//! Plots with a row for each name, in SVG: bars with their spread, and ratios with their intervals.

use super::{axis::Scale, html::escape};
use crate::{bootstrap::Interval, results::Spread};
use std::fmt::Write;

/// A bar up to the median, and a whisker from the least to the most.
pub(super) struct Bar {
    pub(super) name: String,
    /// It is ours: in the accent colour.
    pub(super) is_ours: bool,
    /// None: it failed, and `text` says so.
    pub(super) spread: Option<Spread>,
    /// Behind the bar.
    pub(super) text: String,
}

/// A dot at a ratio, a whisker over its interval.
pub(super) struct Dot {
    pub(super) name: String,
    pub(super) ratio: f64,
    pub(super) interval: Option<Interval>,
    /// `goodc`, `badc` or `quiet`.
    pub(super) colour: &'static str,
    pub(super) text: String,
}

const WIDTH: f64 = 600.0;
const ROW: f64 = 27.0;
const TOP: f64 = 6.0;
const BOTTOM: f64 = 24.0;
/// Room for what stands behind the longest bar.
const TEXT: f64 = 150.0;
/// Of a letter; names may be as wide as `NAMES_MAX`.
const LETTER: f64 = 7.1;
const NAMES_MAX: f64 = 190.0;

/// Room on the left for the longest of the names.
fn names<'a>(names: impl Iterator<Item = &'a str>) -> f64 {
    let longest = names.map(|name| name.chars().count()).max().unwrap_or(0);
    (longest as f64 * LETTER + 12.0).clamp(60.0, NAMES_MAX)
}

fn open(rows: usize, label: &str) -> String {
    let height = TOP + ROW * rows as f64 + BOTTOM;
    format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n", escape(label))
}

fn grid(out: &mut String, scale: Scale, left: f64, width: f64, rows: usize, text: fn(f64) -> String) {
    let bottom = TOP + ROW * rows as f64;
    let mut free_from = f64::NEG_INFINITY;
    for tick in scale.ticks() {
        let x = left + scale.place(tick) * width;
        let _ = writeln!(out, "<line class=\"grid-line\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>");
        let words = text(tick);
        let half = words.chars().count() as f64 * LETTER / 2.0 + 3.0;
        if x - half < free_from {
            continue;
        }
        free_from = x + half;
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 16.0,
            escape(&words)
        );
    }
}

fn name(out: &mut String, left: f64, middle: f64, name: &str, is_ours: bool) {
    let class = if is_ours { "ours" } else { "name" };
    let _ = writeln!(
        out,
        "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
        left - 9.0,
        middle + 4.0,
        escape(name)
    );
}

fn whisker(out: &mut String, from: f64, to: f64, middle: f64) {
    let (top, bottom) = (middle - 4.0, middle + 4.0);
    let _ = writeln!(
        out,
        "<path class=\"whisker\" d=\"M{from:.1} {middle:.1}H{to:.1}M{from:.1} {top:.1}V{bottom:.1}M{to:.1} {top:.1}V{bottom:.1}\"/>"
    );
}

pub(super) fn bars(label: &str, bars: &[Bar], text: fn(f64) -> String) -> String {
    let most = bars.iter().filter_map(|bar| Some(bar.spread?.most)).fold(0.0, f64::max);
    let scale = Scale::linear(most);
    let left = names(bars.iter().map(|bar| bar.name.as_str()));
    let width = WIDTH - left - TEXT;
    let mut out = open(bars.len(), label);
    grid(&mut out, scale, left, width, bars.len(), text);
    for (row, bar) in bars.iter().enumerate() {
        let middle = TOP + ROW * (row as f64 + 0.5);
        name(&mut out, left, middle, &bar.name, bar.is_ours);
        let mut behind = left;
        if let Some(spread) = bar.spread {
            let at = |value: f64| left + scale.place(value) * width;
            let colour = if bar.is_ours { "accent" } else { "quiet" };
            let _ = writeln!(
                out,
                "<rect class=\"bar {colour}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"15\" rx=\"2\">\
                 <title>{}</title></rect>",
                middle - 7.5,
                (at(spread.median) - left).max(1.0),
                escape(&format!("{}: {}", bar.name, bar.text))
            );
            if spread.least < spread.most {
                whisker(&mut out, at(spread.least), at(spread.most), middle);
            }
            behind = at(spread.most);
        }
        let _ = writeln!(out, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", behind + 8.0, middle + 4.0, escape(&bar.text));
    }
    out + "</svg>\n"
}

pub(super) fn ratios(label: &str, dots: &[Dot]) -> String {
    let ends = |dot: &Dot| {
        let (low, high) = dot.interval.map_or((dot.ratio, dot.ratio), |i| (i.low, i.high));
        [dot.ratio, low, high]
    };
    let scale = Scale::around_one(dots.iter().flat_map(ends));
    let left = names(dots.iter().map(|dot| dot.name.as_str()));
    let width = WIDTH - left - TEXT;
    let mut out = open(dots.len(), label);
    grid(&mut out, scale, left, width, dots.len(), super::axis::ratio);
    let at = |value: f64| left + scale.place(value) * width;
    let (one, bottom) = (at(1.0), TOP + ROW * dots.len() as f64);
    let _ = writeln!(out, "<line class=\"one\" x1=\"{one:.1}\" x2=\"{one:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>");
    for (row, dot) in dots.iter().enumerate() {
        let middle = TOP + ROW * (row as f64 + 0.5);
        name(&mut out, left, middle, &dot.name, false);
        if let Some(Interval { low, high }) = dot.interval {
            whisker(&mut out, at(low), at(high), middle);
        }
        let _ = writeln!(
            out,
            "<circle class=\"dot {}\" cx=\"{:.1}\" cy=\"{middle:.1}\" r=\"4.5\"><title>{}</title></circle>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            dot.colour,
            at(dot.ratio),
            escape(&format!("{}: {}", dot.name, dot.text)),
            WIDTH - TEXT + 10.0,
            middle + 4.0,
            escape(&dot.text)
        );
    }
    out + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::{axis, html};

    #[test]
    fn bars_are_as_long_as_their_medians() {
        let bar = |name: &str, median: f64| Bar {
            name: name.into(),
            is_ours: name == "us",
            spread: Some(Spread { median, least: median - 1.0, most: median + 1.0 }),
            text: format!("{median} µs"),
        };
        let failed = Bar { name: "c".into(), is_ours: false, spread: None, text: "failed".into() };
        let text = bars("CPU", &[bar("us", 9.0), bar("b", 4.5), failed], axis::short);
        html::tests::assert_well_formed(&html::page("t", "", &text));
        // Names need 60, what stands behind 150: 390 are left for 10.
        assert!(text.contains("width=\"351.0\"") && text.contains("width=\"175.5\""), "{text}");
        assert!(text.contains("M372.0 19.5H450.0"), "a whisker from 8 to 10: {text}");
        assert!(text.contains("<title>us: 9 µs</title>") && text.contains(">failed<"), "{text}");
    }

    #[test]
    fn a_ratio_of_one_is_in_the_middle() {
        let dot = |name: &str, ratio: f64, interval| Dot {
            name: name.into(),
            ratio,
            interval,
            colour: "quiet",
            text: format!("{ratio}"),
        };
        let dots = [dot("a", 1.0, None), dot("b", 2.0, Some(Interval { low: 1.5, high: 3.0 }))];
        let text = ratios("ratios", &dots);
        html::tests::assert_well_formed(&html::page("t", "", &text));
        assert!(text.contains("cx=\"255.0\" cy=\"19.5\""), "{text}");
        assert_eq!(text.matches("class=\"whisker\"").count(), 1);
    }
}
