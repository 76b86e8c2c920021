//! Sections about what goes where.

pub use super::http::{ROUTE_REQUEST_HEADERS, ROUTE_RESPONSE_HEADERS};
use super::{Default, Key, Kind, Named, Section, TIMEOUT_OR_NEVER, Word, http::LINE, integer, word};
use crate::template::Scope;

pub static ROUTES: Section = Section {
    path: "listeners[].routes[]",
    header: "[[listeners.routes]]",
    doc: "Where requests go that look like this or, on TCP, TLS connections that ask for a certain name or protocol.",
    more: "With protocol = \"http\", the route with the highest priority among those that match counts, then the most \
           specific one, as docs/routing.md says. With protocol = \"tcp\", the listener reads the ClientHello of each \
           connection, chooses, and passes all of it on: TLS ends at the endpoint. There routes are tried in the order \
           of the file, and the first that matches counts. A connection that matches none, or that does not speak TLS, \
           goes to the cluster of the listener, and is refused where there is none. A ClientHello that is not \
           well-formed is refused in any case.",
    keys: &[
        Key::live(
            "name",
            Kind::Name,
            Default::Absent("route- and its number, from 1"),
            "For metrics, logs and the variable `{route}`. Unique in its listener.",
        )
        .only("http"),
        Key::live(
            "match",
            Kind::Table(&ROUTE_MATCH),
            Default::Required,
            "What must be there. All keys that are given must match, each by one of its list.",
        ),
        Key::live(
            "priority",
            integer(0, 1_000_000),
            Default::Is("0"),
            "A route with a higher number comes before every more specific one.",
        )
        .only("http"),
        Key::live(
            "cluster",
            Kind::ClusterName,
            Default::RequiredWithout(&["clusters", "redirect", "response"]),
            "The cluster that it goes to.",
        ),
        Key::live(
            "clusters",
            Kind::Tables { section: &ROUTE_CLUSTERS, item: "a cluster" },
            Default::Absent("all goes to cluster"),
            "Several clusters, each with its share of the requests.",
        )
        .only("http"),
        Key::live("retry", Kind::Bool, Default::Is("true"), "Requests are tried again as their cluster says.")
            .only("http"),
        Key::live(
            "redirect",
            Kind::Table(&REDIRECT),
            Default::Absent("no redirect"),
            "Answer with a redirect instead of forwarding.",
        )
        .only("http"),
        Key::live(
            "response",
            Kind::Table(&RESPONSE),
            Default::Absent("no response of our own"),
            "Answer with this instead of forwarding.",
        )
        .only("http"),
        Key::live(
            "rewrite",
            Kind::Table(&REWRITE),
            Default::Absent("path and host stay as they came"),
            "What the endpoint sees of path and host.",
        )
        .only("http"),
        Key::live(
            "request_headers",
            Kind::Tables { section: &ROUTE_REQUEST_HEADERS, item: "a header" },
            Default::Absent("none"),
            "What is changed in the headers of a request.",
        )
        .only("http"),
        Key::live(
            "response_headers",
            Kind::Tables { section: &ROUTE_RESPONSE_HEADERS, item: "a header" },
            Default::Absent("none"),
            "What is changed in the headers of a response.",
        )
        .only("http"),
        Key::live(
            "timeouts",
            Kind::Table(&ROUTE_TIMEOUTS),
            Default::Absent("those of listener and cluster"),
            "Time-outs for the requests of this route.",
        )
        .only("http"),
    ],
};

