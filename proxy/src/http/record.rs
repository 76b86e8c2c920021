//! What is known of a request when it is over: one record, for the log and for every counter.

use crate::{h1::Method, state::EndpointState};
use balance_engine::clock::Timestamp;
use std::rc::Rc;

/// See the module's documentation. Times are those of the turns in which things happened.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) method: Method,
    /// 0 as long as nothing was answered.
    pub(crate) status: u16,
    /// Why the answer is ours; empty where it is the endpoint's.
    pub(crate) code: &'static str,
    /// The one that answered, or was tried last.
    pub(crate) endpoint: Option<Rc<EndpointState>>,
    pub(crate) retries: u32,
    /// Bytes sent to the endpoint and to the client, heads included.
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
    /// The head had come.
    pub(crate) started: Timestamp,
    /// A new connection to an endpoint was open.
    pub(crate) connected: Option<Timestamp>,
    /// The first bytes of a response came.
    pub(crate) answered: Option<Timestamp>,
    /// The last byte was sent to the client.
    pub(crate) ended: Option<Timestamp>,
}

impl Record {
    /// Sent so far, in both directions.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes_up + self.bytes_down
    }

    pub(crate) fn new(started: Timestamp, method: Method) -> Self {
        Self {
            method,
            status: 0,
            code: "",
            endpoint: None,
            retries: 0,
            bytes_up: 0,
            bytes_down: 0,
            started,
            connected: None,
            answered: None,
            ended: None,
        }
    }
}
