//! What is to be measured: the command line, checked as a whole.

use crate::{
    cli::{Mode, TcpArgs},
    failure::Failure,
    values::{Destination, loopback_sources},
};
use balance_engine::driver::Target;
use std::{net::IpAddr, time::Duration};

const MESSAGE_BYTES: u64 = 64;
const PIECE_BYTES: u64 = 64 << 10;
/// A piece of a stream is sent from one buffer.
const PIECE_BYTES_MAX: u64 = 1 << 20;
const DURATION: Duration = Duration::from_secs(10);
const WARM: Duration = Duration::from_secs(1);
/// Of each of the runs of which a comparison has many.
const DURATION_OF_MANY: Duration = Duration::from_secs(2);
const HALVES: u32 = 10_000;
const ROUNDS: u32 = 5;

/// When a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    After(Duration),
    /// Of all shards together.
    Requests(u64),
    /// When it is told so.
    Told,
}

/// Whether what comes back is compared with what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bytes {
    Checked,
    Any,
}

/// One run against one set of targets. All shards read the same.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) mode: Mode,
    pub(crate) targets: Vec<Destination>,
    /// Empty: the kernel picks.
    pub(crate) sources: Vec<IpAddr>,
    pub(crate) connections: u32,
    /// Peers beside them that send half a message and stop.
    pub(crate) halves: u32,
    /// Of a message, or of a piece of a stream.
    pub(crate) size: u64,
    pub(crate) limit: Limit,
    pub(crate) warm: Duration,
    pub(crate) timeout: Duration,
    pub(crate) bytes: Bytes,
    /// Standard input's end ends the run.
    pub(crate) hold: bool,
    /// Processes whose CPU time is counted.
    pub(crate) processes: Vec<u32>,
}

impl Plan {
    /// # Errors
    /// Flags that contradict each other.
    pub(crate) fn new(args: &TcpArgs) -> Result<Self, Failure> {
        let mode = args.mode;
        check(args)?;
        let default_size = if mode.is_stream() { PIECE_BYTES } else { MESSAGE_BYTES };
        let limit = match (args.requests, args.duration) {
            (Some(requests), _) => Limit::Requests(requests),
            (None, Some(duration)) => Limit::After(duration),
            (None, None) if args.hold => Limit::Told,
            (None, None) if mode == Mode::Half => Limit::After(DURATION_OF_MANY),
            (None, None) => Limit::After(DURATION),
        };
        let warms_up = mode != Mode::Idle && args.requests.is_none();
        Ok(Self {
            mode,
            targets: args.to.clone(),
            sources: args.sources.map_or_else(|| args.source.clone(), loopback_sources),
            connections: args.connections,
            halves: if mode == Mode::Half { args.halves.unwrap_or(HALVES) } else { 0 },
            size: args.size.unwrap_or(default_size),
            limit,
            warm: args.warm.unwrap_or(if warms_up { WARM } else { Duration::ZERO }),
            timeout: args.timeout,
            bytes: if args.any_bytes { Bytes::Any } else { Bytes::Checked },
            hold: args.hold,
            processes: args.pid.clone(),
        })
    }

    /// How often a comparison measures.
    pub(crate) fn rounds(args: &TcpArgs) -> u32 {
        args.rounds.unwrap_or(ROUNDS)
    }

    /// Connections of every kind; those that are measured have the low numbers.
    pub(crate) fn all_connections(&self) -> u32 {
        self.connections + self.halves
    }

    /// The same load on other targets.
    pub(crate) fn on(&self, targets: &[Destination]) -> Self {
        Self { targets: targets.to_vec(), ..self.clone() }
    }

    /// Where connection `number` goes and where it comes from: every target from every source before the first pair
    /// comes again.
    pub(crate) fn target(&self, number: u32) -> Target {
        let number = number as usize;
        let destination = &self.targets[number % self.targets.len()];
        let round = number / self.targets.len();
        let source = round.checked_rem(self.sources.len()).map(|index| self.sources[index]);
        destination.target(source)
    }

    /// How many of a total of `total` are the share of `shard`.
    pub(crate) fn share(total: u64, shard: usize, shards: usize) -> u64 {
        let (shard, shards) = (shard as u64, shards as u64);
        total / shards + u64::from(shard < total % shards)
    }
}

fn check(args: &TcpArgs) -> Result<(), Failure> {
    let mode = args.mode;
    let named = mode.name();
    if args.requests.is_some() && !mode.has_requests() {
        return Err(Failure::usage(format!(
            "--requests counts exchanges, and --mode {named} makes none; give --duration"
        )));
    }
    if args.hold && mode != Mode::Idle {
        return Err(Failure::usage(format!("--hold holds idle connections; it makes no sense with --mode {named}")));
    }
    if args.hold && !args.backend.is_empty() {
        return Err(Failure::usage("--hold holds one set of connections; give --to or --backend alone"));
    }
    if mode == Mode::Idle && args.warm.is_some() {
        return Err(Failure::usage("--mode idle has nothing to warm up"));
    }
    if mode == Mode::Half {
        check_half(args)?;
    } else if args.halves.is_some() || args.rounds.is_some() {
        return Err(Failure::usage(format!("--halves and --rounds make no sense with --mode {named}")));
    }
    if mode.is_stream() && args.size.is_some_and(|size| size > PIECE_BYTES_MAX) {
        return Err(Failure::usage("a piece of a stream has at most 1MiB; --size is too large"));
    }
    let family = |ip: &IpAddr| ip.is_ipv4();
    let v4_sources = args.sources.is_some() || args.source.iter().any(family);
    let v6_sources = args.source.iter().any(|ip| !family(ip));
    for destination in args.to.iter().chain(&args.backend) {
        let Destination::Ip(to) = destination else { continue };
        if (to.is_ipv4() && v6_sources) || (to.is_ipv6() && v4_sources) {
            return Err(Failure::usage(format!("{to} cannot be reached from a source address of the other family")));
        }
    }
    Ok(())
}

