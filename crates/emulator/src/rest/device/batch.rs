//! Several messages in one call, as the SDKs' HTTP transports send them.

use std::collections::BTreeMap;

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::property;
use crate::hub::Refusal;

pub(super) const CONTENT_TYPE: &str = "application/vnd.microsoft.iothub.json";

/// Properties and body.
type Content = (Vec<(String, String)>, Bytes);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    body: String,
    #[serde(default = "yes")]
    base64_encoded: bool,
    #[serde(default)]
    properties: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

/// Reads `[{"body":"…","base64Encoded":true,"properties":{"iothub-app-name":"value"}},…]`; all of it or nothing.
pub(super) fn read(body: &[u8]) -> Result<Vec<Content>, Refusal> {
    let entries: Vec<Entry> =
        serde_json::from_slice(body).map_err(|e| Refusal::argument(format!("bad batch of messages: {e}")))?;
    entries.into_iter().enumerate().map(content).collect()
}

fn content((place, entry): (usize, Entry)) -> Result<Content, Refusal> {
    let body = match entry.base64_encoded {
        false => entry.body.into_bytes(),
        true => STANDARD
            .decode(&entry.body)
            .map_err(|e| Refusal::argument(format!("bad batch of messages: body {place}: {e}")))?,
    };
    let properties = entry.properties.into_iter();
    let properties = properties.map(|(name, value)| (property(&name).unwrap_or(name), value)).collect();
    Ok((properties, body.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_by_table() {
        for (body, outcome) in [
            ("[]", Some(vec![])),
            (r#"[{"body":"aGk="}]"#, Some(vec![(vec![], "hi")])),
            (
                r#"[{"body":"hi","base64Encoded":false,"properties":{"iothub-app-a":"1","iothub-messageid":"m","b":"2"}}]"#,
                Some(vec![(vec![("b", "2"), ("a", "1"), ("$.mid", "m")], "hi")]),
            ),
            (r#"[{"body":"aGk="},{"body":"?"}]"#, None),
            (r#"{"body":"aGk="}"#, None),
            ("", None),
        ] {
            let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let wanted = outcome.map(|list| {
                let one = |(properties, body): &(Vec<(&str, &str)>, &'static str)| {
                    (properties.iter().map(own).collect::<Vec<_>>(), Bytes::from_static(body.as_bytes()))
                };
                list.iter().map(one).collect::<Vec<_>>()
            });
            assert_eq!(read(body.as_bytes()).ok(), wanted, "{body}");
        }
    }
}
