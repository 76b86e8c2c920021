//! The admin HTTP endpoint: state for people and machines, metrics, and the two orders (reload, drain).
//!
//! It never waits for a shard longer than the fleet's deadline, and its own peers cannot pin memory: connections,
//! request heads and idle time are all bounded.

mod address;
mod http_metrics;
mod metrics;
mod pages;
mod query;
mod server;
pub(crate) mod status;

pub(crate) use address::{Surroundings, find};
pub(crate) use query::duration;
pub(crate) use server::open;

/// What `POST /reload` answers, for both ends.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct ReloadAnswer {
    /// "applied" or "refused".
    pub(crate) result: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u64>,
    /// Why it was refused, all diagnostics included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The exit code for a command that asked.
    pub(crate) exit: u8,
    pub(crate) warnings: Vec<String>,
    pub(crate) needs_restart: Vec<String>,
    pub(crate) lagging_shards: Vec<u16>,
}

/// What `POST /drain` answers.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct DrainAnswer {
    /// "draining", or "draining already".
    pub(crate) result: String,
    /// When the process ends at the latest, from now.
    pub(crate) deadline_s: f64,
}