fn check_half(args: &TcpArgs) -> Result<(), Failure> {
    if args.requests.is_some() {
        return Err(Failure::usage("--mode half measures for a time; give --duration"));
    }
    if !args.backend.is_empty() {
        return Err(Failure::usage("--mode half compares with and without the halves; --backend has no place in it"));
    }
    if args.size == Some(1) {
        return Err(Failure::usage("a message of one byte has no half; --size is too small"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(subcommand)]
        what: crate::cli::Args,
    }

    fn parsed(line: &str) -> Result<Plan, String> {
        let words = ["bench", "tcp"].into_iter().chain(line.split_ascii_whitespace());
        let program = Program::try_parse_from(words).map_err(|e| e.to_string())?;
        let crate::cli::Args::Tcp(args) = program.what else { panic!("not tcp") };
        Plan::new(&args).map_err(|e| e.message)
    }

    #[track_caller]
    fn refused(line: &str, words: &str) {
        let message = parsed(line).expect_err(line);
        assert!(message.contains(words), "{line}: {message}");
    }

    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory;
        Program::command().debug_assert();
    }

    #[test]
    fn defaults_depend_on_the_mode() {
        let plan = parsed("--to 127.0.0.1:1").unwrap();
        assert_eq!((plan.mode, plan.size, plan.connections), (Mode::PingPong, 64, 100));
        assert_eq!((plan.limit, plan.warm), (Limit::After(DURATION), WARM));
        let plan = parsed("--proxy 127.0.0.1:1 --requests 5").unwrap();
        assert_eq!((plan.limit, plan.warm), (Limit::Requests(5), Duration::ZERO));
        let plan = parsed("--to 127.0.0.1:1 --mode stream-up").unwrap();
        assert_eq!((plan.size, plan.warm), (65_536, WARM));
        let plan = parsed("--to 127.0.0.1:1 --mode idle --hold").unwrap();
        assert_eq!((plan.limit, plan.warm), (Limit::Told, Duration::ZERO));
        let plan = parsed("--to 127.0.0.1:1 --mode idle --hold --duration 3s").unwrap();
        assert_eq!(plan.limit, Limit::After(Duration::from_secs(3)));
        let plan = parsed("--to 127.0.0.1:1 --mode half").unwrap();
        assert_eq!((plan.halves, plan.limit), (HALVES, Limit::After(DURATION_OF_MANY)));
        assert_eq!(parsed("--to 127.0.0.1:1 --mode half --halves 7").unwrap().all_connections(), 107);
    }

    #[test]
    fn contradictions_are_named() {
        refused("", "--to");
        refused("--to nowhere", "HOST:PORT");
        refused("--to 127.0.0.1:1 --mode idle --requests 5", "--mode idle makes none");
        refused("--to 127.0.0.1:1 --mode stream-up --requests 5", "give --duration");
        refused("--to 127.0.0.1:1 --requests 5 --duration 1s", "cannot be used with");
        refused("--to 127.0.0.1:1 --source 127.0.0.1 --sources 4", "cannot be used with");
        refused("--to 127.0.0.1:1 --hold", "--mode ping-pong");
        refused("--to 127.0.0.1:1 --hold --mode idle --backend 127.0.0.1:2", "one set");
        refused("--to 127.0.0.1:1 --warm 1s --mode idle", "warm up");
        refused("--to 127.0.0.1:1 --mode stream-up --size 2MiB", "at most 1MiB");
        refused("--to 127.0.0.1:1 --halves 5", "--mode ping-pong");
        refused("--to 127.0.0.1:1 --mode connect --rounds 5", "--mode connect");
        refused("--to 127.0.0.1:1 --mode half --requests 5", "give --duration");
        refused("--to 127.0.0.1:1 --mode half --backend 127.0.0.1:2", "no place");
        refused("--to 127.0.0.1:1 --mode half --size 1", "no half");
        refused("--to 127.0.0.1:1 --pid 0", "--pid");
        refused("--to [::1]:1 --sources 2", "other family");
        refused("--to 127.0.0.1:1 --source ::1", "other family");
        refused("--to 127.0.0.1:1 --connections 0", "0");
        refused("--to 127.0.0.1:1 --size 64k", "64KiB");
        refused("--to 127.0.0.1:1 --duration 0s", "longer than nothing");
        refused("--to 127.0.0.1:1 --mode sideways", "stream-down");
    }

    #[test]
    fn targets_and_sources_meet_in_every_pair() {
        let plan = parsed("--to 127.0.0.1:1,127.0.0.1:2 --sources 3").unwrap();
        let pairs: std::collections::HashSet<_> = (0..6).map(|number| plan.target(number)).collect();
        assert_eq!(pairs.len(), 6);
        assert_eq!(plan.target(6), plan.target(0));
        assert_eq!(
            parsed("--to 127.0.0.1:1").unwrap().target(9),
            Target::Ip { to: ([127, 0, 0, 1], 1).into(), from: None }
        );
    }

    #[test]
    fn shares_add_up() {
        for total in [0, 1, 7, 100] {
            assert_eq!((0..3).map(|shard| Plan::share(total, shard, 3)).sum::<u64>(), total);
        }
    }
}
