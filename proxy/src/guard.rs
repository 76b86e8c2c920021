//! Who may connect to a listener, and what is read of them first. Compiled with the snapshot.

use crate::{
    cidr::{Access, AccessList, Network, NetworkSet},
    report::Reason,
};
use balance_config::model::{self, ProxyProtocolIn, Untrusted};
use std::{net::IpAddr, time::Duration};

/// A listener's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Guard {
    access: AccessList,
    proxy_protocol: Option<ProxyRules>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ProxyRules {
    trusted: NetworkSet,
    untrusted: Untrusted,
    timeout: Duration,
}

/// What becomes of a connection, by the address it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Welcome {
    /// Its address is the client's.
    Client,
    /// It must begin with a PROXY header, within this time.
    Proxy(Duration),
    Refused(Reason),
}

impl Guard {
    pub(crate) fn new(listener: &model::Listener) -> Self {
        Self {
            access: AccessList { allow: networks(&listener.allow), deny: networks(&listener.deny) },
            proxy_protocol: listener.proxy_protocol.as_ref().map(ProxyRules::new),
        }
    }

    /// What to do with a connection whose peer has this address; a unix socket's peer has none.
    pub(crate) fn welcome(&self, peer: Option<IpAddr>) -> Welcome {
        let Some(rules) = &self.proxy_protocol else { return self.client(peer) };
        if peer.is_none_or(|ip| rules.trusted.contains(ip)) {
            return Welcome::Proxy(rules.timeout);
        }
        match rules.untrusted {
            Untrusted::Reject => Welcome::Refused(Reason::Untrusted),
            Untrusted::Plain => self.client(peer),
        }
    }

    /// What to do with a client of this address, told by its socket or by a PROXY header.
    pub(crate) fn client(&self, ip: Option<IpAddr>) -> Welcome {
        match ip.map_or(Access::Allowed, |ip| self.access.of(ip)) {
            Access::Allowed => Welcome::Client,
            Access::Denied | Access::NotAllowed => Welcome::Refused(Reason::Denied),
        }
    }
}

impl ProxyRules {
    fn new(from: &ProxyProtocolIn) -> Self {
        Self { trusted: networks(&from.trusted), untrusted: from.untrusted, timeout: from.timeout }
    }
}

/// The configuration has checked them; a network that is none cannot match anybody.
fn networks(from: &[model::Network]) -> NetworkSet {
    from.iter().filter_map(|n| Network::new(n.address, n.prefix).ok()).collect()
}
