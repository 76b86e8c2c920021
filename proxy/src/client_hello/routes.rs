//! Which route a hello falls under: of those whose names and protocols both match, the first that is written. Compiled
//! with a snapshot, then only read.
//!
//! A name is looked up, with each of its parents, and so is what holds for any name; the routes found there are few
//! however many there are. Routes are not walked.

use super::{
    Hello,
    name::{NAME_BYTES_MAX, lowered},
};
use balance_config::model::{Route, SniPattern};
use std::collections::HashMap;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Routes {
    /// By name, in small letters.
    exact: HashMap<Box<[u8]>, Choices>,
    /// By what follows `*.`.
    below: HashMap<Box<[u8]>, Choices>,
    any: Choices,
    /// The protocols of each route, of which the client must offer one; none: it does not matter.
    protocols: Box<[Vec<String>]>,
}

/// Routes, in their order.
type Choices = Vec<usize>;

impl Routes {
    pub(crate) fn compile(routes: &[Route]) -> Self {
        let protocols = routes.iter().map(|route| route.when.alpn.clone()).collect();
        let mut compiled = Self { protocols, ..Self::default() };
        for (index, route) in routes.iter().enumerate() {
            if route.when.sni.is_empty() {
                compiled.any.push(index);
            }
            for pattern in &route.when.sni {
                let (map, name) = match pattern {
                    SniPattern::Exact(name) => (&mut compiled.exact, name),
                    SniPattern::Under(parent) => (&mut compiled.below, parent),
                };
                map.entry(name.as_bytes().into()).or_default().push(index);
            }
        }
        compiled
    }

    /// The index of the route.
    pub(crate) fn find(&self, hello: &Hello<'_>) -> Option<usize> {
        let any = self.first(Some(&self.any), hello);
        let Some(sni) = hello.sni else { return any };
        let mut buffer = [0; NAME_BYTES_MAX];
        let name = lowered(sni, &mut buffer);
        let exact = self.first(self.exact.get(name), hello);
        let below = parents(name).filter_map(|parent| self.first(self.below.get(parent), hello)).min();
        [any, exact, below].into_iter().flatten().min()
    }

    fn first(&self, choices: Option<&Choices>, hello: &Hello<'_>) -> Option<usize> {
        choices?.iter().copied().find(|route| {
            let wanted = &self.protocols[*route];
            wanted.is_empty() || hello.alpn.iter().any(|offered| wanted.iter().any(|w| w.as_bytes() == offered))
        })
    }
}

/// What follows each dot, the longest first.
fn parents(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(dot, _)| &name[dot + 1..])
}
