//! Property bags: the last level of a message topic.

use std::fmt;
use std::str::FromStr;

use crate::{Error, percent_decode, percent_encode};

/// The properties of a message, in order: `k=v&k2=v2`, percent-encoded.
///
/// A value may be absent (`k`), empty (`k=`) or a text (`k=v`). System properties have keys that begin with `$.`; they
/// arrive as `$.mid` or, from every SDK, as `%24.mid`. Trailing slashes are dropped: the Node SDK adds one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties(Vec<(String, Option<String>)>);

impl Properties {
    /// No properties.
    pub fn new() -> Self {
        Properties::default()
    }

    /// The value of an application property (or of a system property by its full key).
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(mine, _)| mine == key).and_then(|(_, value)| value.as_deref())
    }

    /// The value of a system property: `system("mid")` is `$.mid`, the message id.
    pub fn system(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key.strip_prefix("$.") == Some(name));
        found.and_then(|(_, value)| value.as_deref())
    }

    /// Adds or replaces a property.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        let (key, value) = (key.into(), Some(value.into()));
        match self.0.iter_mut().find(|(mine, _)| *mine == key) {
            Some(found) => found.1 = value,
            None => self.0.push((key, value)),
        }
    }

    /// Adds or replaces a system property.
    pub fn set_system(&mut self, name: &str, value: impl Into<String>) {
        self.set(format!("$.{name}"), value);
    }

    /// The same with one more property.
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.set(key, value);
        self
    }

    /// The same with one more system property.
    pub fn with_system(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set_system(name, value);
        self
    }

    /// `$.on`: the edgeHub output a module's message leaves by.
    pub fn output(&self) -> Option<&str> {
        self.system("on")
    }

    /// Every property, in order; the value is `None` for a bare key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_deref()))
    }

    /// Only the application's own properties.
    pub fn application(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.iter().filter(|(key, _)| !key.starts_with("$."))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(String, Option<String>)> for Properties {
    fn from_iter<I: IntoIterator<Item = (String, Option<String>)>>(iter: I) -> Self {
        Properties(iter.into_iter().filter(|(key, _)| !key.is_empty()).collect())
    }
}

impl FromStr for Properties {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts = text.trim_end_matches('/').split('&').filter(|part| !part.is_empty());
        parts.map(parse_one).filter(|parsed| !matches!(parsed, Ok((key, _)) if key.is_empty())).collect()
    }
}

fn parse_one(part: &str) -> Result<(String, Option<String>), Error> {
    let decode = |text| percent_decode(text).map(std::borrow::Cow::into_owned);
    Ok(match part.split_once('=') {
        Some((key, value)) => (decode(key)?, Some(decode(value)?)),
        None => (decode(part)?, None),
    })
}

impl fmt::Display for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (key, value)) in self.iter().enumerate() {
            let separator = if n == 0 { "" } else { "&" };
            write!(f, "{separator}{}", encode_key(key))?;
            if let Some(value) = value {
                write!(f, "={}", percent_encode(value))?;
            }
        }
        Ok(())
    }
}

/// `%24.on`, as edgeHub and the SDKs write it: the dot stays.
fn encode_key(key: &str) -> String {
    percent_encode(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bag: &str, expected: &[(&str, Option<&str>)]) {
        let parsed: Properties = bag.parse().unwrap();
        assert_eq!(parsed.iter().collect::<Vec<_>>(), expected, "{bag}");
        assert_eq!(parsed.to_string().parse::<Properties>().unwrap(), parsed, "{bag}");
    }

    #[test]
    fn reads_every_form() {
        check("", &[]);
        check("/", &[]);
        check("a=1&b=&c", &[("a", Some("1")), ("b", Some("")), ("c", None)]);
        check("%24.mid=x%2Fy&ha%2Frole=active%20x/", &[("$.mid", Some("x/y")), ("ha/role", Some("active x"))]);
        check("a=b=c", &[("a", Some("b=c"))]);
        assert!("a=%ff".parse::<Properties>().is_err());
    }

    #[test]
    fn system_properties_stand_apart() {
        let bag = Properties::new().with("level", "3").with_system("on", "advice");
        assert_eq!(bag.to_string(), "level=3&%24.on=advice");
        assert_eq!((bag.output(), bag.application().count()), (Some("advice"), 1));
        assert_eq!("$.on=o".parse::<Properties>().unwrap().output(), Some("o"));
    }
}
