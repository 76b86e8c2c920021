//! The findings of one run, until they are rendered.

use std::{cell::Cell, collections::BTreeSet};

use super::source::{Place, Source};
use crate::diagnostic::{DIAGNOSTICS_MAX, Diagnostic, Fault, Severity, is_invisible};

/// Findings kept before they are sorted by place. A file may have millions; the first by place are among these for any
/// file that a person wrote.
const KEPT_MAX: usize = 20 * DIAGNOSTICS_MAX;

pub(crate) struct Findings {
    pub(crate) sources: Vec<Source>,
    kept: Vec<Finding>,
    errors: usize,
    warnings: usize,
    /// Lines that are not TOML. What they were meant to say is unknown, so nothing else is said about them.
    broken_lines: BTreeSet<usize>,
    /// Looking for a similar name costs time in proportion to all names: a few suggestions are enough.
    suggestions_left: Cell<usize>,
}

struct Finding {
    severity: Severity,
    place: Place,
    message: String,
    help: Option<String>,
}

impl Findings {
    pub(crate) fn new(file: Source) -> Self {
        Self {
            sources: vec![file],
            kept: Vec::new(),
            errors: 0,
            warnings: 0,
            broken_lines: BTreeSet::new(),
            suggestions_left: Cell::new(DIAGNOSTICS_MAX),
        }
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// True when part of the file could not be read as TOML: what seems to be missing may well be there.
    pub(crate) fn is_broken(&self) -> bool {
        !self.broken_lines.is_empty()
    }

    /// True when the line of this byte of the file is known not to be TOML.
    pub(crate) fn is_broken_at(&self, offset: usize) -> bool {
        self.broken_lines.contains(&self.sources[0].line(offset))
    }

    pub(crate) fn syntax_error(&mut self, place: Place, message: String, help: Option<String>) {
        let line = place.range.as_ref().map_or(0, |r| self.sources[0].line(r.start));
        // One slip often makes the parser stumble over the rest of the line again and again.
        if self.broken_lines.insert(line) {
            self.keep(Finding { severity: Severity::Error, place, message, help });
        }
    }

    pub(crate) fn error(&mut self, place: Place, message: impl Into<String>, help: Option<String>) {
        self.add(Severity::Error, place, message.into(), help);
    }

    /// An error about the shape of the file. A slip in one header gives what follows another shape, so that such errors
    /// mean nothing in a file that is broken.
    pub(crate) fn misplaced(&mut self, place: Place, message: impl Into<String>, help: Option<String>) {
        if !self.is_broken() {
            self.error(place, message, help);
        }
    }

    pub(crate) fn warning(&mut self, place: Place, message: impl Into<String>, help: Option<String>) {
        self.add(Severity::Warning, place, message.into(), help);
    }

    /// A fault of the value at `place`. `offset` leads from the start of the place to the first byte of the value;
    /// `None` where bytes of the value cannot be found in the source.
    pub(crate) fn fault(&mut self, place: &Place, offset: Option<usize>, fault: Fault) {
        let place = match (fault.at, offset) {
            (Some(at), Some(offset)) => place.part(at.start + offset..at.end + offset),
            _ => place.clone(),
        };
        self.error(place, fault.message, fault.help);
    }

    /// `look` unless enough has been suggested.
    pub(crate) fn suggest(&self, look: impl FnOnce() -> Option<String>) -> Option<String> {
        let left = self.suggestions_left.get().checked_sub(1)?;
        self.suggestions_left.set(left);
        look()
    }

    fn add(&mut self, severity: Severity, place: Place, message: String, help: Option<String>) {
        let line = if place.source == 0 { place.range.as_ref().map(|r| self.sources[0].line(r.start)) } else { None };
        if line.is_none_or(|line| !self.broken_lines.contains(&line)) {
            self.keep(Finding { severity, place, message, help });
        }
    }

    fn keep(&mut self, mut finding: Finding) {
        match finding.severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
        }
        // Errors decide: a file with a thousand warnings still shows what it is refused for.
        if self.kept.len() < KEPT_MAX || (finding.severity == Severity::Error && self.kept.len() < 2 * KEPT_MAX) {
            finding.message = clean(&finding.message);
            finding.help = finding.help.as_deref().map(clean);
            self.kept.push(finding);
        }
    }

    /// The first ones in the order of the file, errors before warnings where not all fit; and how many were left out.
    pub(crate) fn into_diagnostics(mut self) -> (Vec<Diagnostic>, usize) {
        let by_place = |f: &Finding| (f.place.source, f.place.range.as_ref().map_or(0, |r| r.start));
        self.kept.sort_by_key(|f| (f.severity, by_place(f)));
        self.kept.truncate(DIAGNOSTICS_MAX);
        self.kept.sort_by_key(by_place);
        let diagnostics: Vec<_> = self.kept.iter().map(|f| self.diagnostic(f)).collect();
        let omitted = self.errors + self.warnings - diagnostics.len();
        (diagnostics, omitted)
    }

    fn diagnostic(&self, finding: &Finding) -> Diagnostic {
        let source = &self.sources[finding.place.source];
        let range = finding.place.range.as_ref();
        Diagnostic {
            severity: finding.severity,
            file: source.name.clone(),
            line: range.map_or(0, |r| source.line(r.start)),
            column: range.map_or(0, |r| source.column(r.start)),
            message: finding.message.clone(),
            snippet: range.map(|r| source.snippet(r)),
            help: finding.help.clone(),
        }
    }
}

/// Words for people may quote the file, and the file may hold anything of any length.
fn clean(words: &str) -> String {
    const CHARS_MAX: usize = 300;
    let mut out: String = words.chars().take(CHARS_MAX).map(|c| if is_invisible(c) { '\u{fffd}' } else { c }).collect();
    if words.chars().nth(CHARS_MAX).is_some() {
        out.push('…');
    }
    out
}
