//! Settings that are read once, at the start. A reload that changes one is taken, and says that this part waits.

use balance_config::model::{Admin, Config, LogFormat, Performance, Runtime};

#[derive(Clone, Debug)]
pub(crate) struct StartedWith {
    runtime: Runtime,
    performance: Performance,
    admin: Admin,
    log_format: LogFormat,
}

impl StartedWith {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            runtime: config.runtime.clone(),
            performance: config.performance.clone(),
            admin: config.admin.clone(),
            log_format: config.logging.format,
        }
    }
}

/// The keys in `now` that differ from what the process was started with.
pub(crate) fn changes(start: &StartedWith, now: &Config) -> Vec<String> {
    let (old_pool, pool) = (&start.performance.buffer_pool, &now.performance.buffer_pool);
    let (old_shard, shard) = (&start.performance.shard, &now.performance.shard);
    let checks = [
        ("runtime.cores", start.runtime.cores != now.runtime.cores),
        ("runtime.shards_per_core", start.runtime.shards_per_core != now.runtime.shards_per_core),
        ("runtime.io", start.runtime.io != now.runtime.io),
        ("runtime.require_io_uring", start.runtime.require_io_uring != now.runtime.require_io_uring),
        ("performance.shard", old_shard != shard),
        ("performance.buffer_pool", old_pool != pool),
        ("performance.pipes", start.performance.pipes != now.performance.pipes),
        ("admin.listen", start.admin.listen != now.admin.listen),
        ("logging.format", start.log_format != now.logging.format),
    ];
    checks.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::fixture::config;
    use balance_config::model::{Cores, LogLevel};

    #[test]
    fn only_what_cannot_change_live_is_named() {
        let start = config(vec![], vec![]);
        let mut now = start.clone();
        now.runtime.cores = Cores::List(vec![0]);
        now.performance.buffer_pool.memory_max += 1;
        now.logging.level = LogLevel::Debug;
        now.drain.min *= 2;
        let names = changes(&StartedWith::new(&start), &now);
        assert_eq!(names, ["runtime.cores", "performance.buffer_pool"]);
    }
}
