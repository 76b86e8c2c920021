//! Why a command failed.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The command line makes no sense.
    Usage,
    /// The kernel or the container lacks a feature that was demanded.
    OsFeature,
    /// Ctrl-C: what there was has been reported.
    Interrupted,
    /// Everything else, a bad result of a measurement included.
    Runtime,
}

/// Words for a person, and the family that decides the exit code.
#[derive(Debug)]
pub struct Failure {
    pub kind: FailureKind,
    pub message: String,
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Usage, message: message.into() }
    }

    pub(crate) fn os_feature(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::OsFeature, message: message.into() }
    }

    pub(crate) fn interrupted() -> Self {
        Self { kind: FailureKind::Interrupted, message: "interrupted: the report is of a part of the run".into() }
    }

    pub(crate) fn runtime(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Runtime, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
