//! Conditions and what they are made of, by recursive descent; chains of equals rank become flat lists.

use serde_json::Value;

use super::parse::{Parsed, Parser};
use super::{Comparison, ConstSet, Expr};

/// Parentheses, `NOT` and signs within each other.
const NESTING_MAX: usize = 64;
/// Paths and constants outside lists, which bounds what one row costs.
const OPERANDS_MAX: usize = 1024;

impl Parser {
    /// A whole condition.
    pub(super) fn either(&mut self) -> Parsed<Expr> {
        let mut terms = vec![self.both()?];
        while self.take_word("OR") {
            terms.push(self.both()?);
        }
        Ok(single(terms, Expr::Or))
    }

    fn both(&mut self) -> Parsed<Expr> {
        let mut terms = vec![self.negation()?];
        while self.take_word("AND") {
            terms.push(self.negation()?);
        }
        Ok(single(terms, Expr::And))
    }

    fn negation(&mut self) -> Parsed<Expr> {
        if self.take_word("NOT") {
            let inner = self.nested(Self::negation)?;
            return Ok(Expr::Not(Box::new(inner)));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Parsed<Expr> {
        let left = self.sum()?;
        for (word, negated) in [("IN", false), ("NIN", true)] {
            if self.take_word(word) {
                self.expect_sign("[")?;
                let set = ConstSet::new(self.list()?);
                return Ok(Expr::In(Box::new(left), set, negated));
            }
        }
        let Some(operator) = self.take_any(&["=", "!=", "<>", "<", "<=", ">", ">="]) else {
            return Ok(left);
        };
        Ok(Expr::Compare(Comparison::of(operator), Box::new(left), Box::new(self.sum()?)))
    }

    fn sum(&mut self) -> Parsed<Expr> {
        let first = self.product()?;
        self.chain(first, &["+", "-"], Self::product)
    }

    fn product(&mut self) -> Parsed<Expr> {
        let first = self.atom()?;
        self.chain(first, &["*", "/", "%"], Self::atom)
    }

    fn chain(&mut self, first: Expr, signs: &[&str], operand: fn(&mut Self) -> Parsed<Expr>) -> Parsed<Expr> {
        let mut rest = Vec::new();
        while let Some(sign) = self.take_any(signs) {
            rest.push((sign.chars().next().unwrap_or('+'), operand(self)?));
        }
        Ok(if rest.is_empty() { first } else { Expr::Arithmetic(Box::new(first), rest) })
    }

    fn atom(&mut self) -> Parsed<Expr> {
        if self.take_sign("-") {
            let inner = self.nested(Self::atom)?;
            return Ok(Expr::Negative(Box::new(inner)));
        }
        if self.take_sign("(") {
            let inner = self.nested(Self::either)?;
            self.expect_sign(")")?;
            return Ok(inner);
        }
        self.operands += 1;
        if self.operands > OPERANDS_MAX {
            return Err(self.error(&format!("a condition has at most {OPERANDS_MAX} operands")));
        }
        if self.take_sign("[") {
            return Ok(Expr::Const(Value::Array(self.list()?)));
        }
        if let Some(value) = self.take_const().or_else(|| self.word_const()) {
            return Ok(Expr::Const(value));
        }
        if self.take_word("UNDEFINED") {
            return Ok(Expr::Undefined);
        }
        if self.is_call() {
            return self.call();
        }
        self.path().map(Expr::Path)
    }

    fn call(&mut self) -> Parsed<Expr> {
        let contains = self.take_word("ARRAY_CONTAINS");
        if !contains && !self.take_word("IS_DEFINED") {
            let said = "the functions are IS_DEFINED and ARRAY_CONTAINS; others belong to message routes";
            return Err(self.error(said));
        }
        self.expect_sign("(")?;
        let path = self.path()?;
        if !contains {
            self.expect_sign(")")?;
            return Ok(Expr::IsDefined(path));
        }
        self.expect_sign(",")?;
        let item = self.constant()?.unwrap_or(Value::Null);
        self.expect_sign(")")?;
        Ok(Expr::ArrayContains(path, item))
    }

    /// Constants up to the closing bracket.
    fn list(&mut self) -> Parsed<Vec<Value>> {
        let mut out = Vec::new();
        if self.take_sign("]") {
            return Ok(out);
        }
        loop {
            out.extend(self.constant()?);
            if !self.take_sign(",") {
                break;
            }
        }
        self.expect_sign("]")?;
        Ok(out)
    }

    /// `None` is `undefined`.
    fn constant(&mut self) -> Parsed<Option<Value>> {
        if self.take_sign("-") {
            let number = self.take_const().as_ref().and_then(Value::as_f64);
            return number.map(|n| Some(Value::from(-n))).ok_or_else(|| self.error("a number is expected"));
        }
        if self.take_word("UNDEFINED") {
            return Ok(None);
        }
        let value = self.take_const().or_else(|| self.word_const());
        value.map(Some).ok_or_else(|| self.error("a constant is expected"))
    }

    fn word_const(&mut self) -> Option<Value> {
        [("TRUE", Value::Bool(true)), ("FALSE", Value::Bool(false)), ("NULL", Value::Null)]
            .into_iter()
            .find_map(|(word, value)| self.take_word(word).then_some(value))
    }

    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return Err(self.error(&format!("nested deeper than {NESTING_MAX}")));
        }
        let out = inner(self);
        self.nesting -= 1;
        out
    }
}

impl Comparison {
    fn of(sign: &str) -> Self {
        match sign {
            "=" => Self::Equal,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => Self::NotEqual,
        }
    }
}

fn single(mut terms: Vec<Expr>, many: fn(Vec<Expr>) -> Expr) -> Expr {
    if terms.len() == 1 { terms.swap_remove(0) } else { many(terms) }
}
