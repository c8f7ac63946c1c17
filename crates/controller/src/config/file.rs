//! The file as it is written, each value with its place.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::origin::At;
use super::problem::{Problem, Refused, Source};
use super::routing::{RawResource, RawRouting};

/// The configuration of iotedge-ha.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "iotedge-ha configuration")]
pub(super) struct RawFile {
    /// How to reach the hub.
    pub(super) hub: RawHub,
    /// How the controller behaves.
    pub(super) controller: RawController,
    /// What holds for all pools that do not say otherwise.
    pub(super) defaults: RawDefaults,
    /// The pools.
    #[schemars(length(min = 1))]
    pub(super) pool: Vec<At<RawPool>>,
    /// Whom to ask before, and to tell after, a change of holder in any pool.
    pub(super) hook: Vec<At<RawHook>>,
}

/// How to reach the hub.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHub {
    /// The cloud of Azure that the hub is in: `public`, `china` (21Vianet) or `us_government`. Default: `public`. It says where tokens and Azure
    /// Resource Manager are, and in whose name tokens are asked for.
    pub(super) cloud: Option<At<String>>,
    /// The hub's host name, such as `my-hub.azure-devices.net`: for an identity instead of a connection string.
    pub(super) host: Option<At<String>>,
    /// The environment variable that holds the service connection string. Default: `IOTEDGE_HA_CONNECTION_STRING`.
    pub(super) connection_string_env: Option<At<String>>,
    /// A file that holds the service connection string; a second one on the next line is tried when the hub refuses the
    /// first. Read anew when the hub refuses both, so keys are rotated without a restart.
    pub(super) connection_string_file: Option<At<String>>,
    /// Who asks, by Microsoft Entra ID. With `host` also for the hub; with a connection string for Azure Resource Manager alone.
    pub(super) identity: RawIdentity,
    /// Where the hub is in Azure Resource Manager.
    pub(super) resource: RawResource,
    /// PEM certificates to trust instead of the system's; a token authority is trusted by either.
    pub(super) ca_file: Option<At<String>>,
    /// The hub's edition: F1, B1, B2, B3, S1, S2 or S3. Default: S1.
    pub(super) sku: Option<At<String>>,
    /// How many units of it. Default: 1.
    #[schemars(range(min = 1, max = 200))]
    pub(super) units: Option<At<u64>>,
}

/// Who asks, by Microsoft Entra ID.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawIdentity {
    /// Where tokens come from: `managed` (virtual machine, App Service, Function), `workload` (Kubernetes),
    /// `client_secret` (an application) or `azure_cli` (whoever has logged in).
    pub(super) source: Option<At<String>>,
    /// The directory. Default for `workload`: `$AZURE_TENANT_ID`; for `azure_cli`: the login's own.
    pub(super) tenant: Option<At<String>>,
    /// The application, or a user-assigned identity; without it `managed` takes the system-assigned one. Default for
    /// `workload`: `$AZURE_CLIENT_ID`.
    pub(super) client_id: Option<At<String>>,
    /// The environment variable that holds the client secret. Default: `AZURE_CLIENT_SECRET`.
    pub(super) client_secret_env: Option<At<String>>,
    /// A file that holds the client secret; read anew for each token.
    pub(super) client_secret_file: Option<At<String>>,
    /// The file that holds the service account's token. Default: `$AZURE_FEDERATED_TOKEN_FILE`.
    pub(super) token_file: Option<At<String>>,
    /// The token authority. Default: the one of `hub.cloud`; in the public cloud `$AZURE_AUTHORITY_HOST`, if it is set.
    /// For `managed`: the metadata service's address.
    pub(super) authority: Option<At<String>>,
}

/// How the controller behaves.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawController {
    /// Its name in records and logs. Default: the host's name.
    pub(super) name: Option<At<String>>,
    /// Where it keeps its store. Default: `$STATE_DIRECTORY`, else `iotedge-ha-state` beside this file.
    pub(super) state_dir: Option<At<String>>,
    /// The device identity that carries the control lease. Controllers with the same one stand in for each other.
    /// Default: `ha-control`.
    pub(super) control: Option<At<String>>,
    /// How long a controller stays in charge without a renewal. Default: 5000.
    pub(super) control_ttl_ms: Option<At<u64>>,
    /// How often the control lease is renewed. Default: 1500.
    pub(super) control_renew_ms: Option<At<u64>>,
    /// Decide nothing in any pool; go on renewing. Default: false.
    pub(super) decisions_off: Option<At<bool>>,
    /// How long decisions are kept in the store. Default: 90.
    #[schemars(range(min = 1, max = 3650))]
    pub(super) history_days: Option<At<u64>>,
    /// Where events are taken, so that members are asked when something happens.
    pub(super) listen: RawListen,
    /// When many pools look dead at once, failovers are held.
    pub(super) brake: RawBrake,
}

