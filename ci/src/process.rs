//! Child processes: none reads standard input, and what they print stays visible.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

/// Runs cargo in the workspace and waits for it.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Result<(), String> {
    println!("$ cargo {}", arguments.join(" "));
    let status = cargo_command(root, arguments).status().map_err(|e| format!("cargo does not start: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("`cargo {}` ended with {status}.", arguments.join(" "))) }
}

/// The cargo that runs us (cargo sets `CARGO`), so that nested calls use the same toolchain.
pub(crate) fn cargo_command(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root).stdin(Stdio::null());
    // What cargo told *us* about our own package is no business of the next build.
    for (name, _) in env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Sends a signal by the shell's own `kill`, which every machine has, so that CI needs neither `unsafe` nor a crate.
pub(crate) fn signal(name: &str, pid: u32) -> Result<(), String> {
    let status = Command::new("sh")
        .args(["-c", "kill -s \"$1\" \"$2\"", "sh", name, &pid.to_string()])
        .stdin(Stdio::null())
        .status()
        .map_err(|e| format!("sh does not start: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("process {pid} took no {name}: it is gone.")) }
}
