//! Sections about HTTP with clients.

use super::{DAY, Default, Key, Kind, Section, TIMEOUT_OR_NEVER, Word, duration, integer, size, word};
use crate::template::Scope;

/// The longest value of a header, and of other text, that a file may give.
pub(super) const LINE: Kind = Kind::Line { bytes_max: 4096 };

pub static HTTP: Section = Section {
    path: "listeners[].http",
    header: "[listeners.http]",
    doc: "How HTTP is spoken with clients, and what is said about them to endpoints.",
    more: "Means something with protocol = \"http\" only. What exceeds a limit gets the status that is named there, and \
           the connection is closed.",
    keys: &[
        Key::live(
            "header_timeout",
            duration(std::time::Duration::from_millis(1), DAY),
            Default::Is("10s"),
            "How long the head of a request may take from its first byte, and the first byte from accept. Then 408.",
        ),
        Key::live(
            "idle_timeout",
            TIMEOUT_OR_NEVER,
            Default::Is("1m"),
            "How long a connection may wait for its next request before it is closed.",
        )
        .more("What happens within a request is bounded by the listener's own idle_timeout, by progress and never by its length."),
        Key::live(
            "request_timeout",
            TIMEOUT_OR_NEVER,
            Default::Is("never"),
            "How long a request may take from its head to the last byte of its response. Then 504, or a reset.",
        )
        .more("It cuts long downloads and streams of events as well. A route can have its own in timeouts.request."),
        Key::live(
            "body_timeout",
            TIMEOUT_OR_NEVER,
            Default::Is("10s"),
            "A client must send body_bytes_min of a request's body in every such interval. Then 408.",
        )
        .more("Time in which the endpoint takes nothing does not count. There is no limit on the whole."),
        Key::live(
            "body_bytes_min",
            size(1, 1 << 20),
            Default::Is("1KiB"),
            "What must have come of a body in every body_timeout, unless it is then complete.",
        ),
        Key::live(
            "max_header_bytes",
            size(1 << 10, 256 << 10),
            Default::Is("32KiB"),
            "How large the head of a request may be, its first line and all headers. Else 431.",
        ),
        Key::live(
            "max_headers",
            integer(8, 1000),
            Default::Is("100"),
            "How many header lines a request may have. Else 431.",
        ),
        Key::live(
            "max_uri",
            size(64, 64 << 10),
            Default::Is("8KiB"),
            "How long the target of a request, path and query, may be. Else 414.",
        ),
        Key::live(
            "max_body_size",
            Kind::Limit { min: 0, max: 1 << 50 },
            Default::Is("unlimited"),
            "How many bytes the body of a request may have. Else 413.",
        ),
        Key::live(
            "max_requests",
            Kind::Limit { min: 1, max: u32::MAX as u64 },
            Default::Is("unlimited"),
            "Requests on one connection. The response to the last says `Connection: close`.",
        ),
        Key::live(
            "upgrades",
            Kind::Upgrades,
            Default::Is("websocket"),
            "Protocols that a request may change to by `Upgrade`. An empty list allows none.",
        )
        .more(
            "A request for any other protocol is forwarded without its `Upgrade`. The connection becomes a tunnel when \
             the endpoint answers 101 with the same name.",
        ),
        Key::live(
            "merge_slashes",
            Kind::Bool,
            Default::Is("true"),
            "Several `/` in a row are one, for routes and for the endpoint.",
        )
        .more("Most servers see it so; where `//` means something, as in a path that has a whole URL in it, set false."),
        Key::live(
            "encoded_slashes",
            Kind::Word(ENCODED_SLASHES),
            Default::Is("keep"),
            "What `%2F` and `%5C` in a path mean.",
        )
        .more(
            "Whatever is chosen, a path in which they would make a step up (`/a/..%2Fb`) gets 400: endpoints disagree \
             about what it is.",
        ),
        Key::live(
            "underscores",
            Kind::Word(UNDERSCORES),
            Default::Is("drop"),
            "What becomes of headers with `_` in their name.",
        )
        .more("Many endpoints take `X_User` for `X-User`: with such a name a client could send what only a proxy may."),
        Key::live(
            "trusted_proxies",
            Kind::Networks { may_be_empty: true },
            Default::Absent("nobody"),
            "Proxies in front whose `X-Forwarded-*`, `Forwarded` and `X-Real-IP` are believed: networks and addresses.",
        )
        .more(
            "The address of the client is the last one of theirs that is not in this list, or the peer itself when that \
             is not. From everybody else these headers are removed. Peers of a unix socket are trusted as soon as the \
             list has anybody.",
        ),
        Key::live(
            "client_ip_from",
            Kind::Word(CLIENT_IP_FROM),
            Default::Is("x-forwarded-for"),
            "The header in which trusted_proxies say who the client is. No other is believed.",
        )
        .more("Name the one that the proxies in front really write: one that they pass on is the client's own word."),
        Key::live(
            "x_forwarded",
            Kind::Bool,
            Default::Is("true"),
            "Tell endpoints about the client in `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.",
        ),
        Key::live("x_real_ip", Kind::Bool, Default::Is("true"), "Tell endpoints the client's address in `X-Real-IP`."),
        Key::live(
            "forwarded",
            Kind::Bool,
            Default::Is("false"),
            "Tell endpoints about the client in `Forwarded`, as in RFC 7239.",
        ),
        Key::live(
            "server",
            LINE,
            Default::Absent("what the endpoint says, and nothing in responses of our own"),
            "What the header `Server` of every response says.",
        ),
        Key::live(
            "request_id",
            Kind::Table(&REQUEST_ID),
            Default::Parts,
            "A number for each request, for endpoints and logs.",
        ),
        Key::live(
            "request_headers",
            Kind::Tables { section: &HTTP_REQUEST_HEADERS, item: "a header" },
            Default::Absent("none"),
            "What is changed in the headers of every request, before what its route says.",
        ),
        Key::live(
            "response_headers",
            Kind::Tables { section: &HTTP_RESPONSE_HEADERS, item: "a header" },
            Default::Absent("none"),
            "What is changed in the headers of every response, before what its route says.",
        ),
    ],
};

