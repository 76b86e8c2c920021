//! Sockets as tasks see them.

mod batch;
mod listener;
mod socket;
mod splice;
mod time;
mod unacked;

pub use batch::{BatchEvent, BatchSend};
pub use listener::{Accepted, Listener};
pub use socket::{Connect, SendDone, Socket, connect};
pub use splice::{Installing, Readiness, Splicing, splice_in, splice_out};
pub use time::{Timer, sleep_until};
pub use unacked::Unacked;
