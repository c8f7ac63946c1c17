//! Tokens to a query, by recursive descent.

use serde_json::Value;

use super::lex::{Token, tokens};
use super::{Aggregate, Comparison, Expr, Item, Path, Query, Select, Source, SyntaxError, What, canonical_root};

const NESTING_MAX: usize = 64;

pub(super) fn query(text: &str) -> Result<Query, SyntaxError> {
    let mut parser = Parser::new(text)?;
    let query = parser.query()?;
    parser.end()?;
    Ok(query)
}

pub(super) fn condition(text: &str) -> Result<Expr, SyntaxError> {
    let mut parser = Parser::new(text)?;
    let expr = parser.either()?;
    parser.end()?;
    Ok(expr)
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
    nesting: usize,
}

type Parsed<T> = Result<T, SyntaxError>;

impl Parser {
    fn new(text: &str) -> Parsed<Self> {
        Ok(Self { tokens: tokens(text)?, at: 0, nesting: 0 })
    }

    fn query(&mut self) -> Parsed<Query> {
        self.expect_word("SELECT")?;
        let top = if self.take_word("TOP") { Some(self.count()?) } else { None };
        let select = if self.take_sign("*") { Select::All } else { Select::Items(self.items()?) };
        self.expect_word("FROM")?;
        let source = self.source()?;
        let condition = if self.take_word("WHERE") { Some(self.either()?) } else { None };
        let group_by = if self.take_word("GROUP") {
            self.expect_word("BY")?;
            Some(self.path()?)
        } else {
            None
        };
        Ok(Query { source, top, select, condition, group_by })
    }

    fn count(&mut self) -> Parsed<usize> {
        match self.next() {
            Token::Const(Value::Number(n)) => {
                n.as_u64().and_then(|n| usize::try_from(n).ok()).ok_or_else(|| self.error("TOP needs a whole number"))
            }
            _ => Err(self.error("TOP needs a whole number")),
        }
    }

    fn items(&mut self) -> Parsed<Vec<Item>> {
        let mut items = vec![self.item()?];
        while self.take_sign(",") {
            items.push(self.item()?);
        }
        Ok(items)
    }

    fn item(&mut self) -> Parsed<Item> {
        let what = match self.aggregate() {
            Some(aggregate) => self.aggregate_call(aggregate)?,
            None => What::Path(self.path()?),
        };
        let alias = if self.take_word("AS") { Some(self.name()?) } else { None };
        Ok(Item { what, alias })
    }

    fn aggregate(&mut self) -> Option<Aggregate> {
        let Token::Word(word) = self.peek() else {
            return None;
        };
        let aggregate = match word.to_ascii_uppercase().as_str() {
            "COUNT" => Aggregate::Count,
            "AVG" => Aggregate::Avg,
            "SUM" => Aggregate::Sum,
            "MIN" => Aggregate::Min,
            "MAX" => Aggregate::Max,
            _ => return None,
        };
        (self.tokens.get(self.at + 1)?.0 == Token::Sign("(")).then(|| {
            self.at += 2;
            aggregate
        })
    }

    fn aggregate_call(&mut self, aggregate: Aggregate) -> Parsed<What> {
        let path = match aggregate {
            Aggregate::Count => None,
            _ => Some(self.path()?),
        };
        self.expect_sign(")")?;
        Ok(What::Aggregate(aggregate, path))
    }

    fn source(&mut self) -> Parsed<Source> {
        self.expect_word("devices")?;
        if !self.take_sign(".") {
            return Ok(Source::Devices);
        }
        if self.take_word("modules") {
            Ok(Source::Modules)
        } else if self.take_word("jobs") {
            Ok(Source::Jobs)
        } else {
            Err(self.error("FROM takes devices, devices.modules or devices.jobs"))
        }
    }

    fn either(&mut self) -> Parsed<Expr> {
        let mut left = self.both()?;
        while self.take_word("OR") {
            left = Expr::Or(Box::new(left), Box::new(self.both()?));
        }
        Ok(left)
    }

