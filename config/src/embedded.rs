//! Configurations that need no file: the demonstration, and `--listen` with `--to`.

use std::net::SocketAddr;

use crate::{
    diagnostic::Report,
    env::Env,
    file::{self, Loaded, Override},
};

/// The embedded example with the addresses of the demo backends filled in, as TOML text.
pub fn demo_text(_pages: &[SocketAddr], _echo: &[SocketAddr]) -> String {
    String::new()
}

/// The same, read.
///
/// # Errors
/// The environment or a flag may override a key with something that cannot be.
pub fn demo(
    pages: &[SocketAddr],
    echo: &[SocketAddr],
    env: &dyn Env,
    overrides: &[Override],
) -> Result<Loaded, Report> {
    file::parse(
        "the embedded example",
        &demo_text(pages, echo),
        env,
        overrides,
    )
}

/// One listener and one cluster, both named `main`, from `--listen` and `--to`.
///
/// # Errors
/// Names the flag whose value is wrong.
pub fn quick(
    _listen: &[String],
    _to: &[String],
    env: &dyn Env,
    overrides: &[Override],
) -> Result<Loaded, Report> {
    file::parse("the command line", "", env, overrides)
}