pub static ROUTE_MATCH: Section = Section {
    path: "listeners[].routes[].match",
    header: "[listeners.routes.match]",
    doc: "What a request, or the ClientHello of a TLS connection, must have. At least one of the keys is there.",
    more: "",
    keys: &[
        Key::live(
            "sni",
            Kind::SniPatterns,
            Default::Absent("any name, and none"),
            "The name that the client asks for: \"example.com\", \"*.example.com\", or a list of these.",
        )
        .more(
            "\"*.example.com\" stands for a.example.com and a.b.example.com, and not for example.com itself. \
               Capital letters make no difference; other scripts are written in their \"xn--\" form, as they are \
               on the wire.",
        )
        .only("tcp"),
        Key::live(
            "alpn",
            Kind::Alpns,
            Default::Absent("any protocol, and none"),
            "A protocol that the client offers, \"h2\" or \"http/1.1\", or a list of which it offers one.",
        )
        .more(
            "Browsers offer several at once, so a route for \"http/1.1\" takes nearly all of them; put the one for \
               \"h2\" before it.",
        )
        .only("tcp"),
        Key::live(
            "host",
            Kind::Hosts,
            Default::Absent("any host"),
            "The host that is asked for: \"example.com\", \"*.example.com\", an address, or a list of these.",
        )
        .more(
            "Port, capital letters and a dot at the end make no difference. \"*.example.com\" stands for a.example.com \
             and a.b.example.com, and not for example.com itself.",
        )
        .only("http"),
        Key::live("path", Kind::Paths, Default::Absent("any path"), "The path without the query, or a list of paths.")
            .more("One of path, path_prefix and path_regex at most.")
            .only("http"),
        Key::live(
            "path_prefix",
            Kind::Paths,
            Default::Absent("any path"),
            "What the path begins with, by whole parts, or a list of these.",
        )
        .more("\"/api\" stands for `/api` and `/api/…`, and not for `/apis`. \"/api/\" stands for `/api/…` alone.")
        .only("http"),
        Key::live(
            "path_regex",
            Kind::Patterns,
            Default::Absent("any path"),
            "A regular expression for the whole path, or a list of these.",
        )
        .more(
            "The syntax of Rust's regex crate, on bytes: no look-around and no back references, so that none takes \
             more than linear time.",
        )
        .only("http"),
        Key::live(
            "methods",
            Kind::Methods,
            Default::Absent("any method"),
            "\"GET\", or a list of methods. HEAD is not part of GET.",
        )
        .only("http"),
        Key::live(
            "headers",
            Kind::Matchers(Named::Header),
            Default::Absent("any headers"),
            "Headers and what one line of each must be: a text, or a table with one of the keys below.",
        )
        .more(MATCHERS)
        .only("http"),
        Key::live(
            "query",
            Kind::Matchers(Named::Query),
            Default::Absent("any query"),
            "Parameters of the query, in the same form. They are compared after `%` and `+` are decoded.",
        )
        .only("http"),
        Key::live(
            "cookies",
            Kind::Matchers(Named::Cookie),
            Default::Absent("any cookies"),
            "Cookies of the request, in the same form.",
        )
        .only("http"),
    ],
};

const MATCHERS: &str = "`{ prefix = \"…\" }` is what it begins with, `{ regex = \"…\" }` a regular expression for all of \
                        it, `{ present = true }` any value, `{ present = false }` that it is not there, and \
                        `{ exact = \"…\" }` the same as the text alone.";

pub static ROUTE_CLUSTERS: Section = Section {
    path: "listeners[].routes[].clusters[]",
    header: "[[listeners.routes.clusters]]",
    doc: "A cluster and its share of a route's requests.",
    more: "Written inside of the list, `clusters = [{ name = \"a\", weight = 9 }, { name = \"b\" }]`, or so.",
    keys: &[
        Key::live("name", Kind::ClusterName, Default::Required, "The cluster."),
        Key::live(
            "weight",
            integer(0, 1_000_000),
            Default::Is("1"),
            "Its share in comparison to the others. 0 gets nothing; not all can be 0.",
        ),
    ],
};

