//! Logging to standard error that never makes a shard wait: lines go through a bounded queue to a thread of their own,
//! and are counted instead of written when it is full.

use balance_config::model::{LogFormat, LogLevel, Logging};
use std::io::IsTerminal;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    Layer, Registry,
    filter::{LevelFilter, filter_fn},
    fmt::{self, writer::BoxMakeWriter},
    layer::SubscriberExt,
    reload,
    util::SubscriberInitExt,
};

/// Lines that may wait: about a megabyte.
const LINES_WAITING_MAX: usize = 8192;

/// Keeps the writer going; dropping it writes out what waits.
pub(crate) struct Log {
    handle: Handle,
    _guard: WorkerGuard,
}

impl Log {
    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

/// Changes the running log.
#[derive(Clone)]
pub(crate) struct Handle {
    level: reload::Handle<LevelFilter, Registry>,
    dropped: ErrorCounter,
}

impl Handle {
    pub(crate) fn set_level(&self, level: LogLevel) {
        // Fails only when the subscriber is gone, and the log with it.
        let _ = self.level.reload(filter(level));
    }

    pub(crate) fn dropped_lines(&self) -> u64 {
        self.dropped.dropped_lines() as u64
    }
}

/// Starts the log of this process.
///
/// # Errors
/// It was started before.
pub(crate) fn start(settings: Logging) -> Result<Log, String> {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LINES_WAITING_MAX)
        .thread_name("log")
        .finish(std::io::stderr());
    let dropped = writer.error_counter();
    let (level, level_handle) = reload::Layer::new(filter(settings.level));
    let lines = lines(settings.format, BoxMakeWriter::new(writer));
    tracing_subscriber::registry()
        .with(lines.with_filter(level).with_filter(filter_fn(is_ours)))
        .try_init()
        .map_err(|e| format!("cannot start logging: {e}"))?;
    Ok(Log { handle: Handle { level: level_handle, dropped }, _guard: guard })
}

fn lines(format: LogFormat, writer: BoxMakeWriter) -> Box<dyn Layer<Registry> + Send + Sync> {
    match format {
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(writer).boxed(),
        LogFormat::Text => fmt::layer().with_ansi(colours()).with_target(false).with_writer(writer).boxed(),
    }
}

/// Colours are for people: a terminal, and no NO_COLOR (no-color.org: set and not empty).
fn colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// The DNS crate writes a line for every stray datagram, which is anybody's to send. What matters is counted by us.
fn is_ours(meta: &tracing::Metadata<'_>) -> bool {
    !meta.target().starts_with("hickory")
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
