//! What is wrong with a configuration, and where.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use serde::Serialize;

use super::origin::Origin;

/// The text that is being read.
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl<'a> Source<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        Self { path, text }
    }

    /// The line of an offset, counted from one, and the offset at which it starts.
    fn line_of(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, start)
    }

    /// Where a value came from, in words.
    pub(super) fn origin(&self, origin: &Origin) -> String {
        match origin {
            Origin::File(span) => format!("{}:{}", self.path.display(), self.line_of(span.start).0),
            Origin::Override(name) => name.clone(),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Problem {
    /// `file:line:column`, or the variable or flag.
    pub place: String,
    /// The line in the file.
    pub line: Option<SourceLine>,
    /// What is wrong.
    pub reason: String,
    /// What to try.
    pub hint: String,
}

/// A line of the file, with the part that is meant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SourceLine {
    /// Counted from one.
    pub number: usize,
    /// The line; withheld if it may hold a key.
    pub text: String,
    /// Characters before the part that is meant.
    pub before: usize,
    /// How many characters are meant.
    pub marked: usize,
}

impl Problem {
    pub(super) fn at(source: &Source<'_>, span: Range<usize>, reason: String, hint: String) -> Self {
        let start = span.start.min(source.text.len());
        let (number, line_start) = source.line_of(start);
        let text = source.text[line_start..].lines().next().unwrap_or("").to_owned();
        let before = source.text.get(line_start..start).unwrap_or("").chars().count();
        let end = span.end.clamp(start, line_start + text.len().max(start - line_start));
        let marked = source.text.get(start..end).unwrap_or("").chars().count().max(1);
        let line = if holds_key(&text) {
            SourceLine { number, text: "(withheld: the line may hold a key)".to_owned(), before: 0, marked: 1 }
        } else {
            SourceLine { number, text, before, marked }
        };
        let place = format!("{}:{number}:{}", source.path.display(), before + 1);
        Self { place, line: Some(line), reason: without_key(reason), hint }
    }

    pub(super) fn of(source: &Source<'_>, origin: &Origin, reason: impl Into<String>, hint: impl Into<String>) -> Self {
        match origin {
            Origin::File(span) => Self::at(source, span.clone(), reason.into(), hint.into()),
            Origin::Override(name) => {
                Self { place: name.clone(), line: None, reason: without_key(reason.into()), hint: hint.into() }
            }
        }
    }
}

/// Whether a text looks like a connection string, a key, or an address with one.
pub(super) fn holds_key(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let address = text.split_once("://").is_some_and(|(_, rest)| rest.contains(['?', '@']));
    address || text.contains("sharedaccess") || text.contains("hostname=")
}

/// A reason may quote what it found.
fn without_key(reason: String) -> String {
    if holds_key(&reason) { "a connection string does not belong here".to_owned() } else { reason }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.place, self.reason)?;
        if let Some(line) = &self.line {
            let width = line.number.to_string().len();
            let pad = " ".repeat(line.before);
            writeln!(f, "{:width$} |", "")?;
            writeln!(f, "{} | {}", line.number, line.text)?;
            writeln!(f, "{:width$} | {pad}{}", "", "^".repeat(line.marked))?;
        }
        write!(f, "hint: {}", self.hint)
    }
}

/// A configuration that is refused, with everything that is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, thiserror::Error)]
pub struct Refused {
    /// What is wrong; never empty.
    pub problems: Vec<Problem>,
}

impl Refused {
    pub(super) fn because(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        Self::because(vec![Problem {
            place: path.display().to_string(),
            line: None,
            reason: format!("cannot be read: {error}"),
            hint: "give the file with --config".to_owned(),
        }])
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let gap = if i == 0 { "" } else { "\n\n" };
            write!(f, "{gap}{problem}")?;
        }
        Ok(())
    }
}
