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
    refused("listener", "protocol = \"http\"", "this version forwards TCP");
    refused("listener", "protocol = \"udp\"", "`protocol` is tcp, not `udp`");
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
    refused("cluster", "endpoints = [\"a.example:80\"]", "IP addresses in this version");
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
