//! Endpoints by name: what a configuration calls `db.example.com:5432` becomes addresses, again and again.
//!
//! ```text
//!            due            answer, failure
//!  names ────────► resolver ───────────────► names ──changed──► the installer: same configuration, new snapshot
//!    ▲ wanted
//!    └─ configuration
//! ```
//! [`names`] decides when to ask and what to make of an answer, and touches neither socket nor clock; [`resolver`]
//! asks; [`service`] is the task between them on the control thread.
//!
//! Invariants:
//! * No name ever keeps the process from starting, nor a configuration from being applied.
//! * A name that has had addresses keeps some until the configuration drops it: a failure takes none away.
//! * However many clusters use a name, it is asked for once.
//! * The order of an answer means nothing.

mod fill;
#[cfg(test)]
#[path = "../../tests/common/name_server.rs"]
pub(crate) mod name_server;
mod names;
mod quiet;
mod resolver;
mod service;
mod system;
#[cfg(test)]
mod tests;

pub(crate) use fill::fill;
pub(crate) use names::{NameReport, Verdict};
pub(crate) use service::{Dns, Picture};
