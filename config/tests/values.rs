//! Every key takes what its type allows and says no to the rest, a line a case.

mod common;

use balance_config::{effective::render, env::NoEnv, file};
use common::{parse, with};

/// The line is taken, and written out as `expected`.
#[track_caller]
fn check(section: &str, line: &str, expected: &str) {
    let loaded = parse(&with(section, line)).unwrap_or_else(|report| panic!("{line}\n{report}"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let out = render(&loaded);
    let lines: String =
        out.lines().map(|line| line.split(" #").next().unwrap_or_default().trim()).collect::<Vec<_>>().join("\n");
    assert!(lines.contains(expected), "{expected} is not in\n{lines}");
    let again = file::parse("effective", &out, &NoEnv, &[]).unwrap_or_else(|report| panic!("{out}\n{report}"));
    assert_eq!(again.config, loaded.config);
}

/// The line is refused with exactly one error, which has these words.
#[track_caller]
fn refused(section: &str, line: &str, words: &str) {
    let Err(report) = parse(&with(section, line)) else { panic!("{line} was taken") };
    assert_eq!(report.diagnostics.len(), 1, "{report}");
    assert!(report.to_string().contains(words), "{words} is not in\n{report}");
}

#[test]
fn runtime() {
    check("runtime", "cores = \"auto\"", "cores = \"auto\"");
    check("runtime", "cores = \"0,2,4-7\"", "cores = \"0,2,4-7\"");
    check("runtime", "cores = [3, 0, 1]", "cores = \"0-1,3\"");
    check("runtime", "shards_per_core = 64", "shards_per_core = 64");
    check("runtime", "io = \"epoll\"", "io = \"epoll\"");
    check("runtime", "require_io_uring = true", "require_io_uring = true");
    refused("runtime", "cores = 4", "write [4] for core 4 alone");
    refused("runtime", "cores = []", "no cores are given");
    refused("runtime", "cores = [-1]", "from 0 to 1023");
    refused("runtime", "cores = [\"0-3\"]", "ranges go into one string");
    refused("runtime", "cores = \"9-2\"", "reversed");
    refused("runtime", "shards_per_core = 0", "from 1 to 64");
    refused("runtime", "shards_per_core = -1", "from 1 to 64");
    refused("runtime", "shards_per_core = 99999999999999999999999", "from 1 to 64");
    refused("runtime", "shards_per_core = 1.0", "not a number with a fraction");
    refused("runtime", "shards_per_core = \"1\"", "remove the quotes");
    refused("runtime", "io = \"iouring\"", "did you mean \"uring\"?");
    refused("runtime", "require_io_uring = \"true\"", "write true, without quotes");
    refused("runtime", "require_io_uring = 1", "true or false, not an integer");
    refused("runtime", "require_io_uring = yes", "write true");
}

#[test]
fn performance() {
    check("performance.shard", "max_tasks = 0x100", "max_tasks = 256");
    check("performance.shard", "max_tasks = 1_000", "max_tasks = 1000");
    check("performance.shard", "queue_size = 0", "queue_size = 0");
    check("performance.shard", "max_idle_time = \"0s\"", "max_idle_time = \"0s\"");
    check("performance.buffer_pool", "small_size = 8192", "small_size = \"8KiB\"");
    check("performance.buffer_pool", "memory_max = \"4194305\"", "memory_max = \"4194305\"");
    check("performance.buffer_pool", "ring_buffers = 32768\nmemory_max = \"1GiB\"", "ring_buffers = 32768");
    refused("performance.shard", "max_tasks = 0", "from 1 to 16777216");
    refused("performance.shard", "max_idle_time = \"never\"", "cannot be \"never\"");
    refused("performance.buffer_pool", "small_size = \"5KiB\"", "the next one is 8KiB");
    refused("performance.buffer_pool", "small_size = \"2KiB\"", "from 4KiB to 64MiB");
    refused("performance.buffer_pool", "small_size = \"32KiB\"", "`medium_size` (32KiB) must be larger");
    refused("performance.buffer_pool", "large_size = \"2MiB\"", "`huge_size` (1MiB) must be larger");
    refused("performance.buffer_pool", "ring_buffers = 1000", "the next one is 1024");
    refused("performance.buffer_pool", "ring_buffers = 65536", "from 16 to 32768");
    refused("performance.buffer_pool", "ring_buffers = 32768", "does not hold one receive ring");
    refused("performance.buffer_pool", "memory_max = \"1MiB\"", "(4KiB) is 4MiB");
    refused("performance.buffer_pool", "memory_max = \"64MB\"", "write \"64MiB\"");
}

#[test]
fn admin_logging_and_drain() {
    check("admin", "listen = \"127.0.0.1:9901\"", "listen = \"127.0.0.1:9901\"");
    check("admin", "listen = \"unix:/run/a.sock\"", "listen = \"unix:/run/a.sock\"");
    check("logging", "level = \"trace\"", "level = \"trace\"");
    check("logging", "format = \"json\"", "format = \"json\"");
    check("drain", "min = \"0s\"\ndeadline = \"0s\"", "deadline = \"0s\"");
    refused("admin", "listen = \":80\"", "bound twice");
    refused("admin", "listen = \"127.0.0.1:80\"", "overlaps");
    refused("admin", "listen = 9901", "write \":9901\"");
    refused("admin", "listen = [\":9901\"]", "not a list");
    refused("logging", "level = \"warning\"", "error, warn, info, debug, trace");
    refused("logging", "format = \"xml\"", "one of text, json, not `xml`");
    refused("drain", "min = \"1m\"", "`deadline` (30s) is before `min` (1m)");
    refused("drain", "deadline = \"1s\"", "`deadline` (1s) is before `min` (5s)");
    refused("drain", "min = 5", "write \"5s\"");
}

#[test]
fn forwarding() {
    check("runtime", "forward = \"send-zc\"", "forward = \"send-zc\"");
    check("listener", "forward = \"uring-splice\"", "forward = \"uring-splice\"");
    check("performance.forward", "promote_bytes = 65536", "promote_bytes = \"64KiB\"");
    check("performance.forward", "promote_after = 1\ndemote_after = 255", "promote_after = 1\ndemote_after = 255");
    check("performance.forward", "splice_budget = \"64KiB\"", "splice_budget = \"64KiB\"");
    check("performance.forward", "zc_min = \"1MiB\"", "zc_min = \"1MiB\"");
    check(
        "performance.pipes",
        "size = \"64KiB\"\nsize_max = \"64KiB\"\ntotal_max = \"64KiB\"",
        "total_max = \"64KiB\"",
    );
    refused("runtime", "forward = \"spilce\"", "did you mean \"splice\"?");
    refused("listener", "forward = true", "one of auto, copy, bundle, splice, uring-splice, send-zc, not a bool");
    refused("performance.forward", "promote_bytes = 1", "from 4KiB to 64MiB");
    refused("performance.forward", "promote_after = 0", "from 1 to 255");
    refused("performance.forward", "zc_min = \"1GiB\"", "from 4KiB to 64MiB");
    refused("performance.pipes", "size = \"32KiB\"", "from 64KiB to 1GiB");
    refused("performance.pipes", "size = \"100KiB\"", "the next one is 128KiB");
    refused("performance.pipes", "size = \"2MiB\"", "`size` (2MiB) is above `size_max` (1MiB)");
    refused("performance.pipes", "size_max = \"64KiB\"", "`size` (256KiB) is above `size_max` (64KiB)");
    refused("performance.pipes", "total_max = \"512KiB\"", "`size_max` (1MiB) is above `total_max` (512KiB)");
    refused("performance.pipe", "size = \"2MiB\"", "did you mean `pipes`?");
}

#[test]
fn dns() {
    let servers = "servers = [\"10.0.0.2\", \"[2001:db8::2]:5353\"]";
    check("dns", servers, "servers = [\n\"10.0.0.2:53\",\n\"[2001:db8::2]:5353\",\n]");
    check("dns", "servers = []", "# servers: those of /etc/resolv.conf");
    check("dns", "ttl_min = \"1m\"\nttl_max = \"1m\"", "ttl_max = \"1m\"");
    check("dns", "timeout = \"500ms\"", "timeout = \"500ms\"");
    check("dns", "family = \"v4\"", "family = \"v4\"");
    refused("dns", "servers = \"10.0.0.2\"", "write [\"10.0.0.2\"]");
    refused("dns", "servers = [53]", "an item of `servers` is a string, not an integer");
    refused("dns", "servers = [\"10.0.0.2\", \"10.0.0.2:53\"]", "10.0.0.2:53 is listed twice");
    refused("dns", &format!("servers = [{}]", "\"10.0.0.2\",".repeat(9)), "too many resolvers");
    refused("dns", "ttl_max = \"1s\"", "`ttl_max` (1s) is below `ttl_min` (5s)");
    refused("dns", "ttl_min = \"1h\"", "`ttl_max` (5m) is below `ttl_min` (1h)");
    refused("dns", "ttl_min = \"0s\"", "from 1s to 1d");
    refused("dns", "timeout = \"1ms\"", "from 10ms to 1m");
    refused("dns", "family = \"ipv4\"", "one of any, v4, v6");
}

#[test]
fn limits_and_access() {
    check("listener", "max_connections = 1", "max_connections = 1");
    refused("listener", "max_connections = 0", "write \"unlimited\" for no limit");
    refused("listener", "max_connections = -1", "from 1 to 1073741824, or \"unlimited\"");
    refused("listener", "max_connections = 1.5", "an integer or \"unlimited\", not a number with a fraction");
    check("listener", "allow = [\"10.0.0.0/8\", \"::1\"]", "allow = [\n\"10.0.0.0/8\",\n\"::1/128\",\n]");
    check("listener", "deny = [\"192.0.2.0/24\"]", "deny = [\"192.0.2.0/24\"]");
    check("listener", "allow = []", "# allow: everybody");
    refused("listener", "allow = [\"10.0.0.1/8\"]", "write \"10.0.0.0/8\" for the network");
    refused("listener", "allow = \"10.0.0.0/8\"", "write [\"10.0.0.0/8\"]");
    refused("listener", "allow = [[]]", "an item of `allow` is a string, not a list");
    refused("listener", "allow = [\"10.0.0.0/8\"]\ndeny = [\"10.0.0.0/8\"]", "10.0.0.0/8 is allowed and denied");
    let all = "max_connections = 9\nrate = 50\nburst = 100\nentries_max = 1000\nv6_prefix = 56";
    check("listener", &format!("[listeners.per_ip]\n{all}"), all);
    check("listener", "per_ip = { rate = 50 }", "rate = 50\nburst = 50");
    check("listener", "per_ip = { max_connections = 1 }", "rate = \"unlimited\"\n# burst: as rate");
    refused("listener", "per_ip = { rate = 0 }", "write \"unlimited\" for no limit");
    refused("listener", "per_ip = { rate = 1, burst = 0 }", "from 1 to 1000000");
    refused("listener", "per_ip = { rate = 1, v6_prefix = 65 }", "from 1 to 64");
    refused("listener", "per_ip = 5", "`per_ip` is a table, not an integer");
    refused("listener", "rate = 5", "`rate` belongs to [listeners.per_ip]");
}

#[test]
fn proxy_protocol() {
    let all = "trusted = [\"10.0.0.0/8\"]\nuntrusted = \"plain\"\ntimeout = \"1s\"";
    check("listener", &format!("[listeners.proxy_protocol]\n{all}"), all);
    check("listener", "proxy_protocol = { trusted = [\"10.0.0.1\"] }", "untrusted = \"reject\"\ntimeout = \"5s\"");
    refused("listener", "proxy_protocol = {}", "`proxy_protocol` of the listener `web` has no `trusted`");
    refused("listener", "proxy_protocol = { trusted = [] }", "`trusted` is empty");
    refused("listener", "proxy_protocol = true", "write [listeners.proxy_protocol], or proxy_protocol = { … }");
    refused("listener", "proxy_protocol = \"v2\"", "a table, not `v2`");
    refused("listener", "proxy_protocol = { trusted = [\"::1\"], timeout = \"0s\" }", "from 1ms to 1m");
    refused("listener", "proxy_protocol = { trusted = [\"::1\"], untrusted = \"drop\" }", "one of reject, plain");
}

/// The lines of one route, in the listener whose own cluster is `app`.
fn route(lines: &str) -> String {
    format!("[[listeners.routes]]\ncluster = \"app\"\n{lines}")
}

#[test]
fn routes() {
    check(
        "listener",
        &route("match = { sni = \"A.example\" }"),
        "cluster = \"app\"\n\n[listeners.routes.match]\nsni = \"a.example\"",
    );
    check("listener", &route("match.alpn = [\"h2\", \"http/1.1\"]"), "alpn = [\n\"h2\",\n\"http/1.1\",\n]");
    check("listener", &route("match.sni = [\"*.a.example\"]"), "sni = \"*.a.example\"");
    check("listener", &format!("peek_timeout = \"1s\"\n{}", route("match.alpn = \"h2\"")), "peek_timeout = \"1s\"");
    refused("listener", &route(""), "a route of the listener `web` has no `match`");
    refused("listener", &route("match = {}"), "a route that matches everything");
    refused("listener", &route("match = { snii = \"a.example\" }"), "did you mean `sni`?");
    refused("listener", &route("match = { sni = [] }"), "`sni` is empty");
    refused("listener", &route("match = { sni = \"*\" }"), "leave `sni` out");
    refused("listener", &route("match = { sni = \"a.*\" }"), "whole labels at the start");
    refused("listener", &route("match = { alpn = \"http2\" }"), "write \"h2\"");
    refused("listener", &route("match = { alpn = 2 }"), "a protocol such as \"h2\"");
    refused("listener", &route("match = { sni = \"a.example\" }").replace("app", "aap"), "there is no cluster `aap`");
    refused(
        "listener",
        "[[listeners.routes]]\nmatch = { alpn = \"h2\" }",
        "a route of the listener `web` has no `cluster`",
    );
    refused("listener", "routes = { }", "write [[listeners.routes]] before the keys of each");
    refused("listener", "peek_bytes_max = 1", "from 1KiB to 64KiB");
}

#[test]
fn a_listener_without_a_cluster_needs_a_route() {
    let without = |text: &str| with("listener", text).replacen("cluster = \"app\"\n", "", 1);
    let loaded = parse(&without(&route("match.alpn = \"h2\""))).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!((loaded.config.listeners[0].cluster.as_deref(), loaded.warnings.len()), (None, 0));
    for (text, words) in [("", "has no `cluster`"), ("routes = []", "neither a cluster nor a route")] {
        let report = parse(&without(text)).expect_err(words).to_string();
        assert!(report.contains(words), "{report}");
    }
}

#[test]
fn a_route_that_is_never_reached_is_an_error() {
    let two = |first: &str, second: &str| {
        let line = format!("{}\n{}", route(&format!("match = {first}")), route(&format!("match = {second}")));
        parse(&with("listener", &line)).map(|_| ()).map_err(|report| report.to_string())
    };
    for (first, second) in [
        (r#"{ sni = "a.example" }"#, r#"{ sni = "A.example" }"#),
        (r#"{ sni = "*.example" }"#, r#"{ sni = "a.b.example" }"#),
        (r#"{ sni = "*.example" }"#, r#"{ sni = "*.b.example", alpn = "h2" }"#),
        (r#"{ sni = ["x", "a.example"] }"#, r#"{ sni = ["y", "a.example"] }"#),
        (r#"{ alpn = "h2" }"#, r#"{ sni = "a.example", alpn = "h2" }"#),
        (r#"{ alpn = ["h2", "http/1.1"] }"#, r#"{ alpn = "h2" }"#),
    ] {
        let report = two(first, second).expect_err(second);
        assert!(report.contains("an earlier route matches all of this"), "{report}");
        assert_eq!(report.matches("error:").count(), 1, "{report}");
    }
    for (first, second) in [
        (r#"{ sni = "a.example" }"#, r#"{ sni = "*.example" }"#),
        (r#"{ sni = "*.example" }"#, r#"{ sni = "example" }"#),
        (r#"{ sni = "*.example" }"#, r#"{ sni = "badexample" }"#),
        (r#"{ sni = "a.example", alpn = "h2" }"#, r#"{ sni = "a.example" }"#),
        (r#"{ alpn = "h2" }"#, r#"{ alpn = ["h2", "http/1.1"] }"#),
        (r#"{ sni = ["a.example", "*.example"] }"#, r#"{ sni = "x" }"#),
    ] {
        assert_eq!(two(first, second), Ok(()), "{first} {second}");
    }
}

#[test]
fn listeners() {
    check("listener", "bind = \":80\"", "bind = \"[::]:80\"");
    check("listener", "bind = [\"[::1]:80\", \"unix:/run/x\"]", "bind = [\n\"[::1]:80\",\n\"unix:/run/x\",\n]");
    check("listener", "bind = [\"0.0.0.0:80\", \"[::]:80\"]\nipv6_only = true", "ipv6_only = true");
    check("listener", "bind = [\"127.0.0.1:0\", \"127.0.0.1:0\"]", "\"127.0.0.1:0\",\n\"127.0.0.1:0\"");
    check("listener", "bind = [\"127.0.0.1:80\", \"127.0.0.2:80\"]", "\"127.0.0.2:80\"");
    check("listener", "protocol = \"tcp\"", "protocol = \"tcp\"");
    check("listener", "idle_timeout = \"never\"", "idle_timeout = \"never\"");
    check("listener", "half_close_timeout = \"90s\"", "half_close_timeout = \"1m30s\"");
    check("listener", "backlog = 1", "backlog = 1");
    check("listener", "nodelay = false", "nodelay = false");
    check("listener", "keepalive = \"never\"", "keepalive = \"never\"");
    refused("listener", "bind = []", "needs an address");
    refused("listener", "bind = 80", "write \":80\" for port 80");
    refused("listener", "bind = [\"0.0.0.0:80\", \"127.0.0.1:80\"]", "overlaps");
    refused("listener", "bind = [\"127.0.0.1:80\", \"0.0.0.0:80\"]", "overlaps");
    refused("listener", "bind = [\":80\", \"0.0.0.0:80\"]", "ipv6_only = true");
    refused("listener", "bind = [\"127.0.0.1:80\", \":80\"]", "ipv6_only = true");
    refused("listener", "bind = [\":80\", \"[::]:80\"]", "bound twice");
    check("listener", "protocol = \"http\"", "protocol = \"http\"");
    refused("listener", "protocol = \"udp\"", "`protocol` is one of tcp, http, not `udp`");
    refused("listener", "idle_timeout = \"0s\"", "\"never\" to switch it off");
    refused("listener", "keepalive = \"1500ms\"", "whole seconds");
    refused("listener", "keepalive = false", "write \"never\"");
    refused("listener", "backlog = 0", "from 1 to 65535");
    refused("listener", "backlog = 2026-11-24", "not a date");
    refused("listener", "policy = \"round-robin\"", "`policy` belongs to [clusters.NAME]");
    refused("listener", "conn = 1", "known here are `name`, `bind`");
}

#[test]
fn clusters() {
    check("cluster", "policy = \"random-two\"", "policy = \"random-two\"");
    check("cluster", "policy = \"weighted-least-connections\"", "policy = \"least-connections\"");
    check("cluster", "endpoints = [{ address = \"10.0.0.1:80\" }]", "endpoints = [\"10.0.0.1:80\"]");
    check(
        "cluster",
        "policy = \"weighted-round-robin\"\n[[clusters.app.endpoints]]\naddress = \"unix:/x\"\nweight = 65535",
        "{ address = \"unix:/x\", weight = 65535 }",
    );
    check("cluster", "connect_timeout = \"1ms\"", "connect_timeout = \"1ms\"");
    check("cluster", "connect_attempts = 255", "connect_attempts = 255");
    check("cluster", "fail_timeout = \"0s\"", "fail_timeout = \"0s\"");
    refused("cluster", "connect_timeout = \"0s\"", "from 1ms to 1h");
    refused("cluster", "connect_attempts = 256", "from 1 to 255");
    refused("cluster", "endpoints = \"10.0.0.1:80\"", "write [\"10.0.0.1:80\"]");
    refused("cluster", "endpoints = [\"a..example:80\"]", "a part between dots is empty");
    refused("cluster", "endpoints = [\"a.example\"]", "add a port");
    check("cluster", "endpoints = [\"DB.internal:5432\"]", "endpoints = [\"db.internal:5432\"]");
    let limited = "endpoints = [{ address = \"db.internal:5432\", max_connections = 9 }]";
    check("cluster", limited, "{ address = \"db.internal:5432\", max_connections = 9 }");
    refused("cluster", "endpoints = [\"a.example:80\", \"A.example:80\"]", "listed twice");
    refused(
        "cluster",
        "endpoints = [{ address = \"a.example:80\", max_connections = 0 }]",
        "\"unlimited\" for no limit",
    );
    check("cluster", "max_connections = 1000", "max_connections = 1000");
    check("cluster", "max_connections = \"unlimited\"", "max_connections = \"unlimited\"");
    check("cluster", "proxy_protocol = \"v2\"", "proxy_protocol = \"v2\"");
    check("cluster", "max_connections = 1\nqueue = { size = 5, timeout = \"1s\" }", "size = 5\ntimeout = \"1s\"");
    check("cluster", "max_connections = 1\n[clusters.app.queue]\nsize = 5", "size = 5\ntimeout = \"5s\"");
    refused("cluster", "max_connections = \"1\"", "remove the quotes");
    refused("cluster", "max_connections = \"none\"", "write \"unlimited\"");
    refused("cluster", "proxy_protocol = \"v3\"", "one of v1, v2, not `v3`");
    refused("cluster", "queue = 5", "write [clusters.NAME.queue], or queue = { … }");
    refused("cluster", "queue = { sise = 5 }", "unknown key `sise` in `queue` of [clusters.app]");
    refused("cluster", "endpoints = [\"10.0.0.1:80\", { address = \"10.0.0.1:80\" }]", "listed twice");
    refused("cluster", "endpoints = [{ weight = 2 }]", "an endpoint has no `address`");
    refused("cluster", "endpoints = [{ adress = \"10.0.0.1:80\" }]", "did you mean `address`?");
    refused("cluster", "endpoints = [{ address = \"10.0.0.1:80\", weight = 0 }]", "from 1 to 65535");
    refused("cluster", "endpoints = [80]", "not an integer");
    refused("cluster", "endpoints = [[\"10.0.0.1:80\"]]", "not a list");
}

#[test]
fn names() {
    let named = |name: &str| with("listener", "").replace("name = \"web\"", &format!("name = \"{name}\""));
    for name in ["a", "A.b_c-9", &"x".repeat(64)] {
        assert!(parse(&named(name)).is_ok(), "{name}");
    }
    for (name, words) in [("", "empty"), ("a b", "contain ` `"), ("é", "contain `é`"), (&"x".repeat(65), "too long")]
    {
        let report = parse(&named(name)).expect_err(name);
        assert!(report.to_string().contains(words), "{report}");
    }
    let cluster = with("listener", "").replace("clusters.app", "clusters.\"a/b\"");
    let report = parse(&cluster).expect_err("a/b");
    assert!(report.to_string().contains("a name cannot contain `/`"), "{report}");
}
