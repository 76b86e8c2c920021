//! What people read after typical mistakes, word for word.

mod common;

use balance_config::diagnostic::{DIAGNOSTICS_MAX, Severity};
use common::{Fixed, parse, parse_with, with};

#[track_caller]
fn check(text: &str, expected: &str) {
    let Err(report) = parse(text) else { panic!("it was taken") };
    assert_eq!(report.to_string(), expected.trim_start());
}

#[test]
fn a_slip_in_a_key() {
    check(
        "[[listeners]]\nname = \"web\"\nbind = \":80\"\ncluster = \"app\"\n\n\
         [clusters.app]\nendpoint = [\"10.0.0.1:80\"]\n",
        r#"
error: unknown key `endpoint` in [clusters.app]
 --> balance.toml:7:1
  |
7 | endpoint = ["10.0.0.1:80"]
  | ^^^^^^^^
  = help: did you mean `endpoints`?

1 error
"#,
    );
}

#[test]
fn a_slip_in_a_name_and_in_a_section() {
    check(
        "[runtim]\n[[listeners]]\nname = \"web\"\nbind = \":80\"\ncluster = \"aap\"\n[clusters.app]\nendpoints = []\n",
        r#"
error: unknown section `runtim`
 --> balance.toml:1:2
  |
1 | [runtim]
  |  ^^^^^^
  = help: did you mean `runtime`?

error: there is no cluster `aap`
 --> balance.toml:5:11
  |
5 | cluster = "aap"
  |           ^^^^^
  = help: did you mean `app`?

warning: a cluster without endpoints refuses every connection
 --> balance.toml:7:13
  |
7 | endpoints = []
  |             ^^

2 errors, 1 warning
"#,
    );
}

#[test]
fn several_slips_in_the_syntax_are_one_report() {
    check(
        "[[listeners]]\nname = web\nbind = \":80\ncluster = \"app\"\nbacklog\nnodelay =\n\
         [clusters.app]\nendpoints = [\"10.0.0.1\"]\n",
        r#"
error: text must stand in quotes
 --> balance.toml:2:8
  |
2 | name = web
  |        ^^^
  = help: write "web"

error: a string is not closed, or has an escape that does not exist
 --> balance.toml:3:12
  |
3 | bind = ":80
  |            ^
  = help: end it with ", and write \\ for a backslash

error: a key has no value
 --> balance.toml:5:8
  |
5 | backlog
  |        ^
  = help: write key = value, or # before a comment

error: a value is missing
 --> balance.toml:6:10
  |
6 | nodelay =
  |          ^
  = help: write key = value

error: `10.0.0.1` is not the address of an endpoint
 --> balance.toml:8:14
  |
8 | endpoints = ["10.0.0.1"]
  |              ^^^^^^^^^^
  = help: add a port, as in "10.0.0.1:80"

5 errors
"#,
    );
}

#[test]
fn addresses_that_cannot_be_connected_to() {
    check(
        "[dns]\nservers = [\"224.0.0.251\"]\n[[listeners]]\nname = \"web\"\nbind = \"255.255.255.255:80\"\n\
         cluster = \"app\"\n[clusters.app]\nendpoints = [\n    \"224.0.0.1:80\",\n    \"127.1:80\",\n    \
         { address = \"db.1:80\" },\n    \"0x7f.1:80\",\n]\n",
        r#"
error: `224.0.0.251` is not the address of a resolver
 --> balance.toml:2:12
  |
2 | servers = ["224.0.0.251"]
  |            ^^^^^^^^^^^^^
  = help: that address is of a group of machines; write the address of one machine

error: `255.255.255.255:80` is not an address to listen on
 --> balance.toml:5:8
  |
5 | bind = "255.255.255.255:80"
  |        ^^^^^^^^^^^^^^^^^^^^
  = help: that address is of a group of machines; write one of this machine

error: `224.0.0.1:80` is not the address of an endpoint
 --> balance.toml:9:5
  |
9 |     "224.0.0.1:80",
  |     ^^^^^^^^^^^^^^
  = help: that address is of a group of machines; write the address of one machine

error: `127.1:80` is not the address of an endpoint
  --> balance.toml:10:5
   |
10 |     "127.1:80",
   |     ^^^^^^^^^^
   = help: write all four numbers in decimal: "127.0.0.1:80"

error: `db.1:80` is not the address of an endpoint
  --> balance.toml:11:17
   |
11 |     { address = "db.1:80" },
   |                 ^^^^^^^^^
   = help: a name does not end in a number, and an IPv4 address is four numbers from 0 to 255

error: `0x7f.1:80` is not the address of an endpoint
  --> balance.toml:12:5
   |
12 |     "0x7f.1:80",
   |     ^^^^^^^^^^^
   = help: write all four numbers in decimal: "127.0.0.1:80"

6 errors
"#,
    );
}

