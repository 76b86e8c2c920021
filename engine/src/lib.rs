//! Pinned shards on io_uring: driver, executor, buffers, timers, mailbox.
//!
//! A shard is one thread on one core with everything it needs: a [`driver`] that talks to the kernel, operation slots,
//! an [`executor`] for its tasks, timers, [`buf`]fers. Tasks get a [`Handle`], open sockets with it ([`net`]) and share
//! nothing with other shards. What comes from other threads comes through the [`mailbox`].
//!
//! Reading order: [`driver`] (the contract with the kernel), [`shard`] (the loop), [`net`] (what tasks use).
//!
//! This is the only crate with `unsafe`, and it knows nothing of HTTP or of configuration files.

pub mod driver;
pub mod net;
pub mod shard;

mod core;
pub mod executor;
mod ops;

mod backlog;
pub mod batch;
mod bitset;
pub mod buf;
pub mod child;
pub mod clock;
pub mod cores;
pub mod intern;
pub mod mailbox;
pub mod netns;
pub mod os;
pub mod pipe;
pub mod rng;
pub mod slab;
pub mod stats;
pub mod testing;
pub mod timer;

pub use crate::core::Handle;
pub use ops::{Chunk, Received};
