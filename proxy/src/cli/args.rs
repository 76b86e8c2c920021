//! What may be typed.

use super::check::{Format, Strictness, check, show};
use crate::{exit::Failure, source::Origin};
use balance_config::file::Override;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{env, path::PathBuf, time::Duration};

/// An L4/L7 proxy and load balancer on pinned io_uring shards.
///
/// Without arguments it runs an embedded example with backends of its own, so that curl works at once.
#[derive(Debug, Parser)]
#[command(name = "balance-shard", version, args_conflicts_with_subcommands = true)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) run: RunArgs,
    /// Only test the configuration
    #[arg(short = 't', long)]
    pub(super) check: bool,
    /// Test the configuration and print it, defaults included
    #[arg(short = 'T', conflicts_with = "check")]
    pub(super) dump: bool,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the proxy (what happens without a command, too)
    Run(Box<StartArgs>),
    /// Test a configuration: exit 0 if it can be used, 78 if not
    Check(CheckArgs),
    /// Look at a configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Make a running proxy load its configuration again, and print the outcome
    Reload(ReloadArgs),
    /// Let a running proxy finish its connections and end
    Drain(DrainArgs),
    /// Show what a running proxy does
    Status(StatusArgs),
    /// Print the version
    Version(VersionArgs),
    /// Measure a proxy with the built-in load generator
    Bench {
        #[command(subcommand)]
        what: balance_bench::cli::Args,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the configuration as it would be used
    Show(Box<ShowArgs>),
    /// Print the JSON schema of the file, for editors
    Schema,
    /// Print the reference of every key as Markdown
    #[command(hide = true)]
    Reference,
}

#[derive(Clone, Debug, Default, Args)]
pub(super) struct RunArgs {
    /// Configuration file [env: BALANCE_CONFIG]
    #[arg(short, long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Cores to run shards on: 0-15, 0,2,4-6 or auto
    #[arg(long, value_name = "LIST")]
    pub(super) cores: Option<String>,
    /// Shards on every core; more than one only makes sense in tests
    #[arg(long, value_name = "N")]
    pub(super) shards_per_core: Option<u16>,
    /// How shards talk to the kernel
    #[arg(long, value_name = "DRIVER")]
    pub(super) io: Option<IoArg>,
    /// How bytes get from socket to socket: auto, copy, bundle, splice, uring-splice or send-zc
    #[arg(long, value_name = "RUNG")]
    pub(super) forward: Option<String>,
    /// End with 71 where io_uring cannot run, instead of falling back to epoll
    #[arg(long)]
    pub(super) require_io_uring: bool,
    /// Ring features to do without
    #[arg(long, value_name = "LIST", value_delimiter = ',', hide = true)]
    pub(super) uring_without: Vec<String>,
    /// Without a file: listen here and forward to --to [env: BALANCE_LISTEN]
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    pub(super) listen: Vec<String>,
    /// Where --listen forwards to
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    pub(super) to: Vec<String>,
    /// Admin endpoint: 127.0.0.1:9901 or unix:/run/balance/admin.sock
    #[arg(long, value_name = "ADDR")]
    pub(super) admin: Option<String>,
    /// error, warn, info, debug or trace [env: BALANCE_LOG_LEVEL]
    #[arg(long, value_name = "LEVEL")]
    pub(super) log_level: Option<String>,
    /// text or json
    #[arg(long, value_name = "FORMAT")]
    pub(super) log_format: Option<String>,
}

/// As `run` takes them.
#[derive(Debug, Args)]
pub(super) struct StartArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Configuration file, as with --config
    #[arg(value_name = "FILE", conflicts_with_all = ["config", "listen", "to"])]
    file: Option<PathBuf>,
}

