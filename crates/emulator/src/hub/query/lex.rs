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

const SIGNS: [&str; 17] = ["!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", "[", "]", ",", ".", "*", "+", "-", "/"];

impl Lexer {
    fn token(&mut self) -> Result<Token, SyntaxError> {
        let Some(first) = self.peek(0) else {
            return Ok(Token::End);
        };
        match first {
            '\'' | '"' => self.string(first),
            '[' if self.peek(1) == Some('[') => self.quoted(),
            '%' => {
                self.at += 1;
                Ok(Token::Sign("%"))
            }
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
            'u' => {
                let digits: String = self.chars.iter().skip(self.at).take(4).collect();
                self.at += 4;
                u32::from_str_radix(&digits, 16)
                    .ok()
                    .and_then(char::from_u32)
                    .ok_or_else(|| self.error("\\u needs four hexadecimal digits"))?
            }
            other => other,
        })
    }

    fn number(&mut self) -> Result<Token, SyntaxError> {
        let text = self.take_while(|c| c.is_ascii_alphanumeric() || c == '.');
        let value = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(hex) => i64::from_str_radix(hex, 16).ok().map(Value::from),
            None => serde_json::from_str::<Value>(&text).ok(),
        };
        value.filter(Value::is_number).map(Token::Const).ok_or_else(|| self.error("not a number"))
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
