//! A message on its way through the routes.

use ha_condition::Subject;
use ha_wire::Properties;
use serde_json::Value;

use crate::id::Id;

/// A message as routes see it.
#[derive(Debug)]
pub(in crate::hub) struct Passing<'a> {
    from: &'a Id,
    output: Option<&'a str>,
    application: Vec<(String, String)>,
    system: Vec<(String, String)>,
    body: Option<Value>,
}

/// System properties by their keys on the wire, and by their names in conditions.
const SYSTEM: [(&str, &str); 8] = [
    ("mid", "messageId"),
    ("cid", "correlationId"),
    ("uid", "userId"),
    ("ct", "contentType"),
    ("ce", "contentEncoding"),
    ("exp", "absoluteExpiryTime"),
    ("on", "outputName"),
    ("to", "to"),
];

impl<'a> Passing<'a> {
    pub(in crate::hub) fn new(from: &'a Id, properties: &'a Properties, body: &[u8]) -> Self {
        let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
        let application = properties.application().map(|(name, value)| (name.to_owned(), text(value))).collect();
        let named = SYSTEM.iter().filter_map(|(key, name)| Some(((*name).to_owned(), properties.system(key)?.into())));
        let mut system: Vec<(String, String)> = named.collect();
        system.push(("connectionDeviceId".to_owned(), from.device.clone()));
        system.extend(from.module.clone().map(|module| ("connectionModuleId".to_owned(), module)));
        Self { from, output: properties.output(), application, system, body: json(properties, body) }
    }

    pub(super) fn from(&self) -> &Id {
        self.from
    }

    pub(super) fn output(&self) -> Option<&str> {
        self.output
    }

    pub(super) fn subject(&self) -> Subject<'_> {
        Subject { application: &self.application, system: &self.system, body: self.body.as_ref(), twin: None }
    }
}

/// The body, if the message says that it is JSON and how it is encoded.
fn json(properties: &Properties, body: &[u8]) -> Option<Value> {
    let says = |key: &str, word: &str| properties.system(key).is_some_and(|value| value.eq_ignore_ascii_case(word));
    (says("ct", "application/json") && says("ce", "utf-8")).then(|| serde_json::from_slice(body).ok()).flatten()
}
