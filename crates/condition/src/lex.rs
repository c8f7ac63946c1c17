//! Text to tokens.

use super::{CHARS_MAX, CompileError, Position};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A keyword, a function or the name of an application property.
    Word(String),
    /// `{…}`: an application property whatever its name looks like.
    Braced(String),
    /// `$…` without the dollar: a system property, `body` or `twin`, and what hangs on it by hyphens.
    Dollar(String),
    Number(f64),
    Text(String),
    Sign(&'static str),
    End,
}

/// A token and the characters it spans.
#[derive(Debug, Clone)]
pub(super) struct Spanned {
    pub(super) token: Token,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The text, and errors by place in it.
#[derive(Debug)]
pub(super) struct Source(Vec<char>);

const SIGNS: [&str; 19] =
    ["!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", "[", "]", ",", ".", "*", "+", "-", "/", "%", ";"];

impl Source {
    pub(super) fn new(text: &str) -> Result<Self, CompileError> {
        let source = Self(text.chars().take(CHARS_MAX + 1).collect());
        if source.0.len() > CHARS_MAX {
            return Err(source.error(format!("a condition has at most {CHARS_MAX} characters"), 0, 0));
        }
        Ok(source)
    }

    pub(super) fn error(&self, message: impl Into<String>, start: usize, end: usize) -> CompileError {
        let (start, end) = (self.position(start), self.position(end.max(start)));
        CompileError { message: message.into(), start, end }
    }

    pub(super) fn tokens(&self) -> Result<Vec<Spanned>, CompileError> {
        let mut lexer = Lexer { source: self, at: 0 };
        let mut tokens = Vec::new();
        loop {
            lexer.take_while(char::is_whitespace);
            let start = lexer.at;
            let token = lexer.token()?;
            let done = token == Token::End;
            tokens.push(Spanned { token, start, end: lexer.at });
            if done {
                return Ok(tokens);
            }
        }
    }

    fn position(&self, at: usize) -> Position {
        let before = &self.0[..at.min(self.0.len())];
        let line_start = before.iter().rposition(|c| *c == '\n').map_or(0, |newline| newline + 1);
        let line = before.iter().filter(|c| **c == '\n').count() + 1;
        Position { line, column: before.len() - line_start + 1 }
    }
}

struct Lexer<'a> {
    source: &'a Source,
    at: usize,
}

impl Lexer<'_> {
    fn token(&mut self) -> Result<Token, CompileError> {
        let Some(first) = self.peek(0) else {
            return Ok(Token::End);
        };
        match first {
            '\'' | '"' => self.text(first),
            '{' => self.braced(),
            '$' => {
                self.at += 1;
                Ok(Token::Dollar(self.name(is_plain)))
            }
            c if c.is_ascii_digit() => self.number(),
            c if is_plain(c) => Ok(Token::Word(self.name(is_plain))),
            _ => self.sign(),
        }
    }

    /// A hyphen belongs to a name if a letter follows it, so that `a-b` is a name and `a-1` a subtraction.
    fn name(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while let Some(c) = self.peek(0) {
            let hyphen = c == '-' && self.at > start && self.peek(1).is_some_and(char::is_alphabetic);
            if !belongs(c) && !hyphen {
                break;
            }
            self.at += 1;
        }
        self.slice(start)
    }

    fn braced(&mut self) -> Result<Token, CompileError> {
        let open = self.at;
        self.at += 1;
        let start = self.at;
        self.take_while(|c| c != '}');
        let name = self.slice(start);
        if self.peek(0).is_none() || name.is_empty() {
            return Err(self.source.error("'{' needs a property's name and a '}'", open, self.at));
        }
        self.at += 1;
        Ok(Token::Braced(name))
    }

    fn text(&mut self, quote: char) -> Result<Token, CompileError> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        while let Some(c) = self.peek(0) {
            self.at += 1;
            match c {
                '\\' => text.push(self.escape(start)?),
                c if c == quote && self.peek(0) == Some(quote) => {
                    self.at += 1;
                    text.push(quote);
                }
                c if c == quote => return Ok(Token::Text(text)),
                c => text.push(c),
            }
        }
        Err(self.source.error("a string is not closed", start, self.at))
    }

    fn escape(&mut self, start: usize) -> Result<char, CompileError> {
        let Some(c) = self.peek(0) else {
            return Err(self.source.error("a string is not closed", start, self.at));
        };
        self.at += 1;
        match c {
            'n' => Ok('\n'),
            't' => Ok('\t'),
            'r' => Ok('\r'),
            'u' => {
                let digits: String = self.source.0.iter().skip(self.at).take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
                let c = code.and_then(char::from_u32).ok_or_else(|| {
                    self.source.error("\\u needs four hexadecimal digits of a character", self.at - 2, self.at + 4)
                })?;
                self.at += 4;
                Ok(c)
            }
            other => Ok(other),
        }
    }

    fn number(&mut self) -> Result<Token, CompileError> {
        let start = self.at;
        if self.peek(0) == Some('0') && matches!(self.peek(1), Some('x' | 'X')) {
            self.at += 2;
            let digits = self.at;
            self.take_while(|c| c.is_ascii_hexdigit());
            let value = u32::from_str_radix(&self.slice(digits), 16);
            return value
                .map(|value| Token::Number(f64::from(value)))
                .map_err(|_| self.source.error("not a hexadecimal number of at most 8 digits", start, self.at));
        }
        self.take_while(|c| c.is_ascii_digit());
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
            self.take_while(|c| c.is_ascii_digit());
        }
        if matches!(self.peek(0), Some('e' | 'E')) {
            self.at += 1;
            if matches!(self.peek(0), Some('+' | '-')) {
                self.at += 1;
            }
            self.take_while(|c| c.is_ascii_digit());
        }
        let value = self.slice(start).parse().ok().filter(|value: &f64| value.is_finite());
        let ends = !self.peek(0).is_some_and(is_plain);
        value.filter(|_| ends).map(Token::Number).ok_or_else(|| self.source.error("not a number", start, self.at))
    }

    fn sign(&mut self) -> Result<Token, CompileError> {
        let sign = SIGNS.iter().find(|sign| sign.chars().enumerate().all(|(n, c)| self.peek(n) == Some(c)));
        let Some(sign) = sign else {
            return Err(self.source.error("unexpected character", self.at, self.at + 1));
        };
        self.at += sign.len();
        Ok(Token::Sign(sign))
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&keep) {
            self.at += 1;
        }
    }

    fn slice(&self, start: usize) -> String {
        self.source.0[start..self.at].iter().collect()
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.source.0.get(self.at + ahead).copied()
    }
}

fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
