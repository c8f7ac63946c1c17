//! Why the hub says no, with the code it says it by.

use std::fmt;

pub use ha_wire::ErrorCode as Code;

/// An error answer of the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What went wrong.
    pub code: Code,
    /// The text after the code.
    pub text: String,
    /// What the real hub would keep to itself; not part of the body.
    pub reason: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};{}", self.code.name(), self.text)
    }
}

impl Refusal {
    /// Any code with any text.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), reason: None }
    }

    /// The same with words that help whoever tests against this hub.
    pub(super) fn because(self, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }

    /// Something in the request is not as it should be.
    pub fn argument(text: impl Into<String>) -> Self {
        Self::new(Code::ArgumentInvalid, text)
    }

    /// No or wrong credentials, or no right.
    pub fn unauthorized() -> Self {
        Self::new(Code::IotHubUnauthorizedAccess, "Unauthorized")
    }

    /// The identity's etag has moved on.
    pub fn precondition() -> Self {
        Self::new(Code::PreconditionFailed, "PreconditionFailed")
    }

    pub(super) fn etag_missing() -> Self {
        Self::new(Code::PreconditionFailed, "Etag missing")
    }

    pub(super) fn twin_etag(device: &str) -> Self {
        Self::new(Code::PreconditionFailed, format!("ETag mismatch for device ID '{device}'"))
    }

    /// No such device.
    pub fn device_not_found(id: &str) -> Self {
        Self::new(Code::DeviceNotFound, id)
    }

    pub(super) fn module_not_found(id: &str) -> Self {
        Self::new(Code::ModuleNotFound, id)
    }

    pub(super) fn device_exists(id: &str) -> Self {
        let text = format!("A device with ID '{id}' is already registered.");
        Self::new(Code::DeviceAlreadyExists, text)
    }

    pub(super) fn module_exists(id: &str) -> Self {
        let text = format!("A module with ID '{id}' is already registered.");
        Self::new(Code::ModuleAlreadyExistsOnDevice, text)
    }

    pub(super) fn too_many_modules() -> Self {
        let text = format!("A device has at most {} modules", super::module::MODULES_MAX);
        Self::new(Code::TooManyModulesOnDevice, text)
    }
}
