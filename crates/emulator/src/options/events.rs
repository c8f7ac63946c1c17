use std::time::Duration;

use serde_json::Value;

use crate::event_grid::EventSubscription;
use crate::routing::Endpoint;

/// Who hears of events from the start, and how.
#[derive(Debug, Clone)]
pub struct EventOptions {
    /// Event Grid subscriptions; their webhooks are asked until they agree.
    pub subscriptions: Vec<EventSubscription>,
    /// Endpoints of routes that lead somewhere on this machine.
    pub endpoints: Vec<Endpoint>,
    /// `properties.routing` of the hub's resource. Default: no routes, everything to the built-in endpoint.
    pub routing: Option<Value>,
    /// How long Event Grid holds back a change of connection state for the last one to win. Azure: 60 s.
    pub connection_window: Duration,
    /// Stretches the retry schedule of Event Grid.
    pub retry_scale: f64,
    /// Events that may wait for one subscriber; the next ones are lost, and counted.
    pub waiting_max: usize,
}

impl Default for EventOptions {
    fn default() -> Self {
        Self {
            subscriptions: Vec::new(),
            endpoints: Vec::new(),
            routing: None,
            connection_window: Duration::from_secs(60),
            retry_scale: 1.0,
            waiting_max: 10_000,
        }
    }
}
