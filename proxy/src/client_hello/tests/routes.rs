//! Which route is chosen.

use super::{super::hello::Alpn, *};
use balance_config::model::{Route, RouteMatch, SniPattern};

/// As it is written, names and protocols.
type Written<'a> = (&'a [&'a str], &'a [&'a str]);

const ROUTES: [Written<'static>; 9] = [
    (&["api.example.com"], &["h2"]),
    (&["api.example.com", "*.api.example.com"], &[]),
    (&["*.eu.example.com"], &["h2", "h3"]),
    (&["*.example.com"], &[]),
    (&["*.net"], &["h2"]),
    (&[], &["acme-tls/1"]),
    (&["late.net", "www.example.org"], &[]),
    (&["*.org"], &[]),
    (&[], &["h2"]),
];

fn compiled(routes: &[Written<'_>]) -> Routes {
    let pattern = |name: &&str| match name.strip_prefix("*.") {
        Some(parent) => SniPattern::Under(parent.to_owned()),
        None => SniPattern::Exact((*name).to_owned()),
    };
    let route = |(names, alpn): &Written<'_>| Route {
        when: RouteMatch {
            sni: names.iter().map(pattern).collect(),
            alpn: alpn.iter().map(|protocol| (*protocol).to_owned()).collect(),
        },
        cluster: "app".to_owned(),
    };
    Routes::compile(&routes.iter().map(route).collect::<Vec<_>>())
}

#[track_caller]
fn check(sni: Option<&str>, protocols: &[&[u8]], expected: Option<usize>) {
    let list: Vec<u8> = protocols.iter().flat_map(|protocol| vector8(protocol)).collect();
    let hello = Hello { sni, alpn: Alpn::of(&list) };
    assert_eq!(compiled(&ROUTES).find(&hello), expected);
    // As one who walks all of them would find it.
    let walked = (0..ROUTES.len()).find(|index| compiled(&ROUTES[*index..=*index]).find(&hello).is_some());
    assert_eq!(walked, expected);
}

#[test]
fn the_first_that_matches_counts() {
    check(Some("api.example.com"), &[b"http/1.1", b"h2"], Some(0));
    check(Some("api.example.com"), &[b"http/1.1"], Some(1));
    check(Some("a.api.example.com"), &[b"h2"], Some(1));
    check(Some("a.eu.example.com"), &[b"h3"], Some(2));
    check(Some("a.eu.example.com"), &[], Some(3));
    check(Some("late.net"), &[b"h2"], Some(4));
    check(Some("late.net"), &[b"acme-tls/1"], Some(5));
    check(Some("late.net"), &[], Some(6));
    check(Some("www.example.org"), &[b"h2"], Some(6));
    check(Some("example.org"), &[b"h2"], Some(7));
    check(None, &[b"h2", b"acme-tls/1"], Some(5));
    check(None, &[b"h2"], Some(8));
    check(None, &[], None);
}

#[test]
fn a_wildcard_stands_for_one_label_or_more() {
    check(Some("a.example.com"), &[], Some(3));
    check(Some("a.b.c.example.com"), &[], Some(3));
    check(Some("eu.example.com"), &[], Some(3));
    check(Some("example.com"), &[], None);
    check(Some("badexample.com"), &[], None);
    check(Some("a.example.com.evil"), &[], None);
    check(Some("com"), &[], None);
}

#[test]
fn names_are_compared_without_case_and_protocols_with_it() {
    check(Some("aPi.Example.COM"), &[b"h2"], Some(0));
    check(Some("X.NET"), &[b"h2"], Some(4));
    check(Some("x.net"), &[b"H2"], None);
    check(Some("x.net"), &[b"h2c"], None);
    check(Some("x.net"), &[], None);
}

#[test]
fn without_routes_nothing_is_found() {
    let hello = Hello { sni: Some("a.example"), alpn: Alpn::default() };
    assert_eq!(compiled(&[]).find(&hello), None);
}
