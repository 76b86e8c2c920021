//! What may be typed after `balance-shard bench duel`.

use super::find::Given;
use crate::values;
use balance_engine::cores::Request;
use std::{path::PathBuf, time::Duration};

#[derive(Debug, clap::Args)]
pub struct DuelArgs {
    /// Scenarios: names (see --list) or files (the decisive ones unless given)
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenarios: Vec<String>,
    /// Who takes part, in this order: names (see --list), or all (those marked in --list unless given)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) proxies: Vec<String>,
    /// Whose figures are 1 in the ratios (haproxy where it takes part, else the first)
    #[arg(long, value_name = "NAME")]
    pub(crate) reference: Option<String>,
    /// In each of them every proxy has its turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// How long to measure, each time
    #[arg(short, long, value_name = "TIME", default_value = "2s", value_parser = values::time_span)]
    pub(crate) duration: Duration,
    /// Load before measuring
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = values::duration)]
    pub(crate) warm: Duration,
    /// The core of the proxy (the first one unless given)
    #[arg(long, value_name = "N")]
    pub(crate) proxy_core: Option<u16>,
    /// The cores of servers and load (all others unless given)
    #[arg(long, value_name = "LIST", default_value = "auto", value_parser = values::cores)]
    pub(crate) load_cores: Request,
    /// Before every other process of the machine (SCHED_RR; nice -20 where that is not allowed)
    #[arg(long)]
    pub(crate) rt: bool,
    /// Stay in the network namespace of the machine, with its settings
    #[arg(long)]
    pub(crate) host_network: bool,
    /// A turn in which the proxy waited for its core longer than 12 % of the time is taken again, so often at most
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) retries: u32,
    /// The program of a proxy (and of its variants)
    #[arg(long, value_name = "NAME=PATH", value_parser = given)]
    pub(crate) bin: Vec<Given>,
    /// Another value for the proxies that have one of that name
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) set: Vec<(String, String)>,
    /// A directory with more proxies, or other ones in place of ours
    #[arg(long, value_name = "DIR")]
    pub(crate) proxy_files: Option<PathBuf>,
    /// List scenarios and proxies, and what is missing, and measure nothing
    #[arg(long)]
    pub(crate) list: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the JSON object to a file, too
    #[arg(long, value_name = "FILE")]
    pub(crate) json_file: Option<PathBuf>,
    /// Write a page with plots
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.into(), value.into()))
}

fn given(text: &str) -> Result<Given, String> {
    let (name, path) = pair(text).map_err(|_| "write NAME=PATH")?;
    Ok(Given { name, path: path.into() })
}
