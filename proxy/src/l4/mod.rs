//! TCP: accept, connect, and move bytes both ways until both sides are done.

mod accept;
mod connection;
mod relay;

pub(crate) use accept::accept_loop;
