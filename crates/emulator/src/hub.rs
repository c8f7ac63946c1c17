//! What an IoT Hub does, without sockets, clock or dice of its own.
//!
//! Every call that changes something takes the time. Afterwards drain [`Hub::take_effects`]: what the hub wants
//! told to connections, in the order it happened.

mod body;
mod bulk;
mod c2d;
mod configuration;
mod dice;
mod digital_twin;
mod disturb;
mod evaluation;
mod event;
mod expect;
mod identity;
mod index;
mod jobs;
mod limits;
mod link;
mod module;
mod query;
mod refusal;
mod registry;
mod saved;
mod section;
mod settings;
#[cfg(test)]
mod tests;
mod time;
mod twin;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

pub use body::{DeviceBody, ModuleBody};
pub use bulk::BulkOutcome;
pub use c2d::{Ack, CloudMessage, FEEDBACK, Received, Settlement};
pub use dice::Dice;
pub use evaluation::Evaluated;
pub use event::{Event, Happening, Kind, Telemetry};
pub use expect::Expect;
pub use identity::{Authentication, Id, Key};
pub use index::{PAGE_MAX, Page};
pub use jobs::Errand;
pub use link::{Attached, Channel, LinkView, Proof, Session, Subscriptions};
pub use refusal::{Code, Refusal};
pub use registry::Shown;
pub use saved::{Change, Dirty, Saved};
pub use settings::Settings;
pub(crate) use time::print as print_time;

use configuration::Configuration;
use identity::Device;
use index::Index;
use jobs::Jobs;
use link::Connection;

/// The whole hub.
#[derive(Debug)]
pub struct Hub {
    devices: BTreeMap<String, Device>,
    configurations: BTreeMap<String, Configuration>,
    links: BTreeMap<Id, Connection>,
    kept: BTreeMap<Id, Subscriptions>,
    index: Index,
    jobs: Jobs,
    /// What became of cloud-to-device messages. It ends with the process.
    feedback: c2d::Feedback,
    settings: Settings,
    beside: BTreeMap<String, Value>,
    dice: Dice,
    last_ticks: u64,
    sequence: event::Sequence,
    revision: u64,
    /// When time alone next changes a queue of messages.
    mail_due: Option<Timestamp>,
    evaluation_due: bool,
    taken: u64,
    forgotten: bool,
    noted: u64,
    dirty: BTreeSet<Id>,
    effects: Vec<Effect>,
}

/// What connections, and whoever listens, are to be told.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Desired properties were written.
    Desired {
        /// Whose.
        id: Id,
        /// The section's new version.
        version: u64,
        /// The patch as it came, or the whole section after a replacement, with `$version`.
        body: Value,
    },
    /// A cloud-to-device message goes out.
    Message {
        /// Over which connection.
        session: Session,
        /// The topic with its properties.
        topic: String,
        /// The body.
        payload: Vec<u8>,
        /// What an acknowledgement completes; `None` when none is awaited.
        receipt: Option<u64>,
    },
    /// A device is done with a message.
    MessageCompleted {
        /// Whose.
        id: Id,
    },
    /// A message was dropped.
    MessageLost {
        /// Whose.
        id: Id,
        /// Which.
        sequence: u64,
        /// Why, for the log.
        reason: &'static str,
    },
    /// Something happened.
    Event(Event),
    /// A connection is to be closed.
    Cut {
        /// Which.
        session: Session,
        /// Why, for the log.
        reason: &'static str,
    },
}

impl Effect {
    /// What happened, if that is what it tells.
    pub fn into_event(self) -> Option<Event> {
        match self {
            Self::Event(event) => Some(event),
            _ => None,
        }
    }
}

/// Whether and how an identity may connect.
#[derive(Debug, Clone)]
pub struct Admission {
    /// How it must prove itself; a policy with DeviceConnect may sign for it as well.
    pub authentication: Authentication,
}

/// Why an identity may not connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Barred {
    /// The device is not registered.
    #[error("unknown device")]
    UnknownDevice,
    /// The module is not registered.
    #[error("unknown module")]
    UnknownModule,
    /// The device is disabled.
    #[error("the device is disabled")]
    Disabled,
}

impl Hub {
    /// An empty hub whose queries trail by `index_lag`.
    pub fn new(dice: Dice, index_lag: SignedDuration) -> Self {
        Self {
            devices: BTreeMap::new(),
            configurations: BTreeMap::new(),
            links: BTreeMap::new(),
            kept: BTreeMap::new(),
            index: Index::new(index_lag),
            jobs: Jobs::default(),
            feedback: c2d::Feedback::default(),
            settings: Settings::default(),
            beside: BTreeMap::new(),
            dice,
            last_ticks: 0,
            sequence: event::Sequence::default(),
            revision: 0,
            mail_due: None,
            evaluation_due: false,
            taken: 0,
            forgotten: false,
            noted: 0,
            dirty: BTreeSet::new(),
            effects: Vec::new(),
        }
    }

    /// `GET /twins/{id}` or `/twins/{id}/modules/{mid}`
    pub fn twin(&self, id: &Id) -> Result<Value, Refusal> {
        let device = self.find(&id.device)?;
        let Some(name) = &id.module else {
            return Ok(device.show_twin(&id.device));
        };
        let module = device.modules.get(name);
        module
            .map(|module| module.show_twin(&id.device, device, name))
            .ok_or_else(|| Refusal::device_not_found(&id.device))
    }

    /// Whether there is such an identity.
    pub fn exists(&self, id: &Id) -> bool {
        self.devices.get(&id.device).is_some_and(|device| {
            let module = id.module.as_ref();
            module.is_none_or(|name| device.modules.contains_key(name))
        })
    }

    /// Whether the identity may connect, and with which keys.
    pub fn admit(&self, id: &Id) -> Result<Admission, Barred> {
        let device = self.devices.get(&id.device).ok_or(Barred::UnknownDevice)?;
        let authentication = match &id.module {
            None => &device.authentication,
            Some(name) => {
                let module = device.modules.get(name).ok_or(Barred::UnknownModule)?;
                &module.authentication
            }
        };
        if !device.enabled {
            return Err(Barred::Disabled);
        }
        Ok(Admission { authentication: authentication.clone() })
    }

    /// The identity's primary key, for connection strings.
    pub fn primary_key(&self, id: &Id) -> Option<Key> {
        let device = self.devices.get(&id.device)?;
        let authentication = match &id.module {
            None => &device.authentication,
            Some(name) => &device.modules.get(name)?.authentication,
        };
        authentication.keys().first().map(|key| (*key).clone())
    }

    /// Moves with every change that is worth keeping.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What happened since the last call.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    fn changed(&mut self, id: &Id, now: Timestamp) {
        self.dirty.insert(id.clone());
        self.seen(id, now);
    }

    /// A change that nobody was promised: kept with the next one of the identity, or when everything is written.
    fn seen(&mut self, id: &Id, now: Timestamp) {
        self.revision += 1;
        self.noted += 1;
        self.note_change(id, now);
    }
}
