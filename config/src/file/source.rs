//! Texts that values come from, and places in them.

use std::ops::Range;

use crate::diagnostic::{Snippet, is_invisible};

/// How much of a line a message shows.
const SNIPPET_CHARS_MAX: usize = 100;
/// What of that comes before the underlined part, when the line must be cut.
const SNIPPET_CHARS_BEFORE: usize = 40;

/// The file, or one variable or flag as it would be typed.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    text: String,
    /// Where each line starts; empty where lines mean nothing, as in a variable.
    line_starts: Vec<usize>,
}

/// Bytes of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Index in the list of sources; the file is 0.
    pub(crate) source: usize,
    /// `None` is the source as a whole.
    pub(crate) range: Option<Range<usize>>,
}

impl Place {
    pub(crate) const WHOLE_FILE: Self = Self { source: 0, range: None };

    pub(crate) fn in_file(range: Range<usize>) -> Self {
        Self { source: 0, range: Some(range) }
    }

    /// A part of this place, by bytes counted from its start.
    pub(crate) fn part(&self, part: Range<usize>) -> Self {
        let range = self.range.as_ref().map(|r| r.start + part.start..r.start + part.end);
        Self { source: self.source, range }
    }
}

impl Source {
    pub(crate) fn file(name: &str, text: &str) -> Self {
        let after_newlines = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1);
        Self {
            name: name.to_owned(),
            text: text.to_owned(),
            line_starts: std::iter::once(0).chain(after_newlines).collect(),
        }
    }

    pub(crate) fn one_line(name: String, text: String) -> Self {
        Self { name, text, line_starts: Vec::new() }
    }

    /// The line of a byte, counted from 1; 0 where there are no lines.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// The column of a byte in characters, counted from 1; 0 where there are no lines.
    pub(crate) fn column(&self, offset: usize) -> usize {
        match self.line(offset) {
            0 => 0,
            line => self.chars(self.line_starts[line - 1], offset) + 1,
        }
    }

    /// The line that holds the start of `range`, cut around it.
    pub(crate) fn snippet(&self, range: &Range<usize>) -> Snippet {
        let line = self.line_at(range.start);
        let text = &self.text[line.clone()];
        let start = self.chars(line.start, range.start.min(line.end));
        let length = self.chars(range.start.min(line.end), range.end.min(line.end)).max(1);
        let total = text.chars().count();
        let from = if total > SNIPPET_CHARS_MAX { start.saturating_sub(SNIPPET_CHARS_BEFORE) } else { 0 };
        let shown = text.chars().skip(from).take(SNIPPET_CHARS_MAX);
        let mut out = String::new();
        if from > 0 {
            out.push('…');
        }
        out.extend(shown.map(|c| {
            if c == '\t' {
                ' '
            } else if is_invisible(c) {
                '\u{fffd}'
            } else {
                c
            }
        }));
        if total > from + SNIPPET_CHARS_MAX {
            out.push('…');
        }
        let start = start - from + usize::from(from > 0);
        Snippet { text: out, start, length: length.min((SNIPPET_CHARS_MAX + 1).saturating_sub(start).max(1)) }
    }

    /// True where the text at `range` is a quoted string that says `value` without escapes, so that bytes of the value
    /// are bytes of the source one further on.
    pub(crate) fn is_quoted_plainly(&self, range: &Range<usize>, value: &str) -> bool {
        let inner = self.text.get(range.start + 1..range.end.saturating_sub(1).max(range.start + 1));
        inner == Some(value)
    }

    /// The bytes of the line around `offset`, without its end of line.
    fn line_at(&self, offset: usize) -> Range<usize> {
        let number = self.line(offset);
        if number == 0 {
            return 0..self.text.len();
        }
        let start = self.line_starts[number - 1];
        let end = self.line_starts.get(number).map_or(self.text.len(), |next| next - 1);
        start..start + self.text[start..end].trim_end_matches('\r').len()
    }

    /// Characters that start within these bytes, wherever the bytes are cut.
    fn chars(&self, from: usize, to: usize) -> usize {
        let bytes = self.text.as_bytes();
        let to = to.min(bytes.len());
        bytes.get(from..to).unwrap_or(&[]).iter().filter(|b| (**b & 0xc0) != 0x80).count()
    }
}

#[cfg(test)]
mod tests {
    use super::Source;

    #[track_caller]
    fn check(text: &str, range: std::ops::Range<usize>, at: (usize, usize), marked: &str) {
        let source = Source::file("x", text);
        assert_eq!((source.line(range.start), source.column(range.start)), at);
        let snippet = source.snippet(&range);
        let shown: String = snippet.text.chars().skip(snippet.start).take(snippet.length).collect();
        assert_eq!(shown, marked, "{snippet:?}");
        assert!(snippet.text.chars().count() <= 102);
    }

    #[test]
    fn places_count_characters() {
        check("a = 1\nb = 2\r\n", 10..11, (2, 5), "2");
        check("é = 1", 5..6, (1, 5), "1");
        check("a = \"x\ny\"", 4..9, (1, 5), "\"x");
        check("a", 1..1, (1, 2), "");
        check("", 0..0, (1, 1), "");
        check("\ta\u{1b}b", 2..3, (1, 3), "\u{fffd}");
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let long = format!("{}needle{}", "x".repeat(1000), "y".repeat(1000));
        check(&long, 1000..1006, (1, 1001), "needle");
        let whole = Source::file("x", &long).snippet(&(0..2006));
        assert!(whole.length <= 101 && whole.text.ends_with('…'), "{whole:?}");
    }
}
