//! The router against one that tries every route, on random routes and requests.

use balance_config::model::{
    HostPattern, Http, HttpRoute, Matcher, PathPattern, RequestMatch, RouteAction, ValueMatch, WeightedCluster,
};
use balance_config::pattern;
use balance_engine::rng::Rng;

use super::{Ask, ClusterIndex, Matching, RequestView, Router, Target, TargetSpace, get, site};
use crate::route::Fields as _;

const HOSTS: [&str; 7] = ["a.com", "b.a.com", "c.b.a.com", "com", "x.org", "y.x.org", "z.y.x.org"];
const PATHS: [&str; 9] = ["/", "/a", "/a/", "/a/b", "/a/b/", "/a/b/c", "/b", "/b/a", "/ab"];
const REGEXES: [&str; 7] = ["/a/.*", "/a/[bc]", "/.", ".*", "(/a|/b).*", "/a/b(/c)?", "/b.*a?"];
const METHODS: [&str; 3] = ["GET", "POST", "PURGE"];

struct Random(Rng);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound as u64) as usize
    }

    fn pick(&mut self, all: &[&str]) -> String {
        all[self.below(all.len())].to_owned()
    }

    fn some<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    fn matcher(&mut self, names: &[&str]) -> Matcher {
        let value = match self.below(5) {
            0 => ValueMatch::Exact(self.pick(&["1", "2", "12"])),
            1 => ValueMatch::Prefix("1".to_owned()),
            2 => ValueMatch::Regex("[0-9]+".to_owned()),
            3 => ValueMatch::Present(true),
            _ => ValueMatch::Present(false),
        };
        Matcher { name: self.pick(names), value }
    }

    fn when(&mut self) -> RequestMatch {
        let hosts = self.some(2, |random| {
            let name = random.pick(&HOSTS);
            if random.below(2) == 0 { HostPattern::Exact(name) } else { HostPattern::Under(name) }
        });
        let kind = self.below(4);
        let paths = self.some(2, |random| match kind {
            0 => PathPattern::Exact(random.pick(&PATHS)),
            1 | 2 => PathPattern::Prefix(random.pick(&PATHS)),
            _ => PathPattern::Regex(random.pick(&REGEXES)),
        });
        let rarely = |random: &mut Self| usize::from(random.below(4) == 0);
        let (methods, headers, query, cookies) = (rarely(self), rarely(self), rarely(self), rarely(self));
        RequestMatch {
            hosts,
            paths,
            methods: self.some(methods * 2, |random| random.pick(&METHODS)),
            headers: self.some(headers, |random| random.matcher(&["accept", "x-own"])),
            query: self.some(query, |random| random.matcher(&["p", "q"])),
            cookies: self.some(cookies, |random| random.matcher(&["c", "d"])),
        }
    }

    fn ask(&mut self) -> Ask {
        let query = self.pick(&["", "?p=1", "?q=12", "?p=3&q=2", "?p"]);
        let host = self.pick(&["", "a.com", "b.a.com", "c.b.a.com", "q.b.a.com", "x.org", "q.z.y.x.org", "q.com"]);
        let mut ask = get(&format!("{host}{}{query}", self.pick(&PATHS))).method(&self.pick(&METHODS));
        for (name, values) in [("accept", ["1", "x"]), ("x-own", ["12", "3"]), ("cookie", ["c=1", "d=2; c=x"])] {
            if self.below(3) == 0 {
                ask = ask.with(name, &self.pick(&values));
            }
        }
        ask
    }
}

