//! Sections about the process as a whole.

use std::time::Duration;

use super::{DAY, Default, FORWARDS, Key, Kind, MINUTE, SECOND, Section, Word, duration, integer, word};

pub static RUNTIME: Section = Section {
    path: "runtime",
    header: "[runtime]",
    doc: "Where shards run, on which driver, and how they move bytes.",
    more: "",
    keys: &[
        Key::at_start(
            "cores",
            Kind::Cores,
            Default::Is("auto"),
            "Cores to run shards on: \"auto\" for every core this process may use, \"0-3\", \"0,2,4-7\", `[0, 2]`.",
        )
        .more(
            "\"auto\" honours taskset and cpusets. Leave a core or two out where the interrupts of a fast network card \
             need them. The flag is --cores.",
        ),
        Key::at_start(
            "shards_per_core",
            integer(1, 64),
            Default::Is("1"),
            "Shards on each core. More than one only makes sense in tests.",
        ),
        Key::at_start("io", Kind::Word(IO), Default::Is("auto"), "The driver that talks to the kernel.")
            .more("The first lines at start and `balance-shard status` say which one was chosen. The flag is --io."),
        Key::at_start(
            "require_io_uring",
            Kind::Bool,
            Default::Is("false"),
            "Refuse to start where io_uring cannot run.",
        )
        .more(
            "The process then ends with exit code 71 rather than run slower than planned. Containers often forbid \
             io_uring by their seccomp profile. The flag is --require-io-uring.",
        ),
        Key::live(
            "forward",
            Kind::Word(FORWARDS),
            Default::Is("auto"),
            "How bytes get from socket to socket, for every listener that does not say otherwise.",
        )
        .more(
            "Everything but \"auto\" forces one rung on every connection, so that rungs can be compared on your own \
             hardware with `balance-shard bench`; no byte is lost on any of them. A reload holds for connections that \
             are accepted after it. The flag is --forward.",
        ),
    ],
};

static IO: &[Word] = &[
    word("auto", "io_uring where a probe at start succeeds, else epoll."),
    word("uring", "io_uring."),
    word("epoll", "epoll, for kernels and containers without io_uring."),
];

pub static ADMIN: Section = Section {
    path: "admin",
    header: "[admin]",
    doc: "The HTTP endpoint for operators.",
    more: "It serves health, readiness, status, metrics, the connection table, reload and drain.",
    keys: &[Key::at_start(
        "listen",
        Kind::Bind,
        Default::Absent("a unix socket with mode 0600 in the runtime directory"),
        "\"127.0.0.1:9901\" or \"unix:/path\". Whoever reaches it controls the proxy.",
    )
    .more(
        "There is no password: bind it to the loopback address or to a unix socket, and let a scraper of metrics on \
         another machine come through something that knows it. The flag is --admin.",
    )],
};

pub static LOGGING: Section = Section {
    path: "logging",
    header: "[logging]",
    doc: "What is logged, and how it looks.",
    more: "",
    keys: &[
        Key::live(
            "level",
            Kind::Word(LEVELS),
            Default::Is("info"),
            "The least important messages that are still logged.",
        )
        .more("The flag is --log-level, the variable BALANCE_LOG_LEVEL."),
        Key::at_start("format", Kind::Word(FORMATS), Default::Is("text"), "How a message is written.")
            .more("The flag is --log-format."),
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
    header: "[drain]",
    doc: "What SIGTERM does before the process ends.",
    more: "Readiness fails at once, accepting ends after `min`, and connections that are left at `deadline` are closed. \
           A second signal ends it there and then.",
    keys: &[
        Key::live(
            "min",
            duration(Duration::ZERO, DAY),
            Default::Is("5s"),
            "How long accepting goes on after readiness has failed, so that load balancers notice.",
        )
        .more(
            "Longer than the load balancer in front takes to believe a failing health check: its interval times the \
             failures it wants to see.",
        ),
        Key::live(
            "deadline",
            duration(Duration::ZERO, DAY),
            Default::Is("30s"),
            "When the last connections are closed, counted from the signal. Not before min.",
        )
        .more(
            "The service manager must wait longer than this before it kills (TimeoutStopSec, \
               terminationGracePeriodSeconds).",
        ),
    ],
};

pub static DNS: Section = Section {
    path: "dns",
    header: "[dns]",
    doc: "How the names of endpoints become addresses.",
    more: "Only endpoints that are written as \"name:port\" are asked for. Every address of an answer is an endpoint of \
           its own. An answer is used until its TTL has passed and a new one has come: when the resolver is down, or \
           says that there is no such name, the last good addresses stay in use, and a resolver that is down at start \
           is no reason not to start.",
    keys: &[
        Key::live(
            "servers",
            Kind::Servers,
            Default::Absent("those of /etc/resolv.conf"),
            "Resolvers to ask, in this order: \"10.0.0.2\" or \"10.0.0.2:5353\". Port 53 where none is given.",
        )
        .more("The next one is asked when one does not answer in time."),
        Key::live(
            "ttl_min",
            duration(SECOND, DAY),
            Default::Is("5s"),
            "An answer is used at least this long, even if its TTL is shorter.",
        )
        .more("It bounds the questions that a record with a TTL of 0 causes."),
        Key::live(
            "ttl_max",
            duration(SECOND, DAY),
            Default::Is("5m"),
            "An answer is used at most this long before it is asked for again, even if its TTL is longer.",
        )
        .more("Not shorter than ttl_min. It is the longest that a change of a record can go unnoticed."),
        Key::live(
            "timeout",
            duration(Duration::from_millis(10), MINUTE),
            Default::Is("2s"),
            "How long one server may take to answer one question.",
        ),
        Key::live("family", Kind::Word(FAMILIES), Default::Is("any"), "Which addresses of a name are used."),
    ],
};

static FAMILIES: &[Word] =
    &[word("any", "IPv4 and IPv6."), word("v4", "IPv4 (A records)."), word("v6", "IPv6 (AAAA records).")];
