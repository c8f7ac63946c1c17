use ha_wire::{Device, IfMatch, Module};
use reqwest::Method;

use super::request::{Effect, Request};
use crate::{Call, Client, Error, Operation};

impl Client {
    /// A device's identity. [`Error::NotFound`] if there is none.
    pub async fn device(&self, device: &str, call: &Call) -> Result<Device, Error> {
        let request = Request::read(format!("get device {device}"), Operation::Registry, &["devices", device]);
        request.decode(&self.send(&request, call).await?)
    }

    /// Creates a device. [`Error::Conflict`] if it is there already.
    pub async fn create_device(&self, device: &Device, call: &Call) -> Result<Device, Error> {
        self.put_device("create", device, None, call).await
    }

    /// Replaces a device's identity. What is left out falls back to defaults; without `authentication` the hub mints new
    /// keys, so send back what was read.
    pub async fn update_device(&self, device: &Device, condition: &IfMatch, call: &Call) -> Result<Device, Error> {
        self.put_device("update", device, Some(condition), call).await
    }

    /// Deletes a device with its twin and modules.
    pub async fn delete_device(&self, device: &str, condition: &IfMatch, call: &Call) -> Result<(), Error> {
        self.delete(format!("delete device {device}"), &["devices", device], condition, call).await
    }

    /// The modules of a device.
    pub async fn modules(&self, device: &str, call: &Call) -> Result<Vec<Module>, Error> {
        let path = ["devices", device, "modules"];
        let request = Request::read(format!("list modules of {device}"), Operation::Registry, &path);
        request.decode(&self.send(&request, call).await?)
    }

    /// A module's identity. [`Error::NotFound`] if there is none; [`Error::Unauthorised`] if there is no such device.
    pub async fn module(&self, device: &str, module: &str, call: &Call) -> Result<Module, Error> {
        let what = format!("get module {device}/{module}");
        let request = Request::read(what, Operation::Registry, &["devices", device, "modules", module]);
        request.decode(&self.send(&request, call).await?)
    }

    /// Creates a module. [`Error::Conflict`] if it is there already.
    pub async fn create_module(&self, module: &Module, call: &Call) -> Result<Module, Error> {
        self.put_module("create", module, None, call).await
    }

    /// Replaces a module's identity; see [`Client::update_device`].
    pub async fn update_module(&self, module: &Module, condition: &IfMatch, call: &Call) -> Result<Module, Error> {
        self.put_module("update", module, Some(condition), call).await
    }

    /// Deletes a module with its twin.
    pub async fn delete_module(
        &self,
        device: &str,
        module: &str,
        condition: &IfMatch,
        call: &Call,
    ) -> Result<(), Error> {
        let path = ["devices", device, "modules", module];
        self.delete(format!("delete module {device}/{module}"), &path, condition, call).await
    }

    async fn put_device(
        &self,
        verb: &str,
        device: &Device,
        condition: Option<&IfMatch>,
        call: &Call,
    ) -> Result<Device, Error> {
        let what = format!("{verb} device {}", device.device_id);
        let path = ["devices", device.device_id.as_str()];
        let request = Request::new(what, Operation::Registry, Effect::Write, Method::PUT, &path);
        let request = request.if_match(condition).json(device);
        request.decode(&self.send(&request, call).await?)
    }

    async fn put_module(
        &self,
        verb: &str,
        module: &Module,
        condition: Option<&IfMatch>,
        call: &Call,
    ) -> Result<Module, Error> {
        let what = format!("{verb} module {}/{}", module.device_id, module.module_id);
        let path = ["devices", module.device_id.as_str(), "modules", module.module_id.as_str()];
        let request = Request::new(what, Operation::Registry, Effect::Write, Method::PUT, &path);
        let request = request.if_match(condition).json(module);
        request.decode(&self.send(&request, call).await?)
    }

    async fn delete(&self, what: String, path: &[&str], condition: &IfMatch, call: &Call) -> Result<(), Error> {
        let request = Request::new(what, Operation::Registry, Effect::Write, Method::DELETE, path);
        self.send(&request.if_match(Some(condition)), call).await.map(drop)
    }
}
