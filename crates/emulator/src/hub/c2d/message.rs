//! What is sent to a device.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ha_wire::Properties;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hub::time;

/// A message for a device. Feedback is asked for in `ack`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CloudMessage {
    /// `messageId`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// `correlationId`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// `userId`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// `contentType`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// `contentEncoding`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// Which feedback is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ack: Option<Ack>,
    /// When it is to be dropped; an hour from now when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry: Option<Timestamp>,
    /// The sender's own properties.
    pub properties: Vec<(String, String)>,
    /// The body.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub body: Vec<u8>,
}

/// Which feedback the sender asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ack {
    /// None.
    None,
    /// When it was completed.
    Positive,
    /// When it was dropped.
    Negative,
    /// Either way.
    Full,
}

impl Ack {
    /// As it stands in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::Full => "full",
        }
    }

    /// Whether feedback is wanted of a message that was completed, or of one that was not.
    pub(super) fn asks_for(self, completed: bool) -> bool {
        match self {
            Self::None => false,
            Self::Positive => completed,
            Self::Negative => !completed,
            Self::Full => true,
        }
    }

    /// Reads it in any case.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Positive, Self::Negative, Self::Full]
            .into_iter()
            .find(|ack| ack.as_str().eq_ignore_ascii_case(text))
    }
}

impl CloudMessage {
    /// The property bag of its topic.
    pub(super) fn bag(&self, device: &str, expires: Timestamp) -> Properties {
        let mut bag = Properties::new();
        let system = [
            ("mid", &self.message_id),
            ("cid", &self.correlation_id),
            ("uid", &self.user_id),
            ("ct", &self.content_type),
            ("ce", &self.content_encoding),
        ];
        for (name, value) in system {
            if let Some(value) = value {
                bag.set_system(name, value);
            }
        }
        bag.set_system("to", format!("/devices/{device}/messages/devicebound"));
        if self.expiry.is_some() {
            bag.set_system("exp", time::print(expires));
        }
        if let Some(ack) = self.ack {
            bag.set("iothub-ack", ack.as_str());
        }
        for (name, value) in &self.properties {
            bag.set(name, value);
        }
        bag
    }
}

fn to_base64<S: Serializer>(body: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(body))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}
