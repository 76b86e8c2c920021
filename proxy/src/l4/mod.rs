//! TCP: accept, connect, and move bytes both ways until both sides are done.

mod accept;
mod connection;
mod direction;
mod greeting;
mod ladder;
mod peek;
mod preface;
mod relay;
pub(crate) mod rung;
#[cfg(test)]
mod script;
mod silence;
mod tally;
#[cfg(test)]
mod tests;

pub(crate) use accept::accept_loop;
pub use ladder::{Advice, Forward, LadderSettings, Observer};
pub(crate) use peek::KEPT_BYTES_MAX;
pub(crate) use preface::Preface;
pub(crate) use relay::{Moved, Relay, Verdict};
#[cfg(test)]
pub use script::Script;
pub(crate) use silence::Silence;
#[cfg(test)]
pub(crate) use tally::Changes;
pub(crate) use tally::Tally;
