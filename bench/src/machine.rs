//! Where a figure was measured: without it the figure says little.

use balance_engine::cores;
use serde_json::{Value, json};
use std::{fs, time::SystemTime};

/// The commit that this program was built from, where the build knew one.
pub(crate) const COMMIT: Option<&str> = option_env!("BALANCE_COMMIT");

/// `{kernel, cpu, cores, memory_bytes}`; what `/proc` does not tell is null. `cores` are those that we may use.
pub(crate) fn json() -> Value {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|text| text.trim().to_owned());
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| field(&text, "model name"));
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| field(&text, "MemTotal"));
    let kilobytes: Option<u64> = memory.and_then(|text| text.split_ascii_whitespace().next()?.parse().ok());
    json!({
        "kernel": kernel,
        "cpu": cpu,
        "cores": cores::available().len(),
        "memory_bytes": kilobytes.map(|kilobytes| kilobytes * 1024),
    })
}

/// When a report was made. Nothing is measured with it.
#[expect(clippy::disallowed_methods, reason = "a report is dated by the wall clock, off the shards")]
pub(crate) fn wall_now() -> SystemTime {
    SystemTime::now()
}

/// The first value of a name in the `name : value` lines of `/proc`.
fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc() {
        let text = "processor\t: 0\nmodel name\t: A: fast one\n";
        assert_eq!(field(text, "model name").as_deref(), Some("A: fast one"));
        assert_eq!(field(text, "flags"), None);
    }

    #[test]
    fn this_machine_has_a_kernel_and_cores() {
        let machine = json();
        assert!(machine["kernel"].as_str().is_some_and(|k| !k.is_empty()), "{machine}");
        assert!(machine["cores"].as_u64().is_some_and(|cores| cores > 0), "{machine}");
    }
}
