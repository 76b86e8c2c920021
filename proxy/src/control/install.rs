//! Taking a configuration into service, the first one and every later one, whole or not at all.
//!
//! ```text
//!  load ─► compile ─► bind what is new ─► every shard answers? ─► push to all ─► commit
//!   └────────┴──────────────┴──────────────────┴─ refused: nothing has changed
//! ```
//! From the push on there is no way back and nothing left that could fail: a shard applies a snapshot by swapping a
//! pointer.

use super::{
    fleet::{Answer, Fleet},
    restart::{self, StartedWith},
};
use crate::{
    descriptors::Descriptors,
    dns::{self, Picture},
    listen::{self, BindError, Bound, Opened},
    process::wall_clock,
    snapshot::{BindId, Ids, Snapshot, bind_plans, compile},
};
use balance_config::{diagnostic::Report, file::Loaded, model::Address};
use std::{
    collections::{HashMap, HashSet},
    fmt,
    os::fd::OwnedFd,
    sync::Arc,
    time::SystemTime,
};

/// What runs now; whoever looks at it gets one consistent picture.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) snapshot: Arc<Snapshot>,
    /// Listener and real address of every socket.
    pub(crate) listening: Vec<(Arc<str>, Address)>,
    /// Settings that the file has changed since the start and that only a restart brings into force.
    pub(crate) needs_restart: Vec<String>,
    pub(crate) at: SystemTime,
}

/// Why a configuration was not taken.
#[derive(Debug)]
pub(crate) enum Refusal {
    Config(Report),
    Bind(BindError),
    /// These shards do not answer, so that not all of them would change at once.
    Stalled(Vec<u16>),
    Draining,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(report) => report.fmt(f),
            Self::Bind(error) => error.fmt(f),
            Self::Stalled(shards) => write!(
                f,
                "shard {} does not answer; nothing was changed",
                shards.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            ),
            Self::Draining => f.write_str("the process is draining; nothing was changed"),
        }
    }
}

/// What the next installation builds on. Whoever holds it is the only one to install.
#[derive(Default)]
pub(crate) struct Installer {
    ids: Ids,
    bound: Vec<Bound>,
    current: Option<Arc<Snapshot>>,
    /// The change of addresses that is in `current`.
    addresses_version: u64,
    /// Old snapshots that a lagging shard may still hold. They wait here, so that the last one to let go is the control
    /// thread and no shard ever frees one.
    retired: Vec<Arc<Snapshot>>,
}

/// What a configuration is installed on.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub(crate) fleet: &'a Fleet,
    pub(crate) started_with: &'a StartedWith,
    pub(crate) descriptors: &'a Descriptors,
}

/// A configuration that was taken.
pub(crate) struct Installed {
    pub(crate) view: View,
    /// The sockets that are new, for the banner.
    pub(crate) opened: Vec<(Arc<str>, Address)>,
    pub(crate) lagging: Vec<u16>,
}

impl Installer {
    /// # Errors
    /// The reason, and nothing has changed.
    ///
    /// # Cancel safety
    /// Not cancel safe once the push has begun: run it to its end.
    pub(crate) async fn install(
        &mut self,
        loaded: Arc<Loaded>,
        names: Picture,
        ground: &Ground<'_>,
    ) -> Result<Installed, Refusal> {
        let Ground { fleet, started_with, descriptors } = *ground;
        let mut ids = self.ids.clone();
        let filled = dns::fill(&loaded.config, &names.addresses);
        let snapshot = Arc::new(compile(&filled, self.current.as_deref(), &mut ids));
        let plans = bind_plans(&loaded.config, &snapshot);
        let opened = listen::open_missing(&plans, &self.bound, fleet.len()).await.map_err(Refusal::Bind)?;
        refuse_stalled(fleet).await?;

        let (mut bound, sockets) = split_by_shard(opened, fleet.len());
        // The last thing that can fail, and hardly ever: the file to rename was made in that directory just now.
        bound.iter_mut().try_for_each(Bound::publish).map_err(Refusal::Bind)?;
        snapshot.enforce_limits();
        descriptors.divide(snapshot.listeners.iter().map(|l| l.binds.len()).sum::<usize>() * fleet.len());
        let lagging = fleet.apply(&snapshot, sockets).await;
        let fresh = addresses(&bound);
        self.commit(ids, bound, snapshot.clone());
        self.addresses_version = names.version;
        let view = View {
            needs_restart: restart::changes(started_with, &loaded.config),
            loaded,
            listening: self.listening(&snapshot),
            snapshot,
            at: wall_clock(),
        };
        Ok(Installed { view, opened: fresh, lagging })
    }

    /// Whether the addresses in `picture` are those of the current snapshot.
    pub(crate) fn has(&self, picture: &Picture) -> bool {
        self.addresses_version == picture.version
    }

    fn commit(&mut self, ids: Ids, new: Vec<Bound>, snapshot: Arc<Snapshot>) {
        let wanted: HashSet<BindId> = snapshot.listeners.iter().flat_map(|l| &l.binds).map(|b| b.id).collect();
        self.bound.extend(new);
        self.bound.retain(|b| wanted.contains(&b.id));
        self.ids = ids;
        self.retired.extend(self.current.replace(snapshot));
    }

    /// In the snapshot's order.
    fn listening(&self, snapshot: &Snapshot) -> Vec<(Arc<str>, Address)> {
        let addresses: HashMap<BindId, &Address> = self.bound.iter().map(|b| (b.id, &b.address)).collect();
        let binds = snapshot.listeners.iter().flat_map(|l| l.binds.iter().map(|b| (&l.name, b.id)));
        binds.filter_map(|(name, id)| Some((name.clone(), (*addresses.get(&id)?).clone()))).collect()
    }

    /// Drops the old snapshots that nobody else holds any more.
    pub(crate) fn drop_retired(&mut self) {
        self.retired.retain(|old| Arc::strong_count(old) > 1);
    }

    /// Removes the files of unix sockets.
    pub(crate) fn close(&mut self) {
        self.bound.clear();
    }
}

async fn refuse_stalled(fleet: &Fleet) -> Result<(), Refusal> {
    let answers = fleet.reports().await;
    let stalled: Vec<u16> = fleet
        .links()
        .iter()
        .zip(&answers)
        .filter(|(_, answer)| matches!(answer, Answer::Stalled))
        .map(|(link, _)| link.shard())
        .collect();
    if stalled.is_empty() { Ok(()) } else { Err(Refusal::Stalled(stalled)) }
}

fn split_by_shard(opened: Vec<Opened>, shards: usize) -> (Vec<Bound>, Vec<Vec<(BindId, OwnedFd)>>) {
    let mut sockets: Vec<Vec<_>> = (0..shards).map(|_| Vec::new()).collect();
    let mut bound = Vec::with_capacity(opened.len());
    for one in opened {
        for (list, descriptor) in sockets.iter_mut().zip(one.descriptors) {
            list.push((one.bound.id, descriptor));
        }
        bound.push(one.bound);
    }
    (bound, sockets)
}

fn addresses(bound: &[Bound]) -> Vec<(Arc<str>, Address)> {
    bound.iter().map(|b| (b.listener.clone(), b.address.clone())).collect()
}
