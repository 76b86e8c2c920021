//! The page of one run, or of several beside each other.

use super::{
    axis::{self, Scale},
    bars::{self, Dot},
    html::{self, Cell, Tile},
    lines::{COLOURS, Line, Plot, Stroke},
    place,
};
use crate::{
    compare::{Comparison, METHOD, Verdict, words},
    report::number,
    results::{Figure, Moment, Run},
};
use hdrhistogram::Histogram;

/// At least one run.
pub(super) fn page(runs: &[Run], comparisons: &[Comparison]) -> String {
    let first = &runs[0];
    let title = match runs {
        [run] => format!("bench {}: {}", run.bench, run.name),
        several => several.iter().map(|run| run.name.as_str()).collect::<Vec<_>>().join(" · "),
    };
    let lead = html::paragraph("about", &place(&first.machine, &first.version, first.commit.as_deref()));
    let mut body = if let [run] = runs { html::tiles(&tiles(run)) } else { figures(runs) };
    for run in runs.iter().filter(|run| run.client_bound) {
        let words =
            format!("{}: the load generator itself was the limit, so its figures say little of the server.", run.name);
        body.push_str(&html::paragraph("note", &words));
    }
    let shown: Vec<&Run> = runs.iter().flat_map(|run| [Some(run), run.direct.as_deref()]).flatten().collect();
    body.push_str(&html::grid(&plots(&shown)));
    comparisons.iter().for_each(|comparison| body.push_str(&compared(comparison)));
    let settings: Vec<String> = runs.iter().map(|run| html::card(&settings_title(run), &settings(run))).collect();
    body.push_str(&html::grid(&settings));
    html::page(&title, &lead, &body)
}

fn tiles(run: &Run) -> Vec<Tile> {
    let mut tiles = Vec::new();
    let mut add = |value: String, unit, name| tiles.push(Tile { value, unit, name, is_bad: false });
    if run.requests > 0 {
        add(number(run.requests_per_s, 0), "/s", "requests");
    }
    add(number(run.bytes_per_s / 1e6, if run.bytes_per_s < 1e8 { 1 } else { 0 }), "MB/s", "both ways");
    for (key, name) in [("p50", "p50"), ("p99", "p99"), ("p99_9", "p99.9"), ("max", "the slowest")] {
        if let Some(us) = run.latency(key) {
            let text = axis::time(us);
            let (value, unit) = text.split_once(' ').unwrap_or((&text, ""));
            let unit = ["s", "ms", "µs"].into_iter().find(|known| *known == unit).unwrap_or("");
            add(value.to_owned(), unit, name);
        }
    }
    if let Some(cpu) = run.target_cpu_per_unit() {
        let unit = if run.requests > 0 { "µs" } else { "s" };
        let name = if run.requests > 0 { "CPU a request, of the target" } else { "CPU a GB, of the target" };
        add(number(cpu, Figure::decimals(cpu)), unit, name);
    }
    tiles.push(Tile { value: number(run.errors as f64, 0), unit: "", name: "errors", is_bad: run.errors > 0 });
    tiles
}

/// A row for each run, where there are several.
fn figures(runs: &[Run]) -> String {
    let header =
        ["", "requests/s", "MB/s", "p50", "p99", "p99.9", "max", "CPU, target", "errors"].map(ToOwned::to_owned);
    let row = |run: &Run| {
        let latency = |key| Cell::new(run.latency(key).map_or_else(|| "–".into(), axis::time));
        let unit = if run.requests > 0 { " µs/req" } else { " s/GB" };
        let cpu = run.target_cpu_per_unit().map(|cpu| number(cpu, Figure::decimals(cpu)) + unit);
        let errors = Cell::new(number(run.errors as f64, 0)).class(if run.errors > 0 { "bad" } else { "" });
        let cells = vec![
            Cell::new(run.name.clone()),
            Cell::new(number(run.requests_per_s, 0)),
            Cell::new(number(run.bytes_per_s / 1e6, 1)),
            latency("p50"),
            latency("p99"),
            latency("p99_9"),
            latency("max"),
            Cell::new(cpu.unwrap_or_else(|| "–".into())),
            errors,
        ];
        ("", cells)
    };
    html::table(&header, &runs.iter().map(row).collect::<Vec<_>>())
}

