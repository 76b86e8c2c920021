//! How the process ends: one exit code a family of failures, so that scripts and units can tell them apart.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Runtime = 1,
    Usage = 2,
    /// EX_UNAVAILABLE: nothing answers at the admin address.
    Unavailable = 69,
    /// EX_OSERR: the kernel or the container lacks a feature that was demanded.
    OsFeature = 71,
    /// EX_NOPERM: not allowed, or the address is taken.
    Permission = 77,
    /// EX_CONFIG.
    Config = 78,
    /// As a shell says it of a process that INT has ended.
    Interrupted = 130,
}

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }
}

/// Why a command failed, in words for a person, and the code the process ends with.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// May have several lines; without a trailing newline. Empty when everything was said already.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    pub(crate) fn runtime(message: impl Into<String>) -> Self {
        Self::new(Exit::Runtime, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(Exit::Config, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message.trim_end())
    }
}