#[test]
fn a_network_with_a_zero_in_front() {
    check(
        &with("listener", "proxy_protocol = { trusted = [\"10.0.0.0/08\"] }"),
        r#"
error: `10.0.0.0/08` is not a network
 --> balance.toml:5:41
  |
5 | proxy_protocol = { trusted = ["10.0.0.0/08"] }
  |                                         ^^
  = help: a number has no zeros in front: "10.0.0.0/8"

1 error
"#,
    );
}

#[test]
fn one_bracket_instead_of_two() {
    check(
        "[listeners]\nname = \"web\"\n",
        r#"
error: `listeners` is a list of tables
 --> balance.toml:1:2
  |
1 | [listeners]
  |  ^^^^^^^^^
  = help: write [[listeners]], with two brackets, before each listener

1 error
"#,
    );
}

#[test]
fn nothing_at_all() {
    check(
        "",
        r#"
error: there are no listeners, so nothing would be served
--> balance.toml
 = help: add one: [[listeners]] with name = "main", bind = ":8080" and cluster = "app"

1 error
"#,
    );
}

#[test]
fn a_variable_that_is_wrong() {
    let report =
        parse_with(&with("listener", ""), &[("BALANCE__RUNTIME__CORES", "0-3,7-5")], &[]).expect_err("reversed");
    assert_eq!(
        report.to_string(),
        r"
error: the range `7-5` is reversed
--> environment variable BALANCE__RUNTIME__CORES
 |
 | BALANCE__RUNTIME__CORES=0-3,7-5
 |                             ^^^
 = help: write 5-7

1 error
"
        .trim_start()
    );
}

#[test]
fn a_flag_that_is_wrong() {
    let flags = [("runtime.io", "uringg", "--io"), ("runtime.core", "1", "--set")];
    let report = parse_with(&with("listener", ""), &[], &flags).expect_err("uringg");
    assert_eq!(
        report.to_string(),
        r#"
error: `io` is one of auto, uring, epoll, not `uringg`
--> --io
 |
 | --io uringg
 |      ^^^^^^
 = help: did you mean "uring"?

error: `runtime.core` matches no key of the configuration
--> --set
 = help: did you mean runtime.cores?

2 errors
"#
        .trim_start()
    );
}

#[test]
fn machines_get_the_parts() {
    let report = parse(&with("runtime", "io = \"x\"")).expect_err("x");
    let one = &report.diagnostics[0];
    assert_eq!((one.severity, &*one.file, one.line, one.column), (Severity::Error, "balance.toml", 2, 6));
    let snippet = one.snippet.as_ref().expect("a snippet");
    assert_eq!((&*snippet.text, snippet.start, snippet.length), ("io = \"x\"", 5, 3));
    assert_eq!(one.message, "`io` is one of auto, uring, epoll, not `x`");
}

#[test]
fn warnings_do_not_fail() {
    let weighted =
        "endpoints = [\"10.0.0.1:80\", { address = \"10.0.0.2:80\", weight = 2 }]\n[clusters.spare]\nendpoints = []";
    let loaded = parse(&with("cluster", weighted)).expect("only warnings");
    let messages: Vec<&str> = loaded.warnings.iter().map(|w| &*w.message).collect();
    let expected = [
        "the policy round-robin ignores weights",
        "no listener uses the cluster `spare`",
        "a cluster without endpoints refuses every connection",
    ];
    assert_eq!(messages, expected);
    assert!(loaded.warnings.iter().all(|w| w.severity == Severity::Warning));
}

