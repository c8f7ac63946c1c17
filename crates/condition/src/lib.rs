//! The condition of a message route: compiled once, asked of every message.
//!
//! IoT Hub and edgeHub share this language. Three outcomes: a condition is true, false, or undefined (something it asks
//! about is missing or of another type). Only true routes. Types are never converted; `as_number` is there for that.
//! This crate knows no messages: what a condition is asked about is handed in as a [`Subject`].
#![warn(missing_docs)]

mod eval;
mod functions;
mod lex;
mod parse;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

use functions::Function;

/// The longest condition.
const CHARS_MAX: usize = 8192;

/// A compiled condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition(Expr);

/// What a condition says of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The message is routed.
    True,
    /// It is not.
    False,
    /// It is not: something asked about is missing, null or of another type.
    Undefined,
}

/// What a condition is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Application properties; names match in any case.
    pub application: &'a [(String, String)],
    /// System properties by their names on the wire; names match in any case.
    pub system: &'a [(String, String)],
    /// The body, if it is JSON and says so.
    pub body: Option<&'a Value>,
    /// The sender's own twin as the service shows it.
    pub twin: Option<&'a Value>,
}

/// Why a condition does not compile, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (line {}, column {})", start.line, start.column)]
pub struct CompileError {
    /// What is wrong.
    pub message: String,
    /// Where it begins.
    pub start: Position,
    /// Where it ends.
    pub end: Position,
}

/// A place in a condition, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in it.
    pub column: usize,
}

impl Condition {
    /// Compiles a condition.
    ///
    /// # Errors
    /// With the place, when the text is no condition, nests too deep or is too long.
    pub fn compile(text: &str) -> Result<Self, CompileError> {
        parse::parse(text).map(Self)
    }

    /// Asks it about a message.
    pub fn ask(&self, subject: &Subject<'_>) -> Verdict {
        match self.0.eval(subject) {
            Datum::Bool(true) => Verdict::True,
            Datum::Bool(false) => Verdict::False,
            _ => Verdict::Undefined,
        }
    }

    /// Whether it asks about the twin.
    pub fn needs_twin(&self) -> bool {
        self.0.asks_twin()
    }
}

/// A single value of a message or twin, for enrichments.
#[derive(Debug, Clone, PartialEq)]
pub struct Lookup(Expr);

impl Lookup {
    /// Compiles a path such as `$twin.tags.site`.
    ///
    /// # Errors
    /// With the place, when the text is no path.
    pub fn compile(text: &str) -> Result<Self, CompileError> {
        match parse::parse(text)? {
            path @ Expr::Path(..) => Ok(Self(path)),
            _ => {
                let start = Position { line: 1, column: 1 };
                Err(CompileError { message: "a path is expected".to_owned(), start, end: start })
            }
        }
    }

    /// What is there, as text; `None` if nothing is.
    pub fn text(&self, subject: &Subject<'_>) -> Option<String> {
        match self.0.eval(subject) {
            Datum::Undefined => None,
            Datum::Null => Some("null".to_owned()),
            Datum::Bool(value) => Some(value.to_string()),
            Datum::Number(value) => Some(value.to_string()),
            Datum::Text(text) => Some(text.into_owned()),
            Datum::Whole(whole) => Some(whole.to_string()),
        }
    }
}

/// A value while a condition is evaluated.
#[derive(Debug, Clone, PartialEq)]
enum Datum<'a> {
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    Text(Cow<'a, str>),
    /// An array or an object.
    Whole(&'a Value),
}

#[derive(Debug, Clone, PartialEq)]
enum Expr {
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    Path(Root, Vec<Step>),
    Not(Box<Expr>),
    Minus(Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Compare(Box<Expr>, Comparison, Box<Expr>),
    Compute(Box<Expr>, Operation, Box<Expr>),
    In(Box<Expr>, Vec<Expr>, bool),
    Call(Function, Vec<Expr>),
}

impl Expr {
    fn asks_twin(&self) -> bool {
        match self {
            Self::Path(root, _) => matches!(root, Root::Tags | Root::Desired | Root::Reported),
            Self::Not(inner) | Self::Minus(inner) => inner.asks_twin(),
            Self::And(parts) | Self::Or(parts) | Self::Call(_, parts) => parts.iter().any(Self::asks_twin),
            Self::Compare(left, _, right) | Self::Compute(left, _, right) => left.asks_twin() || right.asks_twin(),
            Self::In(left, list, _) => left.asks_twin() || list.iter().any(Self::asks_twin),
            _ => false,
        }
    }
}

/// Where a path begins.
#[derive(Debug, Clone, PartialEq)]
enum Root {
    Application(String),
    System(String),
    Body,
    Tags,
    Desired,
    Reported,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Name(String),
    Index(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}
