//! TCP: accept, connect, and move bytes both ways until both sides are done.

mod accept;
mod connection;
mod relay;
#[cfg(test)]
mod tests;

pub(crate) use accept::accept_loop;
