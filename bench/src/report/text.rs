//! The report for people: a column for each run, and one for what the proxy adds.

use super::{Outcome, QUANTILES, Report, latencies};
use crate::{
    latency,
    plan::{Bytes, HttpPlan, Limit, Plan, Protocol},
};
use balance_config::units::{format_duration, format_size};
use std::fmt::Write;

/// How two figures of a row are compared.
#[derive(Clone, Copy)]
enum Compare {
    Not,
    Ratio,
    Difference,
}

/// A row of the table: its name, its figure, how it is written.
struct Row {
    name: String,
    figure: Box<dyn Fn(&Outcome) -> f64>,
    decimals: usize,
    compare: Compare,
}

impl Row {
    fn new(
        name: impl Into<String>,
        decimals: usize,
        compare: Compare,
        figure: impl Fn(&Outcome) -> f64 + 'static,
    ) -> Self {
        Self { name: name.into(), figure: Box::new(figure), decimals, compare }
    }
}

impl Report {
    /// Ends with a newline.
    pub(crate) fn text(&self) -> String {
        let mut text = headline(&self.proxy);
        let name = |name: &str, outcome: &Outcome| format!("{name} {}", targets(&outcome.plan));
        match &self.direct {
            None => {}
            Some(direct) => {
                let _ = writeln!(text, "{}, {}", name("proxy:", &self.proxy), name("direct:", direct));
                let _ = writeln!(text, "\n{:24}{:>16}{:>16}{:>16}", "", "proxy", "direct", "difference");
            }
        }
        for row in self.rows() {
            self.write_row(&mut text, &row);
        }
        for (name, outcome) in [("proxy", Some(&self.proxy)), ("direct", self.direct.as_ref())] {
            let Some(outcome) = outcome else { continue };
            let name = if self.direct.is_some() { format!(" ({name})") } else { String::new() };
            for (kind, words) in outcome.tally.errors.examples() {
                let _ = writeln!(text, "first {}{name}: {words}", kind.replace('_', " "));
            }
            let statuses = outcome.tally.statuses.sorted();
            if !statuses.is_empty() {
                let all: Vec<_> =
                    statuses.iter().map(|(s, count)| format!("{s} × {}", number(*count as f64, 0))).collect();
                let _ = writeln!(text, "statuses{name}: {}", all.join(", "));
            }
            for why in outcome.client_bound() {
                let _ = writeln!(text, "WARNING{name}: this is not the target's limit: {why}");
            }
        }
        if self.proxy.plan.mode.has_requests() && self.proxy.plan.rate.is_none() {
            text.push_str("closed loop: a stall delays the requests behind it unseen; --rate shows it\n");
        }
        if !self.targets.is_empty() {
            text.push_str(&latency::text(self, &self.targets));
        }
        if self.proxy.interrupted {
            text.push_str("interrupted: these are figures of a part of the run\n");
        }
        text
    }

    fn rows(&self) -> Vec<Row> {
        let mode = self.proxy.plan.mode;
        let mut rows = vec![Row::new("connections", 0, Compare::Not, |o| o.tally.connected as f64)];
        rows.push(Row::new("open at the end", 0, Compare::Not, |o| o.tally.open as f64));
        if mode.has_requests() {
            rows.push(Row::new("requests", 0, Compare::Not, |o| o.tally.requests as f64));
            rows.push(Row::new("unfinished", 0, Compare::Not, |o| o.tally.unfinished as f64));
            rows.push(Row::new("requests/s", 0, Compare::Ratio, |o| o.rate(o.tally.requests)));
        }
        if mode.has_requests() || mode.is_stream() {
            for (way, bytes) in [("out", (|o| o.tally.bytes_out) as fn(&Outcome) -> u64), ("in", |o| o.tally.bytes_in)]
            {
                rows.push(Row::new(format!("MB/s {way}"), 2, Compare::Ratio, move |o| o.rate(bytes(o)) / 1e6));
                rows.push(Row::new(format!("Mbit/s {way}"), 2, Compare::Ratio, move |o| o.rate(bytes(o)) * 8e-6));
            }
        }
        self.push_errors(&mut rows);
        if mode.has_requests() {
            if self.proxy.plan.rate.is_some() {
                rows.push(Row::new("not sent in time", 0, Compare::Not, |o| o.tally.unsent as f64));
                push_latencies(&mut rows, "corrected", |o| &o.tally.corrected);
                push_latencies(&mut rows, "raw", |o| &o.tally.latency);
                push_latencies(&mut rows, "own lag", |o| &o.tally.lag);
            } else {
                push_latencies(&mut rows, "latency", |o| &o.tally.latency);
            }
        }
        push_latencies(&mut rows, "connect", |o| &o.tally.connect);
        rows.push(Row::new("client CPU s", 2, Compare::Not, |o| o.cpu.as_secs_f64()));
        if mode.has_requests() {
            rows.push(Row::new("requests/client CPU s", 0, Compare::Not, Outcome::requests_per_cpu_second));
        }
        self.push_target_cpu(&mut rows);
        rows.push(Row::new("wall s", 3, Compare::Not, |o| o.tally.measured.as_secs_f64()));
        rows
    }

    fn push_target_cpu(&self, rows: &mut Vec<Row>) {
        if self.proxy.target_cpu.is_none() {
            return;
        }
        let seconds = |o: &Outcome| o.target_cpu.unwrap_or_default().as_secs_f64();
        rows.push(Row::new("target CPU s", 2, Compare::Not, seconds));
        let mode = self.proxy.plan.mode;
        if mode.has_requests() {
            let micros = |o: &Outcome| o.target_micros_per_request().unwrap_or_default();
            rows.push(Row::new("target CPU µs/request", 2, Compare::Not, micros));
        } else if mode.is_stream() {
            let seconds = |o: &Outcome| o.target_seconds_per_gb().unwrap_or_default();
            rows.push(Row::new("target CPU s/GB", 4, Compare::Not, seconds));
        }
    }

