//! Rules for Rust files. They read lines, not syntax: cheap, and good enough to be told about before clippy starts.

use super::Finding;
use crate::tree::SourceFile;

/// Past this a file is usually two ideas.
const FILE_LINES_MAX: usize = 800;
/// As `max_width` in rustfmt.toml, which leaves comments and macros alone; this rule does not.
const LINE_COLUMNS_MAX: usize = 120;
/// The crate that talks to the kernel, and the only one with `unsafe`.
const UNSAFE_HOME: &str = "engine/";
/// Where time enters.
const CLOCK_FILE: &str = "engine/src/clock.rs";

pub(crate) fn check(file: &SourceFile) -> Vec<Finding> {
    [size(file), unsafe_code(file), unfinished(file), clocks(file), sleeps(file)].into_iter().flatten().collect()
}

/// No file of more than 800 lines, no line of more than 120 columns. A line with a string or a URL may be longer:
/// breaking those makes them harder to search for.
fn size(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = file.text.lines().count();
    if lines > FILE_LINES_MAX {
        let message = format!("{lines} lines; {FILE_LINES_MAX} is the most, and past that a file is usually two ideas");
        findings.push(Finding::file(&file.path, message));
    }
    for (index, line) in file.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > LINE_COLUMNS_MAX && !line.contains("://") && !line.contains('"') {
            let message = format!("{columns} columns; {LINE_COLUMNS_MAX} is the most");
            findings.push(Finding::new(&file.path, index + 1, message));
        }
    }
    findings
}

/// `unsafe` stands only in the engine, and every other crate root forbids it.
fn unsafe_code(file: &SourceFile) -> Vec<Finding> {
    if file.path.starts_with(UNSAFE_HOME) {
        return Vec::new();
    }
    let mut findings: Vec<Finding> = words(file, "unsafe")
        .map(|line| Finding::new(&file.path, line, "`unsafe` outside the engine; give the engine a safe function"))
        .collect();
    if is_crate_root(&file.path) && !file.text.lines().any(|l| l == "#![forbid(unsafe_code)]") {
        findings.push(Finding::file(&file.path, "a crate root outside the engine says `#![forbid(unsafe_code)]`"));
    }
    findings
}

/// Library and binary roots; a test or bench file is a root too, but a dozen of them would only repeat the line.
fn is_crate_root(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let (file, directory) = (parts.next(), parts.next());
    match directory {
        Some("src") => matches!(file, Some("lib.rs" | "main.rs")),
        Some("bin") => true,
        _ => false,
    }
}

/// Nothing half done is committed, and a test that does not run is not a test.
fn unfinished(file: &SourceFile) -> Vec<Finding> {
    const BANNED: [(&str, &str); 4] = [
        ("todo!", "finish it, or leave the seam without the stub"),
        ("unimplemented!", "finish it, or make the case impossible by type"),
        ("dbg!", "a trace of debugging"),
        ("#[ignore", "a test that does not run proves nothing; mend it or delete it"),
    ];
    let mut findings = Vec::new();
    for (needle, why) in BANNED {
        let found = words(file, needle);
        findings.extend(found.map(|line| Finding::new(&file.path, line, format!("`{needle}`: {why}"))));
    }
    findings
}

/// Clocks are read in one file. Elsewhere the allowance is the one that clippy wants too:
/// `#[expect(clippy::disallowed_methods, reason = "…")]`, or `allow` for a whole file of tests.
fn clocks(file: &SourceFile) -> Vec<Finding> {
    if file.path == CLOCK_FILE || file.text.contains("(clippy::disallowed_methods, reason =") {
        return Vec::new();
    }
    // The control thread uses the timers of tokio, not the clock that shards live by. Clippy tells them apart by type.
    let is_tokio = file.text.lines().any(|l| l.contains("tokio::time::") && l.contains("Instant"));
    let needles = if is_tokio { &["SystemTime::now"][..] } else { &["SystemTime::now", "Instant::now"] };
    let mut findings = Vec::new();
    for needle in needles {
        let message = format!("`{needle}`: time enters through {CLOCK_FILE}; take `now` as an argument");
        findings.extend(words(file, needle).map(|line| Finding::new(&file.path, line, message.as_str())));
    }
    findings
}

