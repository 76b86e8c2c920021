//! Rules for every text file.

use super::Finding;
use crate::tree::SourceFile;

/// No tabs, no blanks at the end of a line, one newline at the end of the file.
pub(crate) fn whitespace(file: &SourceFile) -> Vec<Finding> {
    if !(file.is("rs") || file.is("toml") || file.is("md")) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        if line.contains('\t') {
            findings.push(Finding::new(&file.path, index + 1, "a tab; use blanks (in a string, \\t)"));
        }
        if line.ends_with(' ') {
            findings.push(Finding::new(&file.path, index + 1, "blanks at the end of the line"));
        }
    }
    if !file.text.is_empty() && (!file.text.ends_with('\n') || file.text.ends_with("\n\n")) {
        findings.push(Finding::file(&file.path, "the file must end with one newline"));
    }
    findings
}

/// Where every user's home lies. Spelled in parts, or this file would break its own rule.
const HOMES: [&str; 4] =
    [concat!("/", "home/"), concat!("/", "root/"), concat!("/", "Users/"), concat!("C:\\", "Users")];

/// No path of somebody's machine: not a home directory, not the place of this checkout.
pub(crate) fn machine_paths(file: &SourceFile, of_this_machine: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let homes = HOMES.iter().copied();
        if let Some(path) = homes.chain(of_this_machine.iter().map(String::as_str)).find(|p| names_path(line, p)) {
            findings.push(Finding::new(&file.path, index + 1, format!("`{path}` exists only on one machine")));
        }
    }
    findings
}

/// Whether `path` stands in `line` as an absolute path, not as the tail of another path or of a URL.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let starts = before.is_none_or(|c| !(c.is_alphanumeric() || "._-~}/".contains(c)));
        let after = line[at + path.len()..].chars().next();
        let ends = path.ends_with('/') || after.is_none_or(|c| !(c.is_alphanumeric() || "_-".contains(c)));
        starts && ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(findings: &[Finding]) -> Vec<usize> {
        findings.iter().map(|f| f.line).collect()
    }

    #[test]
    fn whitespace_is_found_where_it_is() {
        let check = |path: &str, text: &str| lines(&whitespace(&SourceFile::new(path, text)));
        assert!(check("a.rs", "fn a() {}\n").is_empty());
        assert_eq!(check("a.rs", "x\n\ty\n"), [2]);
        assert_eq!(check("a.md", "x \ny\n"), [1]);
        assert_eq!(check("a.rs", "x"), [0]);
        assert_eq!(check("a.rs", "x\n\n"), [0]);
        assert!(check("a.sh", "\tx").is_empty());
        assert!(check("a.rs", "").is_empty());
    }

    #[test]
    fn machine_paths_are_found_but_urls_and_tails_are_not() {
        let of_this_machine = ["/checkout/of/balance".to_owned()];
        let check = |text: &str| lines(&machine_paths(&SourceFile::new("a.md", text), &of_this_machine));
        assert_eq!(check(&format!("see {}anna/x", HOMES[0])), [1]);
        assert_eq!(check("x\n`/checkout/of/balance/target`"), [2]);
        assert!(check("/checkout/of/balancer").is_empty());
        assert!(check(&format!("https://example.com{}page", HOMES[0])).is_empty());
        assert!(check("/etc/balance/balance.toml and /run/balance").is_empty());
    }
}
