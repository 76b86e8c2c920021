//! What the rules need of Markdown: links, headings, fenced blocks. And the rule that every link leads somewhere.

use super::Finding;
use crate::tree::{SourceFile, Tree};

/// A line of prose (not inside a fence), counted from 1.
pub(crate) fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_fence = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
            return None;
        }
        (!in_fence).then_some((index + 1, line))
    })
}

/// The fenced blocks whose info string is exactly `language`.
pub(crate) fn fenced(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.trim_start().strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|l| l.trim_start() != "```").collect();
        if info == language {
            blocks.push(block.join("\n") + "\n");
        }
    }
    blocks
}

/// Every link to a file leads to one, and every `#anchor` to a heading.
pub(crate) fn links(file: &SourceFile, tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in prose(&file.text) {
        for target in targets(line) {
            if let Err(problem) = resolve(target, file, tree) {
                findings.push(Finding::new(&file.path, number, format!("link `{target}`: {problem}")));
            }
        }
    }
    findings
}

/// What a line links to: `[text](target)`, `[text](target "title")` and `[label]: target`.
fn targets(line: &str) -> Vec<&str> {
    let line = line.trim_start();
    if let Some((label, target)) = line.strip_prefix('[').and_then(|l| l.split_once("]: "))
        && !label.contains('[')
    {
        return target.split_whitespace().take(1).collect();
    }
    let inline = line.split("](").skip(1);
    inline.filter_map(|rest| rest.split([')', ' ']).next()).filter(|t| !t.is_empty()).collect()
}

fn resolve(target: &str, from: &SourceFile, tree: &Tree) -> Result<(), String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(());
    }
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    if path.starts_with('/') {
        return Err("absolute; write it relative to this file".into());
    }
    let destination = if path.is_empty() { from.path.clone() } else { join(&from.path, path)? };
    if !tree.paths.contains(&destination) {
        return Err("there is no such file".into());
    }
    let Some(anchor) = anchor else { return Ok(()) };
    match tree.file(&destination) {
        Some(document) if document.is("md") && !has_anchor(&document.text, anchor) => {
            Err(format!("{destination} has no heading `#{anchor}`"))
        }
        _ => Ok(()),
    }
}

/// `target` seen from the directory of `from`, relative to the workspace.
fn join(from: &str, target: &str) -> Result<String, String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or("leads out of the repository")?;
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

fn has_anchor(text: &str, anchor: &str) -> bool {
    prose(text).any(|(_, line)| line.starts_with('#') && slug(line.trim_start_matches('#').trim()) == anchor)
}

/// The anchor that GitHub gives a heading.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<usize> {
        let file = SourceFile::new("docs/a.md", text);
        let tree = Tree {
            files: vec![SourceFile::new("README.md", "# Say `hello`, now\n"), SourceFile::new("docs/a.md", text)],
            paths: ["README.md", "docs", "docs/a.md", "docs/x.png"].map(String::from).into(),
            ..Tree::default()
        };
        links(&file, &tree).iter().map(|f| f.line).collect()
    }

    #[test]
    fn links_that_lead_somewhere_are_fine() {
        for text in [
            "[r](../README.md)",
            "[r](../README.md#say-hello-now) and [x](x.png \"title\")",
            "[d](../docs/)",
            "[w](https://example.com/none)",
            "# Top\n[t](#top)",
            "[label]: ../README.md",
            "```\n[r](none.md)\n```",
            "a [b] (c)",
        ] {
            assert!(problems(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        for text in [
            "[r](none.md)",
            "[r](README.md)",
            "[r](../README.md#none)",
            "[r](#none)",
            "[r](/README.md)",
            "[r](../../x.md)",
            "[label]: none.md",
            "[ok](x.png), [not](y.png)",
        ] {
            assert_eq!(problems(text), [1], "{text}");
        }
    }

    #[test]
    fn fences_are_told_apart_by_language() {
        let text = "a\n```toml\nx = 1\ny = 2\n```\n```sh\nls\n```\n```toml\nz = 3\n```\n";
        assert_eq!(fenced(text, "toml"), ["x = 1\ny = 2\n", "z = 3\n"]);
        assert_eq!(fenced(text, "sh"), ["ls\n"]);
        assert!(fenced(text, "rust").is_empty());
    }
}
