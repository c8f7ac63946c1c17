//! Tokens to an expression, by recursive descent.

use super::functions::Function;
use super::lex::{Source, Spanned, Token};
use super::{Comparison, CompileError, Expr, Operation, Root, Step};

/// How deep parentheses, calls and negations may nest. Evaluation follows the same depth.
const DEPTH_MAX: usize = 64;
/// Arithmetic operators in a whole condition: a chain of them nests to the left.
const OPERATORS_MAX: usize = 128;
const STEPS_MAX: usize = 32;

type Parsed<T> = Result<T, CompileError>;

pub(super) fn parse(text: &str) -> Parsed<Expr> {
    let source = Source::new(text)?;
    let tokens = source.tokens()?;
    let mut parser = Parser { source, tokens, at: 0, depth: 0, operators: 0 };
    if parser.peek() == &Token::End {
        return Err(parser.error("an expression is expected"));
    }
    let expr = parser.either()?;
    match parser.peek() {
        Token::End => Ok(expr),
        _ => Err(parser.error("an operator or the end is expected")),
    }
}

struct Parser {
    source: Source,
    tokens: Vec<Spanned>,
    at: usize,
    depth: usize,
    operators: usize,
}

const COMPARISONS: [(&str, Comparison); 7] = [
    ("=", Comparison::Equal),
    ("!=", Comparison::Unequal),
    ("<>", Comparison::Unequal),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];
const SUMS: [(&str, Operation); 2] = [("+", Operation::Add), ("-", Operation::Subtract)];
const PRODUCTS: [(&str, Operation); 3] =
    [("*", Operation::Multiply), ("/", Operation::Divide), ("%", Operation::Remainder)];

impl Parser {
    fn either(&mut self) -> Parsed<Expr> {
        self.joined("OR", Self::both, Expr::Or)
    }

    fn both(&mut self) -> Parsed<Expr> {
        self.joined("AND", Self::negation, Expr::And)
    }

    fn joined(&mut self, word: &str, part: fn(&mut Self) -> Parsed<Expr>, join: fn(Vec<Expr>) -> Expr) -> Parsed<Expr> {
        let first = part(self)?;
        if !self.is_word(word) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.take_word(word) {
            parts.push(part(self)?);
        }
        Ok(join(parts))
    }

