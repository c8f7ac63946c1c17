//! The query language over twins and jobs: parsed into a [`Query`], run over rows that the hub hands in.

mod eval;
mod expression;
mod fold;
mod lex;
#[cfg(test)]
mod model;
mod names;
mod parse;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use serde_json::Value;

use names::Path;

const QUERY_CHARS_MAX: usize = 8192;

/// A parsed query.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Query {
    /// Where the rows come from.
    pub source: Source,
    /// At most so many rows over all pages.
    pub top: Option<usize>,
    select: Select,
    condition: Option<Expr>,
    group_by: Option<Path>,
}

/// What may stand after `WHERE`, for targets of configurations and jobs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition(Option<Expr>);

/// The `FROM` clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Device twins.
    Devices,
    /// Module twins.
    Modules,
    /// What jobs did, one row for each job and device.
    Jobs,
}

/// Why a text is not a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at character {at}")]
pub(super) struct SyntaxError {
    /// What was found or missed.
    pub reason: String,
    /// Offset into the text, in characters.
    pub at: usize,
}

#[derive(Debug, Clone, PartialEq)]
enum Select {
    All,
    Items(Vec<Item>),
}

#[derive(Debug, Clone, PartialEq)]
struct Item {
    what: What,
    alias: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum What {
    Path(Path),
    Aggregate(Aggregate, Option<Path>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Count,
    Avg,
    Sum,
    Min,
    Max,
}

/// Chains are flat, so that a long query nests no deeper than its parentheses.
#[derive(Debug, Clone, PartialEq)]
enum Expr {
    Path(Path),
    Const(Value),
    Undefined,
    Negative(Box<Expr>),
    Arithmetic(Box<Expr>, Vec<(char, Expr)>),
    Compare(Comparison, Box<Expr>, Box<Expr>),
    In(Box<Expr>, ConstSet, bool),
    IsDefined(Path),
    ArrayContains(Path, Value),
    Not(Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
}

/// Constants to look a value up in, sorted.
#[derive(Debug, Clone, PartialEq)]
struct ConstSet(Vec<Value>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Query {
    /// Parses `SELECT … FROM …`.
    pub(super) fn parse(text: &str) -> Result<Self, SyntaxError> {
        check_length(text)?;
        parse::query(text)
    }

    /// Whether rows come back whole (`x-ms-item-type: Twin`) or projected (`Raw`).
    pub(super) fn is_whole(&self) -> bool {
        self.select == Select::All
    }

    /// Whether rows fold into one or into groups.
    pub(super) fn is_aggregate(&self) -> bool {
        let aggregate = |item: &Item| matches!(item.what, What::Aggregate(..));
        self.group_by.is_some() || matches!(&self.select, Select::Items(items) if items.iter().any(aggregate))
    }

    /// Whether the row satisfies the `WHERE` clause.
    pub(super) fn admits(&self, row: &Value) -> bool {
        self.condition.as_ref().is_none_or(|condition| eval::holds(condition, row))
    }

    /// What the caller gets to see of an admitted row.
    pub(super) fn project(&self, row: Value) -> Value {
        match &self.select {
            Select::All => row,
            Select::Items(items) => fold::project(items, &row),
        }
    }

    /// Folds all admitted rows of an aggregate query; groups come in the order of their first rows.
    pub(super) fn fold(&self, rows: &[Value]) -> Vec<Value> {
        let Select::Items(items) = &self.select else {
            return Vec::new();
        };
        fold::fold(items, self.group_by.as_ref(), rows)
    }
}

impl Condition {
    /// Parses `*`, or what stands after `WHERE` in a query over devices.
    pub(super) fn parse(text: &str) -> Result<Self, SyntaxError> {
        check_length(text)?;
        match text.trim() {
            "*" => Ok(Self(None)),
            other => parse::condition(other).map(|expr| Self(Some(expr))),
        }
    }

    /// Whether the twin satisfies it.
    pub(super) fn admits(&self, row: &Value) -> bool {
        self.0.as_ref().is_none_or(|expr| eval::holds(expr, row))
    }
}

fn check_length(text: &str) -> Result<(), SyntaxError> {
    if text.chars().nth(QUERY_CHARS_MAX).is_none() {
        return Ok(());
    }
    Err(SyntaxError { reason: format!("a query has at most {QUERY_CHARS_MAX} characters"), at: QUERY_CHARS_MAX })
}

impl ConstSet {
    fn new(mut values: Vec<Value>) -> Self {
        values.retain(is_primitive);
        values.sort_by(total_order);
        values.dedup_by(|a, b| total_order(a, b).is_eq());
        Self(values)
    }

    fn contains(&self, value: &Value) -> bool {
        self.0.binary_search_by(|known| total_order(known, value)).is_ok()
    }
}

fn is_primitive(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}

/// The order of two primitives of one kind; others do not compare.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        (Value::Bool(l), Value::Bool(r)) => Some(l.cmp(r)),
        (Value::String(l), Value::String(r)) => Some(l.cmp(r)),
        // All as doubles: twins hold no integers that a double would not.
        (Value::Number(l), Value::Number(r)) => l.as_f64()?.partial_cmp(&r.as_f64()?),
        _ => None,
    }
}

fn total_order(left: &Value, right: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) | Value::Object(_) => 4,
    };
    order(left, right).unwrap_or_else(|| rank(left).cmp(&rank(right)))
}
