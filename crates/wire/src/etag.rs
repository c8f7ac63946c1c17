//! Entity tags and the `If-Match` header.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::invalid::shown;

/// An entity tag, without its quotes. Opaque: compare it, send it back, never compute with it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ETag(String);

impl ETag {
    /// An entity tag from its bare text, as JSON bodies carry it.
    pub fn new(bare: impl Into<String>) -> Self {
        ETag(bare.into())
    }

    /// The bare text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text in quotes, as headers carry it.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }

    /// Reads an `ETag` header, quoted or bare.
    pub fn from_header(header: &str) -> Result<Self, Error> {
        match IfMatch::from_header(header)? {
            Some(IfMatch::Is(etag)) => Ok(etag),
            _ => Err(Error::ETag(shown(header))),
        }
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an `If-Match` header asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// Whatever is there: `*`, which the Python and Node SDKs write `"*"`.
    Any,
    /// Exactly this tag.
    Is(ETag),
}

impl IfMatch {
    /// Reads an `If-Match` header, quoted or bare. `None` for an empty one: .NET previews create with `If-Match: ""`.
    pub fn from_header(header: &str) -> Result<Option<Self>, Error> {
        let text = header.trim();
        let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        if bare.contains('"') || bare.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(Error::ETag(shown(header)));
        }
        Ok(match bare {
            "" => None,
            "*" => Some(IfMatch::Any),
            tag => Some(IfMatch::Is(ETag::new(tag))),
        })
    }

    /// The header's text; tags are quoted, since configurations accept nothing else.
    pub fn header(&self) -> String {
        match self {
            IfMatch::Any => "*".to_owned(),
            IfMatch::Is(etag) => etag.quoted(),
        }
    }

    /// Whether what is there satisfies this condition.
    pub fn accepts(&self, current: &ETag) -> bool {
        match self {
            IfMatch::Any => true,
            IfMatch::Is(etag) => etag == current,
        }
    }
}

impl From<ETag> for IfMatch {
    fn from(etag: ETag) -> Self {
        IfMatch::Is(etag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form_in_use() {
        let tag = || Some(IfMatch::Is(ETag::new("MQ==")));
        assert_eq!(IfMatch::from_header("\"MQ==\"").unwrap(), tag());
        assert_eq!(IfMatch::from_header("MQ==").unwrap(), tag());
        assert_eq!(IfMatch::from_header("*").unwrap(), Some(IfMatch::Any));
        assert_eq!(IfMatch::from_header("\"*\"").unwrap(), Some(IfMatch::Any));
        assert_eq!(IfMatch::from_header("\"\"").unwrap(), None);
        assert_eq!(IfMatch::from_header("").unwrap(), None);
        assert!(IfMatch::from_header("\"a\", \"b\"").is_err());
        assert!(ETag::from_header("*").is_err());
    }

    #[test]
    fn writes_tags_quoted() {
        assert_eq!(IfMatch::from(ETag::new("MQ==")).header(), "\"MQ==\"");
        assert_eq!(IfMatch::Any.header(), "*");
    }
}
