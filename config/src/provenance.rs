//! Where each value of a configuration came from.

use std::{collections::BTreeMap, fmt};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    /// The line of the file, counted from 1.
    File(usize),
    /// The name of the environment variable.
    Env(String),
    /// The flag as typed, such as `--cores`.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(line) => write!(f, "file:{line}"),
            Self::Env(name) => write!(f, "env {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// The origins, by path: `runtime.cores`, `listeners.web.bind`, `clusters.app.policy`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// The name of the file as it was given to us.
    pub file: String,
    origins: BTreeMap<String, Origin>,
}

impl Provenance {
    pub fn new(file: impl Into<String>) -> Self {
        Self { file: file.into(), origins: BTreeMap::new() }
    }

    /// A path nobody set is a default.
    pub fn of(&self, path: &str) -> &Origin {
        self.origins.get(path).unwrap_or(&Origin::Default)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Origin)> {
        self.origins.iter().map(|(path, origin)| (path.as_str(), origin))
    }

    pub(crate) fn set(&mut self, path: String, origin: Origin) {
        self.origins.insert(path, origin);
    }
}
