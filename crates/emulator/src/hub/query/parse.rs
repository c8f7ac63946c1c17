//! Tokens to a query, by recursive descent.

use serde_json::Value;

use super::lex::{Token, tokens};
use super::names::Path;
use super::{Aggregate, Expr, Item, Query, Select, Source, SyntaxError, What};

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

pub(super) struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
    source: Source,
    pub(super) nesting: usize,
    pub(super) operands: usize,
}

pub(super) type Parsed<T> = Result<T, SyntaxError>;

impl Parser {
    fn new(text: &str) -> Parsed<Self> {
        Ok(Self { tokens: tokens(text)?, at: 0, source: Source::Devices, nesting: 0, operands: 0 })
    }

    fn query(&mut self) -> Parsed<Query> {
        self.expect_word("SELECT")?;
        let top = if self.take_word("TOP") { Some(self.count()?) } else { None };
        let select_at = self.at;
        let select = if self.take_sign("*") { Select::All } else { Select::Items(self.items()?) };
        self.expect_word("FROM")?;
        self.source = self.source()?;
        let select = select.read_for(self.source);
        let condition = if self.take_word("WHERE") { Some(self.either()?) } else { None };
        let group_by = if self.take_word("GROUP") {
            self.expect_word("BY")?;
            Some(self.path()?)
        } else {
            None
        };
        let query = Query { source: self.source, top, select, condition, group_by };
        match unfit(&query) {
            Some(reason) => Err(self.error_at(select_at, reason)),
            None => Ok(query),
        }
    }

    fn count(&mut self) -> Parsed<usize> {
        let found = match self.peek() {
            Token::Const(Value::Number(n)) => n.as_u64().and_then(|n| usize::try_from(n).ok()),
            _ => None,
        };
        let count = found.ok_or_else(|| self.error("TOP needs a whole number"))?;
        self.at += 1;
        Ok(count)
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
            None => What::Path(self.written()?),
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
        self.is_call().then(|| {
            self.at += 2;
            aggregate
        })
    }

    fn aggregate_call(&mut self, aggregate: Aggregate) -> Parsed<What> {
        let path = match aggregate {
            Aggregate::Count => None,
            _ => Some(self.written()?),
        };
        self.expect_sign(")")?;
        Ok(What::Aggregate(aggregate, path))
    }

    fn source(&mut self) -> Parsed<Source> {
        let unknown = "FROM takes devices, devices.modules or devices.jobs";
        if !self.take_word("devices") {
            return Err(self.error(unknown));
        }
        if !self.take_sign(".") {
            return Ok(Source::Devices);
        }
        if self.take_word("modules") {
            Ok(Source::Modules)
        } else if self.take_word("jobs") {
            Ok(Source::Jobs)
        } else {
            Err(self.error(unknown))
        }
    }

    /// A path into the rows of the collection.
    pub(super) fn path(&mut self) -> Parsed<Path> {
        Ok(self.written()?.read_for(self.source))
    }

    fn written(&mut self) -> Parsed<Path> {
        let mut names = vec![self.name()?];
        while self.take_sign(".") {
            names.push(self.name()?);
        }
        Ok(Path::written(names))
    }

    fn name(&mut self) -> Parsed<String> {
        let (Token::Word(name) | Token::Quoted(name)) = self.peek() else {
            return Err(self.error("a name is expected"));
        };
        let name = name.clone();
        self.at += 1;
        Ok(name)
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

    pub(super) fn expect_sign(&mut self, sign: &str) -> Parsed<()> {
        match self.take_sign(sign) {
            true => Ok(()),
            false => Err(self.error(&format!("{sign} is expected"))),
        }
    }

    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let hit = matches!(self.peek(), Token::Word(w) if w.eq_ignore_ascii_case(word));
        self.at += usize::from(hit);
        hit
    }

    pub(super) fn take_sign(&mut self, sign: &str) -> bool {
        let hit = matches!(self.peek(), Token::Sign(s) if *s == sign);
        self.at += usize::from(hit);
        hit
    }

    /// Takes the constant that stands here, if one does.
    pub(super) fn take_const(&mut self) -> Option<Value> {
        let Token::Const(value) = self.peek() else {
            return None;
        };
        let value = value.clone();
        self.at += 1;
        Some(value)
    }

    /// Takes the sign that stands here, if it is one of these.
    pub(super) fn take_any(&mut self, signs: &[&str]) -> Option<&'static str> {
        let Token::Sign(sign) = self.peek() else {
            return None;
        };
        let sign = *sign;
        signs.contains(&sign).then(|| {
            self.at += 1;
            sign
        })
    }

    /// Whether a name and an opening parenthesis stand here.
    pub(super) fn is_call(&self) -> bool {
        let next = self.tokens.get(self.at + 1).map(|(token, _)| token);
        matches!(self.peek(), Token::Word(_)) && next == Some(&Token::Sign("("))
    }

    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(token, _)| token)
    }

    pub(super) fn error(&self, reason: &str) -> SyntaxError {
        self.error_at(self.at, reason)
    }

    fn error_at(&self, token: usize, reason: &str) -> SyntaxError {
        let place = self.tokens.get(token).or(self.tokens.last());
        SyntaxError { reason: reason.to_owned(), at: place.map_or(0, |(_, at)| *at) }
    }
}

impl Select {
    fn read_for(self, source: Source) -> Self {
        let Self::Items(items) = self else {
            return Self::All;
        };
        let read = |item: Item| Item {
            what: match item.what {
                What::Path(path) => What::Path(path.read_for(source)),
                What::Aggregate(aggregate, path) => What::Aggregate(aggregate, path.map(|p| p.read_for(source))),
            },
            alias: item.alias,
        };
        Self::Items(items.into_iter().map(read).collect())
    }
}

/// What parses and yet makes no query.
fn unfit(query: &Query) -> Option<&'static str> {
    if query.source == Source::Jobs && (!query.is_whole() || query.group_by.is_some()) {
        return Some("devices.jobs takes SELECT * and no GROUP BY");
    }
    if !query.is_aggregate() {
        return None;
    }
    if query.source == Source::Modules {
        return Some("aggregates and GROUP BY are for FROM devices");
    }
    let Select::Items(items) = &query.select else {
        return Some("GROUP BY needs columns instead of *");
    };
    let stray = |item: &Item| matches!(&item.what, What::Path(path) if Some(path) != query.group_by.as_ref());
    items.iter().any(stray).then_some("beside aggregates only the path after GROUP BY can be a column")
}
