//! What the endpoint sees of path and host, and where clients are sent.

use super::{BadRewrite, Site, get, site};
use crate::route::rewrite::strip;
use balance_config::http_path::BadPath;

fn with(keys: &str, rest: &str) -> Site {
    site(keys, &format!("[[listeners.routes]]\nmatch = {{ path_prefix = '/' }}\n{rest}\n"))
}

#[track_caller]
fn target(site: &Site, url: &str, expected: &str) {
    let got = site.exchange(Some("192.0.2.1"), &get(url), &get("h/")).target;
    assert_eq!(got.as_deref(), Ok(expected), "{url}");
}

/// Byte for byte: the origin of this project sent `/foo/foo` for `/foo`, and every query twice.
#[test]
fn without_a_rewrite_path_and_query_stay_as_they_came() {
    let site = with("", "cluster = 'a'");
    for path in ["/foo", "/api?id=1", "/", "/?", "/?a=%2F&b=+&&=?", "/a%2Fb/%C3%A9?x=/../y", "/a/b/", "/a;v=1/b"] {
        target(&site, &format!("h{path}"), path);
    }
    // What is matched is what is forwarded.
    target(&site, "h//a/./b/../%63?x=//", "/a/c?x=//");
    target(&site, "h", "/");
    target(&site, "h/é", "/%C3%A9");
}

#[test]
fn prefixes_are_taken_off_and_put_before() {
    for (path, prefix, expected) in [
        ("/api/x", "/api", "/x"),
        ("/api", "/api", "/"),
        ("/api/", "/api", "/"),
        ("/apis", "/api", "/apis"),
        ("/api/x", "/api/", "/x"),
        ("/x", "/api", "/x"),
        ("/x", "/", "/x"),
    ] {
        assert_eq!(strip(path, prefix), expected, "{path} without {prefix}");
    }
    let site = with("", "cluster = 'a'\nrewrite = { strip_prefix = '/v1', add_prefix = '/api/' }");
    target(&site, "h/v1/x?q=1", "/api/x?q=1");
    target(&site, "h/v1", "/api/");
    target(&site, "h/v2/x", "/api/v2/x");
    let site = with("", "cluster = 'a'\nrewrite = { add_prefix = '/api' }");
    target(&site, "h/?q", "/api/?q");
}

#[test]
fn whole_paths_and_expressions_are_replaced() {
    let site = with("", "cluster = 'a'\nrewrite = { path = '/new{path}' }");
    target(&site, "h/x?q=1", "/new/x?q=1");
    let site = with("", "cluster = 'a'\nrewrite = { path = '/{host}/{method}' }");
    target(&site, "Example.com:80/x", "/example.com/GET");
    let site = with(
        "",
        r"cluster = 'a'
rewrite = { regex = '^/users/(?<id>[0-9]+)(/.*)?$$', replacement = '/u{2}/{id}' }",
    );
    target(&site, "h/users/42/posts?q", "/u/posts/42?q");
    target(&site, "h/users/42", "/u/42");
    target(&site, "h/users/x", "/users/x");
    // Every match, also where it is empty.
    let site = with("", "cluster = 'a'\nrewrite = { regex = 'a', replacement = '{0}b' }");
    target(&site, "h/aca", "/abcab");
    let site = with("", "cluster = 'a'\nrewrite = { regex = 'x*', replacement = '-' }");
    assert_eq!(site.exchange(None, &get("h/a"), &get("h/")).target, Err(BadRewrite::Path(BadPath::Start)));
}

/// What an expression puts together is looked at again, for it may be a path that servers read in different ways.
#[test]
fn a_rewritten_path_is_as_safe_as_one_that_came() {
    let error = |rest: &str, url: &str| with("", rest).exchange(None, &get(url), &get("h/")).target.expect_err(url);
    let cut = "cluster = 'a'\nrewrite = { regex = 'x', replacement = '/' }";
    assert_eq!(error(cut, "h/x..xx..xb"), BadRewrite::Path(BadPath::AboveRoot));
    target(&with("", cut), "h/axxb", "/a/b");
    let dots = "cluster = 'a'\nrewrite = { regex = '^/x(.*)y$$', replacement = '/{1}' }";
    assert_eq!(error(dots, "h/x..y"), BadRewrite::Path(BadPath::AboveRoot));
    let long = "cluster = 'a'\nrewrite = { regex = '.', replacement = '/{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}' }";
    let url = format!("h/{}", "a".repeat(8000));
    assert_eq!(error(long, &url), BadRewrite::TooLong);
}

#[test]
fn the_server_as_a_whole_is_not_rewritten() {
    let site = site(
        "",
        "[[listeners.routes]]\nmatch = { methods = 'OPTIONS' }\ncluster = 'a'\nrewrite = { add_prefix = '/x' }\n",
    );
    assert_eq!(site.exchange(None, &get("h*").method("OPTIONS"), &get("h/")).target.as_deref(), Ok("*"));
}

#[test]
fn hosts_are_rewritten() {
    let host = |rest: &str| with("", rest).exchange(None, &get("Example.com:80/"), &get("h/")).host;
    assert_eq!(host("cluster = 'a'"), "Example.com:80");
    assert_eq!(host("cluster = 'a'\nrewrite = { host = 'b.internal:81' }"), "b.internal:81");
    assert_eq!(host("cluster = 'a'\nrewrite = { host = '{endpoint}' }"), "127.0.0.1:1");
    assert_eq!(host("cluster = 'a'\nrewrite = { host = 'x-{host}' }"), "x-example.com");
}

#[track_caller]
fn location(redirect: &str, url: &str, expected: &str) {
    let site = with("", &format!("redirect = {{ {redirect} }}"));
    assert_eq!(site.exchange(Some("192.0.2.1"), &get(url), &get("h/")).location, expected, "{redirect} {url}");
}

#[test]
fn clients_are_sent_elsewhere() {
    location("scheme = 'https'", "Example.com:8080/a?b=c", "https://example.com/a?b=c");
    location("scheme = 'https', port = 8443", "example.com/a", "https://example.com:8443/a");
    location("scheme = 'https', port = 443", "example.com/", "https://example.com/");
    location("scheme = 'http'", "example.com:8080/a", "http://example.com:8080/a");
    location("host = 'www.{host}'", "example.com:8080/a", "http://www.example.com/a");
    location("host = 'b.org'", "/a", "http://b.org/a");
    location("port = 81", "example.com/a", "http://example.com:81/a");
    location("path = '/new{path}'", "example.com/a?b", "/new/a?b");
    location("path = '/new', keep_query = false", "example.com/a?b", "/new");
    location("scheme = 'https'", "[::1]:80/", "https://[::1]/");
    // Without a host there is no other place to name.
    location("scheme = 'https'", "/a", "/a");
}

/// `//evil.org` would be another host.
#[test]
fn a_path_is_never_taken_for_a_host() {
    let site = with("merge_slashes = false", "redirect = { path = '{path}/' }");
    let location = |url: &str| site.exchange(None, &get(url), &get("h/")).location;
    assert_eq!(location("h//evil.org"), "/evil.org/");
    assert_eq!(location("h///evil.org"), "/evil.org/");
    let site = with("", "redirect = { path = '{path}' }\nrewrite = { strip_prefix = '/out' }");
    let location = |url: &str| site.exchange(None, &get(url), &get("h/")).location;
    assert_eq!(location("h/out//evil.org"), "/evil.org");
}
