//! What is changed in headers, with the real writer of heads at the end.

use super::{Exchange, Site, get, site};
use crate::{
    h1::{self, Connection, Head, Limits, Parsed, RequestOut},
    route::{Client, H1Request, Lines, Matching, Peer, Target, TargetSpace, TrustedProxies, Vars},
};
use balance_config::model::{ClientIpFrom, Scheme};
use balance_engine::intern::Interner;

const QUIET: &str = "x_forwarded = false\nx_real_ip = false\nrequest_id = { send = false }\n";

fn with(keys: &str, route: &str) -> Site {
    site(
        &format!("{QUIET}{keys}"),
        &format!("[[listeners.routes]]\nmatch = {{ path_prefix = '/' }}\ncluster = 'a'\n{route}\n"),
    )
}

fn exchange(keys: &str, route: &str) -> Exchange {
    let ask = get("Example.com:80/a?q=1").with("x-old", "1").with("X-Old", "2").with("cookie", "c=1");
    with(keys, route).exchange(Some("192.0.2.1"), &ask, &get("h/").with("x-back", "b"))
}

#[track_caller]
fn sent(ops: &str, expected: &[(&str, &str)]) {
    let got = exchange("", &format!("request_headers = [{ops}]"));
    let got: Vec<(&str, &str)> = got.request.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(got, expected, "{ops}");
}

#[test]
fn changes_are_made_in_their_order() {
    sent("{ name = 'x-a', value = '1' }", &[("x-a", "1")]);
    sent(
        "{ action = 'add', name = 'x-a', value = '1' }, { action = 'add', name = 'x-a', value = '2' }",
        &[("x-a", "1"), ("x-a", "2")],
    );
    sent("{ action = 'add', name = 'x-a', value = '1' }, { name = 'x-a', value = '2' }", &[("x-a", "2")]);
    sent("{ name = 'x-a', value = '1' }, { action = 'remove', name = 'x-a' }", &[]);
    sent(
        "{ action = 'append', name = 'x-new', value = '1' }, { action = 'append', name = 'x-new', value = '2' }",
        &[("x-new", "1, 2")],
    );
    sent("{ action = 'append', name = 'x-old', value = '3' }", &[("x-old", "1, 2, 3")]);
    sent(
        "{ action = 'remove', name = 'x-old' }, { action = 'append', name = 'x-old', value = '3' }",
        &[("x-old", "3")],
    );
    sent(
        "{ action = 'append', name = 'x-old', value = '3' }, { action = 'add', name = 'x-old', value = '4' }",
        &[("x-old", "1, 2, 3"), ("x-old", "4")],
    );
    // What there is nothing to append to stays as it is.
    sent("{ action = 'append', name = 'x-old', value = '{header:x-none}' }", &[("x-old", "1, 2")]);
}

#[test]
fn the_listener_comes_first_and_its_route_after_it() {
    let keys = "request_headers = [{ name = 'x-a', value = 'l' }, { name = 'x-b', value = 'l' }]\n\
                response_headers = [{ name = 'x-c', value = '{listener}' }]\nserver = 'me'";
    let route = "request_headers = [{ name = 'x-a', value = 'r' }, { action = 'remove', name = 'x-b' }]\n\
                 response_headers = [{ action = 'append', name = 'x-c', value = '{route}' }, { action = 'remove', name = 'server' }]";
    let got = exchange(keys, route);
    assert_eq!((got.sent("x-a"), got.sent("x-b")), (vec!["r"], Vec::new()));
    assert_eq!((got.answered("x-c"), got.answered("server")), (vec!["web, route-1"], Vec::new()));
    assert_eq!(exchange(keys, "").answered("server"), ["me"]);
    assert_eq!(exchange("response_headers = [{ name = 'x-r', value = '{route}' }]", "").answered("x-r"), ["route-1"]);
}

#[test]
fn every_variable_stands_for_something() {
    let value = "{client_ip} {peer_ip} {request_id} {scheme} {host} {path} {query} {method} {route} {cluster} {endpoint} \
                 {listener} {header:x-old} {{}}";
    sent(
        &format!("{{ name = 'x-all', value = '{value}' }}"),
        &[("x-all", "192.0.2.1 192.0.2.1 0123 http example.com /a q=1 GET route-1 a 127.0.0.1:1 web 1, 2 {}")],
    );
    let got = exchange("", "response_headers = [{ name = 'x-s', value = '{status} {header:x-old}' }]");
    assert_eq!(got.answered("x-s"), ["201 1, 2"]);
    let got = exchange("", "response_headers = [{ action = 'append', name = 'x-back', value = '{status}' }]");
    assert_eq!(got.answered("x-back"), ["b, 201"]);
}

#[test]
fn an_empty_value_is_not_written() {
    sent("{ name = 'x-a', value = '{header:x-none}' }", &[]);
    sent("{ name = 'x-a', value = ' {header:x-none} ' }", &[]);
    sent("{ name = 'x-a', value = '  b ' }", &[("x-a", "b")]);
}

