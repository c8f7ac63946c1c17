//! Device identities: create, read, update, delete, list, count.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::body::{AuthenticationBody, DeviceBody};
use super::c2d::Queue;
use super::expect::Expect;
use super::identity::{Authentication, Device, Module, Presence, etag};
use super::link::Proof;
use super::refusal::Refusal;
use super::time;
use super::twin::Twin;
use super::{Hub, Id};

/// The most that one list call returns.
pub(super) const LIST_MAX: usize = 1000;

/// An identity and the etag that goes with it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The body of the answer.
    pub body: Value,
    /// Its etag without quotes.
    pub etag: String,
}

impl Hub {
    /// `PUT /devices/{id}`: creates without `If-Match`, updates with one.
    pub fn put_device(
        &mut self,
        id: &str,
        body: &DeviceBody,
        expect: &Expect,
        now: Timestamp,
    ) -> Result<Shown, Refusal> {
        check_device_id(id)?;
        if body.device_id.as_deref().is_some_and(|named| named != id) {
            return Err(Refusal::argument("the body names another device"));
        }
        match expect {
            Expect::Nothing => self.create_device(id, body, now),
            _ => self.update_device(id, body, expect, now),
        }
    }

    /// `GET /devices/{id}`
    pub fn device(&self, id: &str) -> Result<Shown, Refusal> {
        let device = self.find(id)?;
        Ok(Shown { body: device.show(id, false), etag: etag(device.etag) })
    }

    /// `DELETE /devices/{id}`: takes the twin and the modules along.
    pub fn delete_device(&mut self, id: &str, expect: &Expect, now: Timestamp) -> Result<(), Refusal> {
        let current = etag(self.find(id)?.etag);
        if *expect == Expect::Nothing {
            return Err(Refusal::etag_missing());
        }
        if !expect.allows(&current) {
            return Err(Refusal::precondition());
        }
        self.cut_links(id, "the device was deleted", |_, _| true);
        let modules: Vec<String> = self.find(id)?.modules.keys().cloned().collect();
        for module in modules {
            self.tell_lifecycle(&Id::module(id, module), false, now);
        }
        self.tell_lifecycle(&Id::device(id), false, now);
        self.devices.remove(id);
        self.kept.retain(|kept, _| kept.device != id);
        self.changed(&Id::device(id), now);
        Ok(())
    }

    /// `GET /devices?top=n`
    pub fn list_devices(&self, top: Option<usize>) -> Vec<Value> {
        let top = top.filter(|n| (1..=LIST_MAX).contains(n)).unwrap_or(LIST_MAX);
        self.devices.iter().take(top).map(|(id, device)| device.show(id, false)).collect()
    }

    /// `GET /statistics/devices`
    pub fn device_statistics(&self) -> Value {
        let enabled = self.devices.values().filter(|d| d.enabled).count();
        json!({
            "totalDeviceCount": self.devices.len(),
            "enabledDeviceCount": enabled,
            "disabledDeviceCount": self.devices.len() - enabled,
        })
    }

    /// `GET /statistics/service`
    pub fn service_statistics(&self) -> Value {
        let connected = |d: &&Device| d.presence.connected;
        json!({"connectedDeviceCount": self.devices.values().filter(connected).count()})
    }

    pub(super) fn find(&self, id: &str) -> Result<&Device, Refusal> {
        self.devices.get(id).ok_or_else(|| Refusal::device_not_found(id))
    }

    fn create_device(&mut self, id: &str, body: &DeviceBody, now: Timestamp) -> Result<Shown, Refusal> {
        if self.devices.contains_key(id) {
            return Err(Refusal::device_exists(id));
        }
        let ticks = self.generation(now);
        let iot_edge = body.iot_edge();
        let own_scope = format!("ms-azure-iot-edge://{id}-{ticks}");
        let mut device = Device {
            generation_id: ticks,
            etag: self.dice.etag(),
            enabled: body.enabled()?,
            status_reason: body.status_reason.clone(),
            status_updated: None,
            presence: Presence::default(),
            authentication: AuthenticationBody::resolve(body.authentication.as_ref(), || self.dice.key())?,
            iot_edge,
            device_scope: iot_edge.then_some(own_scope),
            parent_scopes: Vec::new(),
            mail: Queue::default(),
            twin: Twin::new(&time::print(now)),
            modules: std::collections::BTreeMap::new(),
        };
        set_parents(&mut device, body);
        if iot_edge {
            self.add_runtime(&mut device, now);
        }
        let shown = Shown { body: device.show(id, true), etag: etag(device.etag) };
        let modules: Vec<String> = device.modules.keys().cloned().collect();
        self.devices.insert(id.to_owned(), device);
        self.changed(&Id::device(id), now);
        self.tell_lifecycle(&Id::device(id), true, now);
        for module in modules {
            self.tell_lifecycle(&Id::module(id, module), true, now);
        }
        Ok(shown)
    }

