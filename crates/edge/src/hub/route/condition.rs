//! The conditions of routes, as far as they are simple: comparisons, `IS_DEFINED`, `AND`, `OR`, `NOT`.

use std::cmp::Ordering;

use serde_json::Value;

use super::Passing;

/// A condition over one message.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    Any(Vec<Condition>),
    All(Vec<Condition>),
    Not(Box<Condition>),
    IsDefined(Operand),
    Compare(Operand, Comparison, Operand),
}

#[derive(Clone, Debug)]
pub(super) enum Operand {
    Literal(Value),
    /// `$connectionDeviceId` and the like, without the dollar.
    System(String),
    /// `$body.a.b`
    Body(Vec<String>),
    Property(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Condition {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let tokens = lex(text)?;
        let mut parser = Parser { tokens: &tokens, depth: 0 };
        let condition = parser.any()?;
        match parser.tokens {
            [] => Ok(condition),
            [token, ..] => Err(format!("the condition goes on with {token:?}, which this edgeHub does not understand")),
        }
    }

    pub(super) fn holds(&self, message: &Passing<'_>) -> bool {
        match self {
            Self::Any(parts) => parts.iter().any(|part| part.holds(message)),
            Self::All(parts) => parts.iter().all(|part| part.holds(message)),
            Self::Not(part) => !part.holds(message),
            Self::IsDefined(operand) => operand.value(message).is_some(),
            Self::Compare(left, comparison, right) => {
                let (left, right) = (left.value(message), right.value(message));
                left.zip(right).is_some_and(|(left, right)| comparison.holds(&left, &right))
            }
        }
    }
}

impl Operand {
    fn value(&self, message: &Passing<'_>) -> Option<Value> {
        let text = |text: &str| Value::String(text.to_owned());
        match self {
            Self::Literal(value) => Some(value.clone()),
            Self::Property(name) => message.properties.get(name).map(text),
            Self::System(name) => match name.to_ascii_lowercase().as_str() {
                "connectiondeviceid" => Some(text(&message.from.device)),
                "connectionmoduleid" => message.from.module.as_deref().map(text),
                "contenttype" => message.properties.system("ct").map(text),
                "contentencoding" => message.properties.system("ce").map(text),
                "messageid" => message.properties.system("mid").map(text),
                "userid" => message.properties.system("uid").map(text),
                _ => None,
            },
            Self::Body(path) => {
                let body: Value = serde_json::from_slice(message.body).ok()?;
                path.iter().try_fold(&body, |value, name| value.get(name)).cloned().filter(|value| !value.is_null())
            }
        }
    }
}

impl Comparison {
    /// Properties are texts; against a number they count as one, as the language does it.
    fn holds(self, left: &Value, right: &Value) -> bool {
        let number = |value: &Value| match value {
            Value::String(text) => text.trim().parse::<f64>().ok(),
            value => value.as_f64(),
        };
        let order = match (left, right) {
            (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
            (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
            (left, right) => number(left).zip(number(right)).and_then(|(left, right)| left.partial_cmp(&right)),
        };
        order.is_some_and(|order| match self {
            Self::Equal => order == Ordering::Equal,
            Self::Unequal => order != Ordering::Equal,
            Self::Less => order == Ordering::Less,
            Self::LessOrEqual => order != Ordering::Greater,
            Self::Greater => order == Ordering::Greater,
            Self::GreaterOrEqual => order != Ordering::Less,
        })
    }
}

#[derive(Clone, PartialEq, Debug)]
enum Token {
    Word(String),
    Literal(Value),
    Compare(Comparison),
    Open,
    Close,
}

fn lex(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, used) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '\'' | '"' => {
                let end = rest[1..].find(first).ok_or("a quote of the condition is not closed")?;
                (Token::Literal(Value::String(rest[1..=end].to_owned())), end + 2)
            }
            '=' | '!' | '<' | '>' => comparison(rest)?,
            c if c.is_ascii_digit() || c == '-' => {
                let end = rest[1..].find(|c: char| !c.is_ascii_digit() && c != '.').map_or(rest.len(), |at| at + 1);
                let number: f64 = rest[..end].parse().map_err(|_| "a number of the condition is none")?;
                (Token::Literal(Value::from(number)), end)
            }
            c if is_name(c) => {
                let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
                (Token::Word(rest[..end].to_owned()), end)
            }
            c => return Err(format!("the condition holds {c:?}, which this edgeHub does not understand")),
        };
        tokens.push(token);
        rest = rest[used..].trim_start();
    }
    Ok(tokens)
}

