//! Every key of the file, once: its type, default, meaning and history.
//!
//! The parser, its errors, the defaults, the effective output, the schema and the reference are all made from this
//! table. A key that is not here does not exist.

mod clusters;
mod http;
mod listeners;
mod performance;
mod process;
mod routes;
mod upstream;

use std::time::Duration;

pub use self::{
    clusters::{CLUSTERS, ENDPOINTS, QUEUE},
    http::{HTTP, HTTP_REQUEST_HEADERS, HTTP_RESPONSE_HEADERS, REQUEST_ID},
    listeners::{LISTENERS, PER_IP, PROXY_PROTOCOL},
    performance::{BUFFER_POOL, CONNECTION_POOL, FORWARD, PIPES, SHARD},
    process::{ADMIN, DNS, DRAIN, LOGGING, RUNTIME},
    routes::{
        REDIRECT, RESPONSE, REWRITE, ROUTE_CLUSTERS, ROUTE_MATCH, ROUTE_REQUEST_HEADERS, ROUTE_RESPONSE_HEADERS,
        ROUTE_TIMEOUTS, ROUTES,
    },
    upstream::{CLUSTER_TIMEOUTS, POOL, RETRY},
};
use crate::template::Scope;

/// A table of the file and the keys in it.
#[derive(Debug)]
pub struct Section {
    /// `runtime`, `listeners[]`, `listeners[].per_ip`, `clusters.*`, `clusters.*.endpoints[]`.
    pub path: &'static str,
    /// How it is written: `[runtime]`, `[[listeners]]`, `[clusters.NAME]`.
    pub header: &'static str,
    /// One line.
    pub doc: &'static str,
    /// What else an operator wants to know, in paragraphs.
    pub more: &'static str,
    pub keys: &'static [Key],
}

