//! From the hub's events to whoever listens: routes and their endpoints, Event Grid, the tail.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::{Issuer, Policies};
use crate::event_grid::{self, EventGrid, EventSubscription, Settings};
use crate::hub::{Event, Hub, Id, Kind};
use crate::management::{self, Beginning, Management};
use crate::options::Options;
use crate::routing::{Endpoints, Message};
use crate::webhook::Webhooks;

/// Lines that a slow reader of the tail may fall behind.
const TAIL_MAX: usize = 1024;

/// What the surroundings give.
#[derive(Debug)]
pub(crate) struct Place {
    /// The port of REST.
    pub(crate) port: u16,
    pub(crate) ca_pem: String,
    /// The hub's policies unless others were written.
    pub(crate) policies: Policies,
    /// Who signs bearer tokens.
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// A happening as the tail shows it: once for each endpoint it was routed to.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) kind: Kind,
    pub(crate) id: Id,
    /// Where it was routed to; nowhere if no route took it.
    pub(crate) endpoint: Option<String>,
    pub(crate) json: Value,
}

/// Everyone who hears of events.
#[derive(Debug)]
pub(crate) struct Events {
    pub(crate) management: Arc<Management>,
    pub(crate) endpoints: Endpoints,
    pub(crate) event_grid: Arc<EventGrid>,
    /// Subscriptions of the command line.
    first: Vec<EventSubscription>,
    tail: broadcast::Sender<Arc<Line>>,
}

impl Events {
    /// Opens endpoints and subscriptions, those that are kept beside the hub included.
    ///
    /// # Errors
    /// When routes do not compile, or a subscription makes no sense.
    pub(crate) fn open(options: &Options, hub: &Hub, place: Place) -> Result<Self, String> {
        let Place { port, ca_pem, policies, issuer, tasks, stop } = place;
        let host = options.host_names.first().map_or("localhost", String::as_str).to_owned();
        let base_url = format!("https://{host}:{port}");
        let kept = |name| hub.kept_beside(name).cloned();
        let (control_plane, disable_local_auth) = (options.control_plane.clone(), options.disable_local_auth);
        let upload_container = options.upload_container.clone();
        let size = options.throttling.map(|throttling| throttling.size());
        let options = options.events.clone();
        if !(options.retry_scale.is_finite() && (0.0..=1000.0).contains(&options.retry_scale)) {
            return Err("the scale of event retries must be a number from 0 to 1000".to_owned());
        }
        let webhooks = Arc::new(Webhooks::trusting(ca_pem));
        let endpoints = Endpoints::open(&options.endpoints, &webhooks, &tasks, &stop)?;
        let local = endpoints.names();
        let beginning =
            Beginning { routing: options.routing, local, size, disable_local_auth, upload_container, policies };
        let management = Management::new(control_plane, host, beginning, kept(management::KEPT_AS), Timestamp::now())?;
        let settings = Settings {
            window: options.connection_window,
            scale: options.retry_scale,
            waiting_max: options.waiting_max,
            hub: management.hub_name().to_owned(),
            topic: management.id().to_ascii_uppercase(),
            base_url,
            issuer,
        };
        let event_grid = Arc::new(EventGrid::new(settings, webhooks, tasks, stop));
        event_grid.start();
        event_grid.resume(kept(event_grid::KEPT_AS))?;
        for subscription in &options.subscriptions {
            let added = event_grid.add(subscription.clone());
            added.map_err(|e| format!("event subscription {}: {e}", subscription.name))?;
        }
        let tail = broadcast::Sender::new(TAIL_MAX);
        let first = options.subscriptions;
        Ok(Self { management: Arc::new(management), endpoints, event_grid, first, tail })
    }

    /// As at the start of a hub that has kept nothing.
    pub(crate) fn begin_again(&self, now: Timestamp) {
        self.management.begin_again(now);
        self.event_grid.end_all();
        for subscription in &self.first {
            if let Err(e) = self.event_grid.add(subscription.clone()) {
                tracing::error!(subscription = subscription.name, error = %e, "the subscription was not made again");
            }
        }
    }

    /// Passes an event on. Never waits: whoever does not keep up loses events, and learns how many.
    pub(crate) fn take_in(&self, hub: &Hub, event: &Event) {
        let name = self.management.hub_name();
        let message = Message::of(event, name);
        self.event_grid.take_in(event, &message);
        let table = Arc::clone(&self.management.in_force(event.at).routes);
        let twin = if table.needs_twin(message.source) { hub.twin(&event.id).ok() } else { None };
        let routed = table.route(&message, twin.as_ref(), name);
        for one in &routed {
            let line = one.message.line(Some(&one.endpoint));
            self.endpoints.send(&one.endpoint, &line);
            self.show(&one.message, Some(&one.endpoint), || line);
        }
        if routed.is_empty() {
            self.show(&message, None, || message.line(None));
        }
    }

    /// Everything from here on.
    pub(crate) fn tail(&self) -> broadcast::Receiver<Arc<Line>> {
        self.tail.subscribe()
    }

    fn show(&self, message: &Message, endpoint: Option<&str>, json: impl FnOnce() -> Value) {
        if self.tail.receiver_count() == 0 {
            return;
        }
        let (kind, id, endpoint) = (message.kind, message.id.clone(), endpoint.map(str::to_owned));
        // The last reader may have left a moment ago.
        let _ = self.tail.send(Arc::new(Line { kind, id, endpoint, json: json() }));
    }
}

#[cfg(test)]
impl Events {
    /// Nobody listens.
    pub(crate) fn example(policies: Policies) -> Self {
        let settings = Settings {
            window: std::time::Duration::ZERO,
            scale: 1.0,
            waiting_max: 1,
            hub: "hub".into(),
            topic: "/HUB".into(),
            base_url: "https://localhost".into(),
            issuer: Arc::new(crate::access::fresh_key().and_then(|key| Issuer::from_key(&key)).expect("a key")),
        };
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let event_grid = Arc::new(EventGrid::new(settings, Arc::default(), tasks, stop));
        let (plane, host, now) = (management::ControlPlane::default(), "localhost".to_owned(), Timestamp::UNIX_EPOCH);
        let beginning = Beginning {
            routing: None,
            local: Vec::new(),
            size: None,
            disable_local_auth: false,
            upload_container: None,
            policies,
        };
        let management = Management::new(plane, host, beginning, None, now).expect("a hub");
        let tail = broadcast::Sender::new(TAIL_MAX);
        let endpoints = Endpoints::default();
        Self { management: Arc::new(management), endpoints, event_grid, first: Vec::new(), tail }
    }
}
