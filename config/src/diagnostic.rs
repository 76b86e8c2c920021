//! What is wrong with a configuration, where, and what to do about it.
//!
//! A diagnostic carries its parts as fields, for machines, and renders itself as plain text the way rustc does.

use std::{fmt, ops::Range};

/// How many diagnostics a report keeps. Whoever has more has one cause, and sees it in the first ones.
pub const DIAGNOSTICS_MAX: usize = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// The configuration works, but hardly as meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// The file as it was named to us, or the environment variable or flag that the value came from.
    pub file: String,
    /// Counted from 1; 0 where there are no lines (a variable, a flag, a file that cannot be read).
    pub line: usize,
    /// In characters, counted from 1; 0 exactly when `line` is 0.
    pub column: usize,
    pub message: String,
    pub snippet: Option<Snippet>,
    pub help: Option<String>,
}

/// The offending line, cut to a readable width and free of control characters, and the part of it that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    pub text: String,
    /// Where the underline starts in `text`, in characters from 0.
    pub start: usize,
    /// How many characters are underlined, at least 1. May reach one past the end of `text`, where a thing is missing.
    pub length: usize,
}

impl Diagnostic {
    /// A finding about a source as a whole: no line, no snippet.
    pub fn about(severity: Severity, file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity, file: file.into(), line: 0, column: 0, message: message.into(), snippet: None, help: None }
    }

    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    /// Ends without a newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = if self.line == 0 { String::new() } else { self.line.to_string() };
        let margin = " ".repeat(number.len());
        writeln!(f, "{}: {}", self.severity, self.message)?;
        write!(f, "{margin}--> {}", self.file)?;
        if self.line != 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if let Some(snippet) = &self.snippet {
            let (blank, underline) = (" ".repeat(snippet.start), "^".repeat(snippet.length));
            write!(f, "\n{margin} |\n{number} | {}\n{margin} | {blank}{underline}", snippet.text)?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n{margin} = help: {help}")?;
        }
        Ok(())
    }
}

/// What is wrong with one value, said before anybody knows where the value stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub message: String,
    pub help: Option<String>,
    /// The bytes of the value that are meant; `None` for all of it.
    pub at: Option<Range<usize>>,
}

impl Fault {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, at: None }
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub fn at(mut self, range: Range<usize>) -> Self {
        self.at = Some(range);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}

/// Text of the user inside a message: in backticks, short, and unable to steer a terminal.
pub(crate) fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut out = String::from("`");
    for (count, c) in text.chars().enumerate() {
        if count == CHARS_MAX {
            out.push('…');
            break;
        }
        if is_invisible(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out.push('`');
    out
}

/// Characters that would move the cursor, hide, or reverse the direction of what follows.
pub(crate) fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Why a configuration was refused: at least one error, and the warnings that came along, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub diagnostics: Vec<Diagnostic>,
    /// Findings beyond [`DIAGNOSTICS_MAX`], which are counted and not kept.
    pub omitted: usize,
}

impl Report {
    pub fn one(diagnostic: Diagnostic) -> Self {
        Self { diagnostics: vec![diagnostic], omitted: 0 }
    }

    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|d| d.severity == severity).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.diagnostics {
            writeln!(f, "{diagnostic}\n")?;
        }
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        write!(f, "{}", counted(errors, "error"))?;
        if warnings > 0 {
            write!(f, ", {}", counted(warnings, "warning"))?;
        }
        if self.omitted > 0 {
            write!(f, " and {} more", self.omitted)?;
        }
        writeln!(f)
    }
}

impl std::error::Error for Report {}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
