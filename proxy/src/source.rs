//! Where the configuration comes from: a file, the command line, or the embedded example. Read again at every reload.

use balance_config::{
    diagnostic::Report,
    embedded,
    env::ProcessEnv,
    file::{self, Loaded, Override},
};
use std::{net::SocketAddr, path::PathBuf};

/// A place to load the configuration from, as often as asked.
pub(crate) trait Source: Send + Sync {
    /// The whole configuration, validated.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    fn load(&self) -> Result<Loaded, Report>;

    /// What the banner and the status call it.
    fn name(&self) -> String;
}

/// What the command line chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    File(PathBuf),
    /// `--listen` and `--to`.
    Quick {
        listen: Vec<String>,
        to: Vec<String>,
    },
    /// The embedded example, whose backends this process runs itself.
    Demo {
        pages: Vec<SocketAddr>,
        echo: Vec<SocketAddr>,
    },
}

/// An [`Origin`] with the flags that override single keys.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) origin: Origin,
    pub(crate) overrides: Vec<Override>,
}

impl Source for Chosen {
    fn load(&self) -> Result<Loaded, Report> {
        let (env, overrides) = (&ProcessEnv, &self.overrides);
        match &self.origin {
            Origin::File(path) => file::load(path, env, overrides),
            Origin::Quick { listen, to } => embedded::quick(listen, to, env, overrides),
            Origin::Demo { pages, echo } => embedded::demo(pages, echo, env, overrides),
        }
    }

    fn name(&self) -> String {
        match &self.origin {
            Origin::File(path) => path.display().to_string(),
            Origin::Quick { .. } => "the command line".into(),
            Origin::Demo { .. } => "the embedded example".into(),
        }
    }
}
