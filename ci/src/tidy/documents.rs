//! Rules for the documents: what they name exists, and they use the words of the lexicon.

use super::{Finding, manifests};
use crate::tree::{SourceFile, Tree};

/// Files that documents name in `backticks` exist. Only what starts with a directory of the repository is meant; a
/// pattern with `*`, `…` or `<name>` is not a name.
pub(crate) fn named_files(file: &SourceFile, tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for word in line.split(|c: char| c.is_whitespace() || "`()[],;\"'".contains(c)) {
            let word = word.trim_end_matches(['.', ':']);
            if is_repository_path(word, tree) && !tree.paths.contains(word) {
                findings.push(Finding::new(&file.path, index + 1, format!("`{word}` does not exist")));
            }
        }
    }
    findings
}

fn is_repository_path(word: &str, tree: &Tree) -> bool {
    let Some((top, rest)) = word.split_once('/') else { return false };
    let has_extension = [".rs", ".toml", ".md", ".json", ".sh"].iter().any(|e| rest.ends_with(e));
    has_extension && !word.contains(['*', '…', '<', '{']) && tree.paths.contains(top)
}

/// The version that is built has its entry.
pub(crate) fn changelog(tree: &Tree) -> Vec<Finding> {
    let Some(file) = tree.file("CHANGELOG.md") else {
        return vec![Finding::file("CHANGELOG.md", "the file is missing")];
    };
    let Some(version) = manifests::workspace_version(tree) else {
        return vec![Finding::file("Cargo.toml", "[workspace.package] has no version")];
    };
    let heading = format!("## [{version}]");
    if file.text.lines().any(|l| l.starts_with(&heading)) {
        return Vec::new();
    }
    vec![Finding::file("CHANGELOG.md", format!("no entry `{heading}` for the version in Cargo.toml"))]
}

/// One word per concept: what LEXICON.md lists after `Not:` is not used in a document, nor in a comment of the code.
pub(crate) fn lexicon(tree: &Tree) -> Vec<Finding> {
    let Some(lexicon) = tree.file("LEXICON.md") else {
        return vec![Finding::file("LEXICON.md", "the file is missing")];
    };
    let avoided: Vec<(&str, &str)> = lexicon.text.lines().flat_map(avoided_words).collect();
    let mut findings = Vec::new();
    for file in &tree.files {
        if file.path == lexicon.path || !(file.is("md") || file.is("rs")) {
            continue;
        }
        for (index, line) in file.text.lines().enumerate() {
            let said = if file.is("md") { line } else { comment_of(line) }.to_lowercase();
            let found = avoided.iter().filter(|(synonym, _)| said.contains(synonym));
            findings.extend(found.map(|(synonym, word)| {
                Finding::new(&file.path, index + 1, format!("`{synonym}`: LEXICON.md says {word}"))
            }));
        }
    }
    findings
}

/// Of `- **word**: what it is. Not: a synonym, another.` the pairs (synonym, word).
fn avoided_words(line: &str) -> Vec<(&str, &str)> {
    let parsed = line
        .strip_prefix("- **")
        .and_then(|l| l.split_once("**"))
        .and_then(|(word, rest)| rest.split_once("Not: ").map(|(_, synonyms)| (word, synonyms.trim_end_matches('.'))));
    let Some((word, synonyms)) = parsed else { return Vec::new() };
    synonyms.split(", ").map(|synonym| (synonym, word)).collect()
}

fn comment_of(line: &str) -> &str {
    line.find("//").map_or("", |at| &line[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        Tree {
            files: files.iter().map(|(path, text)| SourceFile::new(path, text)).collect(),
            paths: files.iter().map(|(path, _)| (*path).to_owned()).chain(["config".to_owned()]).collect(),
            ..Tree::default()
        }
    }

    #[test]
    fn files_named_in_documents_exist() {
        let tree = tree(&[("config/examples/tcp.toml", "")]);
        let count = |text: &str| named_files(&SourceFile::new("README.md", text), &tree).len();
        assert_eq!(count("Start with `config/examples/tcp.toml`."), 0);
        assert_eq!(count("balance-shard -c config/examples/none.toml"), 1);
        assert_eq!(count("every config/examples/*.toml, and other/none.toml"), 0);
    }

    #[test]
    fn the_built_version_is_in_the_changelog() {
        let manifest = ("Cargo.toml", "[workspace.package]\nversion = \"0.2.0\"\n");
        assert!(changelog(&tree(&[manifest, ("CHANGELOG.md", "## [0.2.0] - 2026-10-01\n")])).is_empty());
        assert_eq!(changelog(&tree(&[manifest, ("CHANGELOG.md", "## [0.1.0]\n")])).len(), 1);
        assert_eq!(changelog(&tree(&[manifest])).len(), 1);
    }

    #[test]
    fn the_words_of_the_lexicon_are_used() {
        let lexicon_file =
            ("LEXICON.md", "- **cluster**: endpoints that are equal. Not: server farm, farm of servers.\n");
        let count = |path: &str, text: &str| lexicon(&tree(&[lexicon_file, (path, text)])).len();
        assert_eq!(count("README.md", "Our Server farm.\n"), 1);
        assert_eq!(count("a/src/b.rs", "let x = 1; // a farm of servers\n"), 1);
        assert_eq!(count("a/src/b.rs", "let text = \"server farm\";\n"), 0);
        assert_eq!(count("README.md", "A cluster.\n"), 0);
    }
}