/// Where events are taken.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawListen {
    /// Address and port on this machine, such as `127.0.0.1:8484`; TLS is a reverse proxy's to add. `POST /hooks/eventgrid?code=SECRET`
    /// takes Event Grid's deliveries; with `event_audience` those that bring a token. With it `evidence_ms` is 600000 unless set.
    pub(super) address: Option<At<String>>,
    /// The environment variable that holds the secret. Default: `IOTEDGE_HA_EVENT_SECRET`.
    pub(super) event_secret_env: Option<At<String>>,
    /// A file that holds the secret.
    pub(super) event_secret_file: Option<At<String>>,
    /// Deliveries bring a bearer token of Microsoft Entra ID for this application: its id or its URI. With it no secret is needed.
    pub(super) event_audience: Option<At<String>>,
    /// With `event_audience`: the directory.
    pub(super) event_tenant: Option<At<String>>,
    /// With `event_audience`: the application that the token must be issued to. Default: Event Grid, `4962773b-9cdb-44cf-a8bf-237846a00ab7`.
    pub(super) event_client: Option<At<String>>,
    /// With `event_audience`: the token authority, for other clouds. Default: `https://login.microsoftonline.com`.
    pub(super) event_authority: Option<At<String>>,
}

/// The mass-failure brake.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawBrake {
    /// Hold when more than this share of the pools looks dead. Default: 50.
    #[schemars(range(min = 1, max = 100))]
    pub(super) percent: Option<At<u64>>,
    /// But never for fewer pools than this. Default: 5.
    #[schemars(range(min = 1))]
    pub(super) at_least: Option<At<u64>>,
}

/// What holds for all pools that do not say otherwise.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawDefaults {
    /// The agent's module id. Default: `ha-agent`.
    pub(super) agent_module: Option<At<String>>,
    /// The clockwork.
    pub(super) timings: RawTimings,
    /// The rules.
    pub(super) policy: RawPolicy,
}

/// One pool: devices that stand in for each other.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPool {
    /// Its name: a lower-case letter, then lower-case letters, digits or '_'.
    #[schemars(regex(pattern = "^[a-z][a-z0-9_]{0,63}$"))]
    pub(super) name: At<String>,
    /// The device ids of its members, in the order of priority.
    pub(super) members: Option<At<Vec<At<String>>>>,
    /// Instead of `members`: a query condition on the device twin, such as `tags.site = 'm1'`.
    pub(super) select: Option<At<String>>,
    /// The agent's module id on each member.
    pub(super) agent_module: Option<At<String>>,
    /// The module that does the work: its runtime status is gathered as evidence.
    pub(super) workload_module: Option<At<String>>,
    /// How members learn that they are active: `agent` (the agent's gate, kept by a lease) or `flag` (a boolean in a twin: cannot fence).
    /// Default: agent.
    pub(super) gate: Option<At<String>>,
    /// With `gate = "flag"`: which boolean.
    #[serde(default)]
    pub(super) flag: RawFlag,
    /// How fast a failover must be: checked against the computed worst case.
    pub(super) rto_ms: Option<At<u64>>,
    /// Whom to ask before, and to tell after, a change of holder in this pool.
    #[serde(default)]
    pub(super) hook: Vec<At<RawHook>>,
    /// How messages follow the holder.
    pub(super) routing: Option<RawRouting>,
    /// Leaf devices that follow the holder.
    pub(super) parents: Option<At<RawParents>>,
    /// What is no drift.
    #[serde(default)]
    pub(super) drift: RawDrift,
    /// The clockwork.
    #[serde(default)]
    pub(super) timings: RawTimings,
    /// The rules.
    #[serde(default)]
    pub(super) policy: RawPolicy,
}

/// A hook: a webhook or a command that is asked before a planned change of holder, or told after any change.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHook {
    /// Its name: a lower-case letter, then lower-case letters, digits, '-' or '_', at most 32 in all.
    #[schemars(regex(pattern = "^[a-z][a-z0-9_-]{0,31}$"))]
    pub(super) name: At<String>,
    /// When it is called: `before_switchover` (asked before a planned change, and may refuse it) or `after_handover`
    /// (told after any change).
    pub(super) on: At<String>,
    /// The address of a receiver of CloudEvents: https, or http on the loopback interface.
    pub(super) webhook: Option<At<String>>,
    /// The environment variable that holds the address, if that is a secret.
    pub(super) webhook_env: Option<At<String>>,
    /// A file that holds the address, if that is a secret.
    pub(super) webhook_file: Option<At<String>>,
    /// The environment variable that holds a secret for the receiver.
    pub(super) secret_env: Option<At<String>>,
    /// A file that holds a secret for the receiver.
    pub(super) secret_file: Option<At<String>>,
    /// The header that carries the secret. Default: `Authorization`.
    pub(super) secret_header: Option<At<String>>,
    /// PEM certificates to trust instead of the system's.
    pub(super) ca_file: Option<At<String>>,
    /// A program and its arguments; no shell is involved.
    pub(super) command: Option<At<Vec<String>>>,
    /// How long one try may take. Default: 5000.
    #[schemars(range(min = 100, max = 120000))]
    pub(super) timeout_ms: Option<At<u64>>,
    /// How many more tries it gets. Default: 2.
    #[schemars(range(max = 10))]
    pub(super) retries: Option<At<u64>>,
    /// With `before_switchover`: what counts when there is no clear answer, `veto` or `go`. Default: veto.
    pub(super) on_timeout: Option<At<String>>,
}

