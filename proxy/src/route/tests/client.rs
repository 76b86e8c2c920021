//! Who is believed, and what is passed on.

use super::{Ask, Exchange, Site, get, route, site};
use crate::route::{Fields, Name, request_id};
use balance_config::model::{AcceptId, Scheme};

const TRUSTED: &str = "trusted_proxies = ['10.0.0.0/8', '2001:db8::/32']\nforwarded = true";

fn plain(keys: &str) -> Site {
    site(keys, &route("path = '/nothing'", "a"))
}

fn ask(fields: &[(&str, &str)]) -> Ask {
    fields.iter().fold(get("Example.com:80/"), |ask, (name, value)| ask.with(name, value))
}

fn exchange(keys: &str, peer: &str, fields: &[(&str, &str)]) -> Exchange {
    plain(keys).exchange(Some(peer), &ask(fields), &get("h/"))
}

fn ip(exchange: &Exchange) -> String {
    String::from_utf8_lossy(exchange.client.ip().as_bytes()).into_owned()
}

/// What anybody may write is not believed: the origin of this project took the client's word for its address.
#[test]
fn the_word_of_an_unknown_peer_does_not_count() {
    let claims = [
        ("X-Forwarded-For", "1.2.3.4"),
        ("X-Real-IP", "1.2.3.4"),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "for=1.2.3.4"),
        ("X-Forwarded-Host", "evil.org"),
    ];
    for keys in ["", TRUSTED] {
        let got = exchange(keys, "192.0.2.9", &claims);
        assert_eq!(ip(&got), "192.0.2.9");
        assert_eq!(got.client.scheme(), Scheme::Http);
        assert_eq!(got.sent("x-forwarded-for"), ["192.0.2.9"]);
        assert_eq!(got.sent("x-real-ip"), ["192.0.2.9"]);
        assert_eq!(got.sent("x-forwarded-proto"), ["http"]);
        assert_eq!(got.sent("x-forwarded-host"), ["Example.com:80"]);
    }
    let got = exchange(TRUSTED, "192.0.2.9", &claims);
    assert_eq!(got.sent("forwarded"), ["for=192.0.2.9;host=\"Example.com:80\";proto=http"]);
}

#[test]
fn the_client_is_the_last_address_that_is_not_trusted() {
    for (lists, expected) in [
        (&["1.2.3.4"][..], "1.2.3.4"),
        (&["9.9.9.9, 1.2.3.4"], "1.2.3.4"),
        (&["9.9.9.9, 1.2.3.4, 10.0.0.5"], "1.2.3.4"),
        (&["9.9.9.9", "1.2.3.4, 10.0.0.5", "10.0.0.6"], "1.2.3.4"),
        (&["10.0.0.5, 10.0.0.6"], "10.0.0.5"),
        (&["9.9.9.9, garbage, 10.0.0.5"], "10.0.0.5"),
        (&["9.9.9.9, garbage"], "10.1.1.1"),
        (&["garbage"], "10.1.1.1"),
        (&[""], "10.1.1.1"),
        (&[" , 1.2.3.4 ,"], "1.2.3.4"),
        (&["1.2.3.4:5678"], "1.2.3.4"),
        (&["[2001:db9::1]:5678, [2001:db8::1]"], "2001:db9::1"),
        (&["2001:db9::1"], "2001:db9::1"),
        (&["::ffff:1.2.3.4"], "1.2.3.4"),
        (&[], "10.1.1.1"),
    ] {
        let fields: Vec<(&str, &str)> = lists.iter().map(|list| ("X-Forwarded-For", *list)).collect();
        assert_eq!(ip(&exchange(TRUSTED, "10.1.1.1", &fields)), expected, "{lists:?}");
    }
}

