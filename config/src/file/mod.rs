//! TOML text, environment variables and flags in; a checked [`Config`] or everything that is wrong with it out.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use crate::model::Config;
pub use crate::{
    diagnostic::{Diagnostic, Report, Severity, Snippet},
    env::{Env, NoEnv, ProcessEnv},
    provenance::{Origin, Provenance},
};

/// What a configuration file may weigh. Ten thousand clusters take about 10 MiB.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// A configuration that may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Diagnostic>,
    pub provenance: Provenance,
}

/// A value from the command line. It beats the environment, the file and the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The key, such as `runtime.cores`, `listeners.web.bind` or `clusters.app.policy`.
    pub path: String,
    /// Read by the type of the key; lists are separated by commas.
    pub value: String,
    /// The flag, for errors and provenance: `--cores`.
    pub origin: String,
}

/// Reads the file at `path`, then as [`parse`].
///
/// # Errors
/// A file that cannot be read, is too large or is not text; then as [`parse`].
pub fn load(path: &Path, env: &dyn Env, overrides: &[Override]) -> Result<Loaded, Report> {
    let name = path.display().to_string();
    let text = read_text(path).map_err(|e| {
        Report::one(Diagnostic::about(
            Severity::Error,
            &name,
            format!("cannot read the file: {e}"),
        ))
    })?;
    parse(&name, &text, env, overrides)
}

/// Turns TOML text into a configuration. `name` is what errors call the text.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn parse(
    name: &str,
    _text: &str,
    _env: &dyn Env,
    _overrides: &[Override],
) -> Result<Loaded, Report> {
    Err(Report::one(Diagnostic::about(
        Severity::Error,
        name,
        "this version cannot read configuration files yet",
    )))
}

fn read_text(path: &Path) -> io::Result<String> {
    let bytes = read_bounded(path, FILE_BYTES_MAX)?;
    String::from_utf8(bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// The bytes of a file, refused beyond `bytes_max`: by its size where it has one, else while reading.
pub(crate) fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let too_large = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it is larger than {bytes_max} bytes"),
        )
    };
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if meta.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if meta.len() > bytes_max {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        Err(too_large())
    } else {
        Ok(bytes)
    }
}
