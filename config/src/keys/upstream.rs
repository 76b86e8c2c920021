//! Sections about HTTP with endpoints.

use std::time::Duration;

use super::{Default, Key, Kind, Section, TIMEOUT_OR_NEVER, Word, integer, word};

/// For keys that the cluster and performance.connection_pool share.
pub(super) const POOL_SIZE: Kind = Kind::Limit { min: 0, max: 1 << 24 };
pub(super) const CONNECTIONS_MAX: Kind = Kind::Limit { min: 1, max: 1 << 24 };
pub(super) const POOL_IDLE: Kind =
    Kind::Duration { min: Duration::from_millis(1), max: super::DAY, whole_seconds: false, never: true };

pub static POOL: Section = Section {
    path: "clusters.*.pool",
    header: "[clusters.NAME.pool]",
    doc: "Connections to endpoints that are kept for the next request.",
    more: "For listeners with protocol = \"http\". Each shard keeps its own.",
    keys: &[
        Key::live(
            "max_idle",
            POOL_SIZE,
            Default::Is("unlimited"),
            "Connections without a request that the cluster keeps, over all shards and endpoints.",
        )
        .more("Keeps many shards from hoarding connections to endpoints that could be served by a few."),
        Key::live(
            "max_idle_per_host",
            POOL_SIZE,
            Default::Absent("as performance.connection_pool says"),
            "Connections without a request to one endpoint, over all shards. 0 keeps none.",
        ),
        Key::live(
            "max_conns_per_host",
            CONNECTIONS_MAX,
            Default::Absent("as performance.connection_pool says"),
            "Connections to one endpoint, over all shards, where the endpoint has no max_connections of its own.",
        ),
        Key::live(
            "idle_timeout",
            POOL_IDLE,
            Default::Absent("as performance.connection_pool says"),
            "How long a connection without a request is kept.",
        )
        .more("Shorter than what the endpoint itself allows, or it will now and then close one just as it is used."),
        Key::live(
            "max_requests",
            Kind::Limit { min: 1, max: u32::MAX as u64 },
            Default::Is("unlimited"),
            "Requests on one connection; then it is closed.",
        ),
        Key::live(
            "max_age",
            TIMEOUT_OR_NEVER,
            Default::Is("never"),
            "How old a connection may become; then it is closed after its request.",
        )
        .more("So that new endpoints behind one address get their share."),
    ],
};

pub static CLUSTER_TIMEOUTS: Section = Section {
    path: "clusters.*.timeouts",
    header: "[clusters.NAME.timeouts]",
    doc: "How long an endpoint may take to answer a request.",
    more: "For listeners with protocol = \"http\".",
    keys: &[
        Key::live(
            "response",
            TIMEOUT_OR_NEVER,
            Default::Is("never"),
            "From the last byte of the request to the head of the response. Then 504.",
        )
        .more("Not the end of long requests: an endpoint that has begun to answer is left to it."),
        Key::live(
            "per_try",
            TIMEOUT_OR_NEVER,
            Default::Is("never"),
            "From the choice of an endpoint to the head of its response. Then the next try, or 504.",
        ),
    ],
};

pub static RETRY: Section = Section {
    path: "clusters.*.retry",
    header: "[clusters.NAME.retry]",
    doc: "When a request is sent to another endpoint.",
    more: "For listeners with protocol = \"http\". How often a connect is tried says connect_attempts.",
    keys: &[
        Key::live("attempts", integer(1, 10), Default::Is("2"), "Tries of one request, the first one included."),
        Key::live("on", Kind::Words(RETRY_ON), Default::Is("connect,unsent,reset"), "What is tried again.")
            .more("A request whose body has been forwarded in part is never tried again."),
        Key::live(
            "budget",
            Kind::Percent { max: 100 },
            Default::Is("20%"),
            "Further tries of the cluster in comparison to its requests, over the last ten seconds.",
        )
        .more("It keeps tries from becoming the load that an ailing cluster breaks under."),
        Key::live(
            "budget_min",
            integer(0, 1_000_000),
            Default::Is("10"),
            "Further tries per second that are allowed whatever the budget says.",
        ),
    ],
};

static RETRY_ON: &[Word] = &[
    word("connect", "No connection came about. For any method."),
    word("unsent", "A kept connection turned out to be closed before the endpoint took any of it. For any method."),
    word("reset", "The connection ended before a byte of the response. For GET, HEAD, OPTIONS, TRACE, PUT and DELETE."),
];
