//! What happened, for whoever listens: messages, connections, identities that come and go, changes of twins, jobs.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::link::Proof;
use super::twin::Changed;
use super::{Effect, Hub, Id, time};

/// .NET ticks at the beginning of the year 1601, where Windows file times begin.
const FILETIME_EPOCH_TICKS: u64 = 504_911_232_000_000_000;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Whom it is about.
    pub id: Id,
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: Happening,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// A device-to-cloud message.
    Message(Telemetry),
    /// The identity has come to count as connected, or ceased to.
    Connection {
        /// Which of the two.
        connected: bool,
        /// 64 hexadecimal digits that grow with each change.
        sequence_number: String,
    },
    /// An identity was made or deleted.
    Lifecycle {
        /// Which of the two.
        created: bool,
        /// The whole twin, at birth or before the end.
        twin: Value,
    },
    /// Tags, desired or reported properties changed.
    Twin {
        /// The sections were replaced rather than merged.
        replaced: bool,
        /// `{version, tags?, properties?}` with what was written, and the twin's etag if a back end wrote.
        body: Value,
    },
    /// What a job does to a device has moved on.
    Job {
        /// The device's turn was made just now.
        created: bool,
        /// Which job.
        job: String,
        /// The row that `devices.jobs` has of it.
        row: Value,
    },
}

/// The kinds of happenings, as the tail names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Device-to-cloud messages.
    Telemetry,
    /// Changes of connection state.
    Connection,
    /// Identities that come and go.
    Lifecycle,
    /// Changes of twins.
    Twin,
    /// What jobs do to devices.
    Job,
}

/// A device-to-cloud message, with what the hub knows of its sender.
#[derive(Debug, Clone, PartialEq)]
pub struct Telemetry {
    /// Application and system properties, decoded; keys of the latter begin with `$.`.
    pub properties: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// What the sender proved itself with, as JSON in a string.
    pub auth_method: String,
    /// The sender's generation id.
    pub generation_id: String,
}

impl Kind {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Telemetry, Self::Connection, Self::Lifecycle, Self::Twin, Self::Job];

    /// Its name in the tail.
    pub fn name(self) -> &'static str {
        match self {
            Self::Telemetry => "telemetry",
            Self::Connection => "connection",
            Self::Lifecycle => "lifecycle",
            Self::Twin => "twin",
            Self::Job => "job",
        }
    }
}

impl Happening {
    /// Of which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Message(_) => Kind::Telemetry,
            Self::Connection { .. } => Kind::Connection,
            Self::Lifecycle { .. } => Kind::Lifecycle,
            Self::Twin { .. } => Kind::Twin,
            Self::Job { .. } => Kind::Job,
        }
    }
}

/// Numbers connection events so that they sort as text.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    filetime: u64,
    count: u64,
}

impl Sequence {
    /// 16 zeros, a file time that never goes back, a constant, and a counter: 64 digits.
    pub(super) fn next(&mut self, now: Timestamp) -> String {
        self.filetime = self.filetime.max(time::ticks(now).saturating_sub(FILETIME_EPOCH_TICKS));
        self.count += 1;
        format!("{:016X}{:016X}{:08X}{:024X}", 0, self.filetime, 2, self.count)
    }
}

impl Hub {
    /// A message has arrived; only its sender's identity is looked up here.
    pub fn receive(&mut self, from: &Id, properties: Vec<(String, String)>, body: Bytes, now: Timestamp) {
        let message = Telemetry {
            properties,
            body,
            auth_method: self.auth_method(from),
            generation_id: self.generation_id(from).unwrap_or_default(),
        };
        self.tell(from, now, Happening::Message(message));
    }

    pub(super) fn tell(&mut self, id: &Id, at: Timestamp, what: Happening) {
        self.effects.push(Effect::Event(Event { id: id.clone(), at, what }));
    }

    pub(super) fn tell_connection(&mut self, id: &Id, connected: bool, now: Timestamp) {
        let sequence_number = self.sequence.next(now);
        self.tell(id, now, Happening::Connection { connected, sequence_number });
    }

    /// Call it after making an identity, or before deleting one.
    pub(super) fn tell_lifecycle(&mut self, id: &Id, created: bool, now: Timestamp) {
        if let Ok(twin) = self.twin(id) {
            self.tell(id, now, Happening::Lifecycle { created, twin });
        }
    }

    pub(super) fn tell_twin(&mut self, id: &Id, changed: Changed, now: Timestamp) {
        let mut body = Map::new();
        body.insert("version".into(), json!(changed.version));
        if let Some(etag) = changed.etag {
            body.insert("etag".into(), json!(etag));
        }
        if let Some(tags) = changed.tags {
            body.insert("tags".into(), Value::Object(tags));
        }
        let mut properties = Map::new();
        for (name, section) in [("desired", changed.desired), ("reported", changed.reported)] {
            properties.extend(section.map(|section| (name.to_owned(), section)));
        }
        if !properties.is_empty() {
            body.insert("properties".into(), Value::Object(properties));
        }
        self.tell(id, now, Happening::Twin { replaced: changed.replaced, body: Value::Object(body) });
    }

    fn auth_method(&self, id: &Id) -> String {
        let policy = self.links.get(id).is_some_and(|link| link.proof == Proof::Policy);
        let scope = match &id.module {
            _ if policy => "hub",
            None => "device",
            Some(_) => "module",
        };
        let kind = self.authentication_kind(id).unwrap_or("sas");
        format!(r#"{{"scope":"{scope}","type":"{kind}","issuer":"iothub","acceptingIpFilterRule":null}}"#)
    }

    fn authentication_kind(&self, id: &Id) -> Option<&'static str> {
        let device = self.devices.get(&id.device)?;
        let authentication = match &id.module {
            None => &device.authentication,
            Some(module) => &device.modules.get(module)?.authentication,
        };
        Some(match authentication.kind() {
            "selfSigned" | "certificateAuthority" => "x509",
            _ => "sas",
        })
    }

    fn generation_id(&self, id: &Id) -> Option<String> {
        let device = self.devices.get(&id.device)?;
        Some(match &id.module {
            None => device.generation_id.clone(),
            Some(module) => device.modules.get(module)?.generation_id.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_look_like_the_real_ones_and_only_grow() {
        let mut sequence = Sequence::default();
        let at: Timestamp = "2018-06-02T19:17:44.4383998Z".parse().expect("a time");
        let first = sequence.next(at);
        // The file time of the sample in Microsoft's Event Grid examples is 2018-07-03.
        let sample = "000000000000000001D4132452F67CE200000002000000000000000000000001";
        assert_eq!(first.len(), sample.len());
        assert!(first.starts_with("000000000000000001D3FAA66249A0FE"), "{first}");
        assert!(first.ends_with(&sample[32..]), "{first}");
        let earlier = "2017-01-01T00:00:00Z".parse().expect("a time");
        assert!(sequence.next(earlier) > first, "a clock that goes back changes nothing");
    }
}