fn plots(runs: &[&Run]) -> Vec<String> {
    let mut cards = Vec::new();
    if runs.iter().any(|run| run.requests > 0) {
        let rate = over_time(runs, |m| Some(m.requests as f64 / m.span_s), axis::short);
        cards.push(html::card("Requests a second", &rate));
    } else {
        let rate = over_time(runs, |m| Some(m.bytes as f64 / m.span_s / 1e6), axis::short);
        cards.push(html::card("MB a second", &rate));
    }
    if runs.iter().any(|run| !run.latency_us.is_empty()) {
        cards.push(html::card("Latency over time", &latency_over_time(runs)));
        cards.push(html::card("Latency by percentile", &curves(runs)));
    }
    if runs.iter().any(|run| run.series.iter().any(|moment| moment.target_cpu_s.is_some())) {
        let cores = over_time(runs, |m| Some(m.target_cpu_s? / m.span_s), axis::short);
        cards.push(html::card("Cores that the target used", &cores));
    }
    if runs.iter().any(|run| run.series.iter().any(|moment| moment.errors > 0)) {
        let errors = over_time(runs, |m| Some(m.errors as f64 / m.span_s), axis::short);
        cards.push(html::card("Errors a second", &errors));
    }
    cards
}

fn colour(place: usize) -> &'static str {
    COLOURS[place % COLOURS.len()]
}

fn points(run: &Run, of: impl Fn(&Moment) -> Option<f64>) -> Vec<(f64, f64)> {
    run.series.iter().filter_map(|moment| Some((moment.t_s, of(moment)?))).collect()
}

fn end(runs: &[&Run]) -> Scale {
    let ends = runs.iter().filter_map(|run| Some(run.series.last()?.t_s));
    match ends.fold(0.0, f64::max) {
        // A second more or less at the end would be white paper.
        end if end > 0.0 => Scale::Linear { to: end },
        _ => Scale::linear(1.0),
    }
}

fn over_time(runs: &[&Run], of: impl Fn(&Moment) -> Option<f64>, text: fn(f64) -> String) -> String {
    let line = |(place, run): (usize, &&Run)| Line {
        name: run.name.clone(),
        colour: colour(place),
        stroke: Stroke::Solid,
        points: points(run, &of),
    };
    let lines: Vec<Line> = runs.iter().enumerate().map(line).collect();
    let most = lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y).fold(0.0, f64::max);
    Plot { x: end(runs), y: Scale::linear(most), x_text: axis::seconds, y_text: text, lines }.html()
}

/// One run's percentiles in three colours; of several runs the p99 of each, and its p50 dotted.
fn latency_over_time(runs: &[&Run]) -> String {
    type Pick = fn(&Moment) -> Option<f64>;
    let (p50, p99, p999): (Pick, Pick, Pick) = (|m| m.p50_us, |m| m.p99_us, |m| m.p999_us);
    let line =
        |name: String, colour, stroke, run: &Run, of: Pick| Line { name, colour, stroke, points: points(run, of) };
    let lines: Vec<Line> = match runs {
        [run] => [("p99.9", "s1", p999), ("p99", "s0", p99), ("p50", "s2", p50)]
            .into_iter()
            .map(|(name, colour, of)| line(name.to_owned(), colour, Stroke::Solid, run, of))
            .collect(),
        several => several
            .iter()
            .enumerate()
            .flat_map(|(place, run)| {
                let name = |percentile| format!("{}, {percentile}", run.name);
                [
                    line(name("p99"), colour(place), Stroke::Solid, run, p99),
                    line(name("p50"), colour(place), Stroke::Dotted, run, p50),
                ]
            })
            .collect(),
    };
    let y = Scale::fitting(lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y));
    Plot { x: end(runs), y, x_text: axis::seconds, y_text: axis::time, lines }.html()
}

