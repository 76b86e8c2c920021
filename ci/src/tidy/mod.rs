//! House rules that no lint knows: ordinary functions over the text of the workspace, each with its own tests.
//!
//! A rule reads one file or the whole [`Tree`] and says what it found, where. There is no list of exceptions here:
//! where a rule can be lifted, the place itself says so, with the reason.

pub(crate) mod documents;
pub(crate) mod manifests;
pub(crate) mod markdown;
pub(crate) mod rust;
pub(crate) mod text;

use crate::tree::Tree;
use std::{fmt, path::Path};

/// Something that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) path: String,
    /// Counted from 1; 0 when the file as a whole is meant.
    pub(crate) line: usize,
    pub(crate) message: String,
}

impl Finding {
    pub(crate) fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.into(), line, message: message.into() }
    }

    pub(crate) fn file(path: &str, message: impl Into<String>) -> Self {
        Self::new(path, 0, message)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// # Errors
/// One sentence; the findings themselves are printed.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let tree = Tree::load(root)?;
    let findings = check(&tree);
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("{} files are tidy", tree.files.len());
            Ok(())
        }
        count => Err(format!("tidy: {count} findings (listed above).")),
    }
}

/// Every rule over every file, in the order of the files.
fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        findings.extend(text::whitespace(file));
        findings.extend(text::machine_paths(file, &tree.machine_paths));
        if file.is("rs") {
            findings.extend(rust::check(file));
        }
        if file.is("md") {
            findings.extend(markdown::links(file, tree));
            findings.extend(documents::named_files(file, tree));
        }
    }
    findings.extend(manifests::check(tree));
    findings.extend(documents::changelog(tree));
    findings.extend(documents::lexicon(tree));
    findings.sort();
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_like_a_compiler_message() {
        assert_eq!(Finding::new("a/b.rs", 3, "too long").to_string(), "a/b.rs:3: too long");
        assert_eq!(Finding::file("a/b.rs", "too long").to_string(), "a/b.rs: too long");
    }
}
