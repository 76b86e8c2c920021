//! Tells a release which commit it is, for reports that name it. Other builds go without, so as not to be built anew
//! after every commit.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=BALANCE_COMMIT");
    let given = std::env::var("BALANCE_COMMIT").ok();
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let Some(commit) = given.or_else(|| is_release.then(commit).flatten()) else { return };
    println!("cargo::rustc-env=BALANCE_COMMIT={commit}");
}

/// `None` where there is no repository, as in a source archive.
fn commit() -> Option<String> {
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