    fn update_device(
        &mut self,
        id: &str,
        body: &DeviceBody,
        expect: &Expect,
        now: Timestamp,
    ) -> Result<Shown, Refusal> {
        let mut device = self.find(id)?.clone();
        if !expect.allows(&etag(device.etag)) {
            return Err(Refusal::precondition());
        }
        let enabled = body.enabled()?;
        if device.enabled != enabled {
            device.status_updated = Some(now);
        }
        device.etag += 1;
        device.enabled = enabled;
        device.status_reason.clone_from(&body.status_reason);
        device.authentication = AuthenticationBody::resolve(body.authentication.as_ref(), || self.dice.key())?;
        self.set_edge(id, &mut device, body, now)?;
        set_parents(&mut device, body);
        self.keep_device(id, device, now);
        self.device(id)
    }

    /// Stores an updated device and cuts the connections that it no longer admits.
    pub(super) fn keep_device(&mut self, id: &str, device: Device, now: Timestamp) {
        let (enabled, keys) = (device.enabled, device.authentication.clone());
        let before = self.devices.insert(id.to_owned(), device);
        if !enabled {
            self.cut_links(id, "the device was disabled", |_, _| true);
        } else if before.is_some_and(|b| lost_credential(&b.authentication, &keys)) {
            self.cut_links(id, "its credentials were changed", |id, link| {
                id.module.is_none() && link.proof != Proof::Policy
            });
        }
        self.changed(&Id::device(id), now);
    }

    fn set_edge(&mut self, id: &str, device: &mut Device, body: &DeviceBody, now: Timestamp) -> Result<(), Refusal> {
        let iot_edge = body.iot_edge();
        let blanked = body.device_scope.as_deref().is_some_and(str::is_empty);
        if device.iot_edge && iot_edge && blanked {
            return Err(Refusal::argument("an edge device keeps its own scope"));
        }
        if iot_edge && !device.iot_edge {
            device.device_scope = Some(format!("ms-azure-iot-edge://{id}-{}", device.generation_id));
            self.add_runtime(device, now);
        }
        if !iot_edge && device.iot_edge {
            device.device_scope = None;
            device.modules.retain(|name, _| !name.starts_with('$'));
        }
        device.iot_edge = iot_edge;
        Ok(())
    }

    fn add_runtime(&mut self, device: &mut Device, now: Timestamp) {
        for name in ["$edgeAgent", "$edgeHub"] {
            let module = Module {
                managed_by: Some("iotEdge".into()),
                generation_id: self.generation(now),
                etag: self.dice.etag(),
                presence: Presence::default(),
                authentication: Authentication::None,
                twin: Twin::new(time::NEVER),
            };
            device.modules.insert(name.to_owned(), module);
        }
    }

    /// Ticks of now, made larger than any handed out before.
    pub(super) fn generation(&mut self, now: Timestamp) -> String {
        self.last_ticks = time::ticks(now).max(self.last_ticks + 1);
        self.last_ticks.to_string()
    }
}

/// An edge device keeps its own scope and takes parents beside it; a leaf's scope is its parent's.
fn set_parents(device: &mut Device, body: &DeviceBody) {
    if device.iot_edge {
        if let Some(parents) = &body.parent_scopes {
            device.parent_scopes.clone_from(parents);
        }
        return;
    }
    if let Some(scope) = body.device_scope.as_ref().filter(|s| !s.is_empty()) {
        device.device_scope = Some(scope.clone());
        device.parent_scopes = vec![scope.clone()];
    } else if body.device_scope.is_some() {
        device.device_scope = None;
        device.parent_scopes.clear();
    }
}

/// Whether something that was good for log-in is good no longer.
pub(super) fn lost_credential(before: &Authentication, after: &Authentication) -> bool {
    let (keys, prints) = (after.keys(), after.thumbprint_list());
    before.kind() != after.kind()
        || before.keys().iter().any(|key| !keys.contains(key))
        || before.thumbprint_list().iter().any(|print| !prints.iter().any(|kept| kept.eq_ignore_ascii_case(print)))
}

/// 1 to 128 of the characters the registry takes.
pub(super) fn check_device_id(id: &str) -> Result<(), Refusal> {
    ha_wire::identity::check_id(id).map_err(|e| Refusal::argument(e.to_string()))
}
