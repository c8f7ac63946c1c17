//! What `iotedge-ha emulator` takes about events, routes and the control plane.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use ha_emulator::{ControlPlane, Endpoint, EventOptions, EventSubscription, Options, Schema};
use serde::de::DeserializeOwned;

use crate::exit::Exit;
use crate::failure::{OrExit, Result};

#[derive(clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Events, routes, control plane")]
pub(super) struct Args {
    /// Post every event to this webhook, as Azure Event Grid does; it must pass the validation handshake
    #[arg(long = "webhook", value_name = "URL")]
    webhooks: Vec<String>,

    /// Post to --webhook with a bearer token for this application, of the emulator's own authority, as Event Grid does with one of Entra ID
    #[arg(long, value_name = "ID|URI", requires = "webhooks")]
    webhook_audience: Option<String>,

    /// Read event subscriptions from this JSON file: [{"name": "…", "url": "…", "schema": "cloud_events", "types": […]}]
    #[arg(long, value_name = "FILE")]
    event_subscriptions: Option<PathBuf>,

    /// How long Event Grid holds back a change of connection state, so that of many the last one is told
    #[arg(long, value_name = "MS", default_value_t = 60_000)]
    connection_window_ms: u64,

    /// Stretch the retry schedule of Event Grid, which begins with 10 seconds
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    event_retry_scale: f64,

    /// Append what is routed to an endpoint to a file, or post it to a URL; endpoints can be followed with `tail` besides
    #[arg(long = "endpoint", value_name = "NAME=FILE|URL", value_parser = Endpoint::parse)]
    endpoints: Vec<Endpoint>,

    /// Begin with the routes of this JSON file: `properties.routing` of the hub's Azure resource. Routes that were written
    /// through Resource Manager and kept (--state, --snapshot) go before it
    #[arg(long, value_name = "FILE")]
    routing: Option<PathBuf>,

    /// The hub's resource id in Azure Resource Manager
    #[arg(long, value_name = "ID", value_parser = ResourceId::parse, default_value = ResourceId::DEFAULT)]
    resource_id: ResourceId,

    /// The hub's region
    #[arg(long, value_name = "NAME", value_parser = ControlPlane::region, default_value = "local")]
    location: String,

    /// How long a write through Azure Resource Manager takes; the real one takes minutes
    #[arg(long, value_name = "MS", default_value_t = 2000)]
    operation_ms: u64,

    /// What Retry-After says to those who wait for such a write
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    retry_after_s: u64,
}

impl Args {
    /// Fills in the part of the options that is about events.
    pub(super) fn apply(self, options: &mut Options) -> Result<()> {
        let mut subscriptions: Vec<EventSubscription> = match &self.event_subscriptions {
            Some(path) => read(path)?,
            None => Vec::new(),
        };
        for (n, url) in self.webhooks.into_iter().enumerate() {
            let name = format!("webhook-{}", n + 1);
            let audience = self.webhook_audience.clone();
            subscriptions.push(EventSubscription { name, url, schema: Schema::EventGrid, types: Vec::new(), audience });
        }
        options.events = EventOptions {
            subscriptions,
            endpoints: self.endpoints,
            routing: self.routing.as_deref().map(read).transpose()?,
            connection_window: Duration::from_millis(self.connection_window_ms),
            retry_scale: self.event_retry_scale,
            ..EventOptions::default()
        };
        let ResourceId { subscription, resource_group, hub } = self.resource_id;
        options.control_plane = ControlPlane {
            subscription,
            resource_group,
            hub,
            location: self.location,
            takes: Duration::from_millis(self.operation_ms),
            retry_after_s: self.retry_after_s,
        };
        Ok(())
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let read = serde_json::from_str(&text.or_exit(Exit::Usage)?);
    read.with_context(|| format!("{} is not as it should be", path.display())).or_exit(Exit::Usage)
}

/// The parts of a hub's resource id.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ResourceId {
    subscription: String,
    resource_group: String,
    hub: Option<String>,
}

impl ResourceId {
    const DEFAULT: &str = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/emulator\
                           /providers/Microsoft.Devices/IotHubs/emulator";

    fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.trim_matches('/').split('/').collect();
        let same = |at: usize, word: &str| parts[at].eq_ignore_ascii_case(word);
        let known = parts.len() == 8
            && same(0, "subscriptions")
            && same(2, "resourceGroups")
            && same(4, "providers")
            && same(5, "Microsoft.Devices")
            && same(6, "IotHubs")
            && parts.iter().all(|part| !part.is_empty());
        if !known {
            return Err(format!("'{text}' is not like {}", Self::DEFAULT));
        }
        // Left as it is by default, the name is taken from the host name.
        let hub = (text != Self::DEFAULT).then(|| parts[7].to_owned());
        Ok(Self { subscription: parts[1].to_owned(), resource_group: parts[3].to_owned(), hub })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_ids_by_example() {
        let id = "/subscriptions/s/resourcegroups/g/providers/microsoft.devices/iothubs/h";
        let parsed = ResourceId { subscription: "s".into(), resource_group: "g".into(), hub: Some("h".into()) };
        assert_eq!(ResourceId::parse(id), Ok(parsed));
        assert_eq!(ResourceId::parse(ResourceId::DEFAULT).map(|id| id.hub), Ok(None));
        for wrong in ["", "/subscriptions/s", "/subscriptions//resourceGroups/g/providers/Microsoft.Devices/IotHubs/h"]
        {
            assert!(ResourceId::parse(wrong).is_err(), "{wrong}");
        }
    }
}
