//! Target conditions: what stands after `WHERE`, `*` for everything, nothing for nothing.

use serde_json::Value;

use super::super::query::{Condition, SyntaxError};

/// A parsed target condition.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::hub) enum Target {
    /// Empty: nobody.
    Nobody,
    /// `*`
    Everybody,
    /// Whoever the condition holds for.
    Those(Condition),
}

impl Target {
    /// Reads a condition over device twins, or over module twins as `FROM devices.modules WHERE …`.
    pub(in crate::hub) fn parse(text: &str, over_modules: bool) -> Result<Self, SyntaxError> {
        let text = text.trim();
        let bare = without_source(text, over_modules)?;
        match bare {
            "" => return Ok(Self::Nobody),
            "*" => return Ok(Self::Everybody),
            _ => {}
        }
        Condition::parse(&double_quotes_escaped(bare)?).map(Self::Those)
    }

    /// Whether the twin is among the targets.
    pub(in crate::hub) fn holds(&self, row: &Value) -> bool {
        match self {
            Self::Nobody => false,
            Self::Everybody => true,
            Self::Those(condition) => condition.admits(row),
        }
    }
}

/// The condition after `FROM … WHERE`, for the queries that the hub shows.
pub(super) fn bare(text: &str, over_modules: bool) -> &str {
    without_source(text.trim(), over_modules).unwrap_or_default()
}

fn without_source(text: &str, over_modules: bool) -> Result<&str, SyntaxError> {
    let Some(rest) = after_word(text, "from") else {
        return Ok(text);
    };
    let source = if over_modules { "devices.modules" } else { "devices" };
    let other = || SyntaxError { reason: format!("FROM {source} is expected"), at: 0 };
    let rest = after_word(rest, source).ok_or_else(other)?;
    if rest.is_empty() {
        return Ok("*");
    }
    let missing = SyntaxError { reason: "WHERE is expected".into(), at: text.len() - rest.len() };
    after_word(rest, "where").filter(|condition| !condition.is_empty()).ok_or(missing)
}

/// What follows the word and blanks; `None` if the text does not begin with it.
fn after_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(word.len())?;
    let ends = rest.is_empty() || rest.starts_with(char::is_whitespace);
    (head.eq_ignore_ascii_case(word) && ends).then(|| rest.trim_start())
}

/// In target conditions only single quotes make strings, and two of them in a string are one.
fn double_quotes_escaped(text: &str) -> Result<String, SyntaxError> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().enumerate().peekable();
    let mut inside = false;
    while let Some((at, c)) = chars.next() {
        match c {
            '"' if !inside => {
                return Err(SyntaxError { reason: "strings stand in single quotes".into(), at });
            }
            '\\' if inside => {
                out.push(c);
                out.extend(chars.next().map(|(_, next)| next));
            }
            '\'' if inside && chars.peek().is_some_and(|(_, next)| *next == '\'') => {
                chars.next();
                out.push_str("\\'");
            }
            '\'' => {
                inside = !inside;
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions_by_table() {
        let row = json!({"deviceId": "it's", "moduleId": "m", "tags": {"site": "m1"}});
        for (text, over_modules, outcome) in [
            ("", false, Some(false)),
            (" * ", false, Some(true)),
            ("tags.site='m1'", false, Some(true)),
            ("tags.site='m2'", false, Some(false)),
            ("deviceId = 'it''s'", false, Some(true)),
            (r"deviceId = 'it\'s'", false, Some(true)),
            ("deviceId = ''", false, Some(false)),
            ("FROM devices.modules WHERE moduleId = 'm'", true, Some(true)),
            ("from  devices.modules  where moduleId='n'", true, Some(false)),
            ("from devices.modules", true, Some(true)),
            ("moduleId = 'm'", true, Some(true)),
            ("FROM devices WHERE tags.site = 'm1'", false, Some(true)),
            ("FROM devices.modules WHERE moduleId = 'm'", false, None),
            ("FROM devices WHERE moduleId = 'm'", true, None),
            ("FROM devices.modules WHERE", true, None),
            ("FROM devices.modules moduleId = 'm'", true, None),
            ("tags.site = \"m1\"", false, None),
            ("tags.site = 'm1", false, None),
            ("1 = 1) OR (1 = 1", false, None),
            ("1 = 1 GROUP BY tags.site", false, None),
            ("tags.site =", false, None),
        ] {
            let got = Target::parse(text, over_modules).ok().map(|target| target.holds(&row));
            assert_eq!(got, outcome, "{text}");
        }
    }
}
