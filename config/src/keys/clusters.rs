//! Sections about where connections go.

use std::time::Duration;

use super::{DAY, Default, HOUR, KEEPALIVE_IDLE, Key, Kind, NODELAY, Section, V0_1, Word, duration, word};

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
