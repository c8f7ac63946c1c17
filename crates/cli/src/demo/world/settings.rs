//! The pool's configuration, as an operator would write it.

use std::fmt::Write;
use std::path::Path;

use super::Timings;
use super::hub::Addresses;
use crate::demo::record::Ms;

/// A lease of two seconds, in milliseconds: renewals every half second, as fast as the rules for safe timings allow.
const FAST: &[(&str, u64)] = &[
    ("ttl_ms", 2_000),
    ("renew_ms", 500),
    ("call_timeout_ms", 500),
    ("retry_ms", 200),
    ("stop_ms", 500),
    ("standby_hold_ms", 1_000),
    ("anchor_read_ms", 500),
    ("evidence_ms", 5_000),
];

impl Timings {
    pub(super) fn ttl_ms(self) -> Ms {
        match self {
            Self::Fast => 2_000.0,
            Self::Default => ha_core::policy::Timings::default().ttl.0 as Ms,
        }
    }
}

pub(super) fn pool(name: &str, devices: &[&str], timings: Timings, hub: &Addresses) -> String {
    let ca_file = hub.ca_file.display();
    let members: Vec<_> = devices.iter().map(|device| format!("\"{device}\"")).collect();
    let members = members.join(", ");
    let mut text = format!(
        r#"# The demo's pool. The connection string comes from IOTEDGE_HA_CONNECTION_STRING.
[hub]
ca_file = "{ca_file}"

[[pool]]
name = "{name}"
members = [{members}]

[pool.policy]
# The stories come thick and fast: the guard against flapping must not end them.
max_failovers = 12
failover_window_ms = 1000
"#
    );
    if timings == Timings::Fast {
        text.push_str("\n[controller]\ncontrol_ttl_ms = 3000\ncontrol_renew_ms = 1000\n\n[defaults.timings]\n");
        for (key, value) in FAST {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{key} = {value}");
        }
    }
    text
}

/// The settings of one device's agent.
pub(super) fn agent(pool: &str, folder: &Path, timings: Timings, hub: &Addresses) -> String {
    let (folder, ca_file, mqtt_port) = (folder.display(), hub.ca_file.display(), hub.mqtt_port);
    let mut text = format!(
        r#"pool = "{pool}"
state_dir = "{folder}"

[hub]
connection_string_file = "{folder}/connection-string"
ca_file = "{ca_file}"
mqtt_port = {mqtt_port}
"#
    );
    if timings == Timings::Fast {
        text.push_str("keep_alive_s = 2\nping_timeout_ms = 1000\nreconnect_max_ms = 1000\n\n[gate]\nstop_ms = 500\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_timings_are_those_of_the_demo() {
        assert_eq!(FAST[0], ("ttl_ms", Timings::Fast.ttl_ms() as u64));
    }
}
