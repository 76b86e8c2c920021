//! HTTP/1.1: requests in, routed, sent on to endpoints over connections that are used again, and their responses back.
//!
//! ```text
//!   connection ── a head ──► exchange ──► plan (route, edits)
//!    (one a client)            │  ▲
//!                              ▼  │ a connection of the pool, or a new one
//!                        inbox ─► transfer ─► outbox      each way, at once
//! ```
//!
//! What bytes mean is [`crate::h1`]'s affair; this moves them.

mod budget;
mod connection;
mod counters;
mod exchange;
mod inbox;
mod outbox;
mod plan;
mod pool;
mod record;
mod store;
mod transfer;
mod tube;
mod tunnel;

pub(crate) use budget::Budget as RetryBudget;
pub(crate) use connection::Connection;
pub(crate) use counters::Requests;
pub(crate) use plan::Spaces;
pub(crate) use pool::{Pool, PoolTerms, Pools};
pub(crate) use record::Record;
pub(crate) use store::Exchanges;
