//! TOML text, environment variables and flags in; a checked [`Config`] or everything that is wrong with it out.

mod build;
mod build_http;
mod check;
mod document;
mod findings;
mod http;
mod interpolate;
mod lists;
mod overrides;
mod places;
mod section;
mod source;
mod syntax;
mod value;

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use toml::de::DeTable;

pub(crate) use self::interpolate::escape;
pub use self::overrides::variable;
use self::{
    document::{Document, Reader},
    findings::Findings,
    section::Around,
    source::{Place, Source},
    value::Values,
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
    let bytes = read_bounded(path, FILE_BYTES_MAX)
        .map_err(|e| Report::one(Diagnostic::about(Severity::Error, &name, format!("cannot read the file: {e}"))))?;
    match String::from_utf8(bytes) {
        Ok(text) => parse(&name, &text, env, overrides),
        Err(e) => Err(not_utf8(&name, e.as_bytes(), e.utf8_error().valid_up_to())),
    }
}

/// Turns TOML text into a configuration. `name` is what errors call the text.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn parse(name: &str, text: &str, env: &dyn Env, overrides: &[Override]) -> Result<Loaded, Report> {
    let mut findings = Findings::new(Source::file(name, text));
    let mut provenance = Provenance::new(name);
    let config = syntax::screen(text, &mut findings).and_then(|text| {
        let root = syntax::tree(&text, &mut findings);
        let document = read(&root, env, overrides, &mut findings, &mut provenance);
        check::check(&document, &mut findings);
        build::config(&document)
    });
    let has_errors = findings.has_errors();
    let (diagnostics, omitted) = findings.into_diagnostics();
    match config {
        Some(config) if !has_errors => Ok(Loaded { config, warnings: diagnostics, provenance }),
        // Not reached unless the key table and the model have parted ways; a message beats a panic.
        None if !has_errors => Err(Report::one(Diagnostic::about(
            Severity::Error,
            name,
            "a value was lost on the way; please report this",
        ))),
        _ => Err(Report { diagnostics, omitted }),
    }
}

fn read(
    root: &DeTable<'_>,
    env: &dyn Env,
    overrides: &[Override],
    findings: &mut Findings,
    provenance: &mut Provenance,
) -> Document {
    let mut values = Values { findings, env };
    let names = document::names(root, &values);
    let given = overrides::resolve(&names, env, overrides, values.findings);
    Reader { values: &mut values, root, around: Around { given: &given, provenance } }.document()
}

fn not_utf8(name: &str, bytes: &[u8], valid_up_to: usize) -> Report {
    // The valid part keeps its length, so the first replacement character stands where the trouble starts.
    let text = String::from_utf8_lossy(bytes);
    let mut findings = Findings::new(Source::file(name, &text));
    let place = Place::in_file(valid_up_to..valid_up_to + char::REPLACEMENT_CHARACTER.len_utf8());
    let help = Some("save it as UTF-8".to_owned());
    findings.error(place, "the file is not UTF-8 text", help);
    let (diagnostics, omitted) = findings.into_diagnostics();
    Report { diagnostics, omitted }
}

/// The bytes of a file, refused beyond `bytes_max`: by its size where it has one, else while reading.
pub(crate) fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let too_large = || io::Error::new(io::ErrorKind::InvalidData, format!("it is larger than {bytes_max} bytes"));
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
    if bytes.len() as u64 > bytes_max { Err(too_large()) } else { Ok(bytes) }
}
