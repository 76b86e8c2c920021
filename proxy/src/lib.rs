//! `balance-shard`: the command line, the control thread, and the data path that every shard runs.
//!
//! Reading order: [`snapshot`], [`command`], [`report`] and [`link`] are the contract between the control thread and
//! the shards; `control` runs a process from the first load to the last statistics; `listen` makes its sockets; `admin`
//! answers over HTTP; [`cli`] is the way in.
//!
//! Invariants:
//! * The control thread never waits for a shard without a deadline.
//! * A snapshot reaches the shards only when everything it needs is there, its sockets included.
//! * Snapshots are dropped on the control thread.
#![forbid(unsafe_code)]

mod admin;
pub mod balance;
mod cidr;
pub mod cli;
mod client_hello;
pub mod command;
mod control;
mod demo;
pub mod descriptors;
mod dns;
mod exit;
mod guard;
mod h1;
mod http;
pub mod l4;
pub mod link;
mod listen;
mod logging;
mod per_ip;
pub mod permits;
mod placement;
mod process;
#[cfg_attr(not(test), expect(dead_code, reason = "not wired into the accept path yet"))]
mod proxy_protocol;
pub mod report;
mod route;
mod shard;
#[cfg(test)]
mod simulation;
pub mod snapshot;
mod source;
mod state;
mod table;
mod upstream;
