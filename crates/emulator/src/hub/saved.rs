//! The part of the hub that outlives the process.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::configuration::Configuration;
use super::identity::Device;
use super::jobs::Jobs;
use super::{Hub, Id};

const VERSION: u32 = 1;

/// Identities, twins, configurations and jobs; no connections.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    v: u32,
    devices: BTreeMap<String, Device>,
    configurations: BTreeMap<String, Configuration>,
    #[serde(default)]
    jobs: Jobs,
}

impl Hub {
    /// A copy to write down.
    pub fn save(&self) -> Saved {
        Saved {
            v: VERSION,
            devices: self.devices.clone(),
            configurations: self.configurations.clone(),
            jobs: self.jobs.clone(),
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
