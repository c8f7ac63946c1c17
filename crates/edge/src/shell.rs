//! edgeHub with a clock and connections: carries the words of modules and cloud to the state machine and its words out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use ha_wire::topics::FromDevice;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::hub::{Answer, ClientOrder, EdgeHub, Effect, Input, LocalCall, News, Now, Session};
use crate::id::Id;
use crate::registry::Registry;
use crate::store::Store;
use crate::twin::Kept;
use crate::upstream::{Lines, Shared};

/// What comes in beside the words of clients.
enum Mail {
    Input(Input),
    Attach { id: Id, session: Session, clean: bool, orders: mpsc::Sender<ClientOrder>, present: oneshot::Sender<bool> },
    Call { call: LocalCall, input: Input, answer: oneshot::Sender<Answer> },
}

/// The way to edgeHub. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Hub {
    mail: mpsc::Sender<Mail>,
    numbers: Arc<AtomicU64>,
}

/// So many orders may wait for a client that does not read; then its connection ends.
const ORDERS_MAX: usize = 256;
const MAIL_MAX: usize = 1_024;

impl Hub {
    fn new() -> (Self, mpsc::Receiver<Mail>) {
        let (mail, received) = mpsc::channel(MAIL_MAX);
        (Self { mail, numbers: Arc::new(AtomicU64::new(1)) }, received)
    }

    /// Tells what happened; waits while edgeHub is busy.
    pub(crate) async fn tell(&self, input: Input) {
        let _ = self.mail.send(Mail::Input(input)).await;
    }

    /// Brings a client in: its session, its orders, and whether it has a session from before.
    pub(crate) async fn attach(&self, id: &Id, clean: bool) -> Option<(Session, mpsc::Receiver<ClientOrder>, bool)> {
        let session = Session(self.number());
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        let (present, known) = oneshot::channel();
        self.mail.send(Mail::Attach { id: id.clone(), session, clean, orders, present }).await.ok()?;
        Some((session, received, known.await.ok()?))
    }

    /// Takes a client out, without waiting: it is called when a connection's task ends, however it ends.
    pub(crate) fn detach(&self, id: Id, session: Session) {
        let mail = self.mail.clone();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let _ = mail.send(Mail::Input(Input::Detached { id, session })).await;
        });
    }

    /// A message that came over HTTPS.
    pub(crate) async fn post(&self, id: Id, topic: FromDevice, payload: Bytes) {
        self.tell(Input::Posted { id, topic, payload }).await;
    }

    /// Calls a method of a module of this device.
    pub(crate) async fn call(&self, to: Id, method: String, payload: Value, connect_s: u32, response_s: u32) -> Answer {
        let call = LocalCall(self.number());
        let (answer, answered) = oneshot::channel();
        let input = Input::Called { call, to, method, payload, connect_s, response_s };
        let sent = self.mail.send(Mail::Call { call, input, answer }).await;
        match sent {
            Ok(()) => answered.await.unwrap_or(Answer::NotConnected),
            Err(_) => Answer::NotConnected,
        }
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }
}

/// edgeHub at work.
pub(crate) struct Shell {
    hub: EdgeHub,
    mail: mpsc::Receiver<Mail>,
    news: mpsc::Receiver<(Id, News)>,
    lines: Lines,
    registry: Arc<Registry>,
    store: Store,
    clients: HashMap<Session, mpsc::Sender<ClientOrder>>,
    calls: HashMap<LocalCall, oneshot::Sender<Answer>>,
}

/// A twin in its file.
#[derive(Serialize, Deserialize)]
struct Twin<I> {
    of: I,
    #[serde(flatten)]
    twin: Kept,
}

pub(crate) const NEWS_MAX: usize = 1_024;

pub(crate) fn now() -> Now {
    Now { at: Instant::now(), wall: jiff::Timestamp::now() }
}

impl Shell {
    /// edgeHub of `device` with the twins of its earlier life, and the way to it.
    pub(crate) fn new(
        device: &str,
        shared: Arc<Shared>,
        store: Store,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> (Self, Hub) {
        let (hub, mail) = Hub::new();
        let mut edge_hub = EdgeHub::new(device, shared.timings.clone(), now());
        for Twin { of, twin } in store.twins::<Twin<Id>>() {
            edge_hub.restore(now(), &of, twin);
        }
        let (news, news_received) = mpsc::channel(NEWS_MAX);
        let registry = Arc::clone(&shared.registry);
        let shell = Self {
            hub: edge_hub,
            mail,
            news: news_received,
            lines: Lines::new(shared, news, stop.clone(), tasks.clone()),
            registry,
            store,
            clients: HashMap::new(),
            calls: HashMap::new(),
        };
        (shell, hub)
    }

    /// Serves until told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            self.carry_out();
            let wake = self.hub.next_wake();
            tokio::select! {
                () = stop.cancelled() => return,
                mail = self.mail.recv() => match mail {
                    Some(mail) => self.receive(mail),
                    None => return,
                },
                Some((id, news)) = self.news.recv() => self.hub.observe(now(), Input::Upstream { id, news }),
                () = until(wake) => self.hub.observe(now(), Input::Tick),
            }
        }
    }

    fn receive(&mut self, mail: Mail) {
        match mail {
            Mail::Input(input) => {
                if let Input::Detached { session, .. } = &input {
                    self.clients.remove(session);
                }
                self.hub.observe(now(), input);
            }
            Mail::Attach { id, session, clean, orders, present } => {
                let kept = !clean && self.hub.has_kept_session(&id);
                self.clients.insert(session, orders);
                self.hub.observe(now(), Input::Attached { id, session, clean });
                let _ = present.send(kept);
            }
            Mail::Call { call, input, answer } => {
                self.calls.insert(call, answer);
                self.hub.observe(now(), input);
            }
        }
    }

    fn carry_out(&mut self) {
        for effect in self.hub.take_effects() {
            match effect {
                Effect::Client { id, session, order } => {
                    let full = self.clients.get(&session).is_some_and(|client| client.try_send(order).is_err());
                    if full {
                        tracing::warn!(%id, "a client reads too slowly; its connection ends");
                        self.clients.remove(&session);
                    }
                }
                Effect::Keep { id, twin } => self.store.write_twin(&id, &Twin { of: &id, twin }),
                Effect::Upstream { id, order } => self.lines.order(&id, order),
                Effect::Answered { call, answer } => {
                    if let Some(waiting) = self.calls.remove(&call) {
                        let _ = waiting.send(answer);
                    }
                }
                Effect::RefreshScope(devices) => {
                    let registry = Arc::clone(&self.registry);
                    tokio::spawn(async move { registry.refresh(&devices).await });
                }
            }
        }
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