/// Nothing that a view may say ends a line, whatever parsed it.
#[test]
fn no_value_ends_its_line() {
    let site = with("", "request_headers = [{ name = 'x-a', value = '{header:x-evil}|{query}' }]");
    let ask = get("h/?a\u{7f}b").with("x-evil", "1\r\nx-injected: 2\0");
    let got = site.exchange(None, &ask, &get("h/"));
    assert_eq!(got.sent("x-a"), ["1??x-injected: 2?|a?b"]);
}

/// The bytes that an endpoint gets of these.
fn forwarded(site: &Site, peer: &str, head: &str) -> String {
    let (limits, names) = (Limits::default(), Interner::new(0, 0));
    let mut fields = Head::with_limits(&limits);
    let Parsed::Complete(request) = h1::parse_request(head.as_bytes(), &limits, &names, &mut fields) else {
        panic!("{head}")
    };
    let view = H1Request { request: &request, head: &fields, bytes: head.as_bytes() };
    let mut space = TargetSpace::default();
    let target = Target::of(&view, site.http.path, &mut space).expect("a path");
    let entry = site.router.find(&view, &target, &mut Matching::default()).expect("a route");
    let proxies = TrustedProxies::new(&site.http.trusted_proxies, ClientIpFrom::XForwardedFor);
    let peer = Peer::new(peer.parse().ok(), Scheme::Http, &proxies);
    let client = Client::of(&peer, &proxies, &view);
    let vars = Vars { view: &view, target, client: &client, request_id: b"7", cluster: "a", endpoint: b"e", status: 0 };
    let mut lines = Lines::default();
    entry.request_headers.expand(&vars, &view, &mut lines);
    let mut out = vec![0; 4096];
    let length = entry.request_headers.with_edits(&lines, client.is_trusted(), |edits| {
        let how = RequestOut { target: None, host: None, edits, connection: Connection::Implied };
        h1::write_request(&mut out, head.as_bytes(), &request, &fields, &how).expect("room")
    });
    String::from_utf8_lossy(&out[..length]).into_owned()
}

/// Whatever begins so is the word of a proxy; from anybody else it does not reach the endpoint.
#[test]
fn claims_of_unknown_peers_are_removed() {
    let site = site("trusted_proxies = ['10.0.0.0/8']", "");
    let head = "GET /a HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-User: root\r\nx-client-cert: x\r\n\
                X-Client-Cert-Dn: x\r\nX-Balance-Reason: x\r\nForwarded: for=1.2.3.4\r\nX-Real-Ip: 1.2.3.4\r\n\
                X-Forwarded-Port: 1\r\nAccept: */*\r\nX-Own: 1\r\n\r\n";
    assert_eq!(
        forwarded(&site, "192.0.2.9", head),
        "GET /a HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nX-Own: 1\r\nX-Forwarded-For: 192.0.2.9\r\n\
         X-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\nX-Real-IP: 192.0.2.9\r\nx-request-id: 7\r\n\r\n"
    );
    assert_eq!(
        forwarded(&site, "10.0.0.9", head),
        "GET /a HTTP/1.1\r\nHost: h\r\nX-Forwarded-User: root\r\nx-client-cert: x\r\nX-Client-Cert-Dn: x\r\n\
         X-Balance-Reason: x\r\nForwarded: for=1.2.3.4\r\nX-Forwarded-Port: 1\r\nAccept: */*\r\nX-Own: 1\r\n\
         X-Forwarded-For: 1.2.3.4, 10.0.0.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n\
         X-Real-IP: 1.2.3.4\r\nx-request-id: 7\r\n\r\n"
    );
}

#[test]
fn an_upgrade_is_seen_where_it_means_something() {
    let routes = "[[listeners.routes]]\nmatch = { headers = { upgrade = 'websocket' } }\ncluster = 'a'\n\
                  request_headers = [{ name = 'x-way', value = 'socket' }]\n";
    let site = site(QUIET, routes);
    let head =
        |connection: &str| format!("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n{connection}X-Own: 1\r\n\r\n");
    assert!(forwarded(&site, "192.0.2.9", &head("Connection: upgrade\r\n")).contains("x-way: socket"));
    assert!(!forwarded(&site, "192.0.2.9", &head("")).contains("x-way"));
}

/// A client may not have the proxy's own headers taken out as if they were hop-by-hop.
#[test]
fn what_the_proxy_says_cannot_be_nominated_away() {
    let site = site("trusted_proxies = ['10.0.0.0/8']", "");
    let head = "GET /a HTTP/1.1\r\nHost: h\r\nConnection: X-Forwarded-For, X-Real-IP, x-request-id, x-own\r\nX-Own: 1\r\n\
                X-Forwarded-For: 1.2.3.4\r\n\r\n";
    let out = forwarded(&site, "192.0.2.9", head);
    assert!(
        out.contains("\r\nX-Forwarded-For: 192.0.2.9\r\n") && out.contains("\r\nX-Real-IP: 192.0.2.9\r\n"),
        "{out}"
    );
    assert!(out.contains("\r\nx-request-id: 7\r\n") && !out.contains("X-Own"), "{out}");
}
