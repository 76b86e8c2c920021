//! The surroundings a configuration may refer to: environment variables and small files. A trait, so that a test brings
//! its own.

use std::{env, io, path::Path};

/// What `${file:…}` may read at most: secrets and addresses are small, and a device file never ends.
pub(crate) const INCLUDED_BYTES_MAX: u64 = 1 << 20;

pub trait Env {
    /// The variable `name`, for `${name}`.
    fn var(&self, name: &str) -> Option<String>;
    /// Every variable, for `BALANCE__SECTION__KEY`.
    fn vars(&self) -> Vec<(String, String)>;
    /// The text of a file, for `${file:/path}`.
    ///
    /// # Errors
    /// Whatever the file system says; a file that is too large or not text is `InvalidData`.
    fn read(&self, path: &Path) -> io::Result<String>;
}

/// The environment of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn var(&self, name: &str) -> Option<String> {
        env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }

    fn vars(&self) -> Vec<(String, String)> {
        // `env::vars` would panic on a variable that is not Unicode, even one that has nothing to do with us.
        env::vars_os().map(|(k, v)| (k.to_string_lossy().into_owned(), v.to_string_lossy().into_owned())).collect()
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let bytes = crate::file::read_bounded(path, INCLUDED_BYTES_MAX)?;
        String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
    }
}

/// No variables and no files: for text that must mean the same everywhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEnv;

impl Env for NoEnv {
    fn var(&self, _name: &str) -> Option<String> {
        None
    }

    fn vars(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn read(&self, _path: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }
}