    fn negation(&mut self) -> Parsed<Expr> {
        if self.take_word("NOT") {
            let inner = self.nested(Self::negation)?;
            return Ok(Expr::Not(Box::new(inner)));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Parsed<Expr> {
        let left = self.chain(&SUMS, Self::product)?;
        for (word, within) in [("IN", true), ("NIN", false)] {
            if self.take_word(word) {
                self.expect("[")?;
                let list = self.list("]")?;
                return Ok(Expr::In(Box::new(left), list, within));
            }
        }
        let Some(comparison) = self.take_of(&COMPARISONS) else {
            return Ok(left);
        };
        let right = self.chain(&SUMS, Self::product)?;
        Ok(Expr::Compare(Box::new(left), comparison, Box::new(right)))
    }

    fn product(&mut self) -> Parsed<Expr> {
        self.chain(&PRODUCTS, Self::signed)
    }

    fn chain(&mut self, signs: &[(&str, Operation)], part: fn(&mut Self) -> Parsed<Expr>) -> Parsed<Expr> {
        let mut left = part(self)?;
        while let Some(operation) = self.take_of(signs) {
            self.operators += 1;
            if self.operators > OPERATORS_MAX {
                return Err(self.error(&format!("a condition has at most {OPERATORS_MAX} arithmetic operators")));
            }
            left = Expr::Compute(Box::new(left), operation, Box::new(part(self)?));
        }
        Ok(left)
    }

    fn signed(&mut self) -> Parsed<Expr> {
        if self.take_sign("-") {
            let inner = self.nested(Self::signed)?;
            return Ok(Expr::Minus(Box::new(inner)));
        }
        self.operand()
    }

    fn operand(&mut self) -> Parsed<Expr> {
        let token = self.peek().clone();
        match token {
            Token::Sign("(") => {
                self.at += 1;
                let inner = self.nested(Self::either)?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Number(value) => self.constant(Expr::Number(value)),
            Token::Text(text) => self.constant(Expr::Text(text)),
            Token::Braced(name) => self.constant(Expr::Path(Root::Application(name), Vec::new())),
            Token::Dollar(name) => {
                self.at += 1;
                self.dollar(&name)
            }
            Token::Word(word) => self.word(&word),
            Token::Sign(_) | Token::End => Err(self.error("a value is expected")),
        }
    }

    fn constant(&mut self, expr: Expr) -> Parsed<Expr> {
        self.at += 1;
        Ok(expr)
    }

    fn word(&mut self, word: &str) -> Parsed<Expr> {
        let called = matches!(self.tokens.get(self.at + 1).map(|t| &t.token), Some(Token::Sign("(")));
        if called {
            return self.call(word);
        }
        match word.to_ascii_lowercase().as_str() {
            "true" => self.constant(Expr::Bool(true)),
            "false" => self.constant(Expr::Bool(false)),
            "null" => self.constant(Expr::Null),
            "undefined" => self.constant(Expr::Undefined),
            "and" | "or" | "not" | "in" | "nin" => Err(self.error("a value is expected")),
            _ => self.application(word),
        }
    }

    /// An application property; dots belong to its name.
    fn application(&mut self, word: &str) -> Parsed<Expr> {
        self.at += 1;
        let mut name = word.to_owned();
        while let (Token::Sign("."), Some(Token::Word(next))) =
            (self.peek(), self.tokens.get(self.at + 1).map(|t| &t.token))
        {
            name = format!("{name}.{next}");
            self.at += 2;
        }
        Ok(Expr::Path(Root::Application(name), Vec::new()))
    }

    fn call(&mut self, word: &str) -> Parsed<Expr> {
        let Some(function) = Function::find(word) else {
            return Err(self.error(&format!("there is no function '{word}'")));
        };
        let named = self.at;
        self.at += 2;
        let arguments = self.list(")")?;
        if !function.takes(arguments.len()) {
            let (start, end) = (self.tokens[named].start, self.tokens[self.at - 1].end);
            let message = format!("{} takes {}", word.to_ascii_lowercase(), function.usage());
            return Err(self.source.error(message, start, end));
        }
        Ok(Expr::Call(function, arguments))
    }

    fn list(&mut self, end: &'static str) -> Parsed<Vec<Expr>> {
        let mut items = Vec::new();
        if self.take_sign(end) {
            return Ok(items);
        }
        loop {
            items.push(self.nested(Self::either)?);
            if self.take_sign(end) {
                return Ok(items);
            }
            self.expect(",")?;
        }
    }

    fn dollar(&mut self, name: &str) -> Parsed<Expr> {
        let root = match name.to_ascii_lowercase().as_str() {
            "" => return Err(self.error("a name is expected after '$'")),
            "body" => Root::Body,
            "twin" => self.twin()?,
            _ => return Ok(Expr::Path(Root::System(name.to_owned()), Vec::new())),
        };
        let steps = self.steps()?;
        if steps.is_empty() {
            return Err(self.error("'.' and a name are expected: only what is inside can be asked about"));
        }
        Ok(Expr::Path(root, steps))
    }

    fn twin(&mut self) -> Parsed<Root> {
        self.expect(".")?;
        if self.take_word("tags") {
            return Ok(Root::Tags);
        }
        if self.take_word("properties") {
            self.expect(".")?;
            for (word, root) in [("desired", Root::Desired), ("reported", Root::Reported)] {
                if self.take_word(word) {
                    return Ok(root);
                }
            }
            return Err(self.error("'desired' or 'reported' is expected"));
        }
        Err(self.error("'tags' or 'properties' is expected"))
    }

    fn steps(&mut self) -> Parsed<Vec<Step>> {
        let mut steps = Vec::new();
        loop {
            if self.take_sign(".") {
                let name = match self.peek().clone() {
                    Token::Word(name) | Token::Braced(name) => name,
                    Token::Dollar(name) => format!("${name}"),
                    _ => return Err(self.error("a name is expected")),
                };
                self.at += 1;
                steps.push(Step::Name(name));
            } else if self.take_sign("[") {
                steps.push(self.index()?);
                self.expect("]")?;
            } else {
                return Ok(steps);
            }
            if steps.len() > STEPS_MAX {
                return Err(self.error(&format!("a path has at most {STEPS_MAX} steps")));
            }
        }
    }

    fn index(&mut self) -> Parsed<Step> {
        let step = match self.peek() {
            Token::Number(value) if value.fract() == 0.0 && (0.0..1e6).contains(value) => {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number in range")]
                let index = *value as usize;
                Step::Index(index)
            }
            Token::Text(name) => Step::Name(name.clone()),
            _ => return Err(self.error("an index is expected")),
        };
        self.at += 1;
        Ok(step)
    }

    fn nested(&mut self, inner: fn(&mut Self) -> Parsed<Expr>) -> Parsed<Expr> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error(&format!("expressions nest at most {DEPTH_MAX} deep")));
        }
        let expr = inner(self);
        self.depth -= 1;
        expr
    }

    fn take_of<T: Copy>(&mut self, signs: &[(&str, T)]) -> Option<T> {
        let Token::Sign(sign) = self.peek() else {
            return None;
        };
        let found = signs.iter().find(|(known, _)| known == sign).map(|(_, meaning)| *meaning);
        self.at += usize::from(found.is_some());
        found
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let taken = matches!(self.peek(), Token::Sign(found) if *found == sign);
        self.at += usize::from(taken);
        taken
    }

    fn expect(&mut self, sign: &str) -> Parsed<()> {
        if self.take_sign(sign) {
            return Ok(());
        }
        Err(self.error(&format!("'{sign}' is expected")))
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word(found) if found.eq_ignore_ascii_case(word))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let taken = self.is_word(word);
        self.at += usize::from(taken);
        taken
    }

    /// The last token is `End`, which nothing takes.
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |spanned| &spanned.token)
    }

    fn error(&self, message: &str) -> CompileError {
        let at = self.tokens.get(self.at).or(self.tokens.last());
        let (start, end) = at.map_or((0, 0), |spanned| (spanned.start, spanned.end));
        self.source.error(message, start, end)
    }
}