#[test]
fn what_has_no_effect_is_a_warning() {
    let cases = [
        ("cluster", "queue = { size = 5 }", "nothing will ever wait in the queue"),
        ("cluster", "queue = { timeout = \"1s\" }", "`timeout` has no effect without `size`"),
        ("listener", "per_ip = {}", "`per_ip` of the listener `web` limits nothing"),
        ("listener", "per_ip = { burst = 5 }", "`burst` has no effect without `rate`"),
        ("listener", "allow = [\"10.0.0.1\", \"10.0.0.1/32\"]", "10.0.0.1/32 is twice in `allow`"),
        ("listener", "peek_timeout = \"1s\"", "`peek_timeout` has no effect without routes"),
        ("listener", "peek_bytes_max = \"4KiB\"", "`peek_bytes_max` has no effect without routes"),
        ("listener", "routes = []\npeek_timeout = \"1s\"", "`peek_timeout` has no effect without routes"),
        ("listener", "bind = \"unix:/x\"\nallow = [\"10.0.0.1\"]", "`allow` has no effect on unix sockets"),
        ("performance.forward", "zc_min = \"4MiB\"", "no send is as large as `zc_min` (4MiB)"),
        ("runtime", "io = \"epoll\"\nforward = \"uring-splice\"", "uring-splice needs io_uring"),
    ];
    for (section, line, words) in cases {
        let loaded = parse(&with(section, line)).unwrap_or_else(|report| panic!("{report}"));
        let messages: Vec<&str> = loaded.warnings.iter().map(|w| &*w.message).collect();
        assert!(messages.len() == 1 && messages[0].contains(words), "{line}: {messages:?}");
    }
    let limited = "endpoints = [{ address = \"10.0.0.1:80\", max_connections = 9 }]\nqueue = { size = 5 }";
    assert_eq!(parse(&with("cluster", limited)).expect("a limit").warnings, []);
}

/// Whoever misspells `routes`, or slips inside of one, does not want to hear that there are none.
#[test]
fn a_slip_in_routes_is_the_only_finding() {
    for routes in ["route", "routes"] {
        let line = format!("peek_timeout = \"1s\"\n[[listeners.{routes}]]\ncluster = \"app\"\nmatch.snii = \"a\"");
        let report = parse(&with("listener", &line)).expect_err("a slip");
        let messages: Vec<&str> = report.diagnostics.iter().map(|d| &*d.message).collect();
        assert!(messages.len() == 1 && messages[0].contains("unknown key"), "{messages:?}");
    }
}

/// What is written out in full has no default that `check` would then warn of.
#[test]
fn the_effective_configuration_of_a_quiet_file_is_quiet() {
    for line in ["", "[[listeners.routes]]\ncluster = \"app\"\nmatch.sni = \"a.example\""] {
        let loaded = parse(&with("listener", line)).unwrap_or_else(|report| panic!("{report}"));
        let text = balance_config::effective::render(&loaded);
        assert_eq!(text.contains("\npeek_timeout = "), !line.is_empty(), "{text}");
        let again = parse(&text).unwrap_or_else(|report| panic!("{report}"));
        assert_eq!((again.warnings, again.config), (vec![], loaded.config));
    }
}

#[test]
fn the_same_name_twice_in_routes() {
    let text = "[[listeners.routes]]\ncluster = \"app\"\n\
                match.sni = [\n    \"a.example\",\n    \"A.Example\",\n]\n\
                [[listeners.routes]]\ncluster = \"app\"\n\
                match = { sni = \"a.example\", alpn = [\"h2\", \"h2\"] }";
    check(
        &with("listener", text),
        r#"
error: `a.example` is twice in `sni`
 --> balance.toml:9:5
  |
9 |     "A.Example",
  |     ^^^^^^^^^^^
  = help: the first time is on line 8; leave this one out

error: an earlier route matches all of this
  --> balance.toml:13:17
   |
13 | match = { sni = "a.example", alpn = ["h2", "h2"] }
   |                 ^^^^^^^^^^^
   = help: the first one that matches counts, and that is the one on line 9

error: `h2` is twice in `alpn`
  --> balance.toml:13:44
   |
13 | match = { sni = "a.example", alpn = ["h2", "h2"] }
   |                                            ^^^^
   = help: the first time is on line 13; leave this one out

3 errors
"#,
    );
}

