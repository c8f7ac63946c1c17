//! Connections to the cloud: one for each identity that has a reason for one.

mod line;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::line::Line;
use crate::Cut;
use crate::hub::{News, UpstreamOrder};
use crate::id::Id;
use crate::registry::Registry;
use crate::timings::Timings;

/// Where the cloud is and how to speak with it.
pub(crate) struct Endpoint {
    /// The hub's name, as it stands in tokens and user names.
    pub(crate) hub: String,
    /// What to connect to.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Arc<rustls::ClientConfig>,
    /// Whether somebody has answered there, or it was told that nobody does.
    pub(crate) settled: AtomicBool,
}

impl Endpoint {
    /// Tells of a port at which nobody listens, once: a port that never answered is likely the wrong one.
    fn refused(&self, error: &std::io::Error) {
        if error.kind() == std::io::ErrorKind::ConnectionRefused && !self.settled.swap(true, Ordering::Relaxed) {
            tracing::error!(
                host = self.host,
                port = self.port,
                hint = "is this the hub's MQTT port? `iotedge-ha emulator` prints it as EMULATOR_MQTT; name it with --hub-mqtt-port",
                "nobody listens at the hub's MQTT port"
            );
        }
    }
}

/// What each connection needs.
pub(crate) struct Shared {
    pub(crate) endpoint: Endpoint,
    pub(crate) registry: Arc<Registry>,
    pub(crate) cut: watch::Receiver<Cut>,
    pub(crate) timings: Timings,
}

/// The connections, by whose they are.
pub(crate) struct Lines {
    shared: Arc<Shared>,
    orders: HashMap<Id, mpsc::UnboundedSender<UpstreamOrder>>,
    news: mpsc::Sender<(Id, News)>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Lines {
    /// None yet; what they tell goes to `news`.
    pub(crate) fn new(
        shared: Arc<Shared>,
        news: mpsc::Sender<(Id, News)>,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        Self { shared, orders: HashMap::new(), news, stop, tasks }
    }

    /// Passes an order on. Orders of one identity are carried out one after the other.
    pub(crate) fn order(&mut self, id: &Id, order: UpstreamOrder) {
        let line = self.orders.entry(id.clone()).or_insert_with(|| {
            let (sender, orders) = mpsc::unbounded_channel();
            let line = Line::new(Arc::clone(&self.shared), id.clone(), orders, self.news.clone());
            let stop = self.stop.clone();
            self.tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = line.keep() => {}
                }
            });
            sender
        });
        let _ = line.send(order);
    }
}
