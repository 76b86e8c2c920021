//! Every key of the file, once: its type, default, meaning and history.
//!
//! The parser, its errors, the defaults, the effective output, the schema and the reference are all made from this
//! table. A key that is not here does not exist.

use std::time::Duration;

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
/// A page at least, because the kernel lends rings by pages; beyond 64 MiB one buffer would be most of a shard.
const BUFFER_SIZE: Kind = Kind::Size { min: 4 << 10, max: 64 << 20, power_of_two: true };

const fn word(name: &'static str, doc: &'static str) -> Word {
    Word { name, means: name, doc, refused: None }
}

pub static RUNTIME: Section = Section {
    path: "runtime",
    doc: "Where shards run and on which driver.",
    keys: &[
        Key {
            name: "cores",
            kind: Kind::Cores,
            default: Default::Is("auto"),
            reloadable: false,
            since: V0_1,
            doc: "Cores to run shards on: \"auto\" for every core this process may use, \"0-3\", \"0,2,4-7\", [0, 2].",
        },
        Key {
            name: "shards_per_core",
            kind: Kind::Integer { min: 1, max: 64, power_of_two: false },
            default: Default::Is("1"),
            reloadable: false,
            since: V0_1,
            doc: "Shards on each core. More than one only makes sense in tests.",
        },
        Key {
            name: "io",
            kind: Kind::Word(IO),
            default: Default::Is("auto"),
            reloadable: false,
            since: V0_1,
            doc: "The driver that talks to the kernel.",
        },
        Key {
            name: "require_io_uring",
            kind: Kind::Bool,
            default: Default::Is("false"),
            reloadable: false,
            since: V0_1,
            doc: "Refuse to start where io_uring cannot run.",
        },
    ],
};

static IO: &[Word] = &[
    word("auto", "io_uring where a probe at start succeeds, else epoll."),
    word("uring", "io_uring."),
    word("epoll", "epoll, for kernels and containers without io_uring."),
];

pub static SHARD: Section = Section {
    path: "performance.shard",
    doc: "How much one shard takes on.",
    keys: &[
        Key {
            name: "max_tasks",
            kind: Kind::Integer { min: 1, max: 1 << 24, power_of_two: false },
            default: Default::Is("65536"),
            reloadable: false,
            since: V0_1,
            doc: "Tasks that may live at once on a shard; a forwarded connection is one.",
        },
        Key {
            name: "queue_size",
            kind: Kind::Integer { min: 0, max: 1 << 24, power_of_two: false },
            default: Default::Is("10000"),
            reloadable: false,
            since: V0_1,
            doc: "Tasks that may wait for admission beyond that, before the shard stops accepting.",
        },
        Key {
            name: "max_idle_time",
            kind: duration(Duration::ZERO, HOUR),
            default: Default::Is("10s"),
            reloadable: false,
            since: V0_1,
            doc: "How long memory freed after a burst is kept before the system gets it back.",
        },
    ],
};

pub static BUFFER_POOL: Section = Section {
    path: "performance.buffer_pool",
    doc: "Sizes of the buffers, and what all of them together may take.",
    keys: &[
        Key {
            name: "small_size",
            kind: BUFFER_SIZE,
            default: Default::Is("4KiB"),
            reloadable: false,
            since: V0_1,
            doc: "Small buffers, which receive most messages. A power of two, as the other sizes.",
        },
        Key {
            name: "medium_size",
            kind: BUFFER_SIZE,
            default: Default::Is("32KiB"),
            reloadable: false,
            since: V0_1,
            doc: "Medium buffers. Larger than small_size.",
        },
        Key {
            name: "large_size",
            kind: BUFFER_SIZE,
            default: Default::Is("64KiB"),
            reloadable: false,
            since: V0_1,
            doc: "Large buffers. Larger than medium_size.",
        },
        Key {
            name: "huge_size",
            kind: BUFFER_SIZE,
            default: Default::Is("1MiB"),
            reloadable: false,
            since: V0_1,
            doc: "Huge buffers. Larger than large_size.",
        },
        Key {
            name: "ring_buffers",
            kind: Kind::Integer { min: 16, max: 32_768, power_of_two: true },
            default: Default::Is("1024"),
            reloadable: false,
            since: V0_1,
            doc: "Small buffers that a shard lends to its receive ring, at most. A power of two.",
        },
        Key {
            name: "memory_max",
            kind: Kind::Size { min: 64 << 10, max: 1 << 44, power_of_two: false },
            default: Default::Is("64MiB"),
            reloadable: false,
            since: V0_1,
            doc: "What the buffers of all shards together may take. At least ring_buffers times small_size.",
        },
    ],
};

