//! HTTP/1.1 by itself: bytes in, events out, no socket anywhere. The load's side of it (`conversation`, `request`,
//! `response`) and what it shares with the servers (`head`, `body`, `url`).
//!
//! [`Conversation`] is the seam for other protocols: TLS wraps one and HTTP/2 is another one; the load's connections
//! know nothing else of what they speak.

pub(crate) mod body;
pub(crate) mod conversation;
pub(crate) mod head;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod url;

use crate::tally::Fault;

/// The header by which our backends and our load tell each other that a body is pattern, and how long it is. Its
/// pattern is the one of the request's target.
pub(crate) const BODY_HEADER: &str = "x-bench-body";

/// A request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The connection cannot be used for another request.
    pub(crate) last: bool,
}

/// What one side says to a server over one connection after the other. Answers come in the order of the requests.
pub(crate) trait Conversation {
    /// Another request may be asked now.
    fn has_room(&self) -> bool;

    /// Ask the next request: its bytes are among those of [`Conversation::fill`] from here on.
    fn ask(&mut self);

    /// There are bytes to be sent.
    fn has_to_say(&self) -> bool;

    /// Write bytes that are to be sent. Returns how many.
    fn fill(&mut self, out: &mut [u8]) -> usize;

    /// Take received bytes up to the end of the next answer. `None`: all are taken, and none has come to its end.
    ///
    /// # Errors
    /// The connection is of no use any more.
    fn hear(&mut self, bytes: &mut &[u8]) -> Result<Option<Answer>, Fault>;

    /// The peer has closed its write half.
    ///
    /// # Errors
    /// It has left something unanswered.
    fn heard_end(&mut self) -> Result<Option<Answer>, Fault>;

    /// The connection was replaced by a new one: what is unanswered is asked again.
    fn begin_again(&mut self);

    /// The oldest request will not be answered.
    fn give_up(&mut self);
}
