//! Which route a request takes, and what a route does to it. Pure: a request is looked at, answers are bytes and
//! numbers.
//!
//! ```text
//!   request ──► Target::of ──► Router::find ──► Entry ─┬─ Action::Forward ──► Split::pick ──► a cluster
//!                (one form                             │     Rewrite::target, Rewrite::host     what the endpoint sees
//!                 of host and path)                    │     HeaderPlan::expand               its headers
//!                                                      ├─ Action::Redirect ──► location
//!                                                      └─ Action::Respond  ──► status and body
//! ```
//!
//! Reading order: `view` is what is known of a request, `target` the form in which it is compared, `router` finds the
//! entry with the help of `table` and `conditions`, and `entry` is what was found. Then what is done: `split`,
//! `rewrite`, `redirect`, `headers` with `template`. `client` says who asks, `request_id` numbers it.
//!
//! Invariants:
//! * An entry has a rank: by priority, then by how specific it is, then by its place in the file. The one with the
//!   lowest rank among those that match is found, whatever way leads there.
//! * What is matched is what is forwarded: the same bytes of path and host.
//! * Nothing here allocates per request once its scratch has grown; compiled things are only read.
//! * What a client says about itself counts only when the peer is trusted.

mod client;
mod conditions;
mod entry;
mod headers;
mod redirect;
mod request_id;
mod rewrite;
mod router;
mod split;
mod table;
mod target;
mod template;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use self::{
    client::{Client, Peer, TrustedProxies},
    conditions::Matching,
    entry::{Action, ClusterIndex, Entry},
    headers::Lines,
    request_id::{IdSource, taken},
    rewrite::{BadRewrite, RewriteSpace},
    router::Router,
    target::{Target, TargetSpace},
    template::Vars,
    view::{Fields, H1Request, H1Response, Name, RequestView},
};
