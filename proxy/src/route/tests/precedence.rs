//! Of several routes that match, which one counts.

use super::{get, route, site, site_with};

/// The route that a request takes out of two that both match it; the first one is the one that counts, whichever stands
/// first in the file.
#[track_caller]
fn before(first: &str, second: &str, url: &str) {
    for routes in [[route(first, "a"), route(second, "b")], [route(second, "b"), route(first, "a")]] {
        let site = site("", &routes.concat());
        assert_eq!(site.cluster(&get(url)), "a", "{first} before {second}");
    }
    // Alone, the second one matches as well.
    assert_eq!(site("", &route(second, "b")).cluster(&get(url)), "b", "{second} alone");
}

#[test]
fn the_more_specific_one_counts_wherever_it_stands() {
    const URL: &str = "a.b.example.com/x/y?q=1";
    // Hosts come before paths, an exact one before a wildcard, a longer one before a shorter one, any before any.
    before("host = 'a.b.example.com'", "host = '*.b.example.com'", URL);
    before("host = '*.b.example.com'", "host = '*.example.com'", URL);
    before("host = '*.com'", "path = '/x/y'", URL);
    before("host = 'a.b.example.com'", "host = '*.b.example.com', path = '/x/y'", URL);
    // Paths: exact, then the longer prefix, then expressions, then none.
    before("path = '/x/y'", "path_prefix = '/x/y'", URL);
    before("path_prefix = '/x/y'", "path_prefix = '/x'", URL);
    before("path_prefix = '/x/'", "path_prefix = '/x'", URL);
    before("path_prefix = '/'", "path_regex = '/x/y'", URL);
    before("path_regex = '/x/.'", "methods = 'GET'", URL);
}

#[test]
fn an_expression_comes_before_no_path_and_more_conditions_before_fewer() {
    const URL: &str = "example.com/x?q=1";
    before("path_regex = '/.'", "query = { q = '1' }", URL);
    before("path = '/x', query = { q = '1' }", "path = '/x'", URL);
    before("path = '/x', query = { q = '1' }, methods = 'GET'", "path = '/x', query = { q = '1' }", URL);
    before("path = '/x', methods = 'GET'", "path = '/x'", URL);
}

#[test]
fn the_first_one_counts_of_those_that_are_as_specific() {
    let routes = [
        route("path_regex = '/a.*'", "a"),
        route("path_regex = '/.*b'", "b"),
        route("path = '/x', query = { p = '1' }", "c"),
        route("path = '/x', query = { q = '1' }", "d"),
    ];
    let site = site("", &routes.concat());
    assert_eq!(site.cluster(&get("h/ab")), "a");
    assert_eq!(site.cluster(&get("h/bb")), "b");
    assert_eq!(site.cluster(&get("h/x?p=1&q=1")), "c");
    assert_eq!(site.cluster(&get("h/x?q=1")), "d");
}

#[test]
fn priority_comes_before_all_else() {
    let routes = [
        route("host = 'example.com', path = '/x'", "a"),
        "[[listeners.routes]]\nmatch = { path_prefix = '/' }\npriority = 1\nredirect = { scheme = 'https' }\n"
            .to_owned(),
        "[[listeners.routes]]\nmatch = { headers = { x-debug = '1' } }\npriority = 2\ncluster = 'b'\n".to_owned(),
    ];
    let site = site("", &routes.concat());
    assert_eq!(site.entry(&get("example.com/x")).map(|entry| &*entry.name), Some("route-2"));
    assert_eq!(site.cluster(&get("example.com/x").with("X-Debug", "1")), "b");
}

#[test]
fn what_matches_no_route_goes_to_the_cluster_of_the_listener_if_there_is_one() {
    let routes = route("host = 'example.com'", "a");
    let with = site("", &routes);
    let entry = with.entry(&get("other.org/")).expect("the default");
    assert!(entry.is_default() && &*entry.name == "default");
    assert_eq!(with.cluster(&get("other.org/")), "f");
    assert_eq!(with.cluster(&get("/")), "f");
    assert!(site_with("", "", &routes).entry(&get("other.org/")).is_none());
}

/// The route that matched decides about the cluster, which the origin of this project threw away.
#[test]
fn each_route_has_its_cluster() {
    let routes = [
        route("host = 'a.example.com'", "a"),
        route("host = '*.example.com', path_prefix = '/b'", "b"),
        route("path_prefix = '/c'", "c"),
    ];
    let site = site("", &routes.concat());
    for (url, cluster) in [
        ("a.example.com/b", "a"),
        ("x.example.com/b", "b"),
        ("x.example.com/b/x", "b"),
        ("x.example.com/c", "c"),
        ("example.com/b", "f"),
        ("example.com/c/x?y", "c"),
    ] {
        assert_eq!(site.cluster(&get(url)), cluster, "{url}");
    }
}
