//! Rules for the manifests: every crate takes the lints of the workspace, and the lock file is part of the source.

use super::Finding;
use crate::tree::Tree;

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    if tree.file("Cargo.lock").is_none() {
        findings.push(Finding::file("Cargo.lock", "the file is missing: a binary is built from locked versions"));
    }
    for member in members(tree) {
        let path = format!("{member}/Cargo.toml");
        match tree.file(&path) {
            None => findings.push(Finding::file(&path, "a member of the workspace without a manifest")),
            // Without it the bans of clippy.toml and of [workspace.lints] do not hold in that crate.
            Some(file) if value(&file.text, "lints", "workspace") != Some("true") => {
                findings.push(Finding::file(&path, "a member says `[lints]` `workspace = true`"));
            }
            Some(_) => {}
        }
    }
    findings
}

pub(crate) fn workspace_version(tree: &Tree) -> Option<&str> {
    value(&tree.file("Cargo.toml")?.text, "workspace.package", "version")
}

fn members(tree: &Tree) -> Vec<&str> {
    let Some(manifest) = tree.file("Cargo.toml") else { return Vec::new() };
    let list = value(&manifest.text, "workspace", "members").unwrap_or_default();
    list.trim_matches(['[', ']']).split(',').map(|m| m.trim().trim_matches('"')).filter(|m| !m.is_empty()).collect()
}

/// `key = value` of a table, without the quotes of a string. Enough TOML for our own manifests, whose values stand on
/// one line.
fn value<'a>(text: &'a str, table: &str, key: &str) -> Option<&'a str> {
    let mut inside = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            inside = name.strip_suffix(']') == Some(table);
        } else if inside
            && let Some((k, v)) = line.split_once('=')
            && k.trim() == key
        {
            return Some(v.trim().trim_matches('"'));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::SourceFile;

    const ROOT: &str = "[workspace]\nmembers = [\"a\", \"b\"]\n\n[workspace.package]\nversion = \"0.1.0\"\n";
    const MEMBER: &str = "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n";

    fn tree(files: &[(&str, &str)]) -> Tree {
        Tree { files: files.iter().map(|(p, t)| SourceFile::new(p, t)).collect(), ..Tree::default() }
    }

    #[test]
    fn a_complete_workspace_is_fine() {
        let whole = [("Cargo.toml", ROOT), ("Cargo.lock", ""), ("a/Cargo.toml", MEMBER), ("b/Cargo.toml", MEMBER)];
        assert!(check(&tree(&whole)).is_empty());
        assert_eq!(workspace_version(&tree(&whole)), Some("0.1.0"));
    }

    #[test]
    fn a_member_without_the_lints_is_found() {
        let without = MEMBER.replace("[lints]", "[other]");
        let part = [("Cargo.toml", ROOT), ("Cargo.lock", ""), ("a/Cargo.toml", MEMBER), ("b/Cargo.toml", &without)];
        let findings = check(&tree(&part));
        assert_eq!(findings.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["b/Cargo.toml"]);
    }

    #[test]
    fn missing_files_are_found() {
        let findings = check(&tree(&[("Cargo.toml", ROOT), ("a/Cargo.toml", MEMBER)]));
        assert_eq!(findings.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["Cargo.lock", "b/Cargo.toml"]);
    }
}
