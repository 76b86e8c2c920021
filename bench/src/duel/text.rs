//! A duel for people: a table for each scenario, and beside it what was the same for everybody.

use crate::{
    failure::Failure,
    report::number,
    results::{Contest, Duel, Entrant, Figure, Sample, Settings, Spread, WAITED_MAX},
};
use serde_json::Value;
use std::fmt::Write;

/// Said before the first turn.
pub(super) fn announcement(settings: &Settings, scenarios: usize, proxies: usize) -> String {
    let turn = settings.duration_s + settings.warm_s + 0.5;
    let minutes = turn * f64::from(settings.rounds) * (scenarios * proxies) as f64 / 60.0;
    format!("{scenarios} scenarios, {proxies} proxies, {} rounds: about {minutes:.0} minutes\n", settings.rounds)
}

/// One turn, on one line.
pub(super) fn line(result: &Result<Sample, String>) -> String {
    match result {
        Err(fault) => format!("failed: {fault}"),
        Ok(sample) => {
            let cpu = sample.cpu_per_unit.map_or_else(String::new, |cpu| format!("{} CPU, ", decimal(cpu)));
            let rate = if sample.requests_per_s > 0.0 {
                format!("{:.0} req/s", sample.requests_per_s)
            } else {
                format!("{:.2} GB/s", sample.bytes_per_s / 1e9)
            };
            let (errors, waited) = (sample.errors, sample.waited * 100.0);
            format!("{cpu}{rate}, {errors} errors, waited {waited:.0} % for its core")
        }
    }
}

/// The scenario of that number. Ends with an empty line.
pub(super) fn table(duel: &Duel, number: usize) -> String {
    let contest = &duel.scenarios[number];
    let mut text = format!("{}: {}\n{}\n\n", contest.name, contest.about, conditions(&duel.settings));
    let mut rows = vec![header(contest)];
    rows.extend(sorted(contest).into_iter().map(|entrant| row(contest, entrant)));
    text.push_str(&aligned(&rows));
    for entrant in &contest.proxies {
        if let Some(why) = entrant.failure() {
            let _ = writeln!(text, "{} failed: {why}", entrant.name);
        }
        if let Some(note) = &entrant.note {
            let _ = writeln!(text, "{}: {note}", entrant.name);
        }
    }
    if contest.proxies.iter().any(|entrant| contest.is_lower_bound(entrant)) {
        text.push_str("≥: not the proxy was the limit, but servers and load\n");
    }
    text.push_str(&noise(contest).map_or_else(String::new, |words| words + "\n"));
    text.push('\n');
    text
}

/// What is to be said of a machine that had other things to do.
pub(crate) fn noise(contest: &Contest) -> Option<String> {
    let waited = contest.most_waited();
    (waited > WAITED_MAX).then(|| {
        format!(
            "a busy machine: for up to {:.0} % of a turn something else had the proxy's core (see --rt)",
            waited * 100.0
        )
    })
}

/// The same for everybody, in one sentence.
pub(crate) fn conditions(settings: &Settings) -> String {
    let equal = |name: &str| settings.equal.get(name).map_or("?", String::as_str);
    let cores: Vec<String> = settings.load_cores.iter().map(ToString::to_string).collect();
    format!(
        "{} rounds of {} s after {} s; proxy on core {}, servers and load on {}; {} thread, connect {} s, idle {} s, \
         up to {} connections, keep-alive on both sides, no access log; {}; {}",
        settings.rounds,
        settings.duration_s,
        settings.warm_s,
        settings.proxy_core,
        cores.join(","),
        equal("threads"),
        equal("connect_timeout_s"),
        equal("idle_timeout_s"),
        equal("connections_max"),
        settings.priority,
        settings.network,
    )
}

/// The cheapest first; those that failed last.
pub(crate) fn sorted(contest: &Contest) -> Vec<&Entrant> {
    let first = contest.figures().next();
    let key = |entrant: &&Entrant| {
        let spread = first.and_then(|figure| contest.spread(entrant, figure));
        spread.map_or(f64::INFINITY, |spread| spread.median)
    };
    let mut all: Vec<&Entrant> = contest.proxies.iter().collect();
    all.sort_by(|a, b| key(a).total_cmp(&key(b)));
    all
}

fn header(contest: &Contest) -> Vec<String> {
    let mut cells = vec!["proxy".to_owned()];
    for (place, figure) in contest.figures().enumerate() {
        cells.push(figure.name(contest.unit).to_owned());
        if place == 0 {
            cells.extend([format!("× {}", contest.reference), "95 %".into(), "best".into()]);
        }
    }
    cells.extend(["errors".into(), "busy proxy/load".into()]);
    cells
}

fn row(contest: &Contest, entrant: &Entrant) -> Vec<String> {
    let mut cells = vec![entrant.name.clone()];
    let none = || "–".to_owned();
    for (place, figure) in contest.figures().enumerate() {
        let spread = contest.spread(entrant, figure);
        let bound = if figure.key == "rate" && contest.is_lower_bound(entrant) { "≥ " } else { "" };
        cells.push(spread.map_or_else(none, |s| bound.to_owned() + &with_spread(s)));
        if place == 0 {
            let ratio = contest.ratio(entrant, figure);
            cells.push(
                ratio.map_or_else(none, |r| {
                    format!("{:.2} ({:.2}–{:.2})", r.rounds.median, r.rounds.least, r.rounds.most)
                }),
            );
            let interval = ratio.and_then(|r| r.interval);
            cells.push(interval.map_or_else(none, |i| format!("{:.2}–{:.2}", i.low, i.high)));
            cells.push(ratio.map_or_else(none, |r| format!("{:.2}", r.best)));
        }
    }
    cells.push(entrant.errors().to_string());
    let middle = |of: fn(&Sample) -> f64| {
        let values: Vec<f64> = entrant.samples().map(of).collect();
        Spread::of(&values).map_or_else(none, |spread| format!("{:.2}", spread.median))
    };
    cells.push(format!("{} / {}", middle(|s| s.proxy_busy), middle(|s| s.load_busy)));
    cells
}

pub(crate) fn with_spread(spread: Spread) -> String {
    let decimals = Figure::decimals(spread.median);
    let number = |value: f64| number(value, decimals);
    if spread.least == spread.most {
        return number(spread.median);
    }
    format!("{} ({}–{})", number(spread.median), number(spread.least), number(spread.most))
}

fn decimal(value: f64) -> String {
    format!("{value:.*}", Figure::decimals(value))
}

/// Columns as wide as their widest cell: the first to the left, the others to the right.
pub(crate) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (place, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if place == 0 { write!(text, "{cell:width$}") } else { write!(text, "  {cell:>width$}") };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// Everything, and what follows from it under `summary` of each scenario.
///
/// # Errors
/// None with figures that are numbers.
pub(super) fn json(duel: &Duel) -> Result<String, Failure> {
    let wrong = |e: serde_json::Error| Failure::runtime(format!("the result cannot be written: {e}"));
    let mut value = serde_json::to_value(duel).map_err(wrong)?;
    if let Some(scenarios) = value["scenarios"].as_array_mut() {
        let summaries = duel.scenarios.iter().map(Contest::summary);
        scenarios.iter_mut().zip(summaries).for_each(|(scenario, summary): (&mut Value, _)| {
            scenario["summary"] = summary;
        });
    }
    serde_json::to_string(&value).map_err(wrong)
}
