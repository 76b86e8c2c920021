//! A process from its first load to its last statistics.

use super::{
    Control, banner, drain,
    events::{End, Events, Signals},
    fleet::{ANSWER_WAIT, Fleet},
};
use crate::{
    admin,
    descriptors::{self, Descriptors},
    exit::{Exit, Failure},
    link::{ShardLink, ShardSpec, StartError},
    logging, placement, shard,
    source::{Chosen, Source},
};
use balance_config::{
    file::Loaded,
    model::{Config, IoChoice},
};
use balance_engine::{buf::Budget, pipe::PipeSizes};
use std::{sync::Arc, time::Duration};

/// How long shards may take to leave when the start fails.
const ABANDON_GRACE: Duration = Duration::from_secs(2);

/// What the command line adds to the configuration.
pub(crate) struct Setup {
    pub(crate) chosen: Chosen,
    /// Ring features to do without.
    pub(crate) uring_without: Vec<String>,
}

/// Runs until a signal or an order ends it.
///
/// # Errors
/// Says why the process could not start, or what went wrong at its end.
pub(crate) fn run(setup: Setup) -> Result<(), Failure> {
    let loaded = setup.chosen.load().map_err(|report| Failure::config(report.to_string()))?;
    let log = logging::start(loaded.config.logging).map_err(Failure::runtime)?;
    balance_engine::os::raise_nofile();
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::runtime(format!("cannot start the control thread: {e}")))?;
    runtime.block_on(serve(setup, loaded, log.handle()))
}

async fn serve(setup: Setup, loaded: Loaded, log: logging::Handle) -> Result<(), Failure> {
    // First of all, so that a signal during the start is not lost.
    let signals = Signals::new().map_err(|e| Failure::runtime(format!("cannot take signals: {e}")))?;
    let admin = admin::open(&loaded.config.admin)?;
    let descriptors = Arc::<Descriptors>::default();
    let fleet = Fleet::new(start_shards(&setup, &loaded.config, &descriptors)?, ANSWER_WAIT);
    let origin = setup.chosen.origin.clone();
    let (control, orders) = Control::new(fleet, Box::new(setup.chosen), &loaded.config, Some(log), descriptors);
    tokio::spawn(control.dns.clone().run());
    if let Err(failure) = control.start(loaded).await {
        control.fleet.stop(ABANDON_GRACE).await;
        return Err(failure);
    }
    let address = admin.address().clone();
    let _admin = admin.serve(control.clone());
    tokio::spawn(control.clone().serve_reloads());
    tokio::spawn(control.clone().serve_addresses());
    banner::print_running(&control, &address, &origin);
    let mut events = Events::new(control.clone(), signals, orders);
    match events.until_end().await {
        End::Drain(order) => drain::drain(&control, order, &mut events).await,
        End::NoShardLeft => Err(Failure::runtime("every shard has ended; see the log")),
    }
}

/// One shard on every core of the placement.
fn start_shards(
    setup: &Setup,
    config: &Config,
    descriptors: &Arc<Descriptors>,
) -> Result<Vec<Box<dyn ShardLink>>, Failure> {
    let placement = placement::place(&config.runtime).map_err(|e| Failure::config(e.to_string()))?;
    let pipes = config.performance.pipes;
    let affordable = descriptors::pipes_max() * u64::from(pipes.size);
    let pipe_budget = Budget::new(pipes.total_max.min(affordable));
    let budget = Budget::new(config.performance.buffer_pool.memory_max);
    let mut links: Vec<Box<dyn ShardLink>> = Vec::with_capacity(placement.shards.len());
    for (index, core) in placement.shards.iter().enumerate() {
        let shard = u16::try_from(index).map_err(|_| Failure::config("more shards than a shard's number can count"))?;
        let spec = ShardSpec {
            shard,
            core: Some(*core),
            shards: placement.shards.len(),
            io: if config.runtime.require_io_uring { IoChoice::Uring } else { config.runtime.io },
            uring_without: setup.uring_without.clone(),
            limits: config.performance.shard.clone(),
            buffers: config.performance.buffer_pool.clone(),
            budget: budget.clone(),
            pipes: PipeSizes { size: pipes.size, size_max: pipes.size_max },
            pipe_budget: pipe_budget.clone(),
            descriptors: descriptors.clone(),
        };
        links.push(shard::start(spec).map_err(|e| cannot_start(shard, &e))?);
    }
    placement::pin_control(&placement);
    warn_about_fallback(config, &links);
    Ok(links)
}

fn cannot_start(shard: u16, error: &StartError) -> Failure {
    let exit = match error {
        StartError::MissingFeature(_) => Exit::OsFeature,
        StartError::Io(e) if e.kind() == std::io::ErrorKind::PermissionDenied => Exit::Permission,
        StartError::Io(_) => Exit::Runtime,
    };
    Failure::new(exit, format!("shard {shard} cannot start: {error}"))
}

fn warn_about_fallback(config: &Config, links: &[Box<dyn ShardLink>]) {
    if config.runtime.io == IoChoice::Auto && links.iter().any(|l| l.driver().name == "epoll") {
        tracing::warn!("io_uring cannot run here: shards use epoll, which costs more CPU a request");
    }
}

impl Control {
    /// For tests: everything but the signals and the admin page.
    #[cfg(test)]
    pub(crate) async fn started(
        links: Vec<Box<dyn ShardLink>>,
        source: Box<dyn Source>,
        answer_wait: Duration,
    ) -> (Arc<Self>, tokio::sync::mpsc::Receiver<super::DrainOrder>) {
        let loaded = source.load().expect("a test's first configuration is right");
        let fleet = Fleet::new(links, answer_wait);
        let (control, orders) = Self::new(fleet, source, &loaded.config, None, Arc::default());
        tokio::spawn(control.dns.clone().run());
        control.start(loaded).await.expect("a test's first configuration can be installed");
        tokio::spawn(control.clone().serve_addresses());
        (control, orders)
    }
}
