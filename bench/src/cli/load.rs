//! Flags of the commands that put something under load.

use super::{Mode, RuntimeArgs};
use crate::{
    find_max::Slo,
    http::request,
    latency::Target,
    values::{self, Destination},
};
use clap::ValueEnum;
use std::{net::IpAddr, path::PathBuf, time::Duration};

/// What every load has.
#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// Open at once, over all cores
    #[arg(
        short, long, visible_alias = "concurrency", value_name = "N", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub(crate) connections: u32,
    /// How long to measure (10s unless given; --mode half: 2s, each time)
    #[arg(short, long, value_name = "TIME", value_parser = values::time_span)]
    pub(crate) duration: Option<Duration>,
    /// Measure this many exchanges instead
    #[arg(
        short = 'n', long, value_name = "N", conflicts_with = "duration",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub(crate) requests: Option<u64>,
    /// Open loop: begin so many exchanges a second, whatever became of the ones before
    #[arg(short = 'R', long, value_name = "PER_SECOND", value_parser = values::rate)]
    pub(crate) rate: Option<f64>,
    /// Load before measuring (1s with a duration, none with a number of requests)
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub(crate) warm: Option<Duration>,
    /// A connect, an exchange or a stream without progress is given up after this
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::time_span)]
    pub(crate) timeout: Duration,
    /// Source addresses; each has about 28,000 ports towards one target
    #[arg(long, value_name = "IP", value_delimiter = ',', conflicts_with = "sources")]
    pub(crate) source: Vec<IpAddr>,
    /// As many source addresses from 127.0.0.1 on
    #[arg(long, value_name = "N", value_parser = values::sources)]
    pub(crate) sources: Option<u32>,
    /// Count the CPU time of these processes, too: the proxy's
    #[arg(long, value_name = "PID", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pid: Vec<u32>,
    /// Take any bytes from the server, which has its own
    #[arg(long)]
    pub(crate) any_bytes: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
}

/// Where to show how the run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// One line that is written again and again on a terminal, plain lines elsewhere
    Auto,
    /// A line every second
    Plain,
    Off,
}

/// What becomes of the results.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct OutputArgs {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the JSON object to a file, too
    #[arg(long, value_name = "FILE")]
    pub(crate) json_file: Option<PathBuf>,
    /// Write the latencies as HdrHistogram's table of percentiles, in ms
    #[arg(long, value_name = "FILE")]
    pub(crate) hgrm: Option<PathBuf>,
    /// Write HdrHistogram's interval log (V2, values in ns), a line for each second
    #[arg(long, value_name = "FILE")]
    pub(crate) hdr_log: Option<PathBuf>,
    /// Write the run second by second as CSV
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Write a page with plots
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Show how the run goes on, on standard error
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub(crate) progress: Progress,
}

/// Requests and their target.
#[derive(Debug, clap::Args)]
pub(crate) struct RequestArgs {
    /// What to ask for, as http://HOST:PORT/PATH
    #[arg(long, value_name = "URL", required_unless_present_any = ["urls", "to"])]
    pub(crate) url: Option<String>,
    /// A file with a URL, or a path on the host of --url, in each line; every connection asks for one after the other
    #[arg(long, value_name = "FILE")]
    pub(crate) urls: Option<PathBuf>,
    #[arg(short = 'X', long, value_name = "METHOD", default_value = "GET", value_parser = request::method)]
    pub(crate) method: String,
    /// A header to send, as 'Name: value'; may be repeated
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = request::header)]
    pub(crate) headers: Vec<(String, String)>,
    /// Send the content of a file
    #[arg(long, value_name = "FILE", conflicts_with = "body_size")]
    pub(crate) body_file: Option<PathBuf>,
    /// Send so many bytes, of a pattern that `bench backend` checks
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub(crate) body_size: Option<u64>,
    /// Requests on their way at once, on each connection
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) pipeline: u32,
    /// A new connection for each request
    #[arg(long, conflicts_with = "pipeline")]
    pub(crate) no_keep_alive: bool,
}

impl RequestArgs {
    /// Something that only a request has was asked for.
    pub(crate) fn is_given(&self) -> bool {
        let body = self.body_file.is_some() || self.body_size.is_some();
        body || !self.headers.is_empty() || self.method != "GET" || self.pipeline != 1 || self.no_keep_alive
    }
}

/// Where to connect.
#[derive(Debug, clap::Args)]
pub(crate) struct TargetArgs {
    /// Where to connect, instead of the host in the URL; several take turns
    #[arg(
        long, visible_aliases = ["proxy", "tcp"], value_name = "HOST:PORT", value_delimiter = ',',
        value_parser = values::destination
    )]
    pub(crate) to: Vec<Destination>,
    /// What is behind the proxy: measured first, without it, and the difference is printed
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = values::destination)]
    pub(crate) backend: Vec<Destination>,
}

#[derive(Debug, clap::Args)]
pub struct TcpArgs {
    /// Where to connect; several take turns
    #[arg(
        long, visible_alias = "proxy", value_name = "HOST:PORT", value_delimiter = ',', required = true,
        value_parser = values::destination
    )]
    pub(crate) to: Vec<Destination>,
    /// What is behind the proxy: measured first, without it, and the difference is printed
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = values::destination)]
    pub(crate) backend: Vec<Destination>,
    #[arg(long, value_name = "MODE", default_value = "ping-pong")]
    pub(crate) mode: Mode,
    /// Bytes of a message (64 unless given), or of a piece of a stream (64KiB)
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub(crate) size: Option<u64>,
    /// With --mode idle: hold the connections until standard input ends
    #[arg(long)]
    pub(crate) hold: bool,
    /// With --mode half: peers that send half a message and stop (10,000 unless given)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) halves: Option<u32>,
    /// With --mode half: how often to measure both (5 times unless given)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: Option<u32>,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

#[derive(Debug, clap::Args)]
pub struct HttpArgs {
    #[command(flatten)]
    pub(crate) request: RequestArgs,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

/// What `latency` and `find-max` speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Speaks {
    Http,
    /// Messages that come back
    Tcp,
}

/// A load of either protocol.
#[derive(Debug, clap::Args)]
pub(crate) struct EitherArgs {
    /// What to speak (http with --url, tcp without)
    #[arg(long, value_name = "PROTOCOL")]
    pub(crate) mode: Option<Speaks>,
    #[command(flatten)]
    pub(crate) request: RequestArgs,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// With --mode tcp: bytes of a message (64 unless given)
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub(crate) size: Option<u64>,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

#[derive(Debug, clap::Args)]
pub struct LatencyArgs {
    #[command(flatten)]
    pub(crate) either: EitherArgs,
    /// What a percentile should be below, as in p99=10ms; may be repeated
    #[arg(long = "target", value_name = "TARGET", default_value = "p99=10ms", value_parser = Target::parse)]
    pub(crate) targets: Vec<Target>,
    /// End with exit code 1 when a target is missed
    #[arg(long)]
    pub(crate) fail_on_miss: bool,
}

#[derive(Debug, clap::Args)]
pub struct FindMaxArgs {
    #[command(flatten)]
    pub(crate) either: EitherArgs,
    /// What must hold, as in p99<5ms,errors<0.1%
    #[arg(long, value_name = "SLO", value_parser = Slo::parse)]
    pub(crate) slo: Slo,
    /// The first rate to try
    #[arg(long, value_name = "PER_SECOND", default_value = "1000", value_parser = values::rate)]
    pub(crate) from: f64,
    /// Stop when the answer is known to within so many percent
    #[arg(long, value_name = "PERCENT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub(crate) within: u32,
}
