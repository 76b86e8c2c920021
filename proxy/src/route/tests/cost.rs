//! What a look-up costs, and that it does not depend on how many routes there are.

use std::{
    fmt::Write as _,
    hint::black_box,
    time::{Duration, Instant},
};

use super::{Ask, Matching, Site, Target, TargetSpace, get, site};
use crate::{
    h1::{self, Head, Limits, Parsed},
    route::{Action, Client, H1Request, IdSource, Lines, Peer, RewriteSpace, TrustedProxies, Vars},
};
use balance_config::model::Scheme;
use balance_engine::{intern::Interner, testing::allocations};

/// As many hosts, each with a wildcard, prefixes and exact paths below one host, and expressions.
fn many(count: usize) -> Site {
    let mut routes = String::new();
    for number in 0..count {
        let when = match number % 5 {
            0 => format!("host = 'h{number}.example.com'"),
            1 => format!("host = '*.w{number}.example.com'"),
            2 => format!("host = 'one.example.com', path_prefix = '/service/{number}'"),
            3 => format!("host = 'one.example.com', path = '/page/{number}/index'"),
            _ => format!("host = 'one.example.com', path_regex = '/items/{number}/[0-9]+'"),
        };
        let _ = writeln!(routes, "[[listeners.routes]]\nmatch = {{ {when} }}\ncluster = 'a'");
    }
    site("", &routes)
}

/// Requests for routes near the end of the file, by the kind of route.
fn asks(count: usize) -> [(&'static str, Ask); 6] {
    let last = count - 5;
    [
        ("host", get(&format!("h{last}.example.com/a/b/c?q=1"))),
        ("wildcard host", get(&format!("a.w{}.example.com/a/b/c", last + 1))),
        ("path prefix", get(&format!("one.example.com/service/{}/x/y", last + 2))),
        ("path", get(&format!("one.example.com/page/{}/index", last + 3))),
        ("path by regex", get(&format!("one.example.com/items/{}/42", last + 4))),
        ("none", get("nobody.example.org/a/b/c")),
    ]
}

/// How many alternatives are looked at, and how many nodes: the same for ten routes and ten thousand.
#[test]
fn ten_thousand_routes_cost_no_more_steps_than_ten() {
    let steps = |count: usize| {
        let site = many(count);
        asks(count).map(|(kind, ask)| {
            let mut space = TargetSpace::default();
            let target = Target::of(&ask, site.http.path, &mut space).expect("a path");
            let mut room = Matching::default();
            let found = site.router.find(&ask, &target, &mut room).is_some_and(|entry| !entry.is_default());
            assert_eq!(found, kind != "none", "{kind}");
            (kind, room.steps)
        })
    };
    assert_eq!(steps(10), steps(10_000));
}

/// Everything that a request meets: another form of host and path, expressions, a rewrite, headers, and the answers.
#[test]
fn a_request_costs_no_allocation_once_there_is_room() {
    let site = site(
        "trusted_proxies = ['10.0.0.0/8']\nforwarded = true\nserver = 'me'",
        "[[listeners.routes]]\nmatch = { host = '*.example.com', path_regex = '/v[0-9]/.*', query = { q = { regex = '[a-z ]+' } }, \
         headers = { x-a = { regex = '.+' } }, cookies = { c = '1' } }\ncluster = 'a'\n\
         rewrite = { regex = '^/v([0-9])', replacement = '/{1}', host = 'b-{host}' }\n\
         request_headers = [{ action = 'append', name = 'x-a', value = '{client_ip} {route} {path}' }]\n\
         [[listeners.routes]]\nmatch = { path_prefix = '/old' }\nredirect = { scheme = 'https', path = '/new{path}' }\n",
    );
    let head = "GET /%76%31//a/../x?q=b+c HTTP/1.1\r\nHost: A.Example.com:80\r\nX-A: 1\r\nCookie: c=1\r\n\
                X-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\n\r\n";
    let old = head.replace("/%76%31//a/../x", "/old/x");
    let (limits, names) = (Limits::default(), Interner::new(0, 0));
    let proxies = TrustedProxies::new(&site.http.trusted_proxies, site.http.client_ip_from);
    let peer = Peer::new("10.0.0.1".parse().ok(), Scheme::Http, &proxies);
    let mut fields = Head::with_limits(&limits);
    let (mut space, mut room, mut rewriting, mut lines) =
        (TargetSpace::default(), Matching::default(), RewriteSpace::default(), Lines::default());
    let (mut host, mut location, mut ids) = (Vec::new(), Vec::new(), IdSource::new(7));
    let mut once = |head: &str| {
        let Parsed::Complete(request) = h1::parse_request(head.as_bytes(), &limits, &names, &mut fields) else {
            panic!("{head}")
        };
        let view = H1Request { request: &request, head: &fields, bytes: head.as_bytes() };
        let target = Target::of(&view, site.http.path, &mut space).expect("a path");
        let entry = site.router.find(&view, &target, &mut room).expect("a route");
        let client = Client::of(&peer, &proxies, &view);
        let id = ids.next(Duration::from_secs(1));
        let vars = Vars {
            view: &view,
            target,
            client: &client,
            request_id: id.as_bytes(),
            cluster: "a",
            endpoint: b"e",
            status: 0,
        };
        entry.rewrite.host(&vars, &mut host);
        entry.request_headers.expand(&vars, &view, &mut lines);
        let added = entry.request_headers.with_edits(&lines, client.is_trusted(), |edits| edits.added.len());
        match &entry.action {
            Action::Redirect(redirect) => {
                redirect.location(&entry.rewrite, &vars, &mut rewriting, &mut location).expect("a location");
                location.len() + added
            }
            _ => entry.rewrite.target(&vars, &mut rewriting).expect("a target").map_or(0, <[u8]>::len) + added,
        }
    };
    let first = [once(head), once(&old)];
    let before = allocations();
    for _ in 0..100 {
        assert_eq!([once(head), once(&old)], first);
    }
    assert_eq!(allocations() - before, 0);
    assert_eq!(first, ["/1/x?q=b+c".len() + 7, "https://a.example.com/new/old/x?q=b+c".len() + 6]);
}

/// Shows with `--nocapture` what `docs/routing.md` says.
#[test]
#[expect(clippy::disallowed_methods, reason = "to measure")]
fn look_ups_are_timed() {
    let rounds: u32 = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(100);
    for count in [10, 1_000, 10_000] {
        let site = many(count);
        for (kind, ask) in asks(count) {
            let (mut space, mut room) = (TargetSpace::default(), Matching::default());
            let mut once = || {
                let target = Target::of(black_box(&ask), site.http.path, &mut space).expect("a path");
                black_box(site.router.find(&ask, &target, &mut room).is_some())
            };
            once();
            let best = (0..10)
                .map(|_| {
                    let start = Instant::now();
                    for _ in 0..rounds {
                        once();
                    }
                    start.elapsed().as_nanos() / u128::from(rounds)
                })
                .min();
            println!("{count:>6} routes, {kind:<14} {:>5} ns", best.unwrap_or_default());
        }
    }
}
