//! The part of the hub that outlives the process.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::configuration::Configuration;
use super::identity::{Device, Module};
use super::jobs::Jobs;
use super::{Hub, Id};

const VERSION: u32 = 1;

/// Identities, twins, configurations, jobs, and what others keep beside them; no connections.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    v: u32,
    devices: BTreeMap<String, Device>,
    configurations: BTreeMap<String, Configuration>,
    #[serde(default)]
    jobs: Jobs,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    beside: BTreeMap<String, Value>,
}

impl Default for Saved {
    fn default() -> Self {
        Self {
            v: VERSION,
            devices: BTreeMap::new(),
            configurations: BTreeMap::new(),
            jobs: Jobs::default(),
            beside: BTreeMap::new(),
        }
    }
}

/// What has changed since somebody last asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dirty {
    /// Nothing that is worth keeping.
    Nothing,
    /// These identities; a device's modules are its own affair.
    Some(BTreeSet<Id>),
    /// These, and whatever is kept beside identities.
    Rest(BTreeSet<Id>),
    /// Everything.
    Whole,
}

/// What is left of a change: whole values, so that playing it twice does no harm.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Change {
    /// An identity.
    Identity(IdentityChange),
    /// All that is kept beside identities.
    Rest(Box<Saved>),
}

/// An identity as it is after a change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityChange {
    device: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    module: Option<String>,
    now: Option<Record>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    Device(Box<Device>),
    Module(Box<Module>),
}

impl Saved {
    /// Brings it up to date by one change.
    pub fn apply(&mut self, change: Change) -> Result<(), String> {
        let change = match change {
            Change::Identity(change) => change,
            Change::Rest(rest) => {
                *self = Self { devices: std::mem::take(&mut self.devices), ..*rest };
                return Ok(());
            }
        };
        match (change.module, change.now) {
            (None, None) => {
                self.devices.remove(&change.device);
            }
            (None, Some(Record::Device(device))) => {
                self.devices.insert(change.device, *device);
            }
            // The device may be gone: at the same moment, or later, if this is played over what came of it.
            (Some(module), Some(Record::Module(now))) => {
                self.devices.get_mut(&change.device).map(|device| device.modules.insert(module, *now));
            }
            (Some(module), None) => {
                self.devices.get_mut(&change.device).map(|device| device.modules.remove(&module));
            }
            _ => return Err("a device where a module is named, or the reverse".into()),
        }
        Ok(())
    }
}

impl Hub {
    /// What has changed since the last call.
    pub fn take_dirty(&mut self) -> Dirty {
        let moved = self.revision - std::mem::replace(&mut self.taken, self.revision);
        let noted = std::mem::take(&mut self.noted);
        let ids = std::mem::take(&mut self.dirty);
        match () {
            () if self.forgotten => {
                self.forgotten = false;
                Dirty::Whole
            }
            () if moved != noted => Dirty::Rest(ids),
            () if ids.is_empty() => Dirty::Nothing,
            () => Dirty::Some(ids),
        }
    }

    /// The identity as it is, to write down.
    pub fn record(&self, id: &Id) -> Change {
        let device = self.devices.get(&id.device);
        let now = match &id.module {
            None => device.map(|device| Record::Device(Box::new(device.clone()))),
            Some(module) => {
                let module = device.and_then(|device| device.modules.get(module));
                module.map(|module| Record::Module(Box::new(module.clone())))
            }
        };
        Change::Identity(IdentityChange { device: id.device.clone(), module: id.module.clone(), now })
    }

    /// Every identity, each device before its modules; the runtime's own modules come with their device.
    pub fn identities(&self) -> Vec<Id> {
        let modules = |name: &String, device: &Device| {
            let own = device.modules.keys().filter(|module| !module.starts_with('$'));
            own.map(|module| Id::module(name, module)).collect::<Vec<_>>()
        };
        let all = self.devices.iter();
        all.flat_map(|(name, device)| std::iter::once(Id::device(name)).chain(modules(name, device))).collect()
    }

    /// The names of a device's modules.
    pub fn identities_of(&self, device: &str) -> Vec<&str> {
        self.devices.get(device).map_or_else(Vec::new, |device| device.modules.keys().map(String::as_str).collect())
    }

    /// What is kept beside identities, to write down.
    pub fn record_rest(&self) -> Change {
        Change::Rest(Box::new(self.save_with(BTreeMap::new())))
    }

    /// Keeps something that is not the hub's own under a name, so that one log has it in its order; null forgets it.
    pub fn keep_beside(&mut self, name: &str, value: Value) {
        if self.beside.get(name).unwrap_or(&Value::Null) == &value {
            return;
        }
        match value {
            Value::Null => _ = self.beside.remove(name),
            value => _ = self.beside.insert(name.to_owned(), value),
        }
        self.revision += 1;
    }

    /// What is kept under the name.
    pub fn kept_beside(&self, name: &str) -> Option<&Value> {
        self.beside.get(name)
    }

    /// A copy to write down.
    pub fn save(&self) -> Saved {
        self.save_with(self.devices.clone())
    }

    fn save_with(&self, devices: BTreeMap<String, Device>) -> Saved {
        Saved {
            v: VERSION,
            devices,
            configurations: self.configurations.clone(),
            jobs: self.jobs.clone(),
            beside: self.beside.clone(),
        }
    }

    /// Fills an empty hub from what was written down; refuses another version's file.
    pub fn load(&mut self, saved: Saved, now: Timestamp) -> Result<(), String> {
        if saved.v != VERSION {
            return Err(format!("version {} (this is {VERSION})", saved.v));
        }
        self.devices = saved.devices;
        self.configurations = saved.configurations;
        self.jobs = saved.jobs;
        self.beside = saved.beside;
        self.jobs.resume();
        self.find_mail_due();
        self.evaluation_due = !self.configurations.is_empty();
        let names: Vec<String> = self.devices.keys().cloned().collect();
        for name in names {
            self.changed(&Id::device(name), now);
        }
        Ok(())
    }
}
