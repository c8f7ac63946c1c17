//! Short scripts as test input: one fact a line or between semicolons, `<ms> <verb> <word> … <key>=<value> …`.

use std::fmt::Debug;
use std::str::FromStr;

/// One line of a script.
pub(crate) struct Line<'a> {
    pub(crate) at: u64,
    pub(crate) verb: &'a str,
    text: &'a str,
}

/// The lines of a script; empty ones and `#` comments left out.
pub(crate) fn lines(script: &str) -> impl Iterator<Item = Line<'_>> {
    let meant = script.split(['\n', ';']).map(str::trim).filter(|text| !text.is_empty() && !text.starts_with('#'));
    meant.map(|text| {
        let mut parts = text.splitn(3, ' ');
        let at = parts.next().and_then(|at| at.parse().ok()).unwrap_or_else(|| panic!("no time in {text:?}"));
        Line { at, verb: parts.next().expect("a verb"), text: parts.next().unwrap_or_default() }
    })
}

/// The phrases of a description, where nothing happens in time: lines without their `<ms>`.
pub(crate) fn phrases(text: &str) -> impl Iterator<Item = Line<'_>> {
    let meant = text.split(['\n', ';']).map(str::trim).filter(|text| !text.is_empty());
    meant.map(|text| {
        let (verb, text) = text.split_once(' ').unwrap_or((text, ""));
        Line { at: 0, verb, text }
    })
}

impl<'a> Line<'a> {
    /// The words without `=`.
    pub(crate) fn words(&self) -> impl Iterator<Item = &'a str> {
        self.text.split(' ').filter(|part| !part.is_empty() && !part.contains('='))
    }

    pub(crate) fn has(&self, word: &str) -> bool {
        self.words().any(|w| w == word)
    }

    pub(crate) fn word(&self) -> &'a str {
        self.words().next().unwrap_or_else(|| panic!("no word after {} {}", self.at, self.verb))
    }

    pub(crate) fn get<T: FromStr<Err: Debug>>(&self, key: &str) -> Option<T> {
        let value = self.text.split(' ').find_map(|part| part.strip_prefix(key)?.strip_prefix('='))?;
        Some(value.parse().unwrap_or_else(|why| panic!("{key}={value}: {why:?}")))
    }

    pub(crate) fn or<T: FromStr<Err: Debug>>(&self, key: &str, default: T) -> T {
        self.get(key).unwrap_or(default)
    }
}