impl StartArgs {
    pub(super) fn into_run(self) -> RunArgs {
        match self.file {
            Some(file) => self.run.with_file(file),
            None => self.run,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum IoArg {
    Auto,
    Uring,
    Epoll,
}

impl IoArg {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Configuration files, as with --config; each is tested by itself
    #[arg(value_name = "FILE", conflicts_with_all = ["config", "listen", "to"])]
    files: Vec<PathBuf>,
    /// How findings are printed
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Treat warnings as errors
    #[arg(long)]
    strict: bool,
}

impl CheckArgs {
    pub(super) fn check(&self, env: &Environment) -> Result<(), Failure> {
        let strictness = if self.strict { Strictness::Warnings } else { Strictness::Errors };
        if self.files.is_empty() {
            return check(&[&self.run], env, self.format, strictness);
        }
        let runs: Vec<RunArgs> = self.files.iter().map(|file| self.run.clone().with_file(file.clone())).collect();
        check(&runs.iter().collect::<Vec<_>>(), env, self.format, strictness)
    }
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    start: StartArgs,
    /// With defaults, environment and flags applied (the only view there is)
    #[arg(long)]
    effective: bool,
    /// Say where every value comes from
    #[arg(long)]
    provenance: bool,
}

impl ShowArgs {
    pub(super) fn show(self, env: &Environment) -> Result<(), Failure> {
        show(&self.start.into_run(), env, self.provenance)
    }
}

/// Which running proxy.
#[derive(Debug, Args)]
pub(super) struct At {
    /// Its admin endpoint; by default the place where one puts it by default
    #[arg(long, value_name = "ADDR")]
    pub(super) admin: Option<String>,
    /// Take the admin endpoint from its configuration file [env: BALANCE_CONFIG]
    #[arg(short, long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    pub(super) at: At,
}

#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    #[command(flatten)]
    pub(super) at: At,
    /// End connections that are left after this long, as 30s
    #[arg(long, value_name = "TIME", value_parser = crate::admin::duration)]
    pub(super) deadline: Option<Duration>,
    /// Do not wait for the process to end
    #[arg(long)]
    pub(super) no_wait: bool,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pub(super) at: At,
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct VersionArgs {
    #[arg(long)]
    pub(super) json: bool,
}

/// The variables that stand for flags. A flag beats them.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    pub(super) config: Option<PathBuf>,
    pub(super) listen: Option<String>,
    pub(super) log_level: Option<String>,
}

impl Environment {
    pub(super) fn of_process() -> Self {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        let text = |name| set(name).map(|value| value.to_string_lossy().into_owned());
        Self {
            config: set("BALANCE_CONFIG").map(PathBuf::from),
            listen: text("BALANCE_LISTEN"),
            log_level: text("BALANCE_LOG_LEVEL"),
        }
    }
}

impl RunArgs {
    /// The same, with a file that was named without a flag.
    fn with_file(self, file: PathBuf) -> Self {
        Self { config: Some(file), ..self }
    }

    /// Where the configuration comes from; `None`: nothing was said.
    ///
    /// # Errors
    /// Flags that contradict each other.
    pub(super) fn origin(&self, env: &Environment) -> Result<Option<Origin>, Failure> {
        let quick = !self.listen.is_empty() || !self.to.is_empty();
        match (&self.config, quick) {
            (Some(_), true) => Err(Failure::usage("--config and --listen/--to are two configurations; give one")),
            (Some(path), false) => Ok(Some(Origin::File(path.clone()))),
            (None, true) => self.quick(env).map(Some),
            (None, false) => Ok(env.config.clone().map(Origin::File)),
        }
    }

    fn quick(&self, env: &Environment) -> Result<Origin, Failure> {
        if self.to.is_empty() {
            return Err(Failure::usage("--listen needs --to: where shall connections go?"));
        }
        let from_env = || env.listen.iter().flat_map(|l| l.split(',')).map(str::to_owned).collect();
        let listen = if self.listen.is_empty() { from_env() } else { self.listen.clone() };
        if listen.is_empty() {
            return Err(Failure::usage("--to needs --listen (or BALANCE_LISTEN): where shall connections come from?"));
        }
        Ok(Origin::Quick { listen, to: self.to.clone() })
    }

    /// The flags that stand for keys of the configuration.
    pub(super) fn overrides(&self, env: &Environment) -> Vec<Override> {
        let mut overrides = Vec::new();
        let mut set = |path: &str, origin: &str, value: Option<String>| {
            if let Some(value) = value {
                overrides.push(Override { path: path.into(), value, origin: origin.into() });
            }
        };
        set("runtime.cores", "--cores", self.cores.clone());
        set("runtime.shards_per_core", "--shards-per-core", self.shards_per_core.map(|n| n.to_string()));
        set("runtime.io", "--io", self.io.map(|io| io.as_str().into()));
        let required = self.require_io_uring.then(|| "true".into());
        set("runtime.require_io_uring", "--require-io-uring", required);
        set("runtime.forward", "--forward", self.forward.clone());
        set("admin.listen", "--admin", self.admin.clone());
        match &self.log_level {
            Some(level) => set("logging.level", "--log-level", Some(level.clone())),
            None => set("logging.level", "BALANCE_LOG_LEVEL", env.log_level.clone()),
        }
        set("logging.format", "--log-format", self.log_format.clone());
        overrides
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn run(args: &[&str]) -> RunArgs {
        let all = std::iter::once(&"balance-shard").chain(args);
        Cli::try_parse_from(all).unwrap().run
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_flag_beats_the_environment() {
        let env = Environment {
            config: Some("/env.toml".into()),
            listen: Some(":1".into()),
            log_level: Some("debug".into()),
        };
        let origin = |args: &[&str]| run(args).origin(&env).unwrap();
        assert_eq!(origin(&["-c", "/flag.toml"]), Some(Origin::File("/flag.toml".into())));
        assert_eq!(origin(&[]), Some(Origin::File("/env.toml".into())));
        let quick = |listen: &str| Some(Origin::Quick { listen: vec![listen.into()], to: vec![":2".into()] });
        assert_eq!(origin(&["--to", ":2"]), quick(":1"));
        assert_eq!(origin(&["--to", ":2", "--listen", ":3"]), quick(":3"));
        let level = |args: &[&str]| run(args).overrides(&env)[0].clone();
        assert_eq!(level(&[]).origin, "BALANCE_LOG_LEVEL");
        assert_eq!(level(&["--log-level", "warn"]).value, "warn");
    }

    #[test]
    fn contradictions_are_usage_errors() {
        let env = Environment::default();
        for args in [&["--listen", ":1"][..], &["--to", ":1"], &["-c", "f", "--listen", ":1", "--to", ":2"]] {
            assert!(run(args).origin(&env).is_err(), "{args:?}");
        }
        assert_eq!(run(&[]).origin(&env).unwrap(), None);
    }

    #[test]
    fn flags_become_overrides_of_keys() {
        let args =
            run(&["--cores", "0-3", "--io", "epoll", "--require-io-uring", "--forward", "copy", "--admin", "unix:/a"]);
        let overrides = args.overrides(&Environment::default());
        let pairs: Vec<_> = overrides.iter().map(|o| (o.path.as_str(), o.value.as_str())).collect();
        let expected = [
            ("runtime.cores", "0-3"),
            ("runtime.io", "epoll"),
            ("runtime.require_io_uring", "true"),
            ("runtime.forward", "copy"),
            ("admin.listen", "unix:/a"),
        ];
        assert_eq!(pairs, expected);
    }
}
