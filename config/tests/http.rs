//! What is said about HTTP: what is taken, and what is refused with which words.

mod common;

use balance_config::{effective::render, env::NoEnv, file, model::Config};
use common::parse;

/// A file with a listener that speaks HTTP; `http` are its keys there, `routes` what follows, clusters `a` and `b`
/// exist.
fn text(http: &str, routes: &str) -> String {
    format!(
        "[[listeners]]\nname = \"web\"\nbind = \":80\"\nprotocol = \"http\"\ncluster = \"a\"\n[listeners.http]\n{http}\n\
         {routes}\n[clusters.a]\nendpoints = [\"10.0.0.1:80\"]\n[clusters.b]\nendpoints = [\"10.0.0.2:80\"]\n"
    )
}

fn route(when: &str, rest: &str) -> String {
    format!("[[listeners.routes]]\nmatch = {{ {when} }}\n{rest}\n")
}

/// It is taken, and so is what is written out of it.
#[track_caller]
fn taken(text: &str) -> Config {
    let loaded = parse(text).unwrap_or_else(|report| panic!("{text}\n{report}"));
    let out = render(&loaded);
    let again = file::parse("effective", &out, &NoEnv, &[]).unwrap_or_else(|report| panic!("{out}\n{report}"));
    assert_eq!(again.config, loaded.config, "{out}");
    loaded.config
}

/// It is refused with one error, which has these words.
#[track_caller]
fn refused(text: &str, words: &str) {
    let Err(report) = parse(text) else { panic!("{text} was taken") };
    let report = report.to_string();
    assert_eq!(report.matches("error:").count(), 1, "{report}");
    assert!(report.contains(words), "{words} is not in\n{report}");
}

#[track_caller]
fn warned(text: &str, words: &str) {
    let loaded = parse(text).unwrap_or_else(|report| panic!("{text}\n{report}"));
    let warnings: String = loaded.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings.contains(words), "{words} is not in\n{warnings}");
}

#[track_caller]
fn when_refused(when: &str, words: &str) {
    refused(&text("", &route(when, "cluster = 'b'")), words);
}

#[track_caller]
fn rest_refused(rest: &str, words: &str) {
    refused(&text("", &route("path_prefix = '/p'", rest)), words);
}

#[test]
fn keys_of_a_listener() {
    for line in [
        "header_timeout = '1ms'",
        "idle_timeout = 'never'",
        "request_timeout = '1h'",
        "body_timeout = 'never'",
        "body_bytes_min = 1",
        "max_header_bytes = '256KiB'",
        "max_headers = 8",
        "max_uri = 64",
        "max_body_size = 0",
        "max_requests = 1",
        "upgrades = []",
        "upgrades = ['WebSocket', 'tls/1.2']",
        "encoded_slashes = 'decode'",
        "underscores = 'keep'",
        "trusted_proxies = []",
        "client_ip_from = 'x-real-ip'",
        "server = ''",
        "request_id = { header = 'X-Trace', accept = 'always', send = false, respond = true }",
    ] {
        taken(&text(line, ""));
    }
    for (line, words) in [
        ("header_timeout = 'never'", "cannot be \"never\""),
        ("max_headers = 7", "from 8 to 1000"),
        ("max_body_size = -1", "or \"unlimited\""),
        ("upgrades = ['h2c']", "leave it out"),
        ("upgrades = 'websocket'", "write [\"websocket\"]"),
        ("server = \"a\\r\\nb\"", "control character"),
        ("header_timeuot = '1s'", "did you mean `header_timeout`?"),
        ("request_id = { header = 'connection' }", "by the proxy itself"),
        ("request_id = { header = 'a b' }", "cannot contain ` `"),
        ("encoded_slashes = 'kep'", "did you mean \"keep\"?"),
    ] {
        refused(&text(line, ""), words);
    }
    warned(&text("trusted_proxies = ['0.0.0.0/0']", ""), "every client claim any address");
}

