//! Every key of the file, once: its type, default, meaning and history.
//!
//! The parser, its errors, the defaults, the effective output, the schema and the reference are all made from this
//! table. A key that is not here does not exist.

mod clusters;
mod listeners;
mod process;

use std::time::Duration;

pub use self::{
    clusters::{CLUSTERS, ENDPOINTS},
    listeners::LISTENERS,
    process::{ADMIN, BUFFER_POOL, DRAIN, LOGGING, RUNTIME, SHARD},
};

/// A table of the file and the keys in it.
#[derive(Debug)]
pub struct Section {
    /// `runtime`, `listeners[]`, `clusters.*`, `clusters.*.endpoints[]`.
    pub path: &'static str,
    pub doc: &'static str,
    pub keys: &'static [Key],
}

#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub default: Default,
    /// True exactly when a reload applies a change; otherwise a reload says that a restart is needed.
    pub reloadable: bool,
    /// The first version that has the key.
    pub since: &'static str,
    /// One line.
    pub doc: &'static str,
}

/// What a key holds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `"auto"`, `"0-3,8"`, or an array of integers.
    Cores,
    Bool,
    Integer {
        min: u64,
        max: u64,
        power_of_two: bool,
    },
    /// `"1m30s"`; `never` allows `"never"` too.
    Duration {
        min: Duration,
        max: Duration,
        /// Seconds are what the kernel counts here.
        whole_seconds: bool,
        never: bool,
    },
    /// `"64KiB"` or a number of bytes.
    Size {
        min: u64,
        max: u64,
        power_of_two: bool,
    },
    /// One of a few words.
    Word(&'static [Word]),
    /// The name of a listener, by which others and overrides refer to it.
    Name,
    /// The name of a cluster that exists.
    ClusterName,
    /// An address to listen on.
    Bind,
    /// One address to listen on, or a list of them.
    Binds,
    /// Where an endpoint is.
    EndpointAddress,
    /// A list of addresses, or of tables with the keys of this section.
    Endpoints(&'static Section),
}

#[derive(Debug)]
pub struct Word {
    pub name: &'static str,
    /// The word it stands for: itself, or the one it is another name of.
    pub means: &'static str,
    pub doc: &'static str,
    /// Why a word that people will try is refused.
    pub refused: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
pub enum Default {
    /// The file must say.
    Required,
    /// As it would be written, without quotes.
    Is(&'static str),
    /// No value, and what that means.
    Absent(&'static str),
}

impl Section {
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// All sections, in the order of the reference.
pub static SECTIONS: &[&Section] =
    &[&RUNTIME, &SHARD, &BUFFER_POOL, &ADMIN, &LOGGING, &DRAIN, &LISTENERS, &CLUSTERS, &ENDPOINTS];

const V0_1: &str = "0.1.0";
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

const fn duration(min: Duration, max: Duration) -> Kind {
    Kind::Duration { min, max, whole_seconds: false, never: false }
}

const TIMEOUT_OR_NEVER: Kind =
    Kind::Duration { min: Duration::from_millis(1), max: YEAR, whole_seconds: false, never: true };
/// TCP_KEEPIDLE takes 1 to 32767 seconds; 9 hours are the last that read well.
const KEEPALIVE: Kind =
    Kind::Duration { min: SECOND, max: Duration::from_secs(9 * 3600), whole_seconds: true, never: true };
const fn word(name: &'static str, doc: &'static str) -> Word {
    Word { name, means: name, doc, refused: None }
}

const NODELAY: Key = Key {
    name: "nodelay",
    kind: Kind::Bool,
    default: Default::Is("true"),
    reloadable: true,
    since: V0_1,
    doc: "Send small messages at once (TCP_NODELAY).",
};

const KEEPALIVE_IDLE: Key = Key {
    name: "keepalive",
    kind: KEEPALIVE,
    default: Default::Is("1m"),
    reloadable: true,
    since: V0_1,
    doc: "Idle time before the kernel asks whether the peer is still there. \"never\" does not ask.",
};
