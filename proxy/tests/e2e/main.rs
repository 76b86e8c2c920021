//! A whole proxy between real sockets, and everything that peers, operators and machines do to it.
//!
//! Clients and backends are threads with blocking sockets; the proxy is a process of its own. Every scenario ends with
//! [`harness::Rig::settled`]: the counters are back where they were before the first connection.
#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;
#[macro_use]
mod harness;

mod addresses;
mod admin;
mod clients;
mod connection_limits;
mod drain;
mod forwarding;
mod http;
mod input;
mod limits;
mod reload;
mod resets;
mod routes;
mod timeouts;
mod transfer;
mod upstream;
