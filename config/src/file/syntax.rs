//! TOML text to a tree with places, with every syntax error and within bounds of depth, time and memory.

use std::borrow::Cow;

use toml::de::DeTable;
use toml_parser::{ErrorSink, ParseError, Source as Toml, Span, parser::EventReceiver};

use super::{findings::Findings, source::Place};
use crate::diagnostic::quoted;

/// Arrays and inline tables within each other; the deepest the configuration needs is 2. Trees are read and dropped by
/// recursion, so this and the next bound the stack.
const NESTING_MAX: usize = 16;
/// Names in one dotted key; the configuration needs 3.
const DOTTED_NAMES_MAX: usize = 16;
/// A file with more syntax errors than this is not TOML at all, and a tree of it would take memory for nothing.
const SYNTAX_ERRORS_MAX: usize = 1000;

/// Looks the text over before anything is built from it. `None` when building makes no sense; else the text to build
/// from, in which every byte is where it was.
pub(crate) fn screen<'t>(text: &'t str, findings: &mut Findings) -> Option<Cow<'t, str>> {
    if let Some(at) = text.find('\0') {
        let message = "the file has NUL bytes, so it is not text".to_owned();
        findings.syntax_error(Place::in_file(at..at + 1), message, None);
        return None;
    }
    let mut screen = Screen::default();
    screen.run(text);
    if screen.too_deep || screen.errors.len() >= SYNTAX_ERRORS_MAX {
        for error in screen.errors {
            let at = error.unexpected().map(|span| span.start()..span.end());
            report(text, at, error.description(), findings);
        }
        return None;
    }
    Some(without_stops(text, screen.errors, findings))
}

/// The tree, as far as it can be read.
pub(crate) fn tree<'t>(text: &'t str, findings: &mut Findings) -> DeTable<'t> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        report(text, error.span(), error.message(), findings);
    }
    table.into_inner()
}

/// The parser goes on after most errors, but stops at a key without a value. Such lines are reported and blanked, so
/// that what follows is read.
fn without_stops<'t>(text: &'t str, errors: Vec<ParseError>, findings: &mut Findings) -> Cow<'t, str> {
    let mut blanked = Cow::Borrowed(text);
    for error in errors.iter().filter(|error| error.description() == "key with no value") {
        let Some(at) = error.unexpected().map(|span| span.start()..span.end()) else { continue };
        let start = text[..at.start].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[at.start..].find('\n').map_or(text.len(), |newline| at.start + newline);
        report(text, Some(at), error.description(), findings);
        blanked.to_mut().replace_range(start..end, &" ".repeat(end - start));
    }
    blanked
}

fn report(text: &str, at: Option<std::ops::Range<usize>>, message: &str, findings: &mut Findings) {
    let end = text.len();
    let at = at.map_or(end..end, |at| at.start.min(end)..at.end.min(end));
    if findings.is_broken_at(at.start) {
        // Nothing more is said about this line; looking closer at each of its errors would take time by the square.
        return;
    }
    let meant = text.get(at.clone()).unwrap_or_default();
    if message.starts_with("duplicate key") {
        // The first one stands, and the rest of the file keeps its meaning: this is no slip in the syntax.
        let message = format!("{} is defined twice", quoted(meant));
        findings.error(Place::in_file(at), message, Some("keep one of the two".to_owned()));
        return;
    }
    let (message, mut help) = reworded(message, meant);
    if let Some(format) = other_format(text, at.start) {
        help = Some(format!("this looks like {format}; TOML is written as name = \"web\""));
    }
    findings.syntax_error(Place::in_file(at), message, help);
}

/// The format that somebody else's file, or half of it, was written in.
fn other_format(text: &str, at: usize) -> Option<&'static str> {
    let before = text.get(..at)?;
    if before.trim().is_empty() && text.trim_start().starts_with('{') {
        return Some("JSON");
    }
    let line = before.rsplit('\n').next()?.trim();
    (line.ends_with(':') && !line.contains('=') || line == "-").then_some("YAML")
}

