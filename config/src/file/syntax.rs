//! TOML text to a tree with places, with every syntax error and within bounds of depth, time and memory.

use toml::de::DeTable;
use toml_parser::{ErrorSink, ParseError, Source as Toml, Span, parser::EventReceiver};

use super::{findings::Findings, source::Place};
use crate::diagnostic::quoted;

/// Arrays and inline tables within each other; the deepest the configuration needs is 2. Trees are read and dropped by
/// recursion, so this and the next bound the stack.
const NESTING_MAX: usize = 16;
/// Names in one dotted key; the configuration needs 3.
const DOTTED_NAMES_MAX: usize = 16;
/// A file with more syntax errors than this is not TOML at all, and building a tree of it would take memory for nothing.
const SYNTAX_ERRORS_MAX: usize = 1000;

/// The tree, as far as it could be read; `None` where that makes no sense.
pub(crate) fn parse<'t>(text: &'t str, findings: &mut Findings) -> Option<DeTable<'t>> {
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
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        report(text, error.span(), error.message(), findings);
    }
    Some(table.into_inner())
}

fn report(text: &str, at: Option<std::ops::Range<usize>>, message: &str, findings: &mut Findings) {
    let end = text.len();
    let at = at.map_or(end..end, |at| at.start.min(end)..at.end.min(end));
    let meant = text.get(at.clone()).unwrap_or_default();
    let (message, help) = reworded(message, meant);
    findings.syntax_error(Place::in_file(at), message, help);
}

/// The parser's words are short and made for its authors; the most frequent ones are said again for everybody else.
fn reworded(message: &str, meant: &str) -> (String, Option<String>) {
    let help = |text: &str| Some(text.to_owned());
    if message.starts_with("string values must be quoted") {
        let value = meant.trim();
        let help = if value.contains(['"', '\n']) { None } else { Some(format!("write \"{value}\"")) };
        return ("text must stand in quotes".to_owned(), help);
    }
    if message.starts_with("duplicate key") {
        return (format!("{} is defined twice", quoted(meant)), help("keep one of the two"));
    }
    if message.starts_with("key with no value") {
        return (format!("{} has no value", quoted(meant)), help("write key = value, or # before a comment"));
    }
    if message.starts_with("invalid unquoted key") {
        return (format!("{} cannot be the name of a key", quoted(meant)), help("quote the name, or remove this"));
    }
    if message.contains("max recursion depth") {
        return (format!("nested deeper than {NESTING_MAX} levels"), None);
    }
    if message.starts_with("unclosed array") {
        return ("a list is not closed".to_owned(), help("add the missing ]"));
    }
    if message.starts_with("unclosed inline table") {
        return ("a table is not closed".to_owned(), help("add the missing }"));
    }
    if message.starts_with("unclosed table") {
        return ("the name of a section is not closed".to_owned(), help("add the missing ]"));
    }
    if message.starts_with("unclosed array table") {
        return ("the name of a section is not closed".to_owned(), help("add the missing ]]"));
    }
    (format!("not valid TOML: {message}"), None)
}

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
