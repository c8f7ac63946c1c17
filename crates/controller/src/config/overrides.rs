//! Values given outside the file: environment variables and flags.

use std::str::FromStr;

use super::file::RawFile;
use super::origin::{At, Origin};
use super::problem::Problem;

/// One value given outside the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Override {
    /// The key, with dots, as in `controller.name`.
    pub key: String,
    /// The value as text.
    pub value: String,
    /// Where it came from, as in `environment IOTEDGE_HA_CONTROLLER_NAME`.
    pub origin: String,
}

impl Override {
    /// A value given by a flag.
    pub fn flag(key: &str, value: impl Into<String>, flag: &str) -> Self {
        Self { key: key.to_owned(), value: value.into(), origin: format!("flag {flag}") }
    }
}

/// The overrides that an environment holds: `IOTEDGE_HA_` and the key in capitals, dots as underscores.
pub fn environment(vars: impl IntoIterator<Item = (String, String)>) -> Vec<Override> {
    let keys = overridable();
    let named = |name: &str| keys.iter().find(|key| variable(key) == name);
    let mut found: Vec<Override> = vars
        .into_iter()
        .filter_map(|(name, value)| {
            let key = named(&name)?;
            Some(Override { key: (*key).to_owned(), value, origin: format!("environment {name}") })
        })
        .collect();
    found.sort_by(|a, b| a.key.cmp(&b.key));
    found
}

/// The environment variable of a key.
pub(super) fn variable(key: &str) -> String {
    format!("IOTEDGE_HA_{}", key.replace('.', "_").to_ascii_uppercase())
}

macro_rules! keys {
    ($($key:literal => $($field:ident).+),+ $(,)?) => {
        /// The keys that can be overridden.
        pub fn overridable() -> Vec<&'static str> {
            vec![$($key),+]
        }

        fn set(raw: &mut RawFile, given: &Override) -> Result<(), String> {
            match given.key.as_str() {
                $($key => raw.$($field).+ = Some(read(given)?),)+
                other => return Err(format!("there is no key {other:?}")),
            }
            Ok(())
        }
    };
}

keys! {
    "hub.cloud" => hub.cloud,
    "hub.host" => hub.host,
    "hub.connection_string_env" => hub.connection_string_env,
    "hub.connection_string_file" => hub.connection_string_file,
    "hub.identity.source" => hub.identity.source,
    "hub.identity.tenant" => hub.identity.tenant,
    "hub.identity.client_id" => hub.identity.client_id,
    "hub.identity.client_secret_env" => hub.identity.client_secret_env,
    "hub.identity.client_secret_file" => hub.identity.client_secret_file,
    "hub.identity.token_file" => hub.identity.token_file,
    "hub.identity.authority" => hub.identity.authority,
    "hub.ca_file" => hub.ca_file,
    "hub.sku" => hub.sku,
    "hub.units" => hub.units,
    "controller.name" => controller.name,
    "controller.state_dir" => controller.state_dir,
    "controller.control" => controller.control,
    "controller.control_ttl_ms" => controller.control_ttl_ms,
    "controller.control_renew_ms" => controller.control_renew_ms,
    "controller.decisions_off" => controller.decisions_off,
    "controller.history_days" => controller.history_days,
    "controller.listen.address" => controller.listen.address,
    "controller.listen.event_secret_env" => controller.listen.event_secret_env,
    "controller.listen.event_secret_file" => controller.listen.event_secret_file,
    "controller.listen.event_audience" => controller.listen.event_audience,
    "controller.listen.event_tenant" => controller.listen.event_tenant,
    "controller.listen.event_client" => controller.listen.event_client,
    "controller.listen.event_authority" => controller.listen.event_authority,
    "controller.brake.percent" => controller.brake.percent,
    "controller.brake.at_least" => controller.brake.at_least,
    "defaults.agent_module" => defaults.agent_module,
    "defaults.timings.ttl_ms" => defaults.timings.ttl_ms,
    "defaults.timings.renew_ms" => defaults.timings.renew_ms,
    "defaults.timings.call_timeout_ms" => defaults.timings.call_timeout_ms,
    "defaults.timings.retry_ms" => defaults.timings.retry_ms,
    "defaults.timings.stop_ms" => defaults.timings.stop_ms,
    "defaults.timings.standby_hold_ms" => defaults.timings.standby_hold_ms,
    "defaults.timings.anchor_read_ms" => defaults.timings.anchor_read_ms,
    "defaults.timings.evidence_ms" => defaults.timings.evidence_ms,
    "defaults.timings.clock_rate_ppm" => defaults.timings.clock_rate_ppm,
    "defaults.policy.failback" => defaults.policy.failback,
    "defaults.policy.failback_after_ms" => defaults.policy.failback_after_ms,
    "defaults.policy.max_failovers" => defaults.policy.max_failovers,
    "defaults.policy.failover_window_ms" => defaults.policy.failover_window_ms,
    "defaults.policy.on_workload_failure" => defaults.policy.on_workload_failure,
    "defaults.policy.drift" => defaults.policy.drift,
}

fn read<T: FromStr<Err: std::fmt::Display>>(given: &Override) -> Result<At<T>, String> {
    let value = given.value.parse().map_err(|e| format!("not a value for {}: {e}", given.key))?;
    Ok(At { value, origin: Origin::Override(given.origin.clone()) })
}

/// Puts the overrides into the file; a later one wins.
pub(super) fn apply(raw: &mut RawFile, overrides: &[Override]) -> Vec<Problem> {
    if overrides.iter().any(|o| o.key.starts_with("hub.connection_string_")) {
        raw.hub.connection_string_env = None;
        raw.hub.connection_string_file = None;
    }
    overrides
        .iter()
        .filter_map(|given| {
            let reason = set(raw, given).err()?;
            let hint = "numbers, true or false, or plain text; `config show` lists the keys".to_owned();
            Some(Problem { place: given.origin.clone(), line: None, reason, hint })
        })
        .collect()
}