static CLIENT_IP_FROM: &[Word] = &[
    word("x-forwarded-for", "A list that every proxy adds to: the last address in it that is not trusted."),
    word("forwarded", "The same in the parameter `for` of RFC 7239."),
    word("x-real-ip", "A single address that the proxy in front has set."),
];

static ENCODED_SLASHES: &[Word] = &[
    word("keep", "They are letters of the part of the path that they stand in, and are forwarded as they are."),
    word("decode", "They are what they stand for: a slash that separates, and `\\` which becomes a slash too."),
    word("reject", "The request gets 400."),
];

static UNDERSCORES: &[Word] =
    &[word("drop", "They are removed."), word("keep", "They are forwarded."), word("reject", "The request gets 400.")];

pub static REQUEST_ID: Section = Section {
    path: "listeners[].http.request_id",
    header: "[listeners.http.request_id]",
    doc: "A number for each request, for endpoints and logs.",
    more: "128 bits in hexadecimal: the time in milliseconds, then what no other shard and no other run has (a UUID of \
           version 7 without its dashes).",
    keys: &[
        Key::live("header", Kind::HeaderName, Default::Is("x-request-id"), "The header that it is sent in."),
        Key::live("accept", Kind::Word(ACCEPT), Default::Is("trusted"), "Whose numbers are taken over.")
            .more("One that is taken over has 1 to 128 visible characters of ASCII; anything else is replaced."),
        Key::live("send", Kind::Bool, Default::Is("true"), "Endpoints get the header."),
        Key::live("respond", Kind::Bool, Default::Is("false"), "Clients get the header, in the response."),
    ],
};

static ACCEPT: &[Word] = &[
    word("trusted", "Those of trusted_proxies."),
    word("never", "Nobody's: each request gets a new one."),
    word("always", "Everybody's, so that a client chooses what logs say."),
];

/// One change of a header. Where it is written decides what it is applied to.
const ACTION: Key = Key::live("action", Kind::Word(ACTIONS), Default::Is("set"), "What is done.");
const NAME: Key =
    Key::live("name", Kind::HeaderName, Default::Required, "The header; capital letters make no difference.");
const VALUE_MORE: &str = "Variables stand in braces, `{client_ip}`; `{{` is a brace. docs/routing.md lists them.";

const fn value(scope: Scope) -> Key {
    Key::live("value", Kind::Template(scope), Default::Absent("none, which only remove allows"), "What it says.")
        .more(VALUE_MORE)
}

static ACTIONS: &[Word] = &[
    word("set", "It has this value and no other."),
    word("add", "One more line with this value."),
    word("append", "This value follows the one that is there, after a comma; where there is none, it is set."),
    word("remove", "It is taken out."),
];

static REQUEST_OPS: [Key; 3] = [ACTION, NAME, value(Scope::Request)];
static RESPONSE_OPS: [Key; 3] = [ACTION, NAME, value(Scope::Response)];

const fn ops(path: &'static str, header: &'static str, doc: &'static str, keys: &'static [Key]) -> Section {
    Section { path, header, doc, more: "Changes are made in their order.", keys }
}

pub static HTTP_REQUEST_HEADERS: Section = ops(
    "listeners[].http.request_headers[]",
    "[[listeners.http.request_headers]]",
    "A change to the headers of every request.",
    &REQUEST_OPS,
);
pub static HTTP_RESPONSE_HEADERS: Section = ops(
    "listeners[].http.response_headers[]",
    "[[listeners.http.response_headers]]",
    "A change to the headers of every response.",
    &RESPONSE_OPS,
);
pub static ROUTE_REQUEST_HEADERS: Section = ops(
    "listeners[].routes[].request_headers[]",
    "[[listeners.routes.request_headers]]",
    "A change to the headers of the requests of a route.",
    &REQUEST_OPS,
);
pub static ROUTE_RESPONSE_HEADERS: Section = ops(
    "listeners[].routes[].response_headers[]",
    "[[listeners.routes.response_headers]]",
    "A change to the headers of the responses of a route.",
    &RESPONSE_OPS,
);