pub static ADMIN: Section = Section {
    path: "admin",
    doc: "The HTTP endpoint for operators.",
    keys: &[Key {
        name: "listen",
        kind: Kind::Bind,
        default: Default::Absent("a unix socket with mode 0600 in the runtime directory"),
        reloadable: false,
        since: V0_1,
        doc: "\"127.0.0.1:9901\" or \"unix:/path\". Whoever reaches it controls the proxy.",
    }],
};

pub static LOGGING: Section = Section {
    path: "logging",
    doc: "What is logged, and how it looks.",
    keys: &[
        Key {
            name: "level",
            kind: Kind::Word(LEVELS),
            default: Default::Is("info"),
            reloadable: true,
            since: V0_1,
            doc: "The least important messages that are still logged.",
        },
        Key {
            name: "format",
            kind: Kind::Word(FORMATS),
            default: Default::Is("text"),
            reloadable: false,
            since: V0_1,
            doc: "How a message is written.",
        },
    ],
};

static LEVELS: &[Word] = &[
    word("error", "Something failed that somebody must look at."),
    word("warn", "Something works, but hardly as meant."),
    word("info", "Starts, stops, reloads, endpoints that come and go."),
    word("debug", "Every connection."),
    word("trace", "Every step."),
];

static FORMATS: &[Word] = &[word("text", "Lines for people."), word("json", "One JSON object a line.")];

pub static DRAIN: Section = Section {
    path: "drain",
    doc: "What SIGTERM does before the process ends.",
    keys: &[
        Key {
            name: "min",
            kind: duration(Duration::ZERO, DAY),
            default: Default::Is("5s"),
            reloadable: true,
            since: V0_1,
            doc: "How long accepting goes on after readiness has failed, so that load balancers notice.",
        },
        Key {
            name: "deadline",
            kind: duration(Duration::ZERO, DAY),
            default: Default::Is("30s"),
            reloadable: true,
            since: V0_1,
            doc: "When the last connections are closed, counted from the signal. Not before min.",
        },
    ],
};

pub static LISTENERS: Section = Section {
    path: "listeners[]",
    doc: "An address that accepts connections, and where they go.",
    keys: &[
        Key {
            name: "name",
            kind: Kind::Name,
            default: Default::Required,
            reloadable: true,
            since: V0_1,
            doc: "Letters, digits, '.', '_' and '-', at most 64. Metrics, logs and overrides use it.",
        },
        Key {
            name: "bind",
            kind: Kind::Binds,
            default: Default::Required,
            reloadable: true,
            since: V0_1,
            doc: "\"0.0.0.0:80\", \":80\" for IPv4 and IPv6, \"[::1]:80\", \"unix:/path\", or a list of these.",
        },
        Key {
            name: "protocol",
            kind: Kind::Word(PROTOCOLS),
            default: Default::Is("tcp"),
            reloadable: true,
            since: V0_1,
            doc: "What the connections carry.",
        },
        Key {
            name: "cluster",
            kind: Kind::ClusterName,
            default: Default::Required,
            reloadable: true,
            since: V0_1,
            doc: "The cluster that connections are forwarded to.",
        },
        Key {
            name: "idle_timeout",
            kind: TIMEOUT_OR_NEVER,
            default: Default::Is("1h"),
            reloadable: true,
            since: V0_1,
            doc: "A connection ends when no byte has moved in either direction for so long. \"never\" keeps it.",
        },
        Key {
            name: "half_close_timeout",
            kind: TIMEOUT_OR_NEVER,
            default: Default::Is("1m"),
            reloadable: true,
            since: V0_1,
            doc: "The same once one side has closed its half.",
        },
        Key {
            name: "ipv6_only",
            kind: Kind::Bool,
            default: Default::Is("false"),
            reloadable: true,
            since: V0_1,
            doc: "\"[::]:80\" and \":80\" take IPv4 too unless this is set.",
        },
        Key {
            name: "backlog",
            kind: Kind::Integer { min: 1, max: 65_535, power_of_two: false },
            default: Default::Is("4096"),
            reloadable: true,
            since: V0_1,
            doc: "Connections that may wait to be accepted. The kernel caps it at net.core.somaxconn.",
        },
        NODELAY,
        KEEPALIVE_IDLE,
    ],
};