#[test]
fn a_flood_is_cut_and_counted() {
    let text: String = (0..1000).map(|i| format!("key{i} = 1\n")).collect();
    let report = parse(&text).expect_err("unknown keys");
    assert_eq!((report.diagnostics.len(), report.omitted), (DIAGNOSTICS_MAX, 1000 - DIAGNOSTICS_MAX));
    assert!(report.to_string().ends_with("50 errors and 950 more\n"), "{report}");
    assert_eq!(report.diagnostics[0].line, 1, "the first ones by line are kept");
    assert_eq!(report.diagnostics[49].line, 50);
}

#[test]
fn text_of_the_user_cannot_steer_the_terminal() {
    const EVIL: &str = "\\u001b[31m\\u202e";
    let files = [
        format!("\"{EVIL}\" = \"\u{202e}\"\n"),
        with("listener", "").replace("\"app\"", &format!("\"{EVIL}\"")),
        with("listener", "").replace("\"web\"", &format!("\"{EVIL}\"")),
        with("listener", &format!("bind = \"/{EVIL}\"")),
        with("listener", &format!("bind = [\"unix:/{EVIL}\", \"unix:/{EVIL}\"]")),
        with("cluster", &format!("endpoints = \"{EVIL}\"")),
        with("cluster", &format!("[clusters.\"{EVIL}\"]")),
    ];
    for file in files {
        let shown = parse(&file).expect_err("an escape").to_string();
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown:?}");
    }
}

#[test]
fn a_file_in_another_format() {
    let yaml = "listeners:\n  - name: web\n    bind: \":80\"\n";
    let json = "{ \"listeners\": [] }\n";
    for (text, format) in [(yaml, "YAML"), (json, "JSON")] {
        let report = parse(text).expect_err(format).to_string();
        assert!(report.contains(&format!("this looks like {format}")), "{report}");
    }
}

#[test]
fn what_is_defined_twice_hides_no_other_error() {
    let text = with("cluster", "connect_timeout = \"2s\"\nconnect_timeout = \"3s\"").replace("\"app\"", "\"aap\"");
    let report = parse(&text).expect_err("two errors");
    let messages: Vec<&str> = report.diagnostics.iter().map(|d| &*d.message).collect();
    assert_eq!(messages, ["there is no cluster `aap`", "`connect_timeout` is defined twice"]);
}

#[test]
fn a_key_before_any_section() {
    check(
        "bind = \":80\"\n",
        r#"
error: the key `bind` stands outside of any section
 --> balance.toml:1:1
  |
1 | bind = ":80"
  | ^^^^
  = help: `bind` belongs to [[listeners]]

1 error
"#,
    );
}

#[test]
fn variables_fill_strings_and_their_faults_have_places() {
    let text = with("listener", "idle_timeout = \"${IDLE}\"\nbacklog = \"${BACKLOG:-16}\"\nnodelay = \"${NODELAY}\"")
        .replace("\"app\"", "\"${file:/name}\"");
    let env = Fixed { vars: &[("IDLE", "5s"), ("NODELAY", "false")], files: &[("/name", "app\n")] };
    let loaded = balance_config::file::parse("x", &text, &env, &[]).unwrap_or_else(|report| panic!("{report}"));
    let listener = &loaded.config.listeners[0];
    assert_eq!(
        (listener.idle_timeout.map(|d| d.as_secs()), listener.backlog, listener.socket.nodelay),
        (Some(5), 16, false)
    );
    assert_eq!(listener.cluster.as_deref(), Some("app"));
    let report = parse(&text).expect_err("nothing is set");
    let columns: Vec<(usize, usize)> = report.diagnostics.iter().map(|d| (d.line, d.column)).collect();
    assert_eq!(columns, [(3, 12), (5, 17), (7, 12)], "{report}");
}
