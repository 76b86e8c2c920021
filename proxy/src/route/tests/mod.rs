//! Routing as a whole, from the text of a configuration to what leaves.

mod client;
mod cost;
mod headers;
mod matchers;
mod precedence;
mod reference;
mod targets;

use std::net::IpAddr;

use balance_config::{env::NoEnv, file, model};

use super::*;

/// A request as a test writes it.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    method: String,
    authority: String,
    path: String,
    query: Option<String>,
    fields: Vec<(String, String)>,
}

/// `GET` of an address without its scheme: `example.com/a?b=c`.
pub(super) fn get(url: &str) -> Ask {
    let at = url.find(['/', '*']).unwrap_or(url.len());
    let (authority, target) = url.split_at(at);
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query.to_owned())));
    Ask { method: "GET".into(), authority: authority.into(), path: path.into(), query, fields: Vec::new() }
}

impl Ask {
    fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    fn method(mut self, method: &str) -> Self {
        self.method = method.to_owned();
        self
    }
}

impl Fields for Ask {
    fn values<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a [u8]> {
        let is_meant = |(found, _): &&(String, String)| found.as_bytes().eq_ignore_ascii_case(name.as_bytes());
        self.fields.iter().filter(is_meant).map(|(_, value)| value.as_bytes())
    }
}

impl RequestView for Ask {
    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }

    fn authority(&self) -> &[u8] {
        self.authority.as_bytes()
    }

    fn host(&self) -> &[u8] {
        let port = self.authority.rfind(':').filter(|at| !self.authority[*at..].contains(']'));
        &self.authority.as_bytes()[..port.unwrap_or(self.authority.len())]
    }

    fn port(&self) -> Option<u16> {
        self.authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok())
    }

    fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }

    fn query(&self) -> Option<&[u8]> {
        self.query.as_ref().map(String::as_bytes)
    }
}

/// A listener that speaks HTTP, and its router.
pub(super) struct Site {
    pub(super) http: model::Http,
    pub(super) router: Router,
    /// By number.
    pub(super) clusters: Vec<String>,
    proxies: TrustedProxies,
}

/// `keys` are those of `[listeners.http]`, `routes` all that follows in the listener. Clusters `a` to `f` exist.
pub(super) fn site(keys: &str, routes: &str) -> Site {
    site_with("cluster = \"f\"", keys, routes)
}

pub(super) fn site_with(cluster: &str, keys: &str, routes: &str) -> Site {
    let clusters: String = ["a", "b", "c", "d", "e", "f"]
        .map(|name| format!("[clusters.{name}]\nendpoints = [\"127.0.0.1:1\"]\n"))
        .concat();
    let text = format!(
        "[[listeners]]\nname = \"web\"\nbind = \":80\"\nprotocol = \"http\"\n{cluster}\n[listeners.http]\n{keys}\n\
         {routes}\n{clusters}"
    );
    let loaded = file::parse("test", &text, &NoEnv, &[]).unwrap_or_else(|report| panic!("{report}"));
    let listener = loaded.config.listeners.into_iter().next().expect("a listener");
    let http = listener.http.expect("it speaks HTTP");
    let mut clusters: Vec<String> = Vec::new();
    let mut number_of = |name: &str| {
        let known = clusters.iter().position(|known| known == name).unwrap_or_else(|| {
            clusters.push(name.to_owned());
            clusters.len() - 1
        });
        ClusterIndex(known as u32)
    };
    let router = Router::compile(&http, "web", listener.cluster.as_deref(), listener.idle_timeout, &mut number_of);
    let proxies = TrustedProxies::new(&http.trusted_proxies, http.client_ip_from);
    Site { http, router, clusters, proxies }
}

/// A route with these conditions that goes to this cluster.
pub(super) fn route(when: &str, cluster: &str) -> String {
    format!("[[listeners.routes]]\nmatch = {{ {when} }}\ncluster = \"{cluster}\"\n")
}

impl Site {
    /// The entry that a request takes.
    pub(super) fn entry(&self, ask: &Ask) -> Option<&Entry> {
        let mut space = TargetSpace::default();
        let target = Target::of(ask, self.http.path, &mut space).ok()?;
        self.router.find(ask, &target, &mut Matching::default())
    }

    /// The cluster that a request goes to; empty when it goes to none.
    pub(super) fn cluster(&self, ask: &Ask) -> &str {
        match self.entry(ask).map(|entry| &entry.action) {
            Some(Action::Forward(split)) => &self.clusters[split.pick(0).0 as usize],
            _ => "",
        }
    }

    /// What becomes of a request, and its response of these fields, from a peer of this address.
    pub(super) fn exchange(&self, peer: Option<&str>, ask: &Ask, answer: &Ask) -> Exchange {
        let mut space = TargetSpace::default();
        let target = Target::of(ask, self.http.path, &mut space).expect("a path");
        let entry = self.router.find(ask, &target, &mut Matching::default()).expect("a route");
        let ip = peer.map(|ip| ip.parse::<IpAddr>().expect("an address"));
        let peer = Peer::new(ip, model::Scheme::Http, &self.proxies);
        let client = Client::of(&peer, &self.proxies, ask);
        let vars = Vars {
            view: ask,
            target,
            client: &client,
            request_id: b"0123",
            cluster: "a",
            endpoint: b"127.0.0.1:1",
            status: 201,
        };
        let (mut rewriting, mut host, mut location) = (RewriteSpace::default(), Vec::new(), Vec::new());
        let raw = format!("{}{}", ask.path, ask.query.as_ref().map(|q| format!("?{q}")).unwrap_or_default());
        let to_text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let target = entry.rewrite.target(&vars, &mut rewriting).map(|target| target.map_or(raw, to_text));
        let has_host = entry.rewrite.host(&vars, &mut host);
        if let Action::Redirect(redirect) = &entry.action {
            redirect.location(&entry.rewrite, &vars, &mut rewriting, &mut location).expect("a location");
        }
        let mut lines = Lines::default();
        let fields = |plan: &crate::route::headers::HeaderPlan, lines: &Lines| {
            plan.added(lines).map(|added| (to_text(added.name.as_bytes()), to_text(added.value))).collect()
        };
        entry.request_headers.expand(&vars, ask, &mut lines);
        let request = fields(&entry.request_headers, &lines);
        entry.response_headers.expand(&vars, answer, &mut lines);
        let response = fields(&entry.response_headers, &lines);
        let host = if has_host { to_text(&host) } else { ask.authority.clone() };
        Exchange { target, host, request, response, client, location: to_text(&location) }
    }
}

/// What the endpoint and the client get.
pub(super) struct Exchange {
    pub(super) target: Result<String, BadRewrite>,
    pub(super) host: String,
    /// What is added to the request, and to the response.
    pub(super) request: Vec<(String, String)>,
    pub(super) response: Vec<(String, String)>,
    pub(super) client: Client,
    pub(super) location: String,
}

impl Exchange {
    /// The values that are added to the request under this name.
    pub(super) fn sent(&self, name: &str) -> Vec<&str> {
        self.request.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| &**value).collect()
    }

    pub(super) fn answered(&self, name: &str) -> Vec<&str> {
        self.response.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| &**value).collect()
    }
}
