//! Sections about where connections go.

use std::time::Duration;

use super::{
    CONNECTIONS, DAY, Default, HOUR, KEEPALIVE_IDLE, Key, Kind, NODELAY, Section, Word, duration, integer,
    upstream::{CLUSTER_TIMEOUTS, POOL, RETRY},
    word,
};

const WEIGHT: Kind = integer(1, 65_535);

pub static CLUSTERS: Section = Section {
    path: "clusters.*",
    header: "[clusters.NAME]",
    doc: "Endpoints that serve the same thing, and how one is chosen.",
    more: "A name is made of letters, digits, '.', '_' and '-'; one with a dot stands in quotes: `[clusters.\"app.v2\"]`.",
    keys: &[
        Key::live(
            "policy",
            Kind::Word(POLICIES),
            Default::Is("round-robin"),
            "How an endpoint is chosen for a connection.",
        ),
        Key::live(
            "endpoints",
            Kind::Endpoints(&ENDPOINTS),
            Default::Required,
            "\"IP:port\", \"name:port\", \"unix:/path\" or `{ address = …, weight = … }`, in a list. Empty refuses connections.",
        ),
        Key::live(
            "connect_timeout",
            duration(Duration::from_millis(1), HOUR),
            Default::Is("2s"),
            "How long one attempt to connect to an endpoint may take.",
        ),
        Key::live(
            "connect_attempts",
            integer(1, 255),
            Default::Is("3"),
            "Endpoints tried for one connection before it is given up.",
        )
        .more(
            "Each attempt goes to another endpoint while there is one. The client may wait connect_timeout times \
               this.",
        ),
        Key::live(
            "fail_timeout",
            duration(Duration::ZERO, DAY),
            Default::Is("5s"),
            "How long an endpoint that could not be connected to is passed over.",
        )
        .more(
            "Then one connection tries it, and the others follow when that succeeds. When every endpoint is passed \
               over, they are tried all the same. \"0s\" passes over none.",
        ),
        Key::live(
            "max_connections",
            CONNECTIONS,
            Default::Is("unlimited"),
            "Connections to this cluster at once, over all shards and listeners.",
        )
        .more(
            "The limit is exact: there are never more, and one busy shard can use it all. What comes then waits in \
               the queue, or is closed at once where there is none.",
        ),
        Key::live(
            "proxy_protocol",
            Kind::Word(PROXY_VERSIONS),
            Default::Absent("none is sent"),
            "Send endpoints a PROXY header with the address of the client before its first byte.",
        )
        .more(
            "The endpoint must expect it: to one that does not, the header is garbage at the start of every \
               connection.",
        ),
        NODELAY,
        KEEPALIVE_IDLE,
        Key::live(
            "queue",
            Kind::Table(&QUEUE),
            Default::Parts,
            "Connections that wait when max_connections is reached.",
        ),
        Key::live(
            "pool",
            Kind::Table(&POOL),
            Default::Parts,
            "Connections to endpoints that are kept for the next request.",
        ),
        Key::live(
            "timeouts",
            Kind::Table(&CLUSTER_TIMEOUTS),
            Default::Parts,
            "How long an endpoint may take to answer a request.",
        ),
        Key::live("retry", Kind::Table(&RETRY), Default::Parts, "When a request is sent to another endpoint."),
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

static PROXY_VERSIONS: &[Word] =
    &[word("v1", "One line of text, at most 107 bytes."), word("v2", "Binary, and cheaper to read.")];

pub static QUEUE: Section = Section {
    path: "clusters.*.queue",
    header: "[clusters.NAME.queue]",
    doc: "Connections that wait when max_connections of the cluster, or of every endpoint that could be chosen, is reached.",
    more: "Nothing is read from a connection that waits, so it costs its socket and little else.",
    keys: &[
        Key::live(
            "size",
            integer(0, 1 << 24),
            Default::Is("0"),
            "How many may wait, over all shards. 0 is none: what is over the limit is closed at once.",
        ),
        Key::live(
            "timeout",
            duration(Duration::from_millis(1), HOUR),
            Default::Is("5s"),
            "How long one may wait before it is closed.",
        )
        .more("Shorter than the client's own patience, or endpoints will serve clients that have left."),
    ],
};

pub static ENDPOINTS: Section = Section {
    path: "clusters.*.endpoints[]",
    header: "an endpoint",
    doc: "One endpoint of a cluster, where an address alone does not say enough.",
    more: "Written inside of the list, `{ address = \"10.0.0.1:80\", weight = 2 }`, or as `[[clusters.NAME.endpoints]]`.",
    keys: &[
        Key::live("address", Kind::EndpointAddress, Default::Required, "\"IP:port\", \"name:port\" or \"unix:/path\".")
            .more("A name is looked up as the section dns says, and each of its addresses is an endpoint of its own."),
        Key::live(
            "weight",
            WEIGHT,
            Default::Is("1"),
            "Its share in comparison to the others, for every policy but round-robin.",
        )
        .more("Each address of a name has it."),
        Key::live(
            "max_connections",
            CONNECTIONS,
            Default::Is("unlimited"),
            "Connections to this endpoint at once, over all shards. It is passed over when it is full.",
        )
        .more("Each address of a name has it."),
    ],
};