#[test]
fn only_the_header_that_was_named_is_believed() {
    let fields = [
        ("X-Forwarded-For", "1.1.1.1"),
        ("Forwarded", "for=9.9.9.9, for=\"[2001:db9::2]:1\";proto=https"),
        ("X-Real-IP", "3.3.3.3"),
    ];
    let from = |word: &str| ip(&exchange(&format!("{TRUSTED}\nclient_ip_from = '{word}'"), "10.1.1.1", &fields));
    assert_eq!(from("x-forwarded-for"), "1.1.1.1");
    assert_eq!(from("forwarded"), "2001:db9::2");
    assert_eq!(from("x-real-ip"), "3.3.3.3");
    let twice = [("X-Real-IP", "3.3.3.3"), ("X-Real-IP", "4.4.4.4")];
    assert_eq!(ip(&exchange(&format!("{TRUSTED}\nclient_ip_from = 'x-real-ip'"), "10.1.1.1", &twice)), "10.1.1.1");
    let odd = [("Forwarded", "for=1.1.1.1;for=2.2.2.2"), ("Forwarded", "for=_hidden")];
    assert_eq!(ip(&exchange(&format!("{TRUSTED}\nclient_ip_from = 'forwarded'"), "10.1.1.1", &odd)), "10.1.1.1");
}

#[test]
fn what_a_trusted_proxy_said_is_passed_on_and_added_to() {
    let fields = [
        ("X-Forwarded-For", "1.2.3.4"),
        ("x-forwarded-for", "10.0.0.5"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "front.example"),
        ("Forwarded", "for=1.2.3.4;proto=https"),
    ];
    let got = exchange(TRUSTED, "10.1.1.1", &fields);
    assert_eq!(got.sent("x-forwarded-for"), ["1.2.3.4, 10.0.0.5, 10.1.1.1"]);
    assert_eq!(got.sent("x-forwarded-proto"), ["https"]);
    assert_eq!(got.sent("x-forwarded-host"), ["front.example"]);
    assert_eq!(got.sent("x-real-ip"), ["1.2.3.4"]);
    assert_eq!(got.sent("forwarded"), ["for=1.2.3.4;proto=https, for=10.1.1.1;host=\"Example.com:80\";proto=http"]);
    assert_eq!(got.client.scheme(), Scheme::Https);
    let got = exchange(TRUSTED, "2001:db8::7", &[("X-Forwarded-Proto", "gopher")]);
    assert_eq!(got.sent("x-forwarded-proto"), ["http"]);
    assert_eq!(got.sent("forwarded"), ["for=\"[2001:db8::7]\";host=\"Example.com:80\";proto=http"]);
}

#[test]
fn a_peer_of_a_unix_socket_is_trusted_where_anybody_is() {
    let fields = [("X-Forwarded-For", "1.2.3.4")];
    let got = plain(TRUSTED).exchange(None, &ask(&fields), &get("h/"));
    assert_eq!((ip(&got).as_str(), got.sent("x-forwarded-for")), ("1.2.3.4", vec!["1.2.3.4"]));
    let got = plain("").exchange(None, &ask(&fields), &get("h/"));
    assert_eq!((ip(&got).as_str(), got.sent("x-forwarded-for")), ("", Vec::new()));
    assert_eq!(got.client.address(), None);
}

#[test]
fn a_mapped_address_is_the_one_it_stands_for() {
    let got = exchange(TRUSTED, "::ffff:10.1.1.1", &[("X-Forwarded-For", "1.2.3.4")]);
    assert_eq!(ip(&got), "1.2.3.4");
    assert_eq!(got.sent("x-forwarded-for"), ["1.2.3.4, 10.1.1.1"]);
}

#[test]
fn headers_can_be_switched_off() {
    let got = exchange("x_forwarded = false\nx_real_ip = false\nrequest_id = { send = false }", "192.0.2.9", &[]);
    assert_eq!(got.request, []);
}

#[test]
fn numbers_of_requests_are_taken_over_from_those_who_may() {
    let name = Name::new("x-request-id");
    let taken = |ask: &Ask, accept, is_trusted| request_id::taken(ask, &name, accept, is_trusted).is_some();
    let good = ask(&[("X-Request-ID", "abc-123")]);
    assert!(taken(&good, AcceptId::Trusted, true) && taken(&good, AcceptId::Always, false));
    assert!(!taken(&good, AcceptId::Trusted, false) && !taken(&good, AcceptId::Never, true));
    for bad in ["", "a b", "a\tb", "é", &"x".repeat(129)] {
        assert!(!taken(&ask(&[("x-request-id", bad)]), AcceptId::Always, true), "{bad}");
    }
    let twice = ask(&[("x-request-id", "a"), ("x-request-id", "b")]);
    assert!(!taken(&twice, AcceptId::Always, true));
    assert_eq!(twice.values(&name).count(), 2);
}
