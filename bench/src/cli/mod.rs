//! What may be typed after `balance-shard bench`.

mod load;

pub use crate::{compare::CompareArgs, duel::args::DuelArgs, page::ReportArgs};
pub(crate) use load::{EitherArgs, LoadArgs, OutputArgs, Progress, RequestArgs, Speaks, TargetArgs};
pub use load::{FindMaxArgs, HttpArgs, LatencyArgs, TcpArgs};

use crate::{micro::Part, values};
use balance_engine::cores::Request;
use clap::{Subcommand, ValueEnum};
use std::{net::SocketAddr, time::Duration};

#[derive(Debug, Subcommand)]
pub enum Args {
    /// Put a TCP proxy or server under load, and measure it
    Tcp(Box<TcpArgs>),
    /// Put an HTTP/1.1 proxy or server under load, and measure it
    Http(Box<HttpArgs>),
    /// Measure latency, and whether percentiles are below their targets
    Latency(Box<LatencyArgs>),
    /// Find the highest rate at which a target keeps to an SLO
    FindMax(Box<FindMaxArgs>),
    /// Run an HTTP server whose paths say how it behaves, and an echo, source and sink beside it
    Backend(BackendArgs),
    /// Run a server that sends back what it gets
    Echo(ServeArgs),
    /// Run a server that sends without end (for --mode stream-down)
    Source(ServeArgs),
    /// Run a server that takes everything and checks it (for --mode stream-up)
    Sink(ServeArgs),
    /// Time parts of the engine by themselves, beside plain ways to do the same
    Micro(MicroArgs),
    /// Put the same load on this proxy and on others, in turns
    Duel(Box<DuelArgs>),
    /// Compare saved results with the first of them
    Compare(CompareArgs),
    /// Plot saved results on one page
    Report(ReportArgs),
}

/// What the connections do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Send a message, wait until it has come back, over and over
    PingPong,
    /// Connect, one message there and back, close, over and over
    Connect,
    /// Take what the server sends, as fast as it comes
    StreamDown,
    /// Send as fast as the server takes it
    StreamUp,
    /// One message there and back, then hold the connection
    Idle,
    /// Ping-pong alone and beside peers that sent half a message and stopped, in turns
    Half,
    /// Requests and answers: of `bench http`
    #[value(skip)]
    Http,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PingPong => "ping-pong",
            Self::Connect => "connect",
            Self::StreamDown => "stream-down",
            Self::StreamUp => "stream-up",
            Self::Idle => "idle",
            Self::Half => "half",
            Self::Http => "http",
        }
    }

    pub(crate) fn is_stream(self) -> bool {
        matches!(self, Self::StreamDown | Self::StreamUp)
    }

    /// Exchanges are what is counted.
    pub(crate) fn has_requests(self) -> bool {
        matches!(self, Self::PingPong | Self::Connect | Self::Half | Self::Http)
    }

    /// The connections are opened before the load begins.
    pub(crate) fn opens_first(self) -> bool {
        self != Self::Connect
    }
}

/// How shards talk to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Io {
    Auto,
    Uring,
    Epoll,
}

#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// Where to listen
    #[arg(
        long, value_name = "ADDR", value_delimiter = ',', required = true, value_parser = values::bind_address
    )]
    pub(crate) listen: Vec<SocketAddr>,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
}

#[derive(Debug, clap::Args)]
pub struct BackendArgs {
    /// Where to speak HTTP: / tells which paths there are
    #[arg(long, value_name = "ADDR", value_delimiter = ',', value_parser = values::bind_address)]
    pub(crate) http: Vec<SocketAddr>,
    /// Where to send back what comes
    #[arg(long, value_name = "ADDR", value_delimiter = ',', value_parser = values::bind_address)]
    pub(crate) echo: Vec<SocketAddr>,
    /// Where to send without end
    #[arg(long, value_name = "ADDR", value_delimiter = ',', value_parser = values::bind_address)]
    pub(crate) source: Vec<SocketAddr>,
    /// Where to take everything and check it
    #[arg(long, value_name = "ADDR", value_delimiter = ',', value_parser = values::bind_address)]
    pub(crate) sink: Vec<SocketAddr>,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RuntimeArgs {
    /// Cores to use: 0-1, 0,2,4-6 or auto
    #[arg(long, value_name = "LIST", default_value = "auto", value_parser = values::cores)]
    pub(crate) cores: Request,
    /// How to talk to the kernel
    #[arg(long, value_name = "DRIVER", default_value = "auto")]
    pub(crate) io: Io,
}

#[derive(Debug, clap::Args)]
pub struct MicroArgs {
    /// What to time (everything unless given)
    #[arg(value_name = "PART")]
    pub(crate) parts: Vec<Part>,
    /// Rounds that count; in each of them every candidate has its turn
    #[arg(long, value_name = "N", default_value_t = 41, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rounds: u32,
    /// The least time of a candidate in a round
    #[arg(long, value_name = "TIME", default_value = "1ms", value_parser = values::time_span)]
    pub(crate) sample: Duration,
    /// The core to run on (any unless given)
    #[arg(long, value_name = "N")]
    pub(crate) core: Option<u16>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