    /// The total, and the kinds that there were.
    fn push_errors(&self, rows: &mut Vec<Row>) {
        rows.push(Row::new("errors", 0, Compare::Not, |o| o.tally.errors.total() as f64));
        let outcomes = || [Some(&self.proxy), self.direct.as_ref()].into_iter().flatten();
        for (index, (kind, _)) in self.proxy.tally.errors.by_kind().enumerate() {
            let count = move |o: &Outcome| o.tally.errors.by_kind().nth(index).map_or(0, |(_, count)| count) as f64;
            if outcomes().any(|o| count(o) > 0.0) {
                rows.push(Row::new(format!("  {}", kind.replace('_', " ")), 0, Compare::Not, count));
            }
        }
    }

    fn write_row(&self, text: &mut String, row: &Row) {
        let value = (row.figure)(&self.proxy);
        let _ = write!(text, "{:24}{:>16}", row.name, number(value, row.decimals));
        if let Some(direct) = &self.direct {
            let base = (row.figure)(direct);
            let _ = write!(text, "{:>16}", number(base, row.decimals));
            let compared = match row.compare {
                Compare::Ratio if base > 0.0 => format!("× {:.3}", value / base),
                Compare::Difference => {
                    format!("{}{}", if value < base { "-" } else { "+" }, number((value - base).abs(), row.decimals))
                }
                Compare::Ratio | Compare::Not => String::new(),
            };
            let _ = write!(text, "{compared:>16}");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
}

type Pick = fn(&Outcome) -> &hdrhistogram::Histogram<u64>;

fn push_latencies(rows: &mut Vec<Row>, what: &str, pick: Pick) {
    // Of some only what tells whether they were a trouble.
    let all = QUANTILES.len() + 2;
    let short = matches!(what, "connect" | "own lag");
    let wanted: Vec<usize> = if short { vec![1, 5, 8] } else { (0..all).collect() };
    let names: Vec<&str> =
        latencies(&hdrhistogram::Histogram::new(1).expect("one digit is allowed")).map(|(_, name, _)| name).collect();
    for index in wanted {
        let figure = move |o: &Outcome| latencies(pick(o)).nth(index).map_or(0.0, |(_, _, us)| us);
        rows.push(Row::new(format!("{what} {} µs", names[index]), 1, Compare::Difference, figure));
    }
}

pub(super) fn headline(outcome: &Outcome) -> String {
    let plan = &outcome.plan;
    let mut line = plan.mode.name().to_owned();
    let _ = match &plan.protocol {
        Protocol::Http(http) => write_http(&mut line, http),
        Protocol::Tcp if plan.mode.is_stream() => write!(line, " in pieces of {}", bytes(plan.size)),
        Protocol::Tcp => write!(line, ", {} a message", bytes(plan.size)),
    };
    let _ = write!(line, ", {} connections to {}", plan.connections, targets(plan));
    if plan.halves > 0 {
        let _ = write!(line, " beside {} with half a message sent", plan.halves);
    }
    if let Some(rate) = plan.rate {
        let _ = write!(line, ", {}/s whatever comes back", number(rate, if rate < 10.0 { 1 } else { 0 }));
    }
    if !plan.sources.is_empty() {
        let _ = write!(line, " from {} addresses", plan.sources.len());
    }
    let _ = match plan.limit {
        Limit::After(duration) => write!(line, ", {}", format_duration(duration)),
        Limit::Requests(requests) => write!(line, ", {requests} requests"),
        Limit::Told => write!(line, ", until told to stop"),
    };
    if !plan.warm.is_zero() {
        let _ = write!(line, " after {} of warming up", format_duration(plan.warm));
    }
    let cores: Vec<String> = outcome.cores.iter().map(ToString::to_string).collect();
    let _ = write!(line, "; {} on core {}", outcome.driver, cores.join(","));
    if plan.bytes == Bytes::Any {
        line.push_str("; bytes not checked");
    }
    line.push('\n');
    line
}

fn write_http(line: &mut String, http: &HttpPlan) -> std::fmt::Result {
    write!(line, " {} {}", http.form.method, http.url)?;
    match http.requests.iter().map(Vec::len).sum::<usize>() {
        0 | 1 => {}
        count => write!(line, " and the others of {count} requests")?,
    }
    match http.form.body.len() {
        0 => {}
        length => write!(line, " with {}", bytes(length))?,
    }
    if !http.keep_alive {
        line.push_str(", a new connection each");
    }
    if http.pipeline > 1 {
        write!(line, ", {} ahead", http.pipeline)?;
    }
    Ok(())
}

fn bytes(size: u64) -> String {
    let text = format_size(size);
    if text.ends_with('B') { text } else { text + " B" }
}

fn targets(plan: &Plan) -> String {
    plan.targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// With commas between thousands.
pub(crate) fn number(value: f64, decimals: usize) -> String {
    let plain = format!("{value:.decimals$}");
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(number(1_234_567.0, 0), "1,234,567");
        assert_eq!(number(123.456, 1), "123.5");
        assert_eq!(number(1000.0, 2), "1,000.00");
        assert_eq!(number(0.0, 0), "0");
    }

    #[test]
    fn sizes_carry_a_unit() {
        assert_eq!((bytes(64), bytes(65_536)), ("64 B".into(), "64KiB".into()));
    }
}
