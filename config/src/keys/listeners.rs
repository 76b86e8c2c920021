//! Sections about what is accepted.

use super::{
    CONNECTIONS, Default, FORWARDS, HTTP, KEEPALIVE_IDLE, Key, Kind, NODELAY, PATIENCE, ROUTES, Section,
    TIMEOUT_OR_NEVER, Word, integer, size, word,
};

pub static LISTENERS: Section = Section {
    path: "listeners[]",
    header: "[[listeners]]",
    doc: "An address that accepts connections, and where they go.",
    more: "A reload opens sockets that are new, keeps those that are the same, and closes those that are gone; \
           connections that exist go on as they began.",
    keys: &[
        Key::live(
            "name",
            Kind::Name,
            Default::Required,
            "Letters, digits, '.', '_' and '-', at most 64. Metrics, logs and overrides use it.",
        ),
        Key::live(
            "bind",
            Kind::Binds,
            Default::Required,
            "\"0.0.0.0:80\", \":80\" for IPv4 and IPv6, \"[::1]:80\", \"unix:/path\", or a list of these.",
        )
        .more("Port 0 lets the kernel choose; the line `listening` at start says what it chose."),
        Key::live("protocol", Kind::Word(PROTOCOLS), Default::Is("tcp"), "What the connections carry."),
        Key::live(
            "cluster",
            Kind::ClusterName,
            Default::RequiredWithout(&["routes"]),
            "The cluster that connections or requests are forwarded to; with routes, those that match none of them.",
        )
        .more(
            "A listener that has routes may do without: a connection that matches none is then refused, and a request \
               gets 404.",
        ),
        Key::live(
            "forward",
            Kind::Word(FORWARDS),
            Default::Absent("as runtime.forward says"),
            "How bytes get from socket to socket, if this listener shall differ from runtime.forward.",
        ),
        Key::live(
            "max_connections",
            CONNECTIONS,
            Default::Is("unlimited"),
            "Connections of this listener at once, over all shards. What comes then waits in the kernel's queue.",
        )
        .more(
            "The limit is exact: there are never more, and one busy shard can use it all. The queue of the kernel \
               is as long as backlog says; each shard has accepted one connection of it at most, which waits its turn.",
        ),
        Key::live(
            "allow",
            Kind::Networks { may_be_empty: true },
            Default::Absent("everybody"),
            "Clients that may connect: a list of networks such as \"10.0.0.0/8\" and single addresses.",
        )
        .more(
            "What counts is the address of the client, so the one in the PROXY header where one was taken. A client \
               that comes over IPv4 to \"[::]:80\" has its IPv4 address here. Clients of a unix socket have no address \
               and are not asked.",
        ),
        Key::live(
            "deny",
            Kind::Networks { may_be_empty: true },
            Default::Absent("nobody"),
            "Clients that may not connect, even if allow has them.",
        ),
        Key::live(
            "peek_timeout",
            PATIENCE,
            Default::Is("5s"),
            "With routes: how long a client may take to send its whole ClientHello.",
        )
        .only("tcp")
        .more(
            "Counted from accept, or from the end of a PROXY header; no byte prolongs it. Then the connection is \
               closed, unless the client has said nothing at all: it may wait for the server to speak first, and goes \
               to the cluster of the listener if there is one.",
        ),
        Key::live(
            "peek_bytes_max",
            size(1 << 10, 64 << 10),
            Default::Is("16KiB"),
            "With routes: how large a ClientHello may be, its record headers included.",
        )
        .only("tcp")
        .more(
            "A client with post-quantum keys and a long list of extensions sends 2 to 4 KiB. A larger ClientHello \
               than this closes the connection.",
        ),
        Key::live(
            "idle_timeout",
            TIMEOUT_OR_NEVER,
            Default::Is("1h"),
            "A connection ends when no byte has moved in either direction for so long. \"never\" keeps it.",
        )
        .more(
            "A transfer that makes progress is never cut, however long it takes. What a client or an endpoint \
             acknowledges of what the kernel still holds for it is progress too; the kernel is asked for it once \
             nothing else has moved for a quarter of this time, and then every quarter. So a connection without such \
             bytes ends after this time, and one whose reader has stopped at most a quarter of it later. Kernels \
             acknowledge by up to half of a receive buffer, so leave a slow reader the time for that much. With \
             protocol = \"http\" it holds within a request, and for what was upgraded; how long a connection may wait \
             for its next request says http.idle_timeout.",
        ),
        Key::live(
            "half_close_timeout",
            TIMEOUT_OR_NEVER,
            Default::Is("1m"),
            "The same once one side has closed its half.",
        )
        .more(
            "Once one side has reset the connection, at most a second of it: so long may the other side take nothing of \
             what was sent to it before.",
        ),
        Key::live(
            "ipv6_only",
            Kind::Bool,
            Default::Is("false"),
            "\"[::]:80\" and \":80\" take IPv4 too unless this is set.",
        ),
        Key::live(
            "backlog",
            integer(1, 65_535),
            Default::Is("4096"),
            "Connections that may wait to be accepted. The kernel caps it at net.core.somaxconn.",
        ),
        NODELAY,
        KEEPALIVE_IDLE,
        Key::live(
            "proxy_protocol",
            Kind::Table(&PROXY_PROTOCOL),
            Default::Absent("no PROXY header is looked for"),
            "Take the address of the client from a PROXY header, version 1 or 2.",
        ),
        Key::live(
            "per_ip",
            Kind::Table(&PER_IP),
            Default::Absent("no limits for a single address"),
            "Limits for each address of a client.",
        ),
        Key::live(
            "routes",
            Kind::Tables { section: &ROUTES, item: "a route" },
            Default::Absent("everything goes to cluster"),
            "Choose by what a request looks like or, on TCP, by what a TLS client asks for, undecrypted.",
        ),
        Key::live(
            "http",
            Kind::Table(&HTTP),
            Default::Parts,
            "How HTTP is spoken with clients, and what is said about them to endpoints.",
        )
        .only("http"),
    ],
};

