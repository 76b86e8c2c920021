//! HTTP/1.1 as a pure core: bytes in, verdicts and places in them out; no socket, no clock, no allocation per message.
//!
//! ```text
//!   bytes ──► parse_request  ──► Request  + Head ──► write_request  ──► bytes     one head, always written anew
//!   bytes ──► parse_response ──► Response + Head ──► write_response ──► bytes
//!   bytes ──► chunk::Decoder ──► where data lies, trailers ──► chunk::ChunkHead, write_trailers
//! ```
//!
//! Reading order: `request` and `response` say what a head means, `head` how field lines are read, `framing` how long a
//! message is, `target` what is asked for, `body` and `chunk` what follows a head, `write` what leaves, `exchange` what
//! the two sides of one request owe each other.
//!
//! Invariants:
//! * One verdict for the same bytes, however they were cut. Of several faults the first counts.
//! * What two peers might read differently is refused ([`Refusal`]), never mended and passed on. Where that is stricter
//!   than the RFC, the place says so.
//! * What is written can be read again by the same strict parser, as the same message.
//! * Work is linear in the bytes, and bounded by [`Limits`] before anything is believed.

mod body;
mod bytes;
pub(crate) mod chunk;
mod exchange;
mod framing;
mod head;
mod limits;
mod patience;
mod refusal;
mod request;
mod response;
mod target;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use body::Incoming;
pub(crate) use exchange::{Answer, Exchange};
pub(crate) use framing::Body;
pub(crate) use head::{Field, Head, Parsed};
pub(crate) use limits::{Limits, Underscores};
pub(crate) use patience::Patience;
pub(crate) use refusal::{Reason, Refusal, Side};
pub(crate) use request::{Method, Request, parse_request};
pub(crate) use response::{Response, parse_response};
pub(crate) use write::{
    Added, AnswerOut, CONTINUE, Connection, Edits, ErrorOut, FieldName, Format, NameSet, RequestOut, ResponseOut,
    Unwritable, write_answer, write_error, write_request, write_response, write_trailers,
};
