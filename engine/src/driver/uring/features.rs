//! What this kernel's io_uring can do, found by doing it.
//!
//! The floor is Linux 6.1: DEFER_TASKRUN (without it io_uring is slower than epoll), multishot receive and provided
//! buffer rings. Everything else is optional, probed alone, and can be switched off by name so that tests run every
//! reduced set.

use crate::driver::DriverInfo;
use io_uring::{IoUring, Probe, opcode};
use std::{fmt, io, str::FromStr};

/// One optional feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Registered descriptors for connections. Needs [`Feature::Install`] and [`Feature::SetSockOpt`].
    Direct,
    /// FIXED_FD_INSTALL, Linux 6.8.
    Install,
    /// Socket options on direct descriptors, Linux 6.7.
    SetSockOpt,
    /// Receives that fill several buffers at once, Linux 6.10; not where they are known to reorder bytes.
    Bundle,
    /// No SQ index array, Linux 6.6.
    NoSqArray,
    /// A minimum wait to gather completions, and absolute wait times, Linux 6.12.
    MinWait,
    /// A waiting ring is not iowait, Linux 6.15.
    NoIowait,
    /// Zero-copy sends from registered memory.
    Registered,
    /// The same of several pieces at once, Linux 6.15. Needs [`Feature::Registered`].
    RegisteredVector,
}

impl Feature {
    pub const ALL: [Self; 9] = [
        Self::Direct,
        Self::Install,
        Self::SetSockOpt,
        Self::Bundle,
        Self::NoSqArray,
        Self::MinWait,
        Self::NoIowait,
        Self::Registered,
        Self::RegisteredVector,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Install => "install",
            Self::SetSockOpt => "setsockopt",
            Self::Bundle => "bundle",
            Self::NoSqArray => "nosqarray",
            Self::MinWait => "minwait",
            Self::NoIowait => "noiowait",
            Self::Registered => "registered",
            Self::RegisteredVector => "registeredvector",
        }
    }
}

/// A name that `--uring-without` does not know.
#[derive(Debug)]
pub struct UnknownFeature(String);

impl fmt::Display for UnknownFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<_> = Feature::ALL.iter().map(|f| f.as_str()).collect();
        write!(f, "unknown io_uring feature `{}`; known are {}", self.0, known.join(", "))
    }
}

impl std::error::Error for UnknownFeature {}

impl FromStr for Feature {
    type Err = UnknownFeature;

    fn from_str(s: &str) -> Result<Self, UnknownFeature> {
        Self::ALL.into_iter().find(|f| f.as_str() == s).ok_or_else(|| UnknownFeature(s.to_owned()))
    }
}

/// A set of [`Feature`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Features(u16);

impl Features {
    pub const NONE: Self = Self(0);

    pub const fn with(self, feature: Feature) -> Self {
        Self(self.0 | 1 << feature as u8)
    }

    pub const fn without(self, feature: Feature) -> Self {
        Self(self.0 & !(1 << feature as u8))
    }

    pub const fn has(self, feature: Feature) -> bool {
        self.0 & 1 << feature as u8 != 0
    }

    pub fn minus(self, others: &[Feature]) -> Self {
        others.iter().fold(self, |set, f| set.without(*f)).consistent()
    }

    pub(super) fn add_if(self, yes: bool, feature: Feature) -> Self {
        if yes { self.with(feature) } else { self }
    }

    /// Direct descriptors without a way to set options or to get a real descriptor would cost more than they give.
    fn consistent(self) -> Self {
        let usable = self.has(Feature::Install) && self.has(Feature::SetSockOpt);
        let set = if usable { self } else { self.without(Feature::Direct) };
        if set.has(Feature::Registered) { set } else { set.without(Feature::RegisteredVector) }
    }

    pub fn info(self) -> DriverInfo {
        let features = Feature::ALL.into_iter().filter(|f| self.has(*f)).map(Feature::as_str).collect();
        DriverInfo { name: "uring", features }
    }

    /// What the running kernel offers. `setsockopt` is asked of a real socket by the caller ([`super::probe`]).
    pub(super) fn of(ring: &IoUring, no_sqarray: bool, setsockopt: bool) -> io::Result<Self> {
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let params = ring.params();
        Ok(Self::NONE
            .with(Feature::Direct)
            .add_if(probe.is_supported(opcode::FixedFdInstall::CODE), Feature::Install)
            .add_if(setsockopt, Feature::SetSockOpt)
            .add_if(params.is_feature_recvsend_bundle() && !super::probe::reorders_bundles(), Feature::Bundle)
            .add_if(no_sqarray, Feature::NoSqArray)
            .add_if(params.is_feature_min_timeout(), Feature::MinWait)
            .add_if(params.is_feature_no_iowait(), Feature::NoIowait)
            .consistent())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_need_their_companions() {
        let all = Feature::ALL.iter().fold(Features::NONE, |s, f| s.with(*f));
        assert!(all.minus(&[Feature::MinWait]).has(Feature::Direct));
        assert!(!all.minus(&[Feature::Install]).has(Feature::Direct));
        assert!(!all.minus(&[Feature::SetSockOpt]).has(Feature::Direct));
        assert!(all.minus(&[Feature::Direct]).has(Feature::Install));
        assert!(!all.minus(&[Feature::Registered]).has(Feature::RegisteredVector));
    }

    #[test]
    fn unknown_names_are_told_the_known_ones() {
        let error = "bundel".parse::<Feature>().expect_err("no such feature").to_string();
        assert!(error.contains("`bundel`") && error.contains("minwait"), "{error}");
    }
}
