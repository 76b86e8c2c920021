//! TCP: accept, connect, and move bytes both ways until both sides are done.

mod accept;
mod connection;
mod direction;
mod greeting;
mod ladder;
mod peek;
mod preface;
mod relay;
mod rung;
mod tally;
#[cfg(test)]
mod tests;

pub(crate) use accept::accept_loop;
pub use ladder::{Forward, LadderSettings};
pub(crate) use peek::KEPT_BYTES_MAX;
pub(crate) use tally::Tally;
