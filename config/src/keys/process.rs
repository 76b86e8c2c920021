//! Sections about the process as a whole.

use std::time::Duration;

use super::{DAY, Default, HOUR, Key, Kind, Section, V0_1, Word, duration, word};

/// A page at least, because the kernel lends rings by pages; beyond 64 MiB one buffer would be most of a shard.
const BUFFER_SIZE: Kind = Kind::Size { min: 4 << 10, max: 64 << 20, power_of_two: true };

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