static PROTOCOLS: &[Word] = &[
    word("tcp", "Bytes, forwarded as they come."),
    word("http", "HTTP/1.1 and 1.0: each request is read, routed and forwarded by itself."),
];

pub static PROXY_PROTOCOL: Section = Section {
    path: "listeners[].proxy_protocol",
    header: "[listeners.proxy_protocol]",
    doc: "The PROXY header that a load balancer in front sends before the first byte of the client.",
    more: "Off unless it is written. A trusted peer must send a header, of either version: a connection without one, or \
           with a malformed one, is closed. The address in the header is the client's from then on, for allow, deny, \
           per_ip, logs, and the header that a cluster sends on.",
    keys: &[
        Key::live(
            "trusted",
            Kind::Networks { may_be_empty: false },
            Default::Required,
            "Who sends a header and is believed: a list of networks and addresses.",
        )
        .more(
            "Name the load balancers and nobody else: whoever is in this list can claim any address. What counts \
               here is the address of the TCP connection. Peers of a unix socket are always trusted.",
        ),
        Key::live(
            "untrusted",
            Kind::Word(UNTRUSTED),
            Default::Is("reject"),
            "What happens to connections from everybody else.",
        ),
        Key::live("timeout", PATIENCE, Default::Is("5s"), "How long the whole header may take, from accept."),
    ],
};

static UNTRUSTED: &[Word] = &[
    word("reject", "They are closed."),
    word("plain", "They are forwarded under their own address. A header in their bytes is data like any other."),
];

pub static PER_IP: Section = Section {
    path: "listeners[].per_ip",
    header: "[listeners.per_ip]",
    doc: "Limits for each address of a client.",
    more: "Off unless it is written. Memory is bounded by entries_max, whatever comes. Clients of a unix socket have no \
           address and are not limited.",
    keys: &[
        Key::live(
            "max_connections",
            CONNECTIONS,
            Default::Is("unlimited"),
            "Connections of one address at once. What comes then is closed at once.",
        )
        .more("Mind offices and mobile networks, where hundreds of people share an address."),
        Key::live(
            "rate",
            Kind::Limit { min: 1, max: 1_000_000 },
            Default::Is("unlimited"),
            "New connections per second of one address, in the long run.",
        ),
        Key::live(
            "burst",
            integer(1, 1_000_000),
            Default::Absent("as rate"),
            "New connections of one address that may come at once, before rate counts.",
        )
        .more("Browsers open six or more at once. A burst that is used up comes back at the speed of rate."),
        Key::live("entries_max", integer(1, 1 << 24), Default::Is("65536"), "Addresses that are remembered.").more(
            "All shards share them, at 28 bytes each. Who comes while all are in use is counted together with \
                 others, and may be refused on their account; nobody ever gets more than the limits. A reload that \
                 changes this begins to count anew.",
        ),
        Key::live(
            "v6_prefix",
            integer(1, 64),
            Default::Is("64"),
            "IPv6 addresses that share so many leading bits count as one.",
        )
        .more(
            "A single customer commonly has a /64, and could otherwise come from a new address each time; 56 or 48 \
               is stricter.",
        ),
    ],
};