/// Sleeping stands in for a signal somewhere. A blocking sleep always says why, an asynchronous one in tests.
fn sleeps(file: &SourceFile) -> Vec<Finding> {
    let tests_start = first_test_line(file);
    let blocking = words(file, "thread::sleep");
    let in_tests = words(file, "time::sleep").filter(|line| *line >= tests_start);
    let excused = |line: &usize| {
        let before = file.text.lines().take(*line).skip(line.saturating_sub(4));
        before.into_iter().any(|l| l.contains("// tidy: sleep because "))
    };
    let message = "sleeping in place of a signal; wait for the event, or say `// tidy: sleep because …` above";
    blocking.chain(in_tests).filter(|l| !excused(l)).map(|l| Finding::new(&file.path, l, message)).collect()
}

/// The line from which a file is test code: 1 in a folder or a file of tests, else that of `#[cfg(test)]`, which stands
/// last in a file; `usize::MAX` where there is none.
fn first_test_line(file: &SourceFile) -> usize {
    let is_test_file = file.path.contains("/tests/") || file.path.ends_with("/tests.rs");
    if is_test_file {
        return 1;
    }
    file.text.lines().position(|l| l.trim() == "#[cfg(test)]").map_or(usize::MAX, |index| index + 1)
}

/// Lines, counted from 1, whose code (not a comment, not a string) holds `needle` as a word of its own.
fn words<'a>(file: &'a SourceFile, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    file.text.lines().enumerate().filter_map(move |(index, line)| {
        // Cheap first: nearly no line holds the needle at all.
        if !line.contains(needle) {
            return None;
        }
        let code = code_of(line);
        let found = code.match_indices(needle).any(|(at, _)| {
            let before = code[..at].chars().next_back();
            let after = code[at + needle.len()..].chars().next();
            !before.is_some_and(is_part) && !after.is_some_and(is_part)
        });
        found.then_some(index + 1)
    })
}

/// A line without its `//` comment and without what its string literals say. A string over several lines is not seen
/// as one, which at worst makes a rule too strict.
fn code_of(line: &str) -> String {
    let mut code = String::with_capacity(line.len());
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '/' if rest.peek() == Some(&'/') => break,
            '"' => {
                skip_string(&mut rest);
                code.push_str("\"\"");
            }
            '\'' => skip_char_literal(&mut rest, &mut code),
            _ => code.push(c),
        }
    }
    code
}

fn skip_string(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                rest.next();
            }
            '"' => return,
            _ => {}
        }
    }
}

