//! Text to tokens.

use serde_json::Value;

use super::SyntaxError;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Word(String),
    /// A name that was written `[[…]]`: never a keyword.
    Quoted(String),
    Const(Value),
    Sign(&'static str),
    End,
}

pub(super) fn tokens(text: &str) -> Result<Vec<(Token, usize)>, SyntaxError> {
    let mut lexer = Lexer { chars: text.chars().collect(), at: 0 };
    let mut out = Vec::new();
    loop {
        lexer.skip_blanks();
        let start = lexer.at;
        let token = lexer.token()?;
        let end = token == Token::End;
        out.push((token, start));
        if end {
            return Ok(out);
        }
    }
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
}

const SIGNS: [&str; 18] =
    ["!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", "[", "]", ",", ".", "*", "+", "-", "/", "%"];

impl Lexer {
    fn token(&mut self) -> Result<Token, SyntaxError> {
        let Some(first) = self.peek(0) else {
            return Ok(Token::End);
        };
        match first {
            '\'' | '"' => self.string(first),
            '[' if self.peek(1) == Some('[') => self.quoted(),
            c if c.is_ascii_digit() => self.number(),
            c if is_word(c) => Ok(Token::Word(self.take_while(is_word))),
            _ => self.sign(),
        }
    }

    fn sign(&mut self) -> Result<Token, SyntaxError> {
        for sign in SIGNS {
            if sign.chars().enumerate().all(|(i, c)| self.peek(i) == Some(c)) {
                self.at += sign.len();
                return Ok(Token::Sign(sign));
            }
        }
        Err(self.error("unexpected character"))
    }

    fn quoted(&mut self) -> Result<Token, SyntaxError> {
        self.at += 2;
        let start = self.at;
        while let Some(c) = self.peek(0) {
            if c == ']' && self.peek(1) == Some(']') && self.peek(2) != Some(']') {
                let name = self.chars[start..self.at].iter().collect();
                self.at += 2;
                return Ok(Token::Quoted(name));
            }
            self.at += 1;
        }
        Err(self.error("a name opened by [[ is not closed"))
    }

    fn string(&mut self, quote: char) -> Result<Token, SyntaxError> {
        self.at += 1;
        let mut out = String::new();
        while let Some(c) = self.peek(0) {
            self.at += 1;
            match c {
                '\\' => out.push(self.escape()?),
                c if c == quote && quote == '\'' && self.peek(0) == Some('\'') => {
                    self.at += 1;
                    out.push('\'');
                }
                c if c == quote => return Ok(Token::Const(Value::String(out))),
                c => out.push(c),
            }
        }
        Err(self.error("a string is not closed"))
    }

    fn escape(&mut self) -> Result<char, SyntaxError> {
        let c = self.peek(0).ok_or_else(|| self.error("a string is not closed"))?;
        self.at += 1;
        Ok(match c {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'u' => self.unicode()?,
            other => other,
        })
    }

    /// One or, for what does not fit in sixteen bits, two escapes.
    fn unicode(&mut self) -> Result<char, SyntaxError> {
        let mut units = vec![self.four_digits()?];
        if matches!(units[0], 0xD800..=0xDBFF) && self.peek(0) == Some('\\') && self.peek(1) == Some('u') {
            self.at += 2;
            units.push(self.four_digits()?);
        }
        let mut decoded = char::decode_utf16(units);
        match (decoded.next(), decoded.next()) {
            (Some(Ok(c)), None) => Ok(c),
            _ => Err(self.error("\\u names no character")),
        }
    }

    fn four_digits(&mut self) -> Result<u16, SyntaxError> {
        let digits = self.chars.get(self.at..self.at + 4).unwrap_or_default();
        let value = digits.iter().try_fold(0, |value, c| c.to_digit(16).map(|digit| value * 16 + digit));
        let value = value.filter(|_| digits.len() == 4).and_then(|value| u16::try_from(value).ok());
        let value = value.ok_or_else(|| self.error("\\u needs four hexadecimal digits"))?;
        self.at += 4;
        Ok(value)
    }

    fn number(&mut self) -> Result<Token, SyntaxError> {
        let start = self.at;
        let hex = self.peek(0) == Some('0') && matches!(self.peek(1), Some('x' | 'X'));
        let value = if hex { self.hexadecimal() } else { self.decimal() };
        if let Some(value) = value.filter(|_| !self.peek(0).is_some_and(is_word)) {
            return Ok(Token::Const(value));
        }
        Err(SyntaxError { reason: "not a number".to_owned(), at: start })
    }

    fn hexadecimal(&mut self) -> Option<Value> {
        self.at += 2;
        let digits = self.take_while(|c| c.is_ascii_hexdigit());
        u64::from_str_radix(&digits, 16).ok().map(Value::from)
    }

    fn decimal(&mut self) -> Option<Value> {
        let mut text = self.take_while(|c| c.is_ascii_digit());
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
            text = format!("{text}.{}", self.take_while(|c| c.is_ascii_digit()));
        }
        if matches!(self.peek(0), Some('e' | 'E')) {
            let signed = usize::from(matches!(self.peek(1), Some('+' | '-')));
            let minus = if self.peek(1) == Some('-') { "-" } else { "" };
            self.at += 1 + signed;
            text = format!("{text}e{minus}{}", self.take_while(|c| c.is_ascii_digit()));
        }
        if let Ok(whole) = text.parse::<u64>() {
            return Some(Value::from(whole));
        }
        // Infinity is no JSON number and becomes `None`.
        text.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Value::Number)
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.peek(0).is_some_and(&keep) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    fn skip_blanks(&mut self) {
        while self.peek(0).is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn error(&self, reason: &str) -> SyntaxError {
        SyntaxError { reason: reason.to_owned(), at: self.at }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}