/// What is written in docs/routing.md, word by word and without any thought of speed.
fn reference(http: &Http, ask: &Ask) -> Option<usize> {
    let host = String::from_utf8_lossy(ask.host()).to_ascii_lowercase();
    type Rank = (u32, (u8, usize), (u8, usize), usize, usize);
    let mut found: Vec<Rank> = Vec::new();
    for (index, HttpRoute { when, priority, .. }) in http.routes.iter().enumerate() {
        if !conditions(when, ask) {
            continue;
        }
        let hosts: Vec<(u8, usize)> = if when.hosts.is_empty() {
            vec![(0, 0)]
        } else {
            let one = |pattern: &HostPattern| match pattern {
                HostPattern::Exact(name) => (*name == host).then_some((2, 0)),
                HostPattern::Under(parent) => host
                    .strip_suffix(parent.as_str())
                    .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
                    .then_some((1, parent.len())),
            };
            when.hosts.iter().filter_map(one).collect()
        };
        let path = ask.path.as_str();
        let paths: Vec<(u8, usize)> = if when.paths.is_empty() {
            vec![(0, 0)]
        } else {
            let one = |pattern: &PathPattern| match pattern {
                PathPattern::Exact(text) => (text == path).then_some((3, 0)),
                PathPattern::Prefix(text) => path
                    .strip_prefix(text.as_str())
                    .is_some_and(|rest| rest.is_empty() || text.ends_with('/') || rest.starts_with('/'))
                    .then_some((2, text.len())),
                PathPattern::Regex(text) => pattern::whole(text).expect(text).is_match(path).then_some((1, 0)),
            };
            when.paths.iter().filter_map(one).collect()
        };
        let (Some(host), Some(path)) = (hosts.into_iter().max(), paths.into_iter().max()) else { continue };
        let count = usize::from(!when.methods.is_empty()) + when.headers.len() + when.query.len() + when.cookies.len();
        found.push((*priority, host, path, count, usize::MAX - index));
    }
    found.into_iter().max().map(|(.., index)| usize::MAX - index)
}

fn conditions(when: &RequestMatch, ask: &Ask) -> bool {
    let line = |name: &str| {
        let name = crate::route::Name::new(name);
        ask.values(&name).map(|value| String::from_utf8_lossy(value).into_owned()).collect::<Vec<_>>()
    };
    let pairs = |text: &str, between: char, name: &str| {
        text.split(between)
            .filter_map(|pair| {
                let pair = pair.trim();
                let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
                (found == name && !pair.is_empty()).then(|| value.to_owned())
            })
            .collect::<Vec<_>>()
    };
    let cookies = |name: &str| line("cookie").iter().flat_map(|line| pairs(line, ';', name)).collect();
    (when.methods.is_empty() || when.methods.contains(&ask.method))
        && when.headers.iter().all(|matcher| holds(&matcher.value, line(&matcher.name)))
        && when.query.iter().all(|m| holds(&m.value, pairs(ask.query.as_deref().unwrap_or(""), '&', &m.name)))
        && when.cookies.iter().all(|matcher| holds(&matcher.value, cookies(&matcher.name)))
}

fn holds(wanted: &ValueMatch, values: Vec<String>) -> bool {
    match wanted {
        ValueMatch::Exact(text) => values.contains(text),
        ValueMatch::Prefix(text) => values.iter().any(|value| value.starts_with(text)),
        ValueMatch::Regex(text) => values.iter().any(|value| pattern::whole(text).expect(text).is_match(value)),
        ValueMatch::Present(present) => values.is_empty() != *present,
    }
}

#[test]
fn random_routes_are_found_as_if_each_were_tried() {
    let like = site("", &super::route("path = '/'", "a")).http;
    let mut matched = 0;
    for seed in 0..400 {
        let mut random = Random(Rng::new(seed));
        let count = 1 + random.below(30);
        let mut http = like.clone();
        http.routes = (0..count)
            .map(|index| HttpRoute {
                name: format!("r{index}"),
                when: random.when(),
                priority: if random.below(4) == 0 { random.below(3) as u32 } else { 0 },
                action: RouteAction::Forward(vec![WeightedCluster { name: "a".into(), weight: 1 }]),
                ..like.routes[0].clone()
            })
            .collect();
        let router = Router::compile(&http, "web", None, None, &mut |_| ClusterIndex(0));
        let mut room = Matching::default();
        for _ in 0..60 {
            let ask = random.ask();
            let mut space = TargetSpace::default();
            let target = Target::of(&ask, http.path, &mut space).expect("a path");
            let found = router.find(&ask, &target, &mut room).map(|entry| entry.name.to_string());
            let expected = reference(&http, &ask).map(|index| format!("r{index}"));
            matched += usize::from(found.is_some());
            assert_eq!(found, expected, "seed {seed}: {ask:?}\n{:#?}", http.routes);
        }
    }
    assert!(matched > 5_000, "{matched}");
}