#[test]
fn keys_of_the_wrong_protocol() {
    let tcp = |rest: &str| {
        text("", rest).replace("protocol = \"http\"", "protocol = \"tcp\"").replace("[listeners.http]\n", "")
    };
    refused(&text("", "").replace("protocol = \"http\"", ""), "`http` is for listeners with protocol = \"http\"");
    refused(&tcp(&route("host = 'a.example'", "cluster = 'b'")), "write `sni`, or set protocol = \"http\"");
    refused(&tcp(&route("sni = 'a.example'", "cluster = 'b'\npriority = 1")), "`priority` is for listeners");
    refused(&text("", &route("sni = 'a.example'", "cluster = 'b'")), "write `host`");
    refused(&text("", "").replace("cluster = \"a\"", "cluster = \"a\"\npeek_timeout = '1s'"), "protocol = \"tcp\"");
    warned(&(tcp("") + "pool = { max_idle = 5 }\n"), "`pool` has no effect");
    refused(&text("", "").replace("[clusters.b]", "proxy_protocol = 'v1'\n[clusters.b]"), "many clients");
}

#[test]
fn what_a_request_must_have() {
    for when in [
        "host = 'a.example'",
        "host = ['*.a.example', '10.0.0.1', '::1']",
        "path = '/'",
        "path_prefix = ['/a', '/b/']",
        "path_regex = '/a(/.*)?'",
        "methods = ['GET', 'PURGE']",
        "headers = { X-A = '1', b = { prefix = '2' }, c = { regex = '.' }, d = { present = false }, e = { exact = '' } }",
        "headers = { upgrade = { regex = '(?i)websocket' } }",
        "query = { 'a b' = '1' }",
        "cookies = { id = { present = true } }",
    ] {
        taken(&text("", &route(when, "cluster = 'b'")));
    }
    for (when, words) in [
        ("", "write path_prefix = \"/\" for everything"),
        ("host = '*'", "leave `host` out"),
        ("host = 'a.example:80'", "leave out the port"),
        ("host = []", "`host` is empty"),
        ("path = 'a'", "it starts with a slash: \"/a\""),
        ("path = '/a?b'", "`query`"),
        ("path_prefix = '/a/*'", "use `path_prefix` or `path_regex`"),
        ("path = '/a', path_prefix = '/b'", "`path_prefix` cannot stand beside `path`"),
        ("path_regex = '/a('", "unclosed group"),
        ("path_regex = '/(?=a)'", "look-around"),
        ("path_regex = 'a{500}{500}'", "too large"),
        ("methods = 'get'", "write \"GET\""),
        ("headers = {}", "`headers` is empty"),
        ("headers = { 'a:' = '1' }", "cannot contain `:`"),
        ("headers = { host = 'x' }", "write `host` beside"),
        ("headers = { content-length = '1' }", "frames the message"),
        ("headers = { a = '1', A = '2' }", "`a` is there twice"),
        ("headers = { a = 1 }", "is a string or a table"),
        ("headers = { a = { prefx = '1' } }", "did you mean `prefix`?"),
        ("headers = { a = { prefix = '1', regex = '1' } }", "not one key of"),
        ("headers = { a = { prefix = '' } }", "write { present = true }"),
        ("headers = { a = { present = 'yes' } }", "true or false"),
        ("headers = { a = \"x\\ny\" }", "control character"),
        ("cookies = { 'a;b' = '1' }", "name of a cookie"),
        ("pth = '/a'", "did you mean `path`?"),
    ] {
        when_refused(when, words);
    }
    refused(&text("", &route("path = '/a//b'", "cluster = 'b'")), "merge_slashes = false");
    refused(&text("encoded_slashes = 'reject'", &route("path = '/a%2fb'", "cluster = 'b'")), "lets none through");
    taken(&text("merge_slashes = false", &route("path = '/a//b'", "cluster = 'b'")));
}

