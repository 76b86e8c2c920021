//! What a duel came to: every sample, as it is written to a file.

use crate::duel::Protocol;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What is counted in a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unit {
    Request,
    Byte,
    /// Nothing happens on them: memory is the figure.
    Connection,
}

/// Of one `bench duel`. Its keys are a promise to scripts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Duel {
    /// Always `duel`.
    pub(crate) bench: String,
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) commit: Option<String>,
    /// `{kernel, cpu, cores, memory_bytes}`.
    pub(crate) machine: Value,
    pub(crate) settings: Settings,
    /// Asked for, and not installed.
    #[serde(default)]
    pub(crate) missing: Vec<Missing>,
    pub(crate) scenarios: Vec<Contest>,
}

/// The same for everybody.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) rounds: u32,
    pub(crate) duration_s: f64,
    pub(crate) warm_s: f64,
    pub(crate) proxy_core: u16,
    /// Of the servers and the load.
    pub(crate) load_cores: Vec<u16>,
    /// What was got, in words.
    pub(crate) priority: String,
    pub(crate) network: String,
    /// Threads, time-outs and limits, as every configuration has them.
    pub(crate) equal: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Missing {
    pub(crate) proxy: String,
    pub(crate) program: String,
    pub(crate) get: String,
}

/// One scenario, and everybody in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Contest {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) protocol: Protocol,
    pub(crate) unit: Unit,
    pub(crate) server: Vec<String>,
    pub(crate) load: Vec<String>,
    /// Whose figures are 1 in the ratios.
    pub(crate) reference: String,
    pub(crate) proxies: Vec<Entrant>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entrant {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) note: Option<String>,
    /// In the order of the rounds; everybody has the same number.
    pub(crate) rounds: Vec<Round>,
}

/// A round of one proxy: one of the two is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Round {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sample: Option<Sample>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) requests_per_s: f64,
    /// Both ways.
    pub(crate) bytes_per_s: f64,
    /// Microseconds a request or seconds a GB; none where nothing is counted, or the kernel does not tell.
    pub(crate) cpu_per_unit: Option<f64>,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) p99_9_us: Option<f64>,
    pub(crate) errors: u64,
    pub(crate) connections: u64,
    /// The most that was seen of the process tree under load, shared pages divided among their users.
    pub(crate) pss_bytes: u64,
    pub(crate) rss_bytes: u64,
    /// Before the first connection.
    pub(crate) idle_pss_bytes: u64,
    /// Parts of a core that the proxy used, of all cores that servers and load had, and that the proxy's busiest thread
    /// waited for while something else had its core.
    pub(crate) proxy_busy: f64,
    pub(crate) load_busy: f64,
    pub(crate) waited: f64,
    /// What the load generator said, whole.
    pub(crate) run: Value,
}

impl Entrant {
    pub(crate) fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.rounds.iter().filter_map(|round| round.sample.as_ref())
    }

    /// The last failure, if there is no sample beside it.
    pub(crate) fn failure(&self) -> Option<&str> {
        match self.samples().next() {
            Some(_) => None,
            None => self.rounds.iter().rev().find_map(|round| round.failed.as_deref()).or(Some("it did not run")),
        }
    }

    pub(crate) fn errors(&self) -> u64 {
        self.samples().map(|sample| sample.errors).sum()
    }
}

impl Contest {
    pub(crate) fn entrant(&self, name: &str) -> Option<&Entrant> {
        self.proxies.iter().find(|entrant| entrant.name == name)
    }
}
