//! A configuration whose names have been replaced by their addresses.

use balance_config::model::{Address, Config, Endpoint, EndpointAddress};
use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// The addresses of every name at one moment.
pub(crate) type Addresses = HashMap<Arc<str>, Vec<IpAddr>>;

/// The names that `config` uses, each once.
pub(super) fn hosts(config: &Config) -> BTreeSet<&str> {
    let endpoints = config.clusters.iter().flat_map(|c| &c.endpoints);
    endpoints.filter_map(|e| name(e).map(|(host, _)| host)).collect()
}

fn name(endpoint: &Endpoint) -> Option<(&str, u16)> {
    match &endpoint.address {
        EndpointAddress::Dns { host, port } => Some((host, *port)),
        EndpointAddress::Address(_) => None,
    }
}

/// `config` with an endpoint for each address in place of a name. Weight and limits of the name hold for each; an
/// address that its cluster has already, by another name or by itself, is not added again.
pub(crate) fn fill<'a>(config: &'a Config, addresses: &Addresses) -> Cow<'a, Config> {
    if config.clusters.iter().all(|c| c.endpoints.iter().all(|e| name(e).is_none())) {
        return Cow::Borrowed(config);
    }
    let mut filled = config.clone();
    for cluster in filled.clusters.iter_mut().filter(|c| c.endpoints.iter().any(|e| name(e).is_some())) {
        let mut seen = HashSet::new();
        let endpoints = std::mem::take(&mut cluster.endpoints);
        let each = endpoints.into_iter().flat_map(|e| resolved(e, addresses));
        cluster.endpoints = each.filter(|e| seen.insert(e.address.clone())).collect();
    }
    Cow::Owned(filled)
}

fn resolved(endpoint: Endpoint, addresses: &Addresses) -> Vec<Endpoint> {
    let Some((host, port)) = name(&endpoint) else { return vec![endpoint] };
    let known = addresses.get(host).map_or(&[][..], Vec::as_slice);
    let address = |ip: &IpAddr| EndpointAddress::Address(Address::Ip(SocketAddr::new(*ip, port)));
    known.iter().map(|ip| Endpoint { address: address(ip), ..endpoint.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::fixture::{cluster, config, named};

    #[track_caller]
    fn check(config: &Config, expected: &[&str]) {
        let addresses: Addresses = [
            ("a.test".into(), vec!["10.0.0.1".parse().unwrap(), "::1".parse().unwrap()]),
            ("b.test".into(), vec!["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()]),
            ("gone.test".into(), vec![]),
        ]
        .into();
        let filled = fill(config, &addresses);
        let texts: Vec<String> = filled.clusters[0]
            .endpoints
            .iter()
            .map(|e| format!("{} {} {:?}", e.address, e.weight, e.max_connections))
            .collect();
        assert_eq!(texts, expected);
    }

    #[test]
    fn every_address_of_a_name_is_an_endpoint() {
        let with = |endpoints: Vec<Endpoint>| {
            let mut app = cluster("app", &["10.0.0.9:1"]);
            app.endpoints.extend(endpoints);
            config(vec![], vec![app])
        };
        let weighted = |host: &str| Endpoint { weight: 3, max_connections: Some(7), ..named(host, 1) };
        check(&with(vec![]), &["10.0.0.9:1 1 None"]);
        check(&with(vec![named("unknown.test", 1), named("gone.test", 1)]), &["10.0.0.9:1 1 None"]);
        check(
            &with(vec![weighted("a.test"), named("b.test", 1)]),
            &["10.0.0.9:1 1 None", "10.0.0.1:1 3 Some(7)", "[::1]:1 3 Some(7)", "10.0.0.2:1 1 None"],
        );
        check(
            &with(vec![named("a.test", 1), named("a.test", 2)]),
            &["10.0.0.9:1 1 None", "10.0.0.1:1 1 None", "[::1]:1 1 None", "10.0.0.1:2 1 None", "[::1]:2 1 None"],
        );
    }

    #[test]
    fn a_configuration_without_names_is_not_copied() {
        let config = config(vec![], vec![cluster("app", &["10.0.0.9:1"])]);
        assert!(matches!(fill(&config, &Addresses::new()), Cow::Borrowed(_)));
    }

    #[test]
    fn a_name_of_several_clusters_is_wanted_once() {
        let mut clusters = vec![cluster("app", &["10.0.0.9:1"]), cluster("db", &[])];
        clusters[0].endpoints.push(named("a.test", 1));
        clusters[1].endpoints.extend([named("a.test", 2), named("b.test", 2)]);
        assert_eq!(hosts(&config(vec![], clusters)), ["a.test", "b.test"].into());
    }
}