#[test]
fn where_it_goes() {
    for rest in [
        "cluster = 'b'",
        "clusters = [{ name = 'a', weight = 9 }, { name = 'b' }]",
        "redirect = { scheme = 'https' }",
        "redirect = { host = 'www.{host}', path = '{path}/' }",
        "response = {}",
        "response = { status = 404, body = '' }",
    ] {
        taken(&text("", &route("path_prefix = '/p'", rest)));
    }
    for (rest, words) in [
        ("", "add `cluster`, or `clusters`, `redirect`, `response`"),
        ("cluster = 'c'", "there is no cluster `c`"),
        ("clusters = [{ name = 'c' }, { name = 'b' }]", "there is no cluster `c`"),
        ("cluster = 'b'\nredirect = { scheme = 'https' }", "`redirect` cannot stand beside `cluster`"),
        ("clusters = []", "`clusters` is empty"),
        ("clusters = [{ name = 'a', weight = 0 }]", "no cluster would get a request"),
        ("clusters = [{ name = 'a' }, { name = 'a' }]", "there twice"),
        ("redirect = {}", "where the client already is"),
        ("redirect = { scheme = 'https', status = 304 }", "304 is no redirect"),
        ("redirect = { scheme = 'htps' }", "did you mean"),
        ("redirect = { host = 'a.example:80' }", "write the port in `port`"),
        ("redirect = { host = '{endpoint}' }", "no endpoint is chosen"),
        ("redirect = { host = 'a/b' }", "cannot contain `/`"),
        ("redirect = { path = 'x' }", "a path starts with a slash"),
        ("redirect = { path = '/{pth}' }", "did you mean {path}?"),
        ("response = { status = 99 }", "from 200 to 599"),
        ("response = { content_type = \"a\\nb\" }", "control character"),
    ] {
        rest_refused(rest, words);
    }
    warned(
        &text("", &route("path = '/p'", "response = {}\nrewrite = { add_prefix = '/x' }")),
        "`rewrite` has no effect",
    );
    warned(&text("", &route("path = '/p'", "redirect = { port = 1 }\nretry = false")), "`retry` has no effect");
}

#[test]
fn what_is_rewritten() {
    for rest in [
        "rewrite = { strip_prefix = '/p' }",
        "rewrite = { strip_prefix = '/p/q', add_prefix = '/r' }",
        "rewrite = { path = '/x/{host}' }",
        r"rewrite = { regex = '^/p/(?<id>\d+)', replacement = '/{id}/{1}/{0}' }",
        "rewrite = { host = 'b.internal:80' }",
        "rewrite = { host = '{endpoint}' }",
    ] {
        taken(&text("", &route("path_prefix = '/p'", &format!("cluster = 'b'\n{rest}"))));
    }
    for (rest, words) in [
        ("strip_prefix = '/q'", "no path of this route begins with `/q`"),
        ("path = '/x', add_prefix = '/y'", "`add_prefix` cannot stand beside `path`"),
        ("regex = 'a'", "`regex` is nothing without `replacement`"),
        ("replacement = '/'", "`replacement` is nothing without `regex`"),
        ("regex = '(a)', replacement = '/{2}'", "the regex has no group {2}"),
        ("regex = 'a', replacement = '/{id}'", "no group {id}"),
        ("regex = '(a', replacement = '/'", "unclosed group"),
        ("regex = 'a', replacement = '/ b'", "cannot contain ` `"),
        ("host = 'a b'", "cannot contain ` `"),
        ("host = '{client_ip}'", "not known here"),
    ] {
        rest_refused(&format!("cluster = 'b'\nrewrite = {{ {rest} }}"), words);
    }
    rest_refused("redirect = { port = 1 }\nrewrite = { host = 'b' }", "no endpoint sees this host");
}

#[test]
fn what_is_changed_in_headers() {
    let op = |op: &str| format!("cluster = 'b'\nrequest_headers = [{{ {op} }}]");
    for good in [
        "name = 'X-A', value = '{client_ip} {{x}}'",
        "action = 'remove', name = 'cookie'",
        "action = 'append', name = 'via', value = '1.1 me'",
    ] {
        taken(&text("", &route("path = '/p'", &op(good))));
    }
    for (bad, words) in [
        ("name = 'x-a', value = \"1\\r\\nx-b: 2\"", "cannot contain"),
        ("name = 'x a', value = '1'", "cannot contain ` `"),
        ("name = 'x-a', value = '{clientip}'", "did you mean {client_ip}?"),
        ("name = 'x-a', value = '{nothing}'", "known are {client_ip}"),
        ("name = 'x-a', value = '{status}'", "not known here"),
        ("name = 'x-a', value = '{1}'", "there is no variable `1`"),
        ("name = 'x-a', value = 'a}'", "a brace stands alone"),
        ("name = 'x-a'", "`x-a` has no value"),
        ("name = 'x-a', value = ''", "without a value"),
        ("action = 'remove', name = 'x-a', value = '1'", "has no value"),
        ("action = 'delete', name = 'x-a'", "`action` is one of set, add, append, remove"),
        ("name = 'Host', value = 'x'", "rewrite = { host"),
        ("name = 'content-length', value = '1'", "frames the message"),
        ("action = 'append', name = 'cookie', value = '1'", "write action = \"add\""),
        ("value = '1'", "has no `name`"),
    ] {
        rest_refused(&op(bad), words);
    }
    let many = vec!["{ name = 'x-a', value = '1' }"; 25].join(", ");
    rest_refused(&format!("cluster = 'b'\nresponse_headers = [{many}]"), "more than 24");
}

