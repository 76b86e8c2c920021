//! Listening sockets, made on the control thread and handed to the shards.
//!
//! Every shard gets its own socket for every address (SO_REUSEPORT), so that the kernel spreads connections and shards
//! share nothing. A unix path cannot be bound twice: its one socket is duplicated instead.
//!
//! ```text
//!  BindPlan ──open()──► Opened ──┬─ one descriptor a shard ──► Command::Apply
//!                                └─ Bound: stays here, unlinks its path when the bind goes away
//! ```

mod error;
mod holder;
mod tcp;
mod unix;

pub(crate) use error::{BindError, hint};
pub(crate) use unix::{SocketPath, bind as bind_unix};

use crate::snapshot::{BindId, BindPlan};
use balance_config::model::Address;
use std::{os::fd::OwnedFd, sync::Arc};

/// A socket that serves, as the control thread remembers it.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) id: BindId,
    pub(crate) listener: Arc<str>,
    /// What is really listened on: a port 0 of the plan is a number here.
    pub(crate) address: Address,
    /// Holds the file of a unix socket; dropping it removes the file.
    path: Option<SocketPath>,
}

impl Bound {
    /// From now on clients reach this socket, where it replaces one of ours at the same path.
    ///
    /// # Errors
    /// The file cannot be renamed.
    pub(crate) fn publish(&mut self) -> Result<(), BindError> {
        let published = self.path.as_mut().map_or(Ok(()), SocketPath::publish);
        published.map_err(|e| BindError::at(&self.listener, &self.address, e))
    }
}

/// A fresh socket on its way to the shards.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) bound: Bound,
    /// One for every shard, in their order.
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Opens what `plans` ask for beyond `serving`, all or nothing.
///
/// # Errors
/// The first address that cannot be had. Nothing stays open then.
///
/// # Cancel safety
/// What was opened is closed again.
pub(crate) async fn open_missing(
    plans: &[BindPlan],
    serving: &[Bound],
    shards: usize,
) -> Result<Vec<Opened>, BindError> {
    refuse_repeats(plans)?;
    let mut opened: Vec<Opened> = Vec::new();
    for plan in plans {
        if serving.iter().any(|b| b.id == plan.id) {
            continue;
        }
        let ours = serving.iter().chain(opened.iter().map(|o| &o.bound)).map(|b| &b.address);
        let replaces = ours.into_iter().any(|a| overlaps(a, &plan.address));
        opened.push(open(plan, replaces, shards).await?);
    }
    Ok(opened)
}

/// `replaces`: a socket of ours is in the way, and is allowed to be.
async fn open(plan: &BindPlan, replaces: bool, shards: usize) -> Result<Opened, BindError> {
    let fail = |e| BindError::new(plan, e);
    let (address, path, descriptors) = match &plan.address {
        Address::Ip(wanted) => {
            if !replaces && wanted.port() != 0 {
                tcp::refuse_foreign(plan, *wanted).await.map_err(fail)?;
            }
            let (address, sockets) = tcp::open(plan, *wanted, shards).map_err(fail)?;
            (Address::Ip(address), None, sockets)
        }
        Address::Unix(wanted) => {
            let bound =
                if replaces { unix::stage(wanted, plan.backlog) } else { unix::bind(wanted, None, plan.backlog) };
            let (socket, path) = bound.map_err(fail)?;
            (plan.address.clone(), Some(path), unix::share(socket, shards).map_err(fail)?)
        }
    };
    let bound = Bound { id: plan.id, listener: plan.listener.clone(), address, path };
    Ok(Opened { bound, descriptors })
}

/// Two listeners on one address would each get a random half of the connections.
fn refuse_repeats(plans: &[BindPlan]) -> Result<(), BindError> {
    for (i, plan) in plans.iter().enumerate() {
        if matches!(&plan.address, Address::Ip(a) if a.port() == 0) {
            continue;
        }
        if let Some(first) = plans[..i].iter().find(|p| p.address == plan.address) {
            return Err(BindError::repeated(plan, &first.listener));
        }
    }
    Ok(())
}

/// Whether our own socket at `ours` would make the kernel refuse `wanted` without SO_REUSEPORT. The wildcard address,
/// mapped addresses and dual-stack sockets make an exact answer long; being on the same port is enough to skip a check
/// that is about other processes, which our own socket kept off that port already. Of a unix socket the path says it.
fn overlaps(ours: &Address, wanted: &Address) -> bool {
    match (ours, wanted) {
        (Address::Ip(a), Address::Ip(b)) => a.port() == b.port(),
        (Address::Unix(a), Address::Unix(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