    fn both(&mut self) -> Parsed<Expr> {
        let mut left = self.negation()?;
        while self.take_word("AND") {
            left = Expr::And(Box::new(left), Box::new(self.negation()?));
        }
        Ok(left)
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
                return Ok(Expr::In(Box::new(left), self.list()?, negated));
            }
        }
        let Some(operator) = self.operator() else {
            return Ok(left);
        };
        Ok(Expr::Compare(operator, Box::new(left), Box::new(self.sum()?)))
    }

    fn operator(&mut self) -> Option<Comparison> {
        let Token::Sign(sign) = self.peek() else {
            return None;
        };
        let operator = match *sign {
            "=" => Comparison::Equal,
            "!=" | "<>" => Comparison::NotEqual,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => return None,
        };
        self.at += 1;
        Some(operator)
    }

    fn sum(&mut self) -> Parsed<Expr> {
        let mut left = self.product()?;
        while let Some(sign) = self.take_any(&["+", "-"]) {
            left = Expr::Arithmetic(sign, Box::new(left), Box::new(self.product()?));
        }
        Ok(left)
    }

    fn product(&mut self) -> Parsed<Expr> {
        let mut left = self.atom()?;
        while let Some(sign) = self.take_any(&["*", "/", "%"]) {
            left = Expr::Arithmetic(sign, Box::new(left), Box::new(self.atom()?));
        }
        Ok(left)
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
        if let Token::Const(value) = self.peek() {
            let value = value.clone();
            self.at += 1;
            return Ok(Expr::Const(value));
        }
        if self.take_word("UNDEFINED") {
            return Ok(Expr::Undefined);
        }
        if let Some(value) = self.word_const() {
            return Ok(Expr::Const(value));
        }
        if self.take_word("IS_DEFINED") {
            self.expect_sign("(")?;
            let path = self.path()?;
            self.expect_sign(")")?;
            return Ok(Expr::IsDefined(path));
        }
        self.path().map(Expr::Path)
    }

    fn word_const(&mut self) -> Option<Value> {
        [("TRUE", Value::Bool(true)), ("FALSE", Value::Bool(false)), ("NULL", Value::Null)]
            .into_iter()
            .find_map(|(word, value)| self.take_word(word).then_some(value))
    }

    fn list(&mut self) -> Parsed<Vec<Value>> {
        self.expect_sign("[")?;
        let mut out = Vec::new();
        if self.take_sign("]") {
            return Ok(out);
        }
        loop {
            out.push(self.constant()?);
            if !self.take_sign(",") {
                break;
            }
        }
        self.expect_sign("]")?;
        Ok(out)
    }

    fn constant(&mut self) -> Parsed<Value> {
        let negative = self.take_sign("-");
        if let Some(value) = self.word_const() {
            return Ok(value);
        }
        match self.next() {
            Token::Const(Value::Number(n)) if negative => {
                n.as_f64().map(|n| Value::from(-n)).ok_or_else(|| self.error("not a number"))
            }
            Token::Const(value) if !negative => Ok(value),
            _ => Err(self.error("a constant is expected")),
        }
    }

    fn path(&mut self) -> Parsed<Path> {
        let mut path = vec![self.name()?];
        while self.take_sign(".") {
            path.push(self.name()?);
        }
        if path.len() > 1 && path[0].eq_ignore_ascii_case("devices") {
            path.remove(0);
        }
        if let Some(root) = canonical_root(&path[0]) {
            root.clone_into(&mut path[0]);
        }
        Ok(path)
    }

    fn name(&mut self) -> Parsed<String> {
        match self.next() {
            Token::Word(word) | Token::Quoted(word) => Ok(word),
            _ => {
                self.at = self.at.saturating_sub(1);
                Err(self.error("a name is expected"))
            }
        }
    }

    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return Err(self.error("nested too deep"));
        }
        let out = inner(self);
        self.nesting -= 1;
        out
    }

    fn end(&mut self) -> Parsed<()> {
        match self.peek() {
            Token::End => Ok(()),
            _ => Err(self.error("unexpected text")),
        }
    }

    fn expect_word(&mut self, word: &str) -> Parsed<()> {
        match self.take_word(word) {
            true => Ok(()),
            false => Err(self.error(&format!("{word} is expected"))),
        }
    }

    fn expect_sign(&mut self, sign: &str) -> Parsed<()> {
        match self.take_sign(sign) {
            true => Ok(()),
            false => Err(self.error(&format!("{sign} is expected"))),
        }
    }

    fn take_word(&mut self, word: &str) -> bool {
        let hit = matches!(self.peek(), Token::Word(w) if w.eq_ignore_ascii_case(word));
        self.at += usize::from(hit);
        hit
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let hit = matches!(self.peek(), Token::Sign(s) if *s == sign);
        self.at += usize::from(hit);
        hit
    }

    fn take_any(&mut self, signs: &[&str]) -> Option<char> {
        signs.iter().find(|sign| self.take_sign(sign)).and_then(|sign| sign.chars().next())
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(token, _)| token)
    }

    fn error(&self, reason: &str) -> SyntaxError {
        let at = self.tokens.get(self.at).or(self.tokens.last());
        SyntaxError { reason: reason.to_owned(), at: at.map_or(0, |(_, at)| *at) }
    }
}
