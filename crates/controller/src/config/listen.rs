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
    /// Where the secret is that deliveries carry in their address, if they do.
    pub event_secret: Option<SecretPlace>,
    /// Which bearer tokens they bring, if they do.
    pub event_token: Option<TokenConfig>,
}

/// Which bearer tokens are taken.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TokenConfig {
    /// Whom they must be for: the application's id or its URI.
    pub audience: String,
    /// The directory.
    pub tenant: String,
    /// To which application they must be issued.
    pub client: String,
    /// The address of the authority, without a slash at its end.
    pub authority: String,
}

impl ListenConfig {
    /// Reads the secret, if deliveries carry one.
    ///
    /// # Errors
    /// When it is not there, or too short to be one.
    pub fn secret(&self) -> Result<Option<Secret>, SecretMissing> {
        let Some(place) = &self.event_secret else { return Ok(None) };
        let text = place.read("event secret")?;
        if text.len() < SECRET_LEN_MIN {
            let why = format!("it is shorter than {SECRET_LEN_MIN} characters");
            return Err(place.missing("event secret", why));
        }
        Ok(Some(Secret::new(text)))
    }
}