pub static REDIRECT: Section = Section {
    path: "listeners[].routes[].redirect",
    header: "[listeners.routes.redirect]",
    doc: "Where a client is sent. At least one of scheme, host, port and path is there; the rest is as it was asked for.",
    more: "",
    keys: &[
        Key::live("status", integer(301, 308), Default::Is("302"), "301, 302, 303, 307 or 308.")
            .more("301 and 302 let a client turn a POST into a GET, 308 and 307 do not. 301 and 308 are remembered."),
        Key::live(
            "scheme",
            Kind::Word(SCHEMES),
            Default::Absent("as it was asked for"),
            "To change to `https`, mostly.",
        ),
        Key::live(
            "host",
            Kind::Template(Scope::Host),
            Default::Absent("as it was asked for"),
            "The host, without a port.",
        ),
        Key::live(
            "port",
            integer(1, 65_535),
            Default::Absent("as it was asked for; with another scheme or host, that of the scheme"),
            "The port.",
        ),
        Key::live(
            "path",
            Kind::Template(Scope::Path),
            Default::Absent("as it was asked for, after rewrite"),
            "The path; `{path}` in it is the one that was asked for, after rewrite.",
        ),
        Key::live("keep_query", Kind::Bool, Default::Is("true"), "The query that was asked for follows the path."),
    ],
};

static SCHEMES: &[Word] = &[word("http", "Plain HTTP."), word("https", "HTTP over TLS.")];

pub static RESPONSE: Section = Section {
    path: "listeners[].routes[].response",
    header: "[listeners.routes.response]",
    doc: "What a client is answered, without asking an endpoint.",
    more: "Further headers are added by response_headers of the route.",
    keys: &[
        Key::live("status", integer(200, 599), Default::Is("200"), "The status."),
        Key::live(
            "body",
            Kind::Body { bytes_max: 64 << 10 },
            Default::Is(""),
            "What it says, at most 64KiB. \"${file:/path}\" is what a file holds when the configuration is loaded.",
        ),
        Key::live("content_type", LINE, Default::Is("text/plain; charset=utf-8"), "What kind of text the body is."),
    ],
};

pub static REWRITE: Section = Section {
    path: "listeners[].routes[].rewrite",
    header: "[listeners.routes.rewrite]",
    doc: "What the endpoint sees of path and host. The query stays as it came.",
    more: "strip_prefix and then add_prefix, or path, or regex with replacement.",
    keys: &[
        Key::live(
            "strip_prefix",
            Kind::Path,
            Default::Absent("nothing is taken off"),
            "What is taken off the start of the path, by whole parts.",
        )
        .more("Of `/api/x` without \"/api\" there is left `/x`, and of `/api` there is `/`."),
        Key::live("add_prefix", Kind::Path, Default::Absent("nothing is put before"), "What is put before the path."),
        Key::live(
            "path",
            Kind::Template(Scope::Path),
            Default::Absent("the path stays"),
            "The whole path. `{path}` in it is the one that was asked for.",
        ),
        Key::live(
            "regex",
            Kind::Pattern,
            Default::Absent("nothing is replaced"),
            "A regular expression; each part of the path that it matches is replaced.",
        )
        .more("A `$` is written `$$` in the file."),
        Key::live(
            "replacement",
            Kind::Template(Scope::Captures),
            Default::Absent("none, which needs no regex"),
            "What replaces it. `{1}` and `{name}` are groups of the regex, `{0}` all of it.",
        ),
        Key::live(
            "host",
            Kind::Template(Scope::Host),
            Default::Absent("the host stays"),
            "The host that the endpoint is asked for, with or without a port. `{endpoint}` is its address.",
        ),
    ],
};

pub static ROUTE_TIMEOUTS: Section = Section {
    path: "listeners[].routes[].timeouts",
    header: "[listeners.routes.timeouts]",
    doc: "Time-outs for the requests of a route.",
    more: "",
    keys: &[
        Key::live(
            "request",
            TIMEOUT_OR_NEVER,
            Default::Absent("http.request_timeout of the listener"),
            "From the head of the request to the last byte of the response, all tries included. Then 504, or a reset.",
        ),
        Key::live(
            "per_try",
            TIMEOUT_OR_NEVER,
            Default::Absent("timeouts.per_try of the cluster"),
            "From the choice of an endpoint to the head of its response. Then the next try, or 504.",
        ),
        Key::live(
            "idle",
            TIMEOUT_OR_NEVER,
            Default::Absent("idle_timeout of the listener"),
            "No byte of request or response moves for so long. Then 504, or a reset.",
        ),
    ],
};
