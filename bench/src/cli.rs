//! What may be typed after `balance-shard bench`.

pub use crate::{compare::CompareArgs, duel::args::DuelArgs, page::ReportArgs};
use crate::{
    micro::Part,
    values::{self, Destination},
};
use balance_engine::cores::Request;
use clap::{Subcommand, ValueEnum};
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

#[derive(Debug, Subcommand)]
pub enum Args {
    /// Put a TCP proxy or server under load, and measure it
    Tcp(Box<TcpArgs>),
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
        }
    }

    pub(crate) fn is_stream(self) -> bool {
        matches!(self, Self::StreamDown | Self::StreamUp)
    }

    /// Exchanges are what is counted.
    pub(crate) fn has_requests(self) -> bool {
        matches!(self, Self::PingPong | Self::Connect | Self::Half)
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
    /// Open at once, over all cores
    #[arg(short, long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections: u32,
    /// Bytes of a message (64 unless given), or of a piece of a stream (64KiB)
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub(crate) size: Option<u64>,
    /// How long to measure (10s unless given; --mode half: 2s, each time)
    #[arg(short, long, value_name = "TIME", value_parser = values::time_span)]
    pub(crate) duration: Option<Duration>,
    /// Measure this many exchanges instead
    #[arg(
        short = 'n', long, value_name = "N", conflicts_with = "duration",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub(crate) requests: Option<u64>,
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
    /// With --mode idle: hold the connections until standard input ends
    #[arg(long)]
    pub(crate) hold: bool,
    /// With --mode half: peers that send half a message and stop (10,000 unless given)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) halves: Option<u32>,
    /// With --mode half: how often to measure both (5 times unless given)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: Option<u32>,
    /// Count the CPU time of these processes, too: the proxy's
    #[arg(long, value_name = "PID", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pid: Vec<u32>,
    /// Take any bytes from the server, which has its own
    #[arg(long)]
    pub(crate) any_bytes: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) runtime: RuntimeArgs,
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
