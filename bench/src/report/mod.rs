//! What came out, for people and for programs.

mod bound;
mod comparison;
mod json;
mod text;

pub(crate) use comparison::{Comparison, Pair};
pub(crate) use json::settings;
pub(crate) use text::number;

use crate::{cpu::Thread, failure::Failure, latency::Target, plan::Plan, series::Point, tally::Tally};
use hdrhistogram::Histogram;
use std::{
    io::{self, Write},
    time::{Duration, SystemTime},
};

/// One run and what it came to.
pub(crate) struct Outcome {
    pub(crate) plan: Plan,
    pub(crate) tally: Tally,
    /// The measured time, second by second.
    pub(crate) points: Vec<Point>,
    /// CPU time of each shard's thread in the measured time.
    pub(crate) shard_cpu: Vec<Duration>,
    /// Used by this process while all shards measured.
    pub(crate) cpu: Duration,
    /// Used meanwhile by the processes that the plan names, if it names any.
    pub(crate) target_cpu: Option<Duration>,
    pub(crate) driver: &'static str,
    pub(crate) cores: Vec<u16>,
    /// By the wall clock.
    pub(crate) started: SystemTime,
    /// It was ended by Ctrl-C.
    pub(crate) interrupted: bool,
    /// Of the processes that the plan names: the thread that used most CPU time while all shards measured.
    pub(crate) busiest_thread: Option<Thread>,
}

/// The run through the proxy, and the one without it.
pub(crate) struct Report {
    /// The command.
    pub(crate) bench: &'static str,
    /// Of `bench latency`.
    pub(crate) targets: Vec<Target>,
    pub(crate) proxy: Outcome,
    pub(crate) direct: Option<Outcome>,
}

/// The quantiles that are printed, and their names in JSON and on paper.
const QUANTILES: [(f64, &str, &str); 7] = [
    (0.50, "p50", "p50"),
    (0.90, "p90", "p90"),
    (0.95, "p95", "p95"),
    (0.99, "p99", "p99"),
    (0.999, "p99_9", "p99.9"),
    (0.9999, "p99_99", "p99.99"),
    (1.0, "max", "max"),
];

impl Outcome {
    /// `count` per second of the measured time.
    pub(crate) fn rate(&self, count: u64) -> f64 {
        let seconds = self.tally.measured.as_secs_f64();
        if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
    }

    /// Exchanges that one second of this program's CPU time was enough for.
    fn requests_per_cpu_second(&self) -> f64 {
        let seconds = self.cpu.as_secs_f64();
        if seconds > 0.0 { self.tally.requests as f64 / seconds } else { 0.0 }
    }

    /// CPU time of the target for one exchange, in microseconds.
    fn target_micros_per_request(&self) -> Option<f64> {
        let cpu = self.target_cpu.filter(|_| self.tally.requests > 0)?;
        Some(cpu.as_secs_f64() * 1e6 / self.tally.requests as f64)
    }

    /// CPU time of the target for a GB in either direction, in seconds.
    fn target_seconds_per_gb(&self) -> Option<f64> {
        let bytes = self.tally.bytes_in + self.tally.bytes_out;
        let cpu = self.target_cpu.filter(|_| bytes > 0)?;
        Some(cpu.as_secs_f64() * 1e9 / bytes as f64)
    }

    /// Whether the run shows anything: wrong bytes, or none at all, do not.
    pub(crate) fn verdict(&self) -> Result<(), Failure> {
        let tally = &self.tally;
        if tally.errors.corrupt() > 0 {
            let first = tally.errors.first_corruption;
            let first = first.map_or_else(
                || "more than were asked for".to_owned(),
                |first| format!("first on connection {}, byte {}", first.connection, first.position),
            );
            return Err(Failure::runtime(format!("wrong bytes came back {} times; {first}", tally.errors.corrupt())));
        }
        let mode = self.plan.mode;
        let nothing = match () {
            () if mode.has_requests() => (tally.requests == 0).then_some("no exchange was completed"),
            () if mode.is_stream() => (tally.bytes_in + tally.bytes_out == 0).then_some("no byte was moved"),
            () => (tally.connected == 0).then_some("no connection was opened"),
        };
        match nothing {
            Some(message) => Err(Failure::runtime(message)),
            None => Ok(()),
        }
    }
}

impl Report {
    pub(crate) fn new(bench: &'static str, proxy: Outcome, direct: Option<Outcome>) -> Self {
        Self { bench, targets: Vec::new(), proxy, direct }
    }

    /// How the command ends.
    ///
    /// # Errors
    /// A run that was interrupted or shows nothing, and a target that was missed where that matters. All of it has been
    /// printed before.
    pub(crate) fn judge(&self, fail_on_miss: bool) -> Result<(), Failure> {
        if self.proxy.interrupted {
            return Err(Failure::interrupted());
        }
        self.verdict()?;
        let missed = self.targets.iter().find(|target| !target.is_met(self.proxy.tally.waits()));
        match missed.filter(|_| fail_on_miss) {
            Some(target) => Err(Failure::runtime(format!("the target of {} was missed", target.name))),
            None => Ok(()),
        }
    }

    /// # Errors
    /// A run that shows nothing. It has been printed before.
    pub(crate) fn verdict(&self) -> Result<(), Failure> {
        self.proxy.verdict()?;
        self.direct.as_ref().map_or(Ok(()), Outcome::verdict)
    }
}

/// Writes an answer to standard output. A reader that has seen enough (`| head`) is fine.
///
/// # Errors
/// Any other failure to write.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::runtime(format!("cannot write the answer: {e}")))
        }
        _ => Ok(()),
    }
}

fn micros(nanos: f64) -> f64 {
    nanos / 1000.0
}

/// In microseconds, with the least, the mean and every quantile, in the order in which they are printed.
fn latencies(histogram: &Histogram<u64>) -> impl Iterator<Item = (&'static str, &'static str, f64)> {
    let least = ("min", "min", micros(histogram.min() as f64));
    let mean = ("mean", "mean", micros(histogram.mean()));
    let quantiles = QUANTILES
        .into_iter()
        .map(|(quantile, key, name)| (key, name, micros(histogram.value_at_quantile(quantile) as f64)));
    [least, mean].into_iter().chain(quantiles)
}

#[cfg(test)]
pub(crate) mod tests;