/// The parser's words are short and made for its authors; the most frequent ones are said again for everybody else.
fn reworded(message: &str, meant: &str) -> (String, Option<String>) {
    if message.starts_with("string values must be quoted") {
        let value = meant.trim();
        if value.is_empty() {
            return ("a value is missing".to_owned(), Some("write key = value".to_owned()));
        }
        let help = match value {
            "yes" | "on" => return ("a bool is true or false".to_owned(), Some("write true".to_owned())),
            "no" | "off" => return ("a bool is true or false".to_owned(), Some("write false".to_owned())),
            _ => (!value.contains(['"', '\n'])).then(|| format!("write \"{value}\"")),
        };
        return ("text must stand in quotes".to_owned(), help);
    }
    if message.contains("max recursion depth") {
        return (format!("nested deeper than {NESTING_MAX} levels"), None);
    }
    match REWORDED.iter().find(|(start, _, _)| message.starts_with(start)) {
        Some((_, message, help)) => ((*message).to_owned(), Some((*help).to_owned())),
        None => (format!("not valid TOML: {message}"), None),
    }
}

/// How a message of the parser starts, what is said instead, and what helps.
const REWORDED: [(&str, &str, &str); 13] = [
    ("missing escaped value", "there is no such escape", "write \\\\ for a backslash, or put the text between '"),
    ("unquoted keys cannot be empty", "a name is missing before the =", "write key = value"),
    ("invalid boolean", "a bool is true or false", "write it in small letters"),
    ("key with no value", "a key has no value", "write key = value, or # before a comment"),
    ("missing value for key", "a key has no value", "write key = value, or # before a comment"),
    (
        "invalid unquoted key",
        "this cannot be the name of a key",
        "quote the name, or remove what does not belong to it",
    ),
    (
        "invalid basic string",
        "a string is not closed, or has an escape that does not exist",
        "end it with \", and write \\\\ for a backslash",
    ),
    ("invalid literal string", "a string is not closed", "end it with '"),
    (
        "missing comma between array elements",
        "a comma is missing in a list, or the ] at its end",
        "write [first, second]",
    ),
    ("unclosed array table", "the name of a section is not closed", "add the missing ]]"),
    ("unclosed array", "a list is not closed", "add the missing ]"),
    ("unclosed inline table", "a table is not closed", "add the missing }"),
    ("unclosed table", "the name of a section is not closed", "add the missing ]"),
];

/// A first pass over the text that keeps nothing but errors, and few of these.
#[derive(Default)]
struct Screen {
    errors: Vec<ParseError>,
    too_deep: bool,
}

/// How deep the pass stands.
struct Depth {
    nesting: usize,
    dotted: usize,
    too_deep: bool,
}

impl Screen {
    fn run(&mut self, text: &str) {
        let tokens = Toml::new(text).lex().into_vec();
        let mut depth = Depth { nesting: 0, dotted: 0, too_deep: false };
        let mut sink = |error: ParseError| {
            if self.errors.len() < SYNTAX_ERRORS_MAX {
                self.errors.push(error);
            }
        };
        toml_parser::parser::parse_document(&tokens, &mut depth, &mut sink);
        self.too_deep = depth.too_deep;
    }
}

impl Depth {
    fn open(&mut self, span: Span, errors: &mut dyn ErrorSink) -> bool {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            self.too_deep = true;
            errors.report_error(ParseError::new("max recursion depth").with_unexpected(span));
        }
        self.nesting <= NESTING_MAX
    }
}

impl EventReceiver for Depth {
    fn array_open(&mut self, span: Span, errors: &mut dyn ErrorSink) -> bool {
        self.open(span, errors)
    }

    fn array_close(&mut self, _span: Span, _errors: &mut dyn ErrorSink) {
        self.nesting = self.nesting.saturating_sub(1);
    }

    fn inline_table_open(&mut self, span: Span, errors: &mut dyn ErrorSink) -> bool {
        self.open(span, errors)
    }

    fn inline_table_close(&mut self, _span: Span, _errors: &mut dyn ErrorSink) {
        self.nesting = self.nesting.saturating_sub(1);
    }

    fn key_sep(&mut self, span: Span, errors: &mut dyn ErrorSink) {
        self.dotted += 1;
        if self.dotted == DOTTED_NAMES_MAX {
            self.too_deep = true;
            errors.report_error(ParseError::new("max recursion depth").with_unexpected(span));
        }
    }

    fn key_val_sep(&mut self, _span: Span, _errors: &mut dyn ErrorSink) {
        self.dotted = 0;
    }

    fn std_table_open(&mut self, _span: Span, _errors: &mut dyn ErrorSink) {
        self.dotted = 0;
    }

    fn array_table_open(&mut self, _span: Span, _errors: &mut dyn ErrorSink) {
        self.dotted = 0;
    }

    fn newline(&mut self, _span: Span, _errors: &mut dyn ErrorSink) {
        self.dotted = 0;
    }
}
