//! The page of a duel: who is cheaper where, and then each scenario.

use super::{
    axis,
    bars::{self, Bar, Dot},
    html::{self, Cell},
    lines::{COLOURS, Line, Stroke},
    place,
    run::{by_percentile, curve},
};
use crate::{
    duel::{conditions, noise, sorted, with_spread},
    results::{Contest, Duel, Entrant, Figure, Run, Spread, Unit},
};
use hdrhistogram::Histogram;
use serde_json::Value;

pub(super) fn page(duel: &Duel) -> String {
    let lead = html::paragraph("about", &place(&duel.machine, &duel.version, duel.commit.as_deref()))
        + &html::paragraph("about", &format!("{}.", conditions(&duel.settings)));
    let mut body = String::new();
    for missing in &duel.missing {
        let words = format!(
            "{} did not take part: {} is not installed (to get it: {}).",
            missing.proxy, missing.program, missing.get
        );
        body.push_str(&html::paragraph("note", &words));
    }
    if duel.scenarios.len() > 1 {
        body.push_str("<h2>Over all scenarios</h2>\n");
        body.push_str(&overview(duel));
    }
    duel.scenarios.iter().for_each(|contest| body.push_str(&of_contest(contest)));
    html::page("Proxies under the same load", &lead, &body)
}

fn is_ours(name: &str) -> bool {
    name == "balance" || name.starts_with("balance-")
}

/// The first figure's ratio to the reference: a row for each proxy, a column for each scenario.
fn overview(duel: &Duel) -> String {
    let mut names: Vec<&str> = Vec::new();
    for entrant in duel.scenarios.iter().flat_map(|contest| &contest.proxies) {
        if !names.contains(&entrant.name.as_str()) {
            names.push(&entrant.name);
        }
    }
    let mut header = vec![String::new()];
    header.extend(duel.scenarios.iter().map(|contest| contest.name.clone()));
    let row = |name: &str| {
        let mut cells = vec![Cell::new(name)];
        cells.extend(duel.scenarios.iter().map(|contest| ratio_cell(contest, name)));
        (if is_ours(name) { "ours" } else { "" }, cells)
    };
    let rows: Vec<_> = names.into_iter().map(row).collect();
    let what = "CPU of the proxy for each request or byte (where nothing moves: memory of a connection), as a multiple of \
                the reference's: the middle one of the rounds' ratios, and their range. Less is better.";
    html::paragraph("about", what) + &html::table(&header, &rows)
}

fn ratio_cell(contest: &Contest, name: &str) -> Cell {
    let Some(entrant) = contest.entrant(name) else { return Cell::new("") };
    if entrant.failure().is_some() {
        return Cell::new("failed").class("bad");
    }
    let ratio = contest.figures().next().and_then(|figure| contest.ratio(entrant, figure));
    match ratio {
        None => Cell::new("–"),
        Some(_) if name == contest.reference => Cell::new("1").aside("reference"),
        Some(ratio) => {
            let class = match ratio.interval {
                Some(interval) if interval.high < 1.0 => "good",
                Some(interval) if interval.low > 1.0 => "bad",
                _ => "",
            };
            let range = format!("({:.2}–{:.2})", ratio.rounds.least, ratio.rounds.most);
            Cell::new(format!("{:.2}", ratio.rounds.median)).aside(range).class(class)
        }
    }
}

fn of_contest(contest: &Contest) -> String {
    let mut out = format!("<h2>{}</h2>\n", html::escape(&contest.name));
    out.push_str(&html::paragraph("about", &contest.about));
    for entrant in &contest.proxies {
        if let Some(note) = &entrant.note {
            out.push_str(&html::paragraph("note", &format!("{}: {note}.", entrant.name)));
        }
    }
    if let Some(words) = noise(contest) {
        out.push_str(&html::paragraph("note", &format!("{words}.")));
    }
    let mut cards = Vec::new();
    let first = contest.figures().next();
    for figure in contest.figures().filter(|figure| ["cpu_per_unit", "rate", "memory"].contains(&figure.key)) {
        cards.push(html::card(&title(figure, contest.unit), &bars_of(contest, figure)));
        if first.is_some_and(|first| first.key == figure.key) {
            let title = format!("The same, × {}", contest.reference);
            cards.push(html::card(&title, &ratios(contest, figure)));
        }
    }
    if contest.unit == Unit::Request {
        cards.insert(2.min(cards.len()), html::tall_card("Latency by percentile, all rounds", &curves(contest)));
    }
    out.push_str(&html::grid(&cards));
    out.push_str(&table(contest));
    let command = |words: &[String]| format!("balance-shard bench {}", words.join(" "));
    out.push_str(&html::definitions(&[
        ("server".into(), command(&contest.server)),
        ("load".into(), command(&contest.load)),
    ]));
    out
}

fn title(figure: &Figure, unit: Unit) -> String {
    let words = match (figure.key, unit) {
        ("cpu_per_unit", Unit::Byte) => "CPU seconds of the proxy a GB",
        ("cpu_per_unit", _) => "CPU of the proxy a request, µs",
        ("rate", Unit::Byte) => "GB a second, both ways",
        ("rate", _) => "Requests a second",
        ("memory", Unit::Connection) => "Memory of a connection, bytes",
        ("memory", _) => "Memory under load, MiB",
        (other, _) => other,
    };
    words.to_owned()
}

