//! Sockets as tasks see them.

mod listener;
mod socket;
mod splice;
mod time;

pub use listener::{Accepted, Listener};
pub use socket::{Connect, SendDone, Socket, connect};
pub use splice::{Installing, Readiness, splice_in, splice_out};
pub use time::{Timer, sleep_until};