/// Settings in which members are meant to differ, such as the path of a serial port. Each is a module and a key as `iotedge-ha drift` shows
/// them, `press env.PORT`; all that lies below a key is meant as well.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawDrift {
    /// Settings that are not compared between any members.
    pub(super) ignore: Option<At<Vec<At<String>>>>,
    /// Settings in which one member differs from all others, by its device id: `ignore_of = { edge-1 = ["press env.PORT"] }`.
    pub(super) ignore_of: Option<At<BTreeMap<String, Vec<At<String>>>>>,
}

/// Leaf devices that follow the holder: the hub is told that it is their parent.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawParents {
    /// Which devices follow: `listed` in `children`, or `discovered`: whoever is a child of a member.
    pub(super) mode: Option<At<String>>,
    /// The device ids of the children.
    pub(super) children: Option<At<Vec<At<String>>>>,
}

/// The flag of a pool without agents.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawFlag {
    /// The module whose twin holds the flag. Default: none, the device's own twin holds it.
    pub(super) module: Option<At<String>>,
    /// Where it is below `properties.desired`, with dots. Default: `active`.
    pub(super) path: Option<At<String>>,
    /// Where the device reports below `properties.reported`, with dots, what it does: a boolean. A device that reports `false` is not waited for any
    /// longer. Default: none, `fence_delay_ms` is always waited for.
    pub(super) confirm: Option<At<String>>,
    /// How long a device whose flag was cleared is given to hear of it before another's flag is set. Default: 30000.
    pub(super) fence_delay_ms: Option<At<u64>>,
    /// How long the active device must have been disconnected to be taken for dead. Default: 60000.
    pub(super) down_after_ms: Option<At<u64>>,
    /// Members that have an agent already, on the way from a flag to a lease. Default: none.
    pub(super) agents: Option<At<Vec<At<String>>>>,
}

/// The clockwork of a pool.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTimings {
    /// How long a lease lasts from the nonce it answers. Default: 15000.
    pub(super) ttl_ms: Option<At<u64>>,
    /// How often the holder's lease is renewed. Default: 4000.
    pub(super) renew_ms: Option<At<u64>>,
    /// How long a call may take beyond what the agent may keep it back. Default: 3000.
    pub(super) call_timeout_ms: Option<At<u64>>,
    /// How long to wait after a failed call. Default: 1000.
    pub(super) retry_ms: Option<At<u64>>,
    /// How long the workload may take to stop. Default: 3000.
    pub(super) stop_ms: Option<At<u64>>,
    /// How long a standby may keep its answers back. Default: 30000.
    pub(super) standby_hold_ms: Option<At<u64>>,
    /// How often the anchor is read for operators' requests. Default: 5000.
    pub(super) anchor_read_ms: Option<At<u64>>,
    /// How often second opinions are gathered. Default: 60000.
    pub(super) evidence_ms: Option<At<u64>>,
    /// The most by which clock rates differ, in parts per million. Default: 1000.
    pub(super) clock_rate_ppm: Option<At<u64>>,
}

/// The rules of a pool.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPolicy {
    /// Whether to return to a member of higher priority: `manual` or `automatic`. Default: manual.
    pub(super) failback: Option<At<String>>,
    /// With `automatic`: how long that member must have been fit. Default: 600000.
    pub(super) failback_after_ms: Option<At<u64>>,
    /// How many unplanned changes of holder are borne within the window. Default: 5.
    #[schemars(range(min = 1, max = 12))]
    pub(super) max_failovers: Option<At<u64>>,
    /// The window for that. Default: 3600000.
    pub(super) failover_window_ms: Option<At<u64>>,
    /// Whether a failing workload moves the active role: `switch` or `stay`. Default: switch.
    pub(super) on_workload_failure: Option<At<String>>,
    /// What becomes of a member that would run something else than the holder: `warn` says so, `block` lets it follow only when an
    /// operator names it in a failover, `ignore` says nothing. Default: warn.
    pub(super) drift: Option<At<String>>,
}

/// Reads the file; the first thing that does not fit ends it.
pub(super) fn read(source: &Source<'_>) -> Result<RawFile, Refused> {
    toml::from_str(source.text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        let message = error.message().trim().to_owned();
        let hint = hint_for(&message);
        Refused::because(vec![Problem::at(source, span, message, hint)])
    })
}

fn hint_for(message: &str) -> String {
    if message.contains("`connection_string`") {
        return "name the place, never the string itself: connection_string_env = \"…\" or connection_string_file = \"…\""
            .to_owned();
    }
    if message.contains("unknown field") {
        return "look for a misspelt key, or one that belongs to another section".to_owned();
    }
    if message.contains("invalid type") {
        return "numbers stand without quotes, text in \"quotes\", lists in [brackets]".to_owned();
    }
    "see docs/reference/configuration.md".to_owned()
}