#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub default: Default,
    /// True exactly when a reload applies a change; otherwise a reload says that a restart is needed.
    pub reloadable: bool,
    /// For keys of listeners and what is in them: the protocol without which the key means nothing.
    pub protocol: Option<&'static str>,
    /// The first version that has the key.
    pub since: &'static str,
    /// One line.
    pub doc: &'static str,
    /// What else an operator wants to know, in paragraphs.
    pub more: &'static str,
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
    /// An integer, or `"unlimited"`.
    Limit {
        min: u64,
        max: u64,
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
    /// A list of a few words.
    Words(&'static [Word]),
    /// A share of a hundred, `"20%"`.
    Percent {
        max: u64,
    },
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
    /// A list of addresses with or without the length of a prefix.
    Networks {
        may_be_empty: bool,
    },
    /// A list of IP addresses with or without a port.
    Servers,
    /// A name that TLS clients ask for, `"*.name"`, or a list of these.
    SniPatterns,
    /// The name of a protocol in ALPN, or a list of these.
    Alpns,
    /// The name of a host as HTTP clients ask for it, `"*.name"`, or a list of these.
    Hosts,
    /// A path that starts with `/`, or a list of these.
    Paths,
    /// One path that starts with `/`.
    Path,
    /// A pattern for a whole text, or a list of these.
    Patterns,
    /// One pattern, for any part of a text.
    Pattern,
    /// The name of a method, or a list of these.
    Methods,
    /// Names, and what the value of each must be.
    Matchers(Named),
    /// The name of a header.
    HeaderName,
    /// A list of names of protocols that HTTP may be upgraded to.
    Upgrades,
    /// Text without control characters, of at most so many bytes.
    Line {
        bytes_max: usize,
    },
    /// Any text of at most so many bytes.
    Body {
        bytes_max: usize,
    },
    /// Text with variables in braces.
    Template(Scope),
    /// A table with the keys of this section.
    Table(&'static Section),
    /// A list of tables with the keys of this section. `item` is what one of them is called, with its article.
    Tables {
        section: &'static Section,
        item: &'static str,
    },
}

/// What the names of [`Kind::Matchers`] are names of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    Header,
    Query,
    Cookie,
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
    /// The file must say, unless it has one of these other keys of the section.
    RequiredWithout(&'static [&'static str]),
    /// As it would be written, without quotes.
    Is(&'static str),
    /// No value, and what that means.
    Absent(&'static str),
    /// A table that is always there; each of its keys has a default.
    Parts,
}

impl Section {
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// True for what is written inside of a listener or a cluster.
    pub fn is_nested(&self) -> bool {
        let inside = ["listeners[].", "clusters.*."];
        inside.iter().any(|outer| self.path.starts_with(outer))
    }
}

impl Key {
    /// A key that a reload applies.
    const fn live(name: &'static str, kind: Kind, default: Default, doc: &'static str) -> Self {
        Self { name, kind, default, reloadable: true, protocol: None, since: V0_1, doc, more: "" }
    }

    /// A key that is read at start.
    const fn at_start(name: &'static str, kind: Kind, default: Default, doc: &'static str) -> Self {
        Self { name, kind, default, reloadable: false, protocol: None, since: V0_1, doc, more: "" }
    }

    /// For listeners of this protocol only.
    const fn only(mut self, protocol: &'static str) -> Self {
        self.protocol = Some(protocol);
        self
    }

    const fn more(mut self, more: &'static str) -> Self {
        self.more = more;
        self
    }
}

/// All sections, in the order of the reference. What is nested follows what it is nested in.
pub static SECTIONS: &[&Section] = &[
    &RUNTIME,
    &SHARD,
    &BUFFER_POOL,
    &FORWARD,
    &PIPES,
    &CONNECTION_POOL,
    &ADMIN,
    &LOGGING,
    &DRAIN,
    &DNS,
    &LISTENERS,
    &PROXY_PROTOCOL,
    &PER_IP,
    &HTTP,
    &REQUEST_ID,
    &HTTP_REQUEST_HEADERS,
    &HTTP_RESPONSE_HEADERS,
    &ROUTES,
    &ROUTE_MATCH,
    &ROUTE_CLUSTERS,
    &REDIRECT,
    &RESPONSE,
    &REWRITE,
    &ROUTE_REQUEST_HEADERS,
    &ROUTE_RESPONSE_HEADERS,
    &ROUTE_TIMEOUTS,
    &CLUSTERS,
    &QUEUE,
    &POOL,
    &CLUSTER_TIMEOUTS,
    &RETRY,
    &ENDPOINTS,
];

const V0_1: &str = "0.1.0";
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

const fn duration(min: Duration, max: Duration) -> Kind {
    Kind::Duration { min, max, whole_seconds: false, never: false }
}

const fn integer(min: u64, max: u64) -> Kind {
    Kind::Integer { min, max, power_of_two: false }
}

const fn size(min: u64, max: u64) -> Kind {
    Kind::Size { min, max, power_of_two: false }
}

const TIMEOUT_OR_NEVER: Kind =
    Kind::Duration { min: Duration::from_millis(1), max: YEAR, whole_seconds: false, never: true };
/// For a peer that must say something before anything else happens.
const PATIENCE: Kind = duration(Duration::from_millis(1), MINUTE);
/// TCP_KEEPIDLE takes 1 to 32767 seconds; 9 hours are the last that read well.
const KEEPALIVE: Kind =
    Kind::Duration { min: SECOND, max: Duration::from_secs(9 * 3600), whole_seconds: true, never: true };
/// Permits are leased to shards in parts, and counted in 32 bits with room to add two of them.
const CONNECTIONS: Kind = Kind::Limit { min: 1, max: 1 << 30 };

const fn word(name: &'static str, doc: &'static str) -> Word {
    Word { name, means: name, doc, refused: None }
}

static FORWARDS: &[Word] = &[
    word("auto", "Each direction of each connection starts on copy and goes to the rung that suits what flows."),
    word("copy", "Receive into a buffer and send from the same buffer."),
    word("bundle", "Receive several buffers at once and send them with one operation."),
    word(
        "splice",
        "Move pages from socket to socket through a pipe, with splice(2) as soon as the ring says bytes are there.",
    ),
    word("uring-splice", "The same with IORING_OP_SPLICE, which costs the kernel a worker thread; for comparison."),
    word("send-zc", "Send from registered buffers without a copy in the kernel, which pays on a network card only."),
];

const NODELAY: Key = Key::live(
    "nodelay",
    Kind::Bool,
    Default::Is("true"),
    "Send small messages at once (TCP_NODELAY).",
)
.more(
    "Without it the kernel holds a small message back while an earlier one is not yet acknowledged, which adds up to \
         40 ms to a conversation of small messages. Unix sockets have no such delay and ignore it.",
);

const KEEPALIVE_IDLE: Key = Key::live(
    "keepalive",
    KEEPALIVE,
    Default::Is("1m"),
    "Idle time before the kernel asks whether the peer is still there. \"never\" does not ask.",
)
.more(
    "How often it asks again and when it gives up is the kernel's (net.ipv4.tcp_keepalive_intvl and \
     net.ipv4.tcp_keepalive_probes). Keep it below the time after which firewalls and NAT on the way forget a quiet \
     connection. It finds peers that vanished; it is no byte in the sense of idle_timeout. Unix sockets ignore it.",
);
