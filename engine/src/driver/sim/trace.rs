//! Traces of receives: what the completions of one stream were, one a line.
//!
//! ```text
//! # A comment.
//! recv 4096 more      bytes, and the operation goes on
//! recv 17             bytes, and that was its last completion
//! end ENOBUFS         the operation ended, the stream did not
//! end ECANCELED
//! eof                 the stream ended
//! err ECONNRESET      the connection failed
//! ```

use crate::driver::{Completion, Errno, Outcome};
use std::{fmt, str::FromStr};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    pub steps: Vec<Step>,
}

/// One completion of a receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Recv { len: u32, more: bool },
    End(Errno),
    Eof,
    Err(Errno),
}

impl Step {
    /// `None` for a completion of anything but a receive.
    pub fn of(completion: &Completion) -> Option<Self> {
        match completion.outcome {
            Outcome::Received { len, .. } => Some(Self::Recv { len, more: completion.more }),
            Outcome::Eof => Some(Self::Eof),
            Outcome::Failed(errno @ (Errno::CANCELED | Errno::NO_BUFFERS)) => Some(Self::End(errno)),
            Outcome::Failed(errno) => Some(Self::Err(errno)),
            _ => None,
        }
    }

    /// The last completion of its operation.
    pub fn is_last(self) -> bool {
        !matches!(self, Self::Recv { more: true, .. })
    }
}

/// The errors that a receive ends with, by name; others are written as numbers.
const NAMES: [(&str, i32); 10] = [
    ("ECANCELED", libc::ECANCELED),
    ("ECONNABORTED", libc::ECONNABORTED),
    ("ECONNRESET", libc::ECONNRESET),
    ("EHOSTUNREACH", libc::EHOSTUNREACH),
    ("ENETDOWN", libc::ENETDOWN),
    ("ENOBUFS", libc::ENOBUFS),
    ("ENOMEM", libc::ENOMEM),
    ("ENOTCONN", libc::ENOTCONN),
    ("EPIPE", libc::EPIPE),
    ("ETIMEDOUT", libc::ETIMEDOUT),
];

fn name_of(errno: Errno) -> String {
    let named = NAMES.iter().find(|(_, number)| *number == errno.0);
    named.map_or_else(|| errno.0.to_string(), |(name, _)| (*name).to_owned())
}

fn errno_of(word: &str) -> Option<Errno> {
    let named = NAMES.iter().find(|(name, _)| *name == word).map(|(_, number)| *number);
    named.or_else(|| word.parse().ok().filter(|number| *number > 0)).map(Errno)
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recv { len, more: true } => write!(f, "recv {len} more"),
            Self::Recv { len, more: false } => write!(f, "recv {len}"),
            Self::End(errno) => write!(f, "end {}", name_of(*errno)),
            Self::Eof => f.write_str("eof"),
            Self::Err(errno) => write!(f, "err {}", name_of(*errno)),
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

/// A line that says nothing we know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTrace {
    pub line: usize,
    pub text: String,
}

impl fmt::Display for InvalidTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of the trace is not a step: {:?}", self.line, self.text)
    }
}

impl std::error::Error for InvalidTrace {}

impl FromStr for Trace {
    type Err = InvalidTrace;

    fn from_str(text: &str) -> Result<Self, InvalidTrace> {
        let mut steps = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let said = line.split('#').next().unwrap_or_default().trim();
            if said.is_empty() {
                continue;
            }
            let invalid = || InvalidTrace { line: index + 1, text: line.to_owned() };
            steps.push(parse_step(said).ok_or_else(invalid)?);
        }
        Ok(Self { steps })
    }
}

fn parse_step(said: &str) -> Option<Step> {
    let words: Vec<&str> = said.split_whitespace().collect();
    // A receive of nothing would be an end of the stream.
    let length = |word: &str| word.parse().ok().filter(|len| *len > 0);
    match words[..] {
        ["recv", len, "more"] => Some(Step::Recv { len: length(len)?, more: true }),
        ["recv", len] => Some(Step::Recv { len: length(len)?, more: false }),
        ["end", errno] => Some(Step::End(errno_of(errno)?)),
        ["eof"] => Some(Step::Eof),
        ["err", errno] => Some(Step::Err(errno_of(errno)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let text = "recv 4096 more\nrecv 17\nend ENOBUFS\nend ECANCELED\nerr 4242\nerr ECONNRESET\neof\n";
        let trace: Trace = text.parse().unwrap();
        assert_eq!(trace.steps.len(), 7);
        assert_eq!(trace.to_string(), text);
    }

    #[test]
    fn comments_and_empty_lines_are_no_steps() {
        assert_eq!("# nothing\n\n  recv 1 more # one\n".parse::<Trace>().unwrap().steps.len(), 1);
    }

    #[test]
    fn other_lines_are_refused_by_number() {
        for line in ["recv", "recv 0", "recv x", "recv 1 less", "end", "end EWHAT", "err -5", "eof eof", "RECV 1"] {
            let text = format!("eof\n{line}\n");
            let refused = text.parse::<Trace>().unwrap_err();
            assert_eq!(refused, InvalidTrace { line: 2, text: line.to_owned() });
        }
    }
}
