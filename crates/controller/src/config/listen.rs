use std::net::SocketAddr;

use ha_wire::Secret;
use serde::Serialize;

use super::{SecretMissing, SecretPlace};
use crate::push::SECRET_LEN_MIN;

/// Where events are taken.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ListenConfig {
    /// On this machine.
    pub address: SocketAddr,
    /// Where the secret is that deliveries carry in their address.
    pub event_secret: SecretPlace,
}

impl ListenConfig {
    /// Reads the secret.
    ///
    /// # Errors
    /// When it is not there, or too short to be one.
    pub fn secret(&self) -> Result<Secret, SecretMissing> {
        let text = self.event_secret.read("event secret")?;
        if text.len() < SECRET_LEN_MIN {
            return Err(self
                .event_secret
                .missing("event secret", format!("it is shorter than {SECRET_LEN_MIN} characters")));
        }
        Ok(Secret::new(text))
    }
}
