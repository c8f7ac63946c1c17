//! How to reach the hub, and who asks.

use ha_iothub::Cloud;

use crate::config::file::{RawFile, RawHub, RawIdentity};
use crate::config::origin::{At, Origin};
use crate::config::problem::holds_key;
use crate::config::{CONNECTION_STRING_ENV, HubAccess, HubConfig, IdentityConfig, IdentitySource, SecretPlace};

use super::Resolver;

/// The editions of a hub.
const SKUS: [&str; 7] = ["F1", "B1", "B2", "B3", "S1", "S2", "S3"];

const SOURCES: &str = "\"managed\", \"workload\", \"client_secret\" or \"azure_cli\"";

/// As Microsoft's own tools call it.
const CLIENT_SECRET_ENV: &str = "AZURE_CLIENT_SECRET";

impl Resolver<'_> {
    pub(super) fn hub(&mut self, raw: &RawFile) -> HubConfig {
        let cloud = self.cloud(&raw.hub);
        let identity = self.identity(&raw.hub.identity, cloud);
        let access = self.access(raw, identity);
        let ca_file = raw.hub.ca_file.as_ref().map(|at| self.note("hub.ca_file", at, self.beside(&at.value)));
        let sku = self.text("hub.sku", &raw.hub.sku, "S1").to_ascii_uppercase();
        if let Some(at) = raw.hub.sku.as_ref().filter(|_| !SKUS.contains(&sku.as_str())) {
            let reason = format!("sku = {:?} is no edition of IoT Hub", at.value);
            self.complain(&at.origin, reason, format!("one of {}", SKUS.join(", ")));
        }
        let units = self.number("hub.units", &[&raw.hub.units], 1, 1..=200);
        let resource = self.resource(&raw.hub, &access, cloud);
        HubConfig { cloud, access, resource, ca_file, sku, units: u32::try_from(units).unwrap_or(1) }
    }

    fn cloud(&mut self, raw: &RawHub) -> Cloud {
        let words = ["public", "china", "us_government"];
        let word = self.word("hub.cloud", &[&raw.cloud], words);
        let cloud = match word {
            "china" => Cloud::China,
            "us_government" => Cloud::UsGovernment,
            _ => Cloud::Public,
        };
        let Some(host) = &raw.host else { return cloud };
        let of_host = Cloud::ALL.into_iter().zip(words).find(|(other, _)| host.value.ends_with(other.hub_suffix()));
        if let Some((_, right)) = of_host.filter(|(other, _)| *other != cloud) {
            let origin = raw.cloud.as_ref().map_or(&host.origin, |at| &at.origin);
            let reason = format!("{} is not in the cloud {word:?}", host.value);
            self.complain(origin, reason, format!("cloud = {right:?} under [hub]"));
        }
        cloud
    }

    fn access(&mut self, raw: &RawFile, identity: Option<IdentityConfig>) -> HubAccess {
        let hub = &raw.hub;
        let place = hub.connection_string_env.as_ref().or(hub.connection_string_file.as_ref());
        let Some(host) = &hub.host else {
            if let (Some(source), None) = (&hub.identity.source, place) {
                let hint = "add host = \"NAME.azure-devices.net\" under [hub]; or name the place of a connection string, \
                            if the identity is for Azure Resource Manager alone";
                self.complain(&source.origin, "an identity is given, but not the hub's host", hint);
            }
            return HubAccess::ConnectionString { place: self.connection_string(raw), management: identity };
        };
        let host_name = self.note("hub.host", host, host.value.clone());
        if let Some(place) = place {
            self.complain(
                &place.origin,
                "host is given as well",
                "keep the host, for an identity, or the connection string",
            );
        } else if hub.identity.source.is_none() {
            let hint = format!("add [hub.identity] with source = {SOURCES}; a connection string names its host itself");
            self.complain(&host.origin, "a host alone proves nothing to the hub", hint);
        }
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
        if host.value.is_empty() || !host.value.chars().all(is_host) {
            self.complain(
                &host.origin,
                format!("{:?} is no host name", host.value),
                "it is like my-hub.azure-devices.net",
            );
        }
        match identity {
            Some(identity) => HubAccess::Identity { host: host_name, identity },
            // Complained of; what stands here is not used.
            None => HubAccess::ConnectionString { place: SecretPlace::Environment(String::new()), management: None },
        }
    }

    fn connection_string(&mut self, raw: &RawFile) -> SecretPlace {
        let (env, file) = (&raw.hub.connection_string_env, &raw.hub.connection_string_file);
        for at in [env, file].into_iter().flatten().filter(|at| holds_key(&at.value)) {
            self.complain(
                &at.origin,
                "this is a connection string; only the name of its place may stand here",
                "put the string into an environment variable or a file, name that here, and renew the key: it has been written down",
            );
        }
        match (env, file) {
            (Some(_), Some(file)) => {
                self.complain(&file.origin, "connection_string_env is given as well", "keep one of the two");
                SecretPlace::Environment(String::new())
            }
            (_, Some(file)) => {
                let path = self.note("hub.connection_string_file", file, self.beside(&file.value));
                SecretPlace::File(path)
            }
            (env, None) => SecretPlace::Environment(self.text("hub.connection_string_env", env, CONNECTION_STRING_ENV)),
        }
    }

    fn identity(&mut self, raw: &RawIdentity, cloud: Cloud) -> Option<IdentityConfig> {
        let Some(at) = &raw.source else {
            if let Some((name, origin)) = raw.given().first() {
                let hint = format!("add source = {SOURCES}");
                self.complain(origin, format!("{name} is given, but no source"), hint);
            }
            return None;
        };
        let word = self.note("hub.identity.source", at, at.value.clone());
        let taken: &[&str] = match word.as_str() {
            "managed" => &["client_id", "authority"],
            "workload" => &["tenant", "client_id", "token_file", "authority"],
            "client_secret" => &["tenant", "client_id", "client_secret_env", "client_secret_file", "authority"],
            "azure_cli" => &["tenant"],
            _ => {
                self.complain(&at.origin, format!("source = {word:?} is unknown"), format!("one of {SOURCES}"));
                return None;
            }
        };
        for (name, origin) in raw.given().into_iter().filter(|(name, _)| !taken.contains(name)) {
            let reason = format!("{name} means nothing with source = {word:?}");
            self.complain(&origin, reason, format!("take it out; it takes: {}", taken.join(", ")));
        }
        let source = self.identity_source(&word, at, raw)?;
        let asks_authority = matches!(source, IdentitySource::Workload { .. } | IdentitySource::ClientSecret { .. });
        let of_cloud = (asks_authority && cloud != Cloud::Public).then(|| cloud.authority().to_owned());
        let authority = self.noted("hub.identity.authority", &raw.authority).or(of_cloud);
        Some(IdentityConfig { source, authority })
    }

    fn identity_source(&mut self, word: &str, at: &At<String>, raw: &RawIdentity) -> Option<IdentitySource> {
        let tenant = self.noted("hub.identity.tenant", &raw.tenant);
        let client_id = self.noted("hub.identity.client_id", &raw.client_id);
        let token_file = raw.token_file.as_ref();
        let token_file = token_file.map(|at| self.note("hub.identity.token_file", at, self.beside(&at.value)));
        Some(match word {
            "managed" => IdentitySource::Managed { client_id },
            "workload" => IdentitySource::Workload { tenant, client_id, token_file },
            "azure_cli" => IdentitySource::AzureCli { tenant },
            _ => {
                let secret = self.client_secret(raw);
                let (Some(tenant), Some(client_id)) = (tenant, client_id) else {
                    let hint = "`az ad sp show --id NAME` shows both: appOwnerOrganizationId and appId";
                    self.complain(&at.origin, "a client secret needs tenant and client_id", hint);
                    return None;
                };
                IdentitySource::ClientSecret { tenant, client_id, secret }
            }
        })
    }

    fn client_secret(&mut self, raw: &RawIdentity) -> SecretPlace {
        let (env, file) = (&raw.client_secret_env, &raw.client_secret_file);
        if let (Some(_), Some(file)) = (env, file) {
            self.complain(&file.origin, "client_secret_env is given as well", "keep one of the two");
        }
        match file {
            Some(at) => SecretPlace::File(self.note("hub.identity.client_secret_file", at, self.beside(&at.value))),
            None => SecretPlace::Environment(self.text("hub.identity.client_secret_env", env, CLIENT_SECRET_ENV)),
        }
    }

    fn noted(&mut self, key: &str, given: &Option<At<String>>) -> Option<String> {
        given.as_ref().map(|at| self.note(key, at, at.value.clone()))
    }
}

impl RawIdentity {
    /// What is given besides the source.
    fn given(&self) -> Vec<(&'static str, Origin)> {
        let fields = [
            ("tenant", &self.tenant),
            ("client_id", &self.client_id),
            ("client_secret_env", &self.client_secret_env),
            ("client_secret_file", &self.client_secret_file),
            ("token_file", &self.token_file),
            ("authority", &self.authority),
        ];
        let given = |(name, at): (&'static str, &Option<At<String>>)| Some((name, at.as_ref()?.origin.clone()));
        fields.into_iter().filter_map(given).collect()
    }
}
