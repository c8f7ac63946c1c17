//! Where events are taken.

use std::net::SocketAddr;

use crate::config::file::RawListen;
use crate::config::{ListenConfig, SecretPlace};

use super::Resolver;

const EVENT_SECRET_ENV: &str = "IOTEDGE_HA_EVENT_SECRET";

impl Resolver<'_> {
    pub(super) fn listen(&mut self, raw: &RawListen) -> Option<ListenConfig> {
        let (env, file) = (&raw.event_secret_env, &raw.event_secret_file);
        let Some(at) = &raw.address else {
            if let Some(at) = env.as_ref().or(file.as_ref()) {
                self.complain(&at.origin, "a secret is given, but no address", "add address = \"127.0.0.1:8484\"");
            }
            return None;
        };
        let text = self.note("controller.listen.address", at, at.value.clone());
        if let (Some(_), Some(file)) = (env, file) {
            self.complain(&file.origin, "event_secret_env is given as well", "keep one of the two");
        }
        let event_secret = match file {
            Some(at) => SecretPlace::File(self.note("controller.listen.event_secret_file", at, self.beside(&at.value))),
            None => SecretPlace::Environment(self.text("controller.listen.event_secret_env", env, EVENT_SECRET_ENV)),
        };
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Some(ListenConfig { address, event_secret }),
            Ok(_) => {
                let hint = "listen at 127.0.0.1, and let a reverse proxy with a certificate pass /hooks/eventgrid on";
                self.complain(&at.origin, "the secret would cross the network in clear", hint);
                None
            }
            Err(_) => {
                self.complain(&at.origin, format!("{text:?} is no address with a port"), "it is like 127.0.0.1:8484");
                None
            }
        }
    }
}
