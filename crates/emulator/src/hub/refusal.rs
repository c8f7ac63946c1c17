//! Why the hub says no, with the code it says it by.

use std::fmt;

/// An error answer of the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What went wrong.
    pub code: Code,
    /// The text after the code.
    pub text: String,
}

/// The hub's error codes that the emulator can give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// 400001
    InvalidProtocolVersion,
    /// 400004
    ArgumentInvalid,
    /// 400402
    InvalidConfigurationContent,
    /// 400401
    InvalidConfigurationTargetCondition,
    /// 401002
    IotHubUnauthorizedAccess,
    /// 403800
    DeviceMaximumInflightMethodExceeded,
    /// 404001
    DeviceNotFound,
    /// 404010
    ModuleNotFound,
    /// 404103
    DeviceNotOnline,
    /// 404301
    ConfigurationNotFound,
    /// 405000
    GenericMethodNotAllowed,
    /// 409001
    DeviceAlreadyExists,
    /// 409301
    ModuleAlreadyExistsOnDevice,
    /// 409401
    ConfigurationAlreadyExists,
    /// 412001
    PreconditionFailed,
    /// 413001
    MessageTooLarge,
    /// 413002
    TooManyDevices,
    /// 413003
    TooManyModulesOnDevice,
    /// 413101
    ConfigurationCountLimitExceeded,
    /// 429001
    ThrottlingException,
    /// 429003
    ThrottlingBacklogTimeout,
    /// 500001
    ServerError,
    /// 502000
    BadGateway,
    /// 503001
    ServiceUnavailable,
    /// 504101
    GatewayTimeout,
}

impl Code {
    /// The number; its first three digits are the HTTP status.
    pub fn number(self) -> u32 {
        match self {
            Self::InvalidProtocolVersion => 400_001,
            Self::ArgumentInvalid => 400_004,
            Self::InvalidConfigurationTargetCondition => 400_401,
            Self::InvalidConfigurationContent => 400_402,
            Self::IotHubUnauthorizedAccess => 401_002,
            Self::DeviceMaximumInflightMethodExceeded => 403_800,
            Self::DeviceNotFound => 404_001,
            Self::ModuleNotFound => 404_010,
            Self::DeviceNotOnline => 404_103,
            Self::ConfigurationNotFound => 404_301,
            Self::GenericMethodNotAllowed => 405_000,
            Self::DeviceAlreadyExists => 409_001,
            Self::ModuleAlreadyExistsOnDevice => 409_301,
            Self::ConfigurationAlreadyExists => 409_401,
            Self::PreconditionFailed => 412_001,
            Self::MessageTooLarge => 413_001,
            Self::TooManyDevices => 413_002,
            Self::TooManyModulesOnDevice => 413_003,
            Self::ConfigurationCountLimitExceeded => 413_101,
            Self::ThrottlingException => 429_001,
            Self::ThrottlingBacklogTimeout => 429_003,
            Self::ServerError => 500_001,
            Self::BadGateway => 502_000,
            Self::ServiceUnavailable => 503_001,
            Self::GatewayTimeout => 504_101,
        }
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        u16::try_from(self.number() / 1000).unwrap_or(500)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};{}", self.code, self.text)
    }
}

impl Refusal {
    /// Any code with any text.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
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
