//! Module identities.

use jiff::Timestamp;
use serde_json::Value;

use super::body::{AuthenticationBody, ModuleBody};
use super::expect::Expect;
use super::identity::{Device, Module, Presence, etag};
use super::link::Proof;
use super::refusal::Refusal;
use super::registry::{Shown, check_device_id, lost_credential};
use super::time;
use super::twin::Twin;
use super::{Hub, Id};

/// The most modules of one device.
pub(super) const MODULES_MAX: usize = 50;

impl Hub {
    /// `PUT /devices/{id}/modules/{mid}`: creates without `If-Match`, updates with one.
    pub fn put_module(
        &mut self,
        device_id: &str,
        id: &str,
        body: &ModuleBody,
        expect: &Expect,
        now: Timestamp,
    ) -> Result<Shown, Refusal> {
        check_device_id(id)?;
        let other = |named: &Option<String>, id: &str| named.as_deref().is_some_and(|n| n != id);
        if other(&body.module_id, id) || other(&body.device_id, device_id) {
            return Err(Refusal::argument("the body names another identity"));
        }
        self.usable_device(device_id)?;
        match expect {
            Expect::Nothing if id.starts_with('$') => Err(Refusal::argument("a module id does not start with '$'")),
            Expect::Nothing => self.create_module(device_id, id, body, now),
            _ => self.update_module(device_id, id, body, expect, now),
        }
    }

    /// `GET /devices/{id}/modules/{mid}`
    pub fn module(&self, device_id: &str, id: &str) -> Result<Shown, Refusal> {
        let module = self.find_module(device_id, id)?;
        Ok(Shown { body: module.show(device_id, id, false), etag: etag(module.etag) })
    }

    /// `GET /devices/{id}/modules`
    pub fn list_modules(&self, device_id: &str) -> Result<Vec<Value>, Refusal> {
        let device = self.usable_device(device_id)?;
        Ok(device.modules.iter().map(|(id, module)| module.show(device_id, id, false)).collect())
    }

    /// `DELETE /devices/{id}/modules/{mid}`
    pub fn delete_module(&mut self, device_id: &str, id: &str, expect: &Expect, now: Timestamp) -> Result<(), Refusal> {
        let current = etag(self.find_module(device_id, id)?.etag);
        if *expect == Expect::Nothing {
            return Err(Refusal::etag_missing());
        }
        if !expect.allows(&current) {
            return Err(Refusal::precondition());
        }
        let whole = Id::module(device_id, id);
        self.cut_links(device_id, "the module was deleted", |id, _| *id == whole);
        self.tell_lifecycle(&whole, false, now);
        if let Some(device) = self.devices.get_mut(device_id) {
            device.modules.remove(id);
        }
        self.kept.remove(&whole);
        self.changed(&whole, now);
        Ok(())
    }

    /// Makes a module as a deployment does, managed by the edge runtime.
    pub(super) fn ensure_module(&mut self, device_id: &str, id: &str, now: Timestamp) {
        let ticks = self.generation(now);
        let (etag, primary, secondary) = (self.dice.etag(), self.dice.key(), self.dice.key());
        let Some(device) = self.devices.get_mut(device_id) else {
            return;
        };
        let fresh = !device.modules.contains_key(id);
        device.modules.entry(id.to_owned()).or_insert_with(|| Module {
            managed_by: Some("iotEdge".into()),
            generation_id: ticks,
            etag,
            presence: Presence::default(),
            authentication: super::identity::Authentication::Sas { primary, secondary },
            twin: Twin::new(time::NEVER),
        });
        let whole = Id::module(device_id, id);
        self.changed(&whole, now);
        if fresh {
            self.tell_lifecycle(&whole, true, now);
        }
    }

    pub(super) fn find_module(&self, device_id: &str, id: &str) -> Result<&Module, Refusal> {
        self.usable_device(device_id)?.modules.get(id).ok_or_else(|| Refusal::module_not_found(id))
    }

    /// Under SAS, calls on modules of a missing or disabled device are unauthorised.
    fn usable_device(&self, device_id: &str) -> Result<&Device, Refusal> {
        self.devices.get(device_id).filter(|device| device.enabled).ok_or_else(Refusal::unauthorized)
    }

    fn create_module(
        &mut self,
        device_id: &str,
        id: &str,
        body: &ModuleBody,
        now: Timestamp,
    ) -> Result<Shown, Refusal> {
        let device = self.usable_device(device_id)?;
        if device.modules.contains_key(id) {
            return Err(Refusal::module_exists(id));
        }
        if device.modules.len() >= MODULES_MAX {
            return Err(Refusal::too_many_modules());
        }
        let module = Module {
            managed_by: body.managed_by.clone(),
            generation_id: self.generation(now),
            etag: self.dice.etag(),
            presence: Presence::default(),
            authentication: AuthenticationBody::resolve(body.authentication.as_ref(), || self.dice.key())?,
            twin: Twin::new(time::NEVER),
        };
        let shown = Shown { body: module.show(device_id, id, true), etag: etag(module.etag) };
        if let Some(device) = self.devices.get_mut(device_id) {
            device.modules.insert(id.to_owned(), module);
        }
        let whole = Id::module(device_id, id);
        self.changed(&whole, now);
        self.tell_lifecycle(&whole, true, now);
        Ok(shown)
    }

    fn update_module(
        &mut self,
        device_id: &str,
        id: &str,
        body: &ModuleBody,
        expect: &Expect,
        now: Timestamp,
    ) -> Result<Shown, Refusal> {
        let mut module = self.find_module(device_id, id)?.clone();
        if !expect.allows(&etag(module.etag)) {
            return Err(Refusal::precondition());
        }
        module.etag += 1;
        module.managed_by.clone_from(&body.managed_by);
        module.authentication = AuthenticationBody::resolve(body.authentication.as_ref(), || self.dice.key())?;
        self.keep_module(device_id, id, module, now);
        self.module(device_id, id)
    }

    /// Stores an updated module and cuts its connection if it was made with a key that is gone.
    pub(super) fn keep_module(&mut self, device_id: &str, id: &str, module: Module, now: Timestamp) {
        let whole = Id::module(device_id, id);
        let Some(device) = self.devices.get_mut(device_id) else {
            return;
        };
        let keys = module.authentication.clone();
        let before = device.modules.insert(id.to_owned(), module);
        if before.is_some_and(|b| lost_credential(&b.authentication, &keys)) {
            self.cut_links(device_id, "its credentials were changed", |id, link| {
                *id == whole && link.proof != Proof::Policy
            });
        }
        self.changed(&whole, now);
    }
}
