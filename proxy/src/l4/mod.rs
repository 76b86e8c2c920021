//! TCP: accept, connect, and move bytes both ways until both sides are done.

mod accept;
mod connection;
mod direction;
mod ladder;
mod relay;
mod rung;
mod tally;
#[cfg(test)]
mod tests;

pub(crate) use accept::accept_loop;
#[cfg(test)]
pub(crate) use ladder::Forward;
pub(crate) use ladder::LadderSettings;
pub(crate) use tally::Tally;