/// From what is known of each run; what an open loop would have reported without correction is dashed.
fn curves(runs: &[&Run]) -> String {
    let mut lines = Vec::new();
    for (place, run) in runs.iter().enumerate() {
        let points = match &run.histogram {
            Some(histogram) => curve(histogram),
            None => known_percentiles(run),
        };
        lines.push(Line { name: run.name.clone(), colour: colour(place), stroke: Stroke::Solid, points });
        if let Some(histogram) = &run.uncorrected {
            let name = format!("{}, from the actual send", run.name);
            lines.push(Line { name, colour: colour(place), stroke: Stroke::Dashed, points: curve(histogram) });
        }
    }
    by_percentile(lines)
}

/// Points are `(quantile, µs)`.
pub(super) fn by_percentile(lines: Vec<Line>) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let furthest = points().map(|(quantile, _)| axis::nines(*quantile)).fold(1.0, f64::max);
    let y = Scale::fitting(points().map(|(_, us)| *us));
    Plot { x: Scale::Nines { to: furthest }, y, x_text: axis::percent, y_text: axis::time, lines }.html()
}

/// Fifty points for each nine, as far as there are requests to tell one from the next.
pub(super) fn curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let nines = (histogram.len() as f64).log10();
    let steps = (nines * 50.0) as u32;
    let quantile = |step: u32| 1.0 - 10_f64.powf(-f64::from(step) / 50.0);
    (0..=steps).map(|step| (quantile(step), histogram.value_at_quantile(quantile(step)) as f64 / 1e3)).collect()
}

fn known_percentiles(run: &Run) -> Vec<(f64, f64)> {
    let known = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99_9", 0.999), ("p99_99", 0.9999)];
    known.into_iter().filter_map(|(key, quantile)| Some((quantile, run.latency(key)?))).collect()
}

fn compared(comparison: &Comparison) -> String {
    let dot = |figure: &crate::compare::Compared| {
        let ratio = figure.ratio.filter(|ratio| *ratio > 0.0)?;
        let verdict = figure.verdict();
        let colour = match verdict {
            Verdict::Better => "goodc",
            Verdict::Worse => "badc",
            Verdict::Chance | Verdict::Unknown => "quiet",
        };
        let words = words(verdict);
        let text = format!("{ratio:.3}{}{words}", if words.is_empty() { "" } else { ", " });
        Some(Dot { name: figure.name.clone(), ratio, interval: figure.interval, colour, text })
    };
    let dots: Vec<Dot> = comparison.figures.iter().filter_map(dot).collect();
    let title = format!("{} beside {}", comparison.other, comparison.base);
    let mut content: String = comparison.warnings.iter().map(|warning| html::paragraph("note", warning)).collect();
    content.push_str(&bars::ratios(&title, &dots));
    content.push_str(&html::paragraph("soft", &format!("Whiskers: {METHOD}.")));
    format!("<div class=\"wide\">\n{}</div>\n", html::card(&title, &content))
}

fn settings_title(run: &Run) -> String {
    format!("Settings of {}", run.name)
}

fn settings(run: &Run) -> String {
    let mut pairs = vec![
        ("to".to_owned(), run.to.join(", ")),
        ("measured".to_owned(), format!("{:.3} s", run.wall_s)),
        ("connections established".to_owned(), number(run.connections as f64, 0)),
        ("CPU of the load generator".to_owned(), format!("{:.2} s", run.client_cpu_s)),
    ];
    pairs.extend(run.settings.iter().map(|(key, value)| (key.replace('_', " "), value.clone())));
    html::definitions(&pairs)
}