fn bars_of(contest: &Contest, figure: &Figure) -> String {
    let bar = |entrant: &&Entrant| {
        let spread = contest.spread(entrant, figure);
        let bound = if figure.key == "rate" && contest.is_lower_bound(entrant) { "≥ " } else { "" };
        Bar {
            name: entrant.name.clone(),
            is_ours: is_ours(&entrant.name),
            spread,
            text: spread.map_or_else(|| "failed".into(), |spread| bound.to_owned() + &with_spread(spread)),
        }
    };
    let mut all: Vec<Bar> = sorted(contest).iter().map(bar).collect();
    let median = |bar: &Bar| bar.spread.map_or(f64::INFINITY, |spread: Spread| spread.median);
    all.sort_by(|a, b| {
        // The best on top, and those that failed at the end.
        let (a, b) = (median(a), median(b));
        if figure.less_is_better || a.is_infinite() || b.is_infinite() { a.total_cmp(&b) } else { b.total_cmp(&a) }
    });
    bars::bars(&title(figure, contest.unit), &all, axis::short)
}

fn ratios(contest: &Contest, figure: &Figure) -> String {
    let dot = |entrant: &&Entrant| {
        let ratio = contest.ratio(entrant, figure)?;
        let colour = match ratio.interval {
            Some(interval) if interval.high < 1.0 => "goodc",
            Some(interval) if interval.low > 1.0 => "badc",
            _ => "quiet",
        };
        let interval = ratio.interval.map_or_else(String::new, |i| format!(" ({:.2}–{:.2})", i.low, i.high));
        let text = format!("{:.2}{interval}", ratio.rounds.median);
        let dot =
            Dot { name: entrant.name.clone(), ratio: ratio.rounds.median, interval: ratio.interval, colour, text };
        (entrant.name != contest.reference).then_some(dot)
    };
    let dots: Vec<Dot> = sorted(contest).iter().filter_map(dot).collect();
    if dots.is_empty() {
        return html::paragraph("soft", "There is nobody beside the reference.");
    }
    let words = "The median of the rounds' ratios, and where it lies with 95 % (bootstrap over the rounds, from four of them on).";
    bars::ratios("ratios", &dots) + &html::paragraph("soft", words)
}

/// Every proxy's histograms of all rounds together; ours first, so that we have the same colour everywhere.
fn curves(contest: &Contest) -> String {
    let mut entrants: Vec<&Entrant> = contest.proxies.iter().collect();
    entrants.sort_by_key(|entrant| !is_ours(&entrant.name));
    let lines = entrants.iter().filter_map(|entrant| Some((entrant, together(entrant)?))).enumerate();
    let lines = lines.map(|(place, (entrant, histogram))| Line {
        name: entrant.name.clone(),
        colour: COLOURS[place % COLOURS.len()],
        stroke: if place < COLOURS.len() { Stroke::Solid } else { Stroke::Dashed },
        points: curve(&histogram),
    });
    by_percentile(lines.collect())
}

fn together(entrant: &Entrant) -> Option<Histogram<u64>> {
    let histograms = entrant.samples().filter_map(|sample| match &sample.run {
        Value::Null => None,
        run => Run::read(&entrant.name, run).ok()?.histogram,
    });
    histograms.reduce(|mut sum, next| {
        // Of one program, so of one range; another's would be left out.
        let _ = sum.add(next);
        sum
    })
}

fn table(contest: &Contest) -> String {
    let mut header = vec![String::new()];
    header.extend(contest.figures().map(|figure| figure.name(contest.unit).to_owned()));
    header.extend(["best", "errors", "busy: proxy / load", "waited"].map(ToOwned::to_owned));
    let rows: Vec<_> = sorted(contest).into_iter().map(|entrant| row(contest, entrant)).collect();
    html::table(&header, &rows)
}

fn row(contest: &Contest, entrant: &Entrant) -> (&'static str, Vec<Cell>) {
    let mut cells = vec![Cell::new(entrant.name.clone()).aside(entrant.version.clone())];
    let class = if is_ours(&entrant.name) { "ours" } else { "" };
    if let Some(why) = entrant.failure() {
        cells.push(Cell::new(format!("failed: {why}")).class("bad"));
        return (class, cells);
    }
    let none = || Cell::new("–");
    for figure in contest.figures() {
        cells.push(contest.spread(entrant, figure).map_or_else(none, |spread| {
            let text = with_spread(spread);
            let (median, range) = text.split_once(' ').unwrap_or((&text, ""));
            Cell::new(median).aside(range)
        }));
    }
    let best = contest.figures().next().and_then(|figure| contest.ratio(entrant, figure));
    cells.push(best.map_or_else(none, |ratio| Cell::new(format!("× {:.2}", ratio.best))));
    let errors = entrant.errors();
    cells.push(Cell::new(errors.to_string()).class(if errors > 0 { "bad" } else { "" }));
    let middle = |of: fn(&crate::results::Sample) -> f64| {
        let values: Vec<f64> = entrant.samples().map(of).collect();
        Spread::of(&values).map_or(0.0, |spread| spread.median)
    };
    cells.push(Cell::new(format!("{:.2} / {:.2}", middle(|s| s.proxy_busy), middle(|s| s.load_busy))));
    cells.push(Cell::new(format!("{:.0} %", middle(|s| s.waited) * 100.0)));
    (class, cells)
}
