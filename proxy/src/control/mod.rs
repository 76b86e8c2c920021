//! The control thread: everything of the process that is not the data path.
//!
//! One tokio thread. [`Control`] is what the admin pages, the signals and the drain share; [`run`] strings them
//! together.

mod banner;
mod drain;
mod events;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod fleet;
mod install;
mod restart;
pub(crate) mod run;
#[cfg(test)]
mod tests;

pub(crate) use drain::DrainOrder;
pub(crate) use install::{Refusal, View};

use crate::{
    descriptors::Descriptors,
    dns::Dns,
    exit::{Exit, Failure},
    logging, process,
    source::Source,
};
use fleet::Fleet;
use install::{Ground, Installed, Installer};
use restart::StartedWith;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep};

/// How long names that are new may hold up the start, or a reload, unless `dns.timeout` is shorter: so that a cluster
/// has endpoints from its first connection on, where the resolver is well.
const FIRST_ANSWERS_WAIT: Duration = Duration::from_secs(5);
/// Answers that come so close together make one snapshot.
const ANSWERS_TOGETHER: Duration = Duration::from_millis(20);
/// When new addresses are tried again that a stalled shard did not take.
const ADDRESSES_RETRY: Duration = Duration::from_secs(1);

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No shard accepts yet.
    Starting,
    Running,
    Draining {
        since: Instant,
        deadline: Instant,
    },
}

impl Phase {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining { .. } => "draining",
        }
    }
}

/// How reloads went so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReloadCounts {
    pub(crate) applied: u64,
    pub(crate) refused: u64,
    /// True exactly when the last attempt, the first load included, was applied.
    pub(crate) last_applied: bool,
    pub(crate) last_at: Option<SystemTime>,
}

/// What a reload that was applied has to say.
#[derive(Clone, Debug)]
pub(crate) struct Reloaded {
    pub(crate) version: u64,
    pub(crate) warnings: Vec<String>,
    pub(crate) needs_restart: Vec<String>,
    /// Shards that have the snapshot in their mailbox and have not said that they run it.
    pub(crate) lagging: Vec<u16>,
}

/// The state of the control thread, shared by everything that runs on it.
pub(crate) struct Control {
    pub(crate) fleet: Fleet,
    source: Box<dyn Source>,
    pub(crate) started: Instant,
    started_with: StartedWith,
    log: Option<logging::Handle>,
    pub(crate) dns: Arc<Dns>,
    pub(crate) descriptors: Arc<Descriptors>,
    /// Held for a whole installation, so that reloads take turns.
    installer: tokio::sync::Mutex<Installer>,
    /// Held for a copy, never over an await.
    shared: Mutex<Shared>,
    /// HUP: several that come during one reload are one more reload.
    reload_wanted: Notify,
    drain_orders: mpsc::Sender<DrainOrder>,
}

struct Shared {
    phase: Phase,
    view: Option<Arc<View>>,
    reloads: ReloadCounts,
}

impl Control {
    /// The receiver gets what the admin page orders.
    pub(crate) fn new(
        fleet: Fleet,
        source: Box<dyn Source>,
        first: &balance_config::model::Config,
        log: Option<logging::Handle>,
        descriptors: Arc<Descriptors>,
    ) -> (Arc<Self>, mpsc::Receiver<DrainOrder>) {
        // One order is enough; a second one finds the process draining.
        let (drain_orders, orders) = mpsc::channel(1);
        let control = Self {
            fleet,
            source,
            started: Instant::now(),
            started_with: StartedWith::new(first),
            log,
            dns: Dns::new(&first.dns),
            descriptors,
            installer: tokio::sync::Mutex::default(),
            shared: Mutex::new(Shared { phase: Phase::Starting, view: None, reloads: ReloadCounts::default() }),
            reload_wanted: Notify::new(),
            drain_orders,
        };
        (Arc::new(control), orders)
    }

    pub(crate) fn phase(&self) -> Phase {
        self.shared().phase
    }

    /// `None` before the first snapshot.
    pub(crate) fn view(&self) -> Option<Arc<View>> {
        self.shared().view.clone()
    }

    pub(crate) fn reloads(&self) -> ReloadCounts {
        self.shared().reloads
    }

    pub(crate) fn source_name(&self) -> String {
        self.source.name()
    }

    pub(crate) fn dropped_log_lines(&self) -> u64 {
        self.log.as_ref().map_or(0, logging::Handle::dropped_lines)
    }

    /// Takes the first configuration into service.
    pub(crate) async fn start(&self, loaded: balance_config::file::Loaded) -> Result<(), Failure> {
        self.descriptors.measure();
        self.install(loaded).await.map_err(|refusal| refused_at_start(&refusal))?;
        self.shared().phase = Phase::Running;
        Ok(())
    }

    /// Loads the configuration again and takes it into service, or says why not.
    ///
    /// # Cancel safety
    /// Not cancel safe: run it on a task of its own.
    pub(crate) async fn reload(&self) -> Result<Reloaded, Refusal> {
        let outcome = self.try_reload().await;
        let mut shared = self.shared();
        shared.reloads.last_applied = outcome.is_ok();
        shared.reloads.last_at = Some(process::wall_clock());
        match &outcome {
            Ok(done) => {
                shared.reloads.applied += 1;
                drop(shared);
                log_reload(done);
            }
            Err(refusal) => {
                shared.reloads.refused += 1;
                drop(shared);
                tracing::error!(reason = %refusal, "reload refused; the old configuration stays in force");
            }
        }
        outcome
    }

    async fn try_reload(&self) -> Result<Reloaded, Refusal> {
        let loaded = self.source.load().map_err(Refusal::Config)?;
        let (done, opened) = self.install(loaded).await?;
        // To the log, not to standard output: nobody may read that any more, and a full pipe would stop this thread.
        for (listener, address) in &opened {
            tracing::info!("listening {listener} {address}");
        }
        Ok(done)
    }

