//! Whom to ask before a planned change of holder, and whom to tell after any change.

use std::path::PathBuf;

use ha_core::time::Millis;
use serde::Serialize;

use super::{SecretMissing, SecretPlace};

/// One hook of one pool.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HookConfig {
    /// Its name, which is unique within the pool.
    pub name: String,
    /// When it is called.
    pub on: HookEvent,
    /// What is called.
    pub target: HookTarget,
    /// How long one try may take.
    pub timeout: Millis,
    /// How many more tries it gets.
    pub retries: u32,
    /// What counts when a hook that is asked gives no clear answer.
    pub on_timeout: OnTimeout,
}

/// When a hook is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HookEvent {
    /// Before a planned change of holder, which it can refuse.
    BeforeSwitchover,
    /// After any change of holder.
    AfterHandover,
}

/// What a hook calls.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HookTarget {
    /// An HTTP receiver of CloudEvents.
    Webhook(WebhookConfig),
    /// A program and its arguments; no shell is involved.
    Command(Vec<String>),
}

/// An HTTP receiver.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct WebhookConfig {
    /// Its address.
    pub address: Address,
    /// A header with a secret, if it wants one.
    pub secret: Option<SecretHeader>,
    /// Certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// Where the address of a webhook stands. One that holds a secret stands elsewhere than in the configuration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// Here.
    Here(String),
    /// In a place for secrets.
    Secret(SecretPlace),
}

/// A header whose value is a secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SecretHeader {
    /// Its name.
    pub name: String,
    /// Where its value is.
    pub place: SecretPlace,
}

/// What counts when a hook that is asked gives no clear answer in its time and tries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnTimeout {
    /// No.
    Veto,
    /// Yes.
    Go,
}

impl HookEvent {
    /// The word for it in the configuration, in events and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BeforeSwitchover => "before_switchover",
            Self::AfterHandover => "after_handover",
        }
    }
}

impl HookConfig {
    /// How long all tries together may take.
    pub fn longest(&self) -> Millis {
        self.timeout.times(u64::from(self.retries) + 1)
    }
}

impl Address {
    /// Reads the address from where it stands.
    pub fn read(&self) -> Result<String, SecretMissing> {
        match self {
            Self::Here(address) => Ok(address.clone()),
            Self::Secret(place) => place.read("address"),
        }
    }
}
