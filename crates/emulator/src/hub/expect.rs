//! What an `If-Match` header asks for.

/// A caller's condition on the etag of what it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// No header, or the empty tag `""` that .NET sends to create.
    Nothing,
    /// `*` or `"*"`: whatever is there.
    Any,
    /// A certain etag; `quoted` as it stood in the header.
    Etag {
        /// The tag without quotes.
        tag: String,
        /// Configurations take quoted tags only.
        quoted: bool,
    },
}

impl Expect {
    /// Reads the header value.
    pub fn parse(header: Option<&str>) -> Self {
        let Some(raw) = header.map(str::trim) else {
            return Self::Nothing;
        };
        let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match inner.unwrap_or(raw) {
            "" => Self::Nothing,
            "*" => Self::Any,
            tag => Self::Etag { tag: tag.to_owned(), quoted: inner.is_some() },
        }
    }

    /// Whether a write on something with this etag may go on.
    pub fn allows(&self, etag: &str) -> bool {
        match self {
            Self::Nothing | Self::Any => true,
            Self::Etag { tag, .. } => tag == etag,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_by_table() {
        let tag = |tag: &str, quoted| Expect::Etag { tag: tag.into(), quoted };
        for (header, expect) in [
            (None, Expect::Nothing),
            (Some("\"\""), Expect::Nothing),
            (Some("*"), Expect::Any),
            (Some("\"*\""), Expect::Any),
            (Some("\"MQ==\""), tag("MQ==", true)),
            (Some("MQ=="), tag("MQ==", false)),
        ] {
            assert_eq!(Expect::parse(header), expect);
        }
    }
}
