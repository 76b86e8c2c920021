//! Why an address could not be listened on, and what to do about it.

use super::holder;
use crate::snapshot::BindPlan;
use balance_config::model::Address;
use std::{fmt, io, sync::Arc};

#[derive(Debug)]
pub(crate) struct BindError {
    listener: Arc<str>,
    address: Address,
    reason: String,
    hint: Option<String>,
}

impl BindError {
    pub(super) fn new(plan: &BindPlan, error: io::Error) -> Self {
        Self::at(&plan.listener, &plan.address, error)
    }

    pub(super) fn at(listener: &Arc<str>, address: &Address, error: io::Error) -> Self {
        let hint = hint(address, &error);
        Self { listener: listener.clone(), address: address.clone(), hint, reason: error.to_string() }
    }

    pub(super) fn repeated(plan: &BindPlan, first: &str) -> Self {
        let who = if *plan.listener == *first {
            "it names the address twice".to_owned()
        } else {
            format!("listener \"{first}\" has this address")
        };
        Self { listener: plan.listener.clone(), address: plan.address.clone(), reason: who, hint: None }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "listener \"{}\" cannot listen on {}: {}", self.listener, self.address, self.reason)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for BindError {}

/// Linux, on every architecture. The standard library has no name for it.
const EAFNOSUPPORT: i32 = 97;

/// What usually helps. Also used for the admin address.
pub(crate) fn hint(address: &Address, error: &io::Error) -> Option<String> {
    use io::ErrorKind as Kind;
    match (address, error.kind()) {
        (Address::Ip(a), Kind::AddrInUse) => Some(match holder::of_port(a.port()) {
            Some(holder) => format!("port {} is held by {holder}", a.port()),
            None => format!("something else listens on port {}: `ss -ltnp sport = :{0}` tells what", a.port()),
        }),
        (Address::Ip(a), Kind::PermissionDenied) if a.port() < 1024 => {
            Some("ports below 1024 need CAP_NET_BIND_SERVICE (AmbientCapabilities= in a systemd unit)".to_owned())
        }
        (Address::Ip(a), _) if error.raw_os_error() == Some(EAFNOSUPPORT) => {
            Some(format!("this machine has no IPv6; \"0.0.0.0:{}\" is every IPv4 address", a.port()))
        }
        (Address::Ip(a), Kind::AddrNotAvailable) => {
            Some(format!("no interface of this machine has the address {}", a.ip()))
        }
        (Address::Unix(p), Kind::NotFound) => Some(format!("the directory of {} does not exist", p.display())),
        _ => None,
    }
}
