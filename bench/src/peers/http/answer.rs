//! Answers as they go on the wire, made when their path is first asked for.

use super::path::{Behaviour, Form, HELP, Sin, Source};
use crate::{http::BODY_HEADER, pattern::Pattern};
use std::{cell::Cell, cell::RefCell, collections::HashMap, rc::Rc};

/// A body that is no longer than this is kept with its head.
const WHOLE_MAX: u64 = 16 << 10;
/// Paths that are remembered; beyond, all are forgotten.
const PATHS_MAX: usize = 1024;

/// All that can be known of an answer before it is asked for.
pub(super) struct Prepared {
    pub(super) behaviour: Behaviour,
    /// The head, and the body where that is short and of a known length.
    pub(super) bytes: Vec<u8>,
    /// Of the head alone.
    pub(super) head: usize,
    /// Bytes of the body that are not in `bytes`.
    pub(super) rest: u64,
    pub(super) pattern: Pattern,
    /// The answer to HEAD.
    pub(super) no_body: bool,
    /// The connection ends with it.
    pub(super) closes: bool,
    /// Requests so far, for what only some of them get.
    drawn: Cell<u64>,
}

impl Prepared {
    fn new(target: &[u8], no_body: bool, closes: bool) -> Self {
        let known = Behaviour::parse(target);
        let status = if known.is_some() { 0 } else { 404 };
        let mut behaviour = known.unwrap_or(Behaviour { source: Source::Help, ..Behaviour::default() });
        if status != 0 {
            behaviour.status = status;
        }
        let closes = closes || behaviour.closes;
        let pattern = Pattern::named(target);
        // RFC 9110 sections 15.3.5 and 15.4.5.
        let empty = matches!(behaviour.status, 204 | 304);
        let (length, is_pattern) = match behaviour.source {
            Source::Pattern(length) => (length, true),
            Source::Help => (HELP.len() as u64, false),
            Source::Echo => (0, false),
        };
        let mut bytes = head(behaviour.status, closes);
        match behaviour.form {
            _ if empty || behaviour.source == Source::Echo => {}
            Form::Length => bytes.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes()),
            Form::Chunked => bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            Form::UntilClose => {}
        }
        if is_pattern && !empty {
            bytes.extend_from_slice(format!("{BODY_HEADER}: {length}\r\n").as_bytes());
        }
        if behaviour.source != Source::Echo {
            bytes.extend_from_slice(b"\r\n");
        }
        let head = bytes.len();
        let mut rest = if empty || no_body { 0 } else { length };
        if behaviour.form == Form::Length && behaviour.sin != Sin::Half && rest > 0 && rest <= WHOLE_MAX {
            if is_pattern {
                bytes.resize(head + rest as usize, 0);
                pattern.clone().fill(&mut bytes[head..]);
            } else {
                bytes.extend_from_slice(HELP.as_bytes());
            }
            if behaviour.sin == Sin::Wrong {
                bytes[head + rest as usize / 2] ^= 0x20;
            }
            rest = 0;
        }
        Self { behaviour, bytes, head, rest, pattern, no_body, closes, drawn: Cell::new(0) }
    }

    pub(super) fn echoes(&self) -> bool {
        self.behaviour.source == Source::Echo
    }

    /// A number from 0 to 1. The golden ratio's multiples: they fill the range evenly, so that a share of requests is
    /// that share of any few hundred of them, and have no period.
    pub(super) fn draw(&self) -> f64 {
        let count = self.drawn.get();
        self.drawn.set(count + 1);
        (count as f64 * 0.618_033_988_749_894_9).fract()
    }
}

/// Without the empty line that ends it.
pub(super) fn head(status: u16, closes: bool) -> Vec<u8> {
    let reason = match status {
        200 => "OK",
        404 => "Not Found",
        503 => "Service Unavailable",
        _ => "As Asked",
    };
    let mut bytes = format!("HTTP/1.1 {status} {reason}\r\nServer: balance-bench\r\n").into_bytes();
    if closes {
        bytes.extend_from_slice(b"Connection: close\r\n");
    }
    bytes
}

/// The answers of one shard.
#[derive(Default)]
pub(super) struct Answers(RefCell<HashMap<(Vec<u8>, bool, bool), Rc<Prepared>>>);

impl Answers {
    pub(super) fn get(&self, target: &[u8], no_body: bool, closes: bool) -> Rc<Prepared> {
        let mut all = self.0.borrow_mut();
        let key = (target.to_vec(), no_body, closes);
        if let Some(known) = all.get(&key) {
            return Rc::clone(known);
        }
        if all.len() >= PATHS_MAX {
            all.clear();
        }
        let prepared = Rc::new(Prepared::new(target, no_body, closes));
        all.insert(key, Rc::clone(&prepared));
        prepared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(target: &str) -> String {
        String::from_utf8_lossy(&Prepared::new(target.as_bytes(), false, false).bytes).into_owned()
    }

    #[test]
    fn heads_say_what_follows() {
        let size = text("/size/3");
        assert!(size.starts_with("HTTP/1.1 200 OK\r\nServer: balance-bench\r\nContent-Length: 3\r\n"), "{size}");
        assert!(size.contains("x-bench-body: 3\r\n\r\n"), "{size}");
        assert!(text("/status/204").ends_with("balance-bench\r\n\r\n"));
        assert!(text("/chunked/3").ends_with("Transfer-Encoding: chunked\r\nx-bench-body: 3\r\n\r\n"));
        assert!(text("/close").contains("Connection: close\r\n"));
        let help = text("/unheard-of");
        assert!(help.starts_with("HTTP/1.1 404 ") && help.contains("/delay/"), "{help}");
    }

    #[test]
    fn only_short_bodies_are_kept() {
        let long = Prepared::new(b"/size/1MiB", false, false);
        assert_eq!((long.bytes.len(), long.rest), (long.head, 1 << 20));
        let none = Prepared::new(b"/size/1MiB", true, false);
        assert_eq!((none.bytes.len(), none.rest), (none.head, 0), "HEAD");
    }

    #[test]
    fn a_share_of_requests_is_that_share_of_a_thousand() {
        let prepared = Prepared::new(b"/error-rate/0.01", false, false);
        let drawn = (0..1000).filter(|_| prepared.draw() < 0.01).count();
        assert!((9..=11).contains(&drawn), "{drawn}");
    }

    #[test]
    fn the_memory_of_paths_is_limited() {
        let answers = Answers::default();
        (0..3000).for_each(|number| drop(answers.get(format!("/size/{number}").as_bytes(), false, false)));
        assert!(answers.0.borrow().len() <= PATHS_MAX);
    }
}