static PROTOCOLS: &[Word] = &[
    word("tcp", "Bytes, forwarded as they come."),
    Word {
        name: "http",
        means: "tcp",
        doc: "",
        refused: Some("this version forwards TCP; with protocol = \"tcp\", HTTP passes through unread"),
    },
];

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

pub static CLUSTERS: Section = Section {
    path: "clusters.*",
    doc: "Endpoints that serve the same thing, and how one is chosen.",
    keys: &[
        Key {
            name: "policy",
            kind: Kind::Word(POLICIES),
            default: Default::Is("round-robin"),
            reloadable: true,
            since: V0_1,
            doc: "How an endpoint is chosen for a connection.",
        },
        Key {
            name: "endpoints",
            kind: Kind::Endpoints(&ENDPOINTS),
            default: Default::Required,
            reloadable: true,
            since: V0_1,
            doc: "\"IP:port\", \"unix:/path\" or { address = …, weight = … }, in a list. Empty refuses connections.",
        },
        Key {
            name: "connect_timeout",
            kind: duration(Duration::from_millis(1), HOUR),
            default: Default::Is("2s"),
            reloadable: true,
            since: V0_1,
            doc: "How long one attempt to connect to an endpoint may take.",
        },
        Key {
            name: "connect_attempts",
            kind: Kind::Integer { min: 1, max: 255, power_of_two: false },
            default: Default::Is("3"),
            reloadable: true,
            since: V0_1,
            doc: "Endpoints tried for one connection before it is given up.",
        },
        Key {
            name: "fail_timeout",
            kind: duration(Duration::ZERO, DAY),
            default: Default::Is("5s"),
            reloadable: true,
            since: V0_1,
            doc: "How long an endpoint that could not be connected to is passed over.",
        },
        NODELAY,
        KEEPALIVE_IDLE,
    ],
};

static POLICIES: &[Word] = &[
    word("round-robin", "One after the other. Weights are ignored."),
    word("weighted-round-robin", "In turn, in proportion to weight and without clumps."),
    word("least-connections", "The fewest connections, divided by weight."),
    Word {
        name: "weighted-least-connections",
        means: "least-connections",
        doc: "Another name of least-connections, which heeds weights.",
        refused: None,
    },
    word("random-two", "Two at random; the one with fewer connections, divided by weight, wins."),
];

pub static ENDPOINTS: Section = Section {
    path: "clusters.*.endpoints[]",
    doc: "One endpoint of a cluster.",
    keys: &[
        Key {
            name: "address",
            kind: Kind::EndpointAddress,
            default: Default::Required,
            reloadable: true,
            since: V0_1,
            doc: "\"IP:port\" or \"unix:/path\".",
        },
        Key {
            name: "weight",
            kind: Kind::Integer { min: 1, max: 65_535, power_of_two: false },
            default: Default::Is("1"),
            reloadable: true,
            since: V0_1,
            doc: "Its share in comparison to the others, for every policy but round-robin.",
        },
    ],
};
