//! A TCP load: its flags, checked as a whole.

use super::{Limit, MESSAGE_BYTES, Plan, check_families};
use crate::{
    cli::{Mode, TcpArgs},
    failure::Failure,
};
use std::time::Duration;

const PIECE_BYTES: u64 = 64 << 10;
/// A piece of a stream is sent from one buffer.
const PIECE_BYTES_MAX: u64 = 1 << 20;
/// Of each of the runs of which a comparison has many.
const DURATION_OF_MANY: Duration = Duration::from_secs(2);
const HALVES: u32 = 10_000;
const ROUNDS: u32 = 5;

impl Plan {
    /// # Errors
    /// Flags that contradict each other.
    pub(crate) fn tcp(args: &TcpArgs) -> Result<Self, Failure> {
        let (mode, load) = (args.mode, &args.load);
        check(args)?;
        let plan = Self::of_load(load, &args.to);
        let default_size = if mode.is_stream() { PIECE_BYTES } else { MESSAGE_BYTES };
        let limit = match (load.requests, load.duration) {
            (None, None) if args.hold => Limit::Told,
            (None, None) if mode == Mode::Half => Limit::After(DURATION_OF_MANY),
            _ => plan.limit,
        };
        Ok(Self {
            mode,
            halves: if mode == Mode::Half { args.halves.unwrap_or(HALVES) } else { 0 },
            size: args.size.unwrap_or(default_size),
            limit,
            warm: if mode == Mode::Idle { Duration::ZERO } else { plan.warm },
            hold: args.hold,
            ..plan
        })
    }

    /// How often a comparison measures.
    pub(crate) fn rounds(args: &TcpArgs) -> u32 {
        args.rounds.unwrap_or(ROUNDS)
    }
}

fn check(args: &TcpArgs) -> Result<(), Failure> {
    let (mode, load) = (args.mode, &args.load);
    let named = mode.name();
    if load.requests.is_some() && !mode.has_requests() {
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
    if mode == Mode::Idle && load.warm.is_some() {
        return Err(Failure::usage("--mode idle has nothing to warm up"));
    }
    if load.rate.is_some() && !matches!(mode, Mode::PingPong | Mode::Connect) {
        return Err(Failure::usage(format!("--rate begins exchanges; it makes no sense with --mode {named}")));
    }
    if mode == Mode::Half {
        check_half(args)?;
    } else if args.halves.is_some() || args.rounds.is_some() {
        return Err(Failure::usage(format!("--halves and --rounds make no sense with --mode {named}")));
    }
    if mode.is_stream() && args.size.is_some_and(|size| size > PIECE_BYTES_MAX) {
        return Err(Failure::usage("a piece of a stream has at most 1MiB; --size is too large"));
    }
    check_families(load, args.to.iter().chain(&args.backend))
}

fn check_half(args: &TcpArgs) -> Result<(), Failure> {
    if args.load.requests.is_some() {
        return Err(Failure::usage("--mode half measures for a time; give --duration"));
    }
    if !args.backend.is_empty() {
        return Err(Failure::usage("--mode half compares with and without the halves; --backend has no place in it"));
    }
    let output = &args.load.output;
    if [&output.json_file, &output.hgrm, &output.hdr_log, &output.csv].into_iter().any(Option::is_some) {
        return Err(Failure::usage("--mode half measures many runs; of its results there is --json, and no file"));
    }
    if args.size == Some(1) {
        return Err(Failure::usage("a message of one byte has no half; --size is too small"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use balance_engine::driver::Target;
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
        Plan::tcp(&args).map_err(|e| e.message)
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
        assert_eq!((plan.limit, plan.warm), (Limit::After(super::super::DURATION), super::super::WARM));
        let plan = parsed("--proxy 127.0.0.1:1 --requests 5").unwrap();
        assert_eq!((plan.limit, plan.warm), (Limit::Requests(5), Duration::ZERO));
        let plan = parsed("--to 127.0.0.1:1 --mode stream-up").unwrap();
        assert_eq!((plan.size, plan.warm), (65_536, super::super::WARM));
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
        refused("--to 127.0.0.1:1 --mode half --csv x", "no file");
        refused("--to 127.0.0.1:1 --pid 0", "--pid");
        refused("--to 127.0.0.1:1 --mode stream-up --rate 5", "--mode stream-up");
        refused("--to 127.0.0.1:1 --rate fast", "a second");
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