fn comparison(text: &str) -> Result<(Token, usize), String> {
    let table = [
        ("!=", Comparison::Unequal),
        ("<>", Comparison::Unequal),
        ("<=", Comparison::LessOrEqual),
        (">=", Comparison::GreaterOrEqual),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
        ("=", Comparison::Equal),
    ];
    let found = table.iter().find(|(mark, _)| text.starts_with(mark));
    let (mark, comparison) = found.ok_or("the condition holds a lone `!`")?;
    Ok((Token::Compare(*comparison), mark.len()))
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '$' | '_' | '.' | '-')
}

/// Conditions in brackets may stand in brackets so often.
const DEPTH_MAX: usize = 32;

struct Parser<'a> {
    tokens: &'a [Token],
    depth: usize,
}

impl Parser<'_> {
    fn any(&mut self) -> Result<Condition, String> {
        let mut parts = vec![self.all()?];
        while self.word("OR") {
            parts.push(self.all()?);
        }
        Ok(Condition::Any(parts))
    }

    fn all(&mut self) -> Result<Condition, String> {
        let mut parts = vec![self.one()?];
        while self.word("AND") {
            parts.push(self.one()?);
        }
        Ok(Condition::All(parts))
    }

    fn one(&mut self) -> Result<Condition, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("the condition is too deep".to_owned());
        }
        let one = if self.word("NOT") {
            Condition::Not(Box::new(self.one()?))
        } else if self.take(&Token::Open) {
            let inner = self.any()?;
            self.need(&Token::Close)?;
            inner
        } else if self.word("IS_DEFINED") {
            self.need(&Token::Open)?;
            let operand = self.operand()?;
            self.need(&Token::Close)?;
            Condition::IsDefined(operand)
        } else if self.word("TRUE") {
            Condition::All(Vec::new())
        } else {
            self.compare()?
        };
        self.depth -= 1;
        Ok(one)
    }

    fn compare(&mut self) -> Result<Condition, String> {
        let left = self.operand()?;
        let [Token::Compare(comparison), rest @ ..] = self.tokens else {
            return Err("the condition lacks a comparison".to_owned());
        };
        self.tokens = rest;
        Ok(Condition::Compare(left, *comparison, self.operand()?))
    }

    fn operand(&mut self) -> Result<Operand, String> {
        let [token, rest @ ..] = self.tokens else {
            return Err("the condition ends too early".to_owned());
        };
        self.tokens = rest;
        match token {
            Token::Literal(value) => Ok(Operand::Literal(value.clone())),
            Token::Word(name) => Ok(match name.strip_prefix('$') {
                Some(system) => match system.strip_prefix("body.") {
                    Some(path) => Operand::Body(path.split('.').map(str::to_owned).collect()),
                    None => Operand::System(system.to_owned()),
                },
                None => Operand::Property(name.clone()),
            }),
            token => Err(format!("the condition holds {token:?} where a value belongs")),
        }
    }

    fn word(&mut self, word: &str) -> bool {
        let is = matches!(self.tokens, [Token::Word(found), ..] if found.eq_ignore_ascii_case(word));
        if is {
            self.tokens = &self.tokens[1..];
        }
        is
    }

    fn take(&mut self, token: &Token) -> bool {
        let is = self.tokens.first() == Some(token);
        if is {
            self.tokens = &self.tokens[1..];
        }
        is
    }

    fn need(&mut self, token: &Token) -> Result<(), String> {
        if self.take(token) { Ok(()) } else { Err(format!("the condition lacks {token:?}")) }
    }
}
