//! Clusters: who refers to them, and what is in them.

use std::{
    collections::{BTreeSet, HashMap},
    iter::once,
};

use super::where_is;
use crate::{
    file::{document::Document, findings::Findings, section::Read, source::Place},
    model::{Endpoint, EndpointAddress},
    suggest,
};

pub(super) fn check(document: &Document, findings: &mut Findings) {
    references(document, findings);
    for cluster in &document.clusters {
        endpoints(&cluster.read, findings);
        queue(&cluster.read, findings);
    }
}

/// Where a listener and what is in it name clusters, and by which key.
pub(super) fn named(listener: &Read) -> impl Iterator<Item = (&Read, &'static str)> {
    let of_route =
        |route| once((route, "cluster")).chain(Read::tables(route, "clusters").iter().map(|item| (item, "name")));
    once((listener, "cluster")).chain(listener.tables("routes").iter().flat_map(of_route))
}

fn references(document: &Document, findings: &mut Findings) {
    let known: BTreeSet<&str> = document.clusters.iter().map(|cluster| &*cluster.name).collect();
    let mut used = BTreeSet::new();
    let mut all_resolve = true;
    for (read, key) in document.listeners.iter().flat_map(named) {
        let Some(name) = read.text(key) else {
            // A listener with routes may do without, and a route that has something else; any other lacks what may have
            // been the name of a cluster.
            let has_other = ["routes", "clusters", "redirect", "response"].iter().any(|key| read.is_written(key));
            all_resolve &= has_other && read.is_whole;
            continue;
        };
        used.insert(name);
        // A cluster that seems to be missing may be in a part that could not be read.
        all_resolve &= known.contains(name);
        if !known.contains(name) && !findings.is_broken() {
            let help = findings.suggest(|| {
                let near = suggest::nearest(name, known.iter().copied()).map(|near| format!("did you mean `{near}`?"));
                near.or_else(|| Some(format!("add [clusters.{name}] with its endpoints")))
            });
            let message = format!("there is no cluster {}", crate::diagnostic::quoted(name));
            findings.error(read.place_of(key), message, help);
        }
    }
    // A reference that went wrong was probably meant for the cluster that seems to be unused.
    if !all_resolve {
        return;
    }
    for cluster in document.clusters.iter().filter(|cluster| !used.contains(&*cluster.name)) {
        let message = format!("no listener uses the cluster `{}`", cluster.name);
        findings.warning(cluster.place.clone(), message, None);
    }
}

fn endpoints(cluster: &Read, findings: &mut Findings) {
    let Some(endpoints) = cluster.endpoints("endpoints") else { return };
    if endpoints.is_empty() {
        let message = "a cluster without endpoints refuses every connection";
        findings.warning(cluster.place_of("endpoints"), message, None);
    }
    let mut seen: HashMap<&EndpointAddress, &Place> = HashMap::new();
    for (endpoint, place) in endpoints {
        if let Some(first) = seen.insert(&endpoint.address, place) {
            let help =
                format!("the first one is {}; to give it a larger share, set its weight", where_is(first, findings));
            findings.error(place.clone(), format!("the endpoint {} is listed twice", endpoint.address), Some(help));
        }
    }
    let is_weighted = |(endpoint, _): &&(Endpoint, Place)| endpoint.weight != 1;
    if cluster.word("policy") == Some("round-robin")
        && let Some((_, place)) = endpoints.iter().find(is_weighted)
    {
        let help = "write policy = \"weighted-round-robin\" to heed weights";
        findings.warning(place.clone(), "the policy round-robin ignores weights", Some(help.to_owned()));
    }
}

fn queue(cluster: &Read, findings: &mut Findings) {
    let Some(queue) = cluster.table("queue") else { return };
    let is_off = queue.integer::<u32>("size").is_none_or(|size| size == 0);
    if is_off {
        if queue.is_written("timeout") && !queue.is_written("size") && queue.is_whole {
            let help = "say how many connections may wait";
            findings.warning(
                queue.place_of("timeout"),
                "`timeout` has no effect without `size`",
                Some(help.to_owned()),
            );
        }
        return;
    }
    let limits = |(endpoint, _): &(Endpoint, Place)| endpoint.max_connections.is_some();
    let is_limited = cluster.limit("max_connections").is_none_or(|limit| limit.is_some())
        || cluster.endpoints("endpoints").is_none_or(|all| all.iter().any(limits));
    if !is_limited {
        let message = "nothing will ever wait in the queue of a cluster that has no limit";
        let help = "set `max_connections` for the cluster or for its endpoints";
        findings.warning(queue.place_of("size"), message, Some(help.to_owned()));
    }
}
