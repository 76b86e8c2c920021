//! Sockets as tasks see them.

mod listener;
mod socket;
mod time;

pub use listener::{Accepted, Listener};
pub use socket::{Connect, SendDone, Socket, connect};
pub use time::{Timer, sleep_until};