/// After a `'`: a character literal is dropped, a lifetime stays.
fn skip_char_literal(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, code: &mut String) {
    let mut ahead = rest.clone();
    let first = ahead.next();
    if first == Some('\\') {
        ahead.next();
        // '\n', '\'', and '\u{1F600}' or '\x41' up to their end.
        if ahead.by_ref().take(10).any(|c| c == '\'') {
            *rest = ahead;
        }
        return;
    }
    if ahead.next() == Some('\'') {
        *rest = ahead;
    } else {
        code.push('\'');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(rule: fn(&SourceFile) -> Vec<Finding>, path: &str, text: &str) -> Vec<usize> {
        rule(&SourceFile::new(path, text)).iter().map(|f| f.line).collect()
    }

    #[test]
    fn code_has_neither_comments_nor_strings() {
        let check = |line: &str, code: &str| assert_eq!(code_of(line), code, "{line}");
        check("let a = 1; // unsafe", "let a = 1; ");
        check("say(\"unsafe // \\\" still\"); b", "say(\"\"); b");
        check("x == '\"' && y", "x ==  && y");
        check("x == '\\'' && y", "x ==  && y");
        check("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)");
        check("/// doc", "");
    }

    #[test]
    fn long_files_and_long_lines_are_found() {
        assert!(lines(size, "a.rs", &"x\n".repeat(800)).is_empty());
        assert_eq!(lines(size, "a.rs", &"x\n".repeat(801)), [0]);
        assert!(lines(size, "a.rs", &format!("{}\n", "ä".repeat(120))).is_empty(), "columns, not bytes");
        assert_eq!(lines(size, "a.rs", &format!("ok\n{}\n", "x".repeat(121))), [2]);
        assert!(lines(size, "a.rs", &format!("// https://{}\n", "x".repeat(121))).is_empty());
        assert!(lines(size, "a.rs", &format!("say(\"{}\");\n", "x".repeat(121))).is_empty());
    }

    #[test]
    fn unsafe_lives_in_the_engine_only() {
        let root = "#![forbid(unsafe_code)]\n";
        assert_eq!(lines(unsafe_code, "proxy/src/l4.rs", "a\nunsafe { b() }\n"), [2]);
        assert!(lines(unsafe_code, "engine/src/op.rs", "unsafe { b() }\n").is_empty());
        assert!(lines(unsafe_code, "proxy/src/l4.rs", "// unsafe would be wrong here\n").is_empty());
        assert!(lines(unsafe_code, "proxy/src/lib.rs", root).is_empty());
        assert_eq!(lines(unsafe_code, "proxy/src/lib.rs", "fn a() {}\n"), [0]);
        assert_eq!(lines(unsafe_code, "bench/src/bin/load.rs", "fn main() {}\n"), [0]);
        assert!(lines(unsafe_code, "proxy/tests/drain.rs", "fn a() {}\n").is_empty());
    }

    #[test]
    fn unfinished_work_is_found() {
        for line in ["todo!()", "unimplemented!(\"x\")", "dbg!(x)", "#[ignore]", "#[ignore = \"slow\"]"] {
            assert_eq!(lines(unfinished, "a/src/b.rs", line), [1], "{line}");
        }
        assert!(lines(unfinished, "a/src/b.rs", "// todo! is a macro\nmy_todo!()\n").is_empty());
    }

    #[test]
    fn clocks_are_read_in_one_file_or_with_a_reason() {
        let read = "let now = Instant::now();\n";
        assert_eq!(lines(clocks, "proxy/src/l4.rs", read), [1]);
        assert_eq!(lines(clocks, "proxy/src/l4.rs", "std::time::SystemTime::now()\n"), [1]);
        assert!(lines(clocks, CLOCK_FILE, read).is_empty());
        assert!(lines(clocks, "proxy/src/l4.rs", "tokio::time::Instant::now()\n").is_empty());
        let tokio = "use tokio::time::{Instant, sleep};\nInstant::now();\nSystemTime::now()\n";
        assert_eq!(lines(clocks, "proxy/src/control.rs", tokio), [3]);
        let allowed = format!("#![allow(clippy::disallowed_methods, reason = \"real time\")]\n{read}");
        assert!(lines(clocks, "proxy/tests/idle.rs", &allowed).is_empty());
    }

    #[test]
    fn sleeps_need_a_reason() {
        assert_eq!(lines(sleeps, "proxy/src/l4.rs", "std::thread::sleep(d);\n"), [1]);
        assert!(lines(sleeps, "proxy/src/l4.rs", "tokio::time::sleep(d).await;\n").is_empty(), "a timer, not a test");
        assert_eq!(lines(sleeps, "proxy/src/l4.rs", "a\n#[cfg(test)]\nmod t {\ntokio::time::sleep(d)\n"), [4]);
        assert_eq!(lines(sleeps, "proxy/tests/idle.rs", "use tokio::time::sleep;\n"), [1]);
        let excused = "// tidy: sleep because silence is what the test is about\nthread::sleep(d);\n";
        assert!(lines(sleeps, "proxy/tests/idle.rs", excused).is_empty());
        assert_eq!(lines(sleeps, "proxy/tests/idle.rs", &format!("{excused}a\nb\nc\nd\nthread::sleep(d);\n")), [7]);
    }
}