    async fn install(
        &self,
        loaded: balance_config::file::Loaded,
    ) -> Result<(Reloaded, Vec<banner::Listening>), Refusal> {
        let mut installer = self.installer.lock().await;
        if matches!(self.phase(), Phase::Draining { .. }) {
            return Err(Refusal::Draining);
        }
        let loaded = Arc::new(loaded);
        let outcome = self.install_named(&mut installer, &loaded).await;
        // Whose configuration is in force, their names are asked for, and no others.
        match (&outcome, self.view()) {
            (Ok(_), _) => self.dns.want_only(&loaded.config),
            (Err(_), Some(in_force)) => self.dns.want_only(&in_force.loaded.config),
            (Err(_), None) => {}
        }
        let Installed { view, opened, lagging } = outcome?;
        if let Some(log) = &self.log {
            log.set_level(view.loaded.config.logging.level);
        }
        let done = Reloaded {
            version: view.snapshot.version,
            warnings: view.loaded.warnings.iter().map(ToString::to_string).collect(),
            needs_restart: view.needs_restart.clone(),
            lagging,
        };
        let mut shared = self.shared();
        shared.view = Some(Arc::new(view));
        shared.reloads.last_applied = true;
        drop(shared);
        installer.drop_retired();
        Ok((done, opened))
    }

    /// Gives names that are new a moment to be resolved, then installs with what is known.
    async fn install_named(
        &self,
        installer: &mut Installer,
        loaded: &Arc<balance_config::file::Loaded>,
    ) -> Result<Installed, Refusal> {
        self.dns.want(&loaded.config);
        let wait = loaded.config.dns.timeout.min(FIRST_ANSWERS_WAIT);
        self.dns.first_answers(Instant::now() + wait).await;
        installer.install(loaded.clone(), self.dns.picture(), &self.ground()).await
    }

    fn ground(&self) -> Ground<'_> {
        Ground { fleet: &self.fleet, started_with: &self.started_with, descriptors: &self.descriptors }
    }

    /// Brings new addresses of names into force whenever there are some, until the process drains.
    async fn serve_addresses(self: Arc<Self>) {
        loop {
            self.dns.changed().await;
            sleep(ANSWERS_TOGETHER).await;
            while let Err(refusal) = self.install_addresses().await {
                if matches!(refusal, Refusal::Draining) {
                    return;
                }
                tracing::warn!(reason = %refusal, "new addresses of endpoints wait");
                sleep(ADDRESSES_RETRY).await;
            }
        }
    }

    /// The configuration in force once more, with the addresses that its names have now. It counts as no reload.
    async fn install_addresses(&self) -> Result<(), Refusal> {
        let mut installer = self.installer.lock().await;
        if matches!(self.phase(), Phase::Draining { .. }) {
            return Err(Refusal::Draining);
        }
        // Before the first snapshot there is nothing to renew, and after it the addresses may be in it already.
        let Some(in_force) = self.view() else { return Ok(()) };
        let picture = self.dns.picture();
        if installer.has(&picture) {
            return Ok(());
        }
        let loaded = in_force.loaded.clone();
        let Installed { view, lagging, .. } = installer.install(loaded, picture, &self.ground()).await?;
        let version = view.snapshot.version;
        let view = View { at: in_force.at, ..view };
        self.shared().view = Some(Arc::new(view));
        drop(in_force);
        installer.drop_retired();
        if !lagging.is_empty() {
            tracing::warn!(shards = ?lagging, "not every shard has the new addresses yet");
        }
        tracing::info!(version, "endpoints follow the addresses of their names");
        Ok(())
    }

    /// Called now and then, for snapshots that were still in use right after their reload.
    fn drop_retired(&self) {
        if let Ok(mut installer) = self.installer.try_lock() {
            installer.drop_retired();
        }
    }

    /// Asks for a reload on the task of [`Self::serve_reloads`].
    pub(crate) fn want_reload(&self) {
        self.reload_wanted.notify_one();
    }

    /// Reloads whenever [`Self::want_reload`] was called, one at a time.
    async fn serve_reloads(self: Arc<Self>) {
        loop {
            self.reload_wanted.notified().await;
            // The outcome is in the log and the metrics; nobody waits for it here.
            let _ = self.reload().await;
        }
    }

    /// Hands the order to the task that runs the process. False when it drains already.
    pub(crate) fn order_drain(&self, deadline: Option<Duration>) -> bool {
        !matches!(self.phase(), Phase::Draining { .. })
            && self.drain_orders.try_send(DrainOrder { deadline, why: "the admin page" }).is_ok()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        // Nothing in there can be left half changed.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_reload(done: &Reloaded) {
    for warning in &done.warnings {
        tracing::warn!("{warning}");
    }
    if !done.needs_restart.is_empty() {
        tracing::warn!(keys = %done.needs_restart.join(", "), "changed, and needs a restart to take effect");
    }
    if !done.lagging.is_empty() {
        tracing::warn!(shards = ?done.lagging, "not every shard runs the new configuration yet");
    }
    tracing::info!(version = done.version, "configuration applied");
}

fn refused_at_start(refusal: &Refusal) -> Failure {
    Failure::new(refusal_exit(refusal), refusal.to_string())
}

/// The exit code for a command that was refused so.
pub(crate) fn refusal_exit(refusal: &Refusal) -> Exit {
    match refusal {
        Refusal::Config(_) => Exit::Config,
        Refusal::Bind(_) => Exit::Permission,
        Refusal::Stalled(_) | Refusal::Draining => Exit::Runtime,
    }
}
