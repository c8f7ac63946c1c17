//! Where events are taken.

use std::net::SocketAddr;

use crate::config::file::RawListen;
use crate::config::{ListenConfig, SecretPlace, TokenConfig};

use super::Resolver;

const EVENT_SECRET_ENV: &str = "IOTEDGE_HA_EVENT_SECRET";
/// Event Grid in the directories of Azure's public cloud.
const EVENT_GRID: &str = "4962773b-9cdb-44cf-a8bf-237846a00ab7";
const AUTHORITY: &str = "https://login.microsoftonline.com";

impl Resolver<'_> {
    pub(super) fn listen(&mut self, raw: &RawListen) -> Option<ListenConfig> {
        let (env, file) = (&raw.event_secret_env, &raw.event_secret_file);
        let Some(at) = &raw.address else {
            if let Some(at) = env.as_ref().or(file.as_ref()).or(raw.event_audience.as_ref()) {
                let reason = "it is said how deliveries are known, but no address is given";
                self.complain(&at.origin, reason, "add address = \"127.0.0.1:8484\"");
            }
            return None;
        };
        let text = self.note("controller.listen.address", at, at.value.clone());
        let event_token = self.event_token(raw);
        let event_secret = self.event_secret(raw);
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Some(ListenConfig { address, event_secret, event_token }),
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

    /// The place of the secret; without a word about it there is one unless tokens take its place.
    fn event_secret(&mut self, raw: &RawListen) -> Option<SecretPlace> {
        let (env, file) = (&raw.event_secret_env, &raw.event_secret_file);
        if let (Some(_), Some(file)) = (env, file) {
            self.complain(&file.origin, "event_secret_env is given as well", "keep one of the two");
        }
        match file {
            Some(at) => {
                Some(SecretPlace::File(self.note("controller.listen.event_secret_file", at, self.beside(&at.value))))
            }
            None if env.is_none() && raw.event_audience.is_some() => None,
            None => {
                let name = self.text("controller.listen.event_secret_env", env, EVENT_SECRET_ENV);
                Some(SecretPlace::Environment(name))
            }
        }
    }

    fn event_token(&mut self, raw: &RawListen) -> Option<TokenConfig> {
        let key = |name: &str| format!("controller.listen.{name}");
        let Some(audience) = &raw.event_audience else {
            let others = [&raw.event_tenant, &raw.event_client, &raw.event_authority];
            if let Some(at) = others.into_iter().flatten().next() {
                let hint =
                    "event_audience = \"api://…\", the id or URI of the application that Event Grid asks a token for";
                self.complain(&at.origin, "tokens are described, but not whom they are for", hint);
            }
            return None;
        };
        let Some(tenant) = &raw.event_tenant else {
            let hint = "event_tenant = \"…\", the directory's id: `az account show --query tenantId`";
            self.complain(&audience.origin, "event_tenant is missing", hint);
            return None;
        };
        let authority = self.text(&key("event_authority"), &raw.event_authority, AUTHORITY);
        if let Some(at) = raw.event_authority.as_ref().filter(|at| !at.value.starts_with("https://")) {
            let reason = format!("{:?} is no address of an authority", at.value);
            self.complain(&at.origin, reason, format!("it begins with https://, like {AUTHORITY}"));
        }
        Some(TokenConfig {
            audience: self.note(&key("event_audience"), audience, audience.value.clone()),
            tenant: self.note(&key("event_tenant"), tenant, tenant.value.clone()),
            client: self.text(&key("event_client"), &raw.event_client, EVENT_GRID),
            authority: authority.trim_end_matches('/').to_owned(),
        })
    }
}
