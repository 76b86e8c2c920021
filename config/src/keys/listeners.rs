//! Sections about what is accepted.

use super::{Default, KEEPALIVE_IDLE, Key, Kind, NODELAY, Section, TIMEOUT_OR_NEVER, V0_1, Word, word};

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
