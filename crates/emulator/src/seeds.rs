//! What a hub is filled with.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::error::Error;
use crate::fleet;
use crate::hub::{DeviceBody, Expect, Hub, Id, ModuleBody, Refusal};
use crate::options::{Options, Seed};

/// What fills a hub at the start, and again when it is restarted without its state.
#[derive(Debug)]
pub(crate) struct Seeds {
    devices: Vec<Seed>,
    fleet: Option<PathBuf>,
    import: Option<PathBuf>,
}

impl Seeds {
    pub(crate) fn of(options: &Options) -> Self {
        Self { devices: options.seed.clone(), fleet: options.seed_file.clone(), import: options.import.clone() }
    }

    pub(crate) fn plant(&self, hub: &mut Hub, now: Timestamp) -> Result<(), Error> {
        for seed in &self.devices {
            plant(hub, seed, now).map_err(Error::Option)?;
        }
        if let Some(path) = &self.fleet {
            fleet::plant(hub, path, now)?;
        }
        if let Some(path) = &self.import {
            let text = std::fs::read_to_string(path).map_err(Error::read(path))?;
            let done = fleet::import(hub, &text, now);
            done.map_err(|reason| Error::Option(format!("{}: {reason}", path.display())))?;
        }
        Ok(())
    }
}

/// Makes a device and its modules unless they are there.
pub(crate) fn plant(hub: &mut Hub, seed: &Seed, now: Timestamp) -> Result<(), String> {
    let refused = |refusal: Refusal| format!("seed {}: {refusal}", seed.device);
    if !hub.exists(&Id::device(&seed.device)) {
        let body = serde_json::json!({"capabilities": {"iotEdge": seed.edge}});
        let body = DeviceBody::read(body).map_err(refused)?;
        hub.put_device(&seed.device, &body, &Expect::Nothing, now).map_err(refused)?;
    }
    for module in &seed.modules {
        if !hub.exists(&Id::module(&seed.device, module)) {
            let body = ModuleBody::default();
            hub.put_module(&seed.device, module, &body, &Expect::Nothing, now).map_err(refused)?;
        }
    }
    Ok(())
}