#[test]
fn routes_that_are_never_reached() {
    let two = |first: &str, second: &str, priority: &str| {
        text("", &(route(first, "cluster = 'b'") + &route(second, &format!("cluster = 'b'\n{priority}"))))
    };
    for (first, second) in [
        ("path = '/a'", "path = '/a'"),
        ("path = '/a', methods = ['GET', 'HEAD']", "path = '/a', methods = ['HEAD', 'GET']"),
        ("host = ['a', 'b'], path = '/a'", "host = 'B', path = '/%61'"),
        ("headers = { a = '1', b = '2' }", "headers = { b = '2', a = '1' }"),
    ] {
        refused(&two(first, second, ""), "an earlier route matches all of this");
    }
    for (first, second) in [
        ("path = '/a'", "path_prefix = '/a'"),
        ("host = 'a', path = '/a'", "host = ['a', 'b'], path = '/a'"),
        ("path = '/a'", "path = '/a', methods = 'GET'"),
        ("headers = { a = '1' }", "headers = { a = '2' }"),
    ] {
        taken(&two(first, second, ""));
    }
    // The second one comes first, and the first one is never reached.
    refused(&two("path = '/a'", "path = '/a'", "priority = 1"), "an earlier route matches all of this");
    let named = |name: &str| {
        route("path = '/a'", &format!("cluster = 'b'\nname = '{name}'")) + &route("path = '/b'", "cluster = 'b'")
    };
    taken(&text("", &named("route-1")));
    refused(&text("", &named("route-2")), "two routes are named `route-2`");
}

#[test]
fn keys_of_a_cluster() {
    let cluster = |line: &str| text("", "").replace("[clusters.b]", &format!("{line}\n[clusters.b]"));
    for line in [
        "pool = { max_idle_per_host = 0, max_conns_per_host = 'unlimited', idle_timeout = 'never' }",
        "timeouts = { response = '1s', per_try = '2s' }",
        "retry = { attempts = 1, on = [], budget = '0%', budget_min = 0 }",
        "retry = { on = 'connect' }",
    ] {
        taken(&cluster(line));
    }
    for (line, words) in [
        ("retry = { on = ['conect'] }", "did you mean \"connect\"?"),
        ("retry = { on = ['5xx'] }", "`on` has no `5xx`"),
        ("retry = { budget = 20 }", "write \"20%\""),
        ("retry = { budget = '101%' }", "from 0% to 100%"),
        ("retry = { budget = '20' }", "a share such as \"20%\""),
        ("pool = { max_conns_per_host = 0 }", "write \"unlimited\" for no limit"),
    ] {
        refused(&cluster(line), words);
    }
    let config = taken(
        &("[performance.connection_pool]\nmax_idle_per_host = 7\n".to_owned() + &cluster("pool = { max_idle = 5 }")),
    );
    assert_eq!((config.clusters[0].pool.idle_max, config.clusters[0].pool.idle_per_endpoint_max), (Some(5), Some(7)));
    assert_eq!(config.clusters[1].pool.idle_per_endpoint_max, Some(7));
}

/// A configuration as large as anybody has.
#[test]
fn ten_thousand_routes() {
    let routes: String =
        (0..10_000).map(|i| route(&format!("host = 'h{i}.example', path_prefix = '/p{i}'"), "cluster = 'b'")).collect();
    assert_eq!(taken(&text("", &routes)).listeners[0].http.as_ref().map(|http| http.routes.len()), Some(10_000));
    let hosts: String = (0..1000).map(|i| format!("'h{i}',")).collect();
    let paths: String = (0..201).map(|i| format!("'/p{i}',")).collect();
    refused(&text("", &route(&format!("host = [{hosts}], path = [{paths}]"), "cluster = 'b'")), "too many routes");
}
