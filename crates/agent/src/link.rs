//! The agent's line to the hub: MQTT, straight or through edgeHub, as one module identity.
//!
//! It carries messages and knows nothing of leases: those live on while it is down.

pub mod identity;
mod mqtt;
mod outgoing;
mod session;
mod transport;
mod twin;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ha_wire::topics::RequestId;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use self::identity::Identity;
use self::mqtt::Login;
use self::outgoing::InFlight;
pub use self::outgoing::{MESSAGES_MAX, Message, Outcome, channel as messages};
use self::session::{Connected, Ended, Limits, Session};
pub use self::transport::{Carrier, Endpoint};
use self::twin::{Timings, Twin};

/// How the line is kept.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// How MQTT is carried.
    pub carrier: Carrier,
    /// The port; by default the usual one of the carrier.
    pub port: Option<u16>,
    /// A ping is sent after so much silence.
    pub keep_alive_s: u16,
    /// A ping not answered within this ends the connection.
    pub ping_timeout: Duration,
    /// Making a connection takes at most this long.
    pub connect_timeout: Duration,
    /// The longest wait between two tries to connect.
    pub reconnect_max: Duration,
    /// How long a token is asked to be good for.
    pub token_ttl: Duration,
    /// The whole twin is read this often.
    pub twin_poll: Duration,
}

/// What comes over the line.
#[derive(Clone, PartialEq, Debug)]
pub enum News {
    /// The connection stands.
    Up,
    /// It is lost, and with it all calls that are not answered.
    Down,
    /// A direct method.
    Call(Call),
    /// The desired properties of our own module.
    Desired(Value),
}

/// A direct method that wants an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// Where the answer goes.
    pub route: CallRoute,
    /// Its name.
    pub method: String,
    /// Its body: anything.
    pub payload: Vec<u8>,
}

/// Where an answer goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallRoute {
    session: u64,
    rid: RequestId,
}

/// The answer to a call.
#[derive(Clone, PartialEq, Debug)]
pub struct CallAnswer {
    /// Where it goes.
    pub route: CallRoute,
    /// The status, like HTTP's.
    pub status: u16,
    /// The body.
    pub body: Value,
}

/// The agent's end of the line. None of its methods waits.
#[derive(Debug)]
pub struct LinkHandle {
    answers: mpsc::UnboundedSender<CallAnswer>,
    reported: watch::Sender<Option<Value>>,
    task: JoinHandle<()>,
}

impl LinkHandle {
    /// Answers a call. The answer is lost if the connection is.
    pub fn answer(&self, answer: CallAnswer) {
        let _ = self.answers.send(answer);
    }

    /// Reports these properties, now or as soon as possible; the latest win.
    pub fn report(&self, patch: Value) {
        self.reported.send_replace(Some(patch));
    }

    /// Says goodbye, if that goes quickly.
    pub async fn shut(self) {
        let Self { answers, reported, mut task } = self;
        drop((answers, reported));
        if tokio::time::timeout(GOODBYE, &mut task).await.is_err() {
            task.abort();
        }
    }
}

const GOODBYE: Duration = Duration::from_secs(2);

/// What goes out and where news go.
#[derive(Debug)]
struct Outbox {
    answers: mpsc::UnboundedReceiver<CallAnswer>,
    reported: watch::Receiver<Option<Value>>,
    messages: mpsc::Receiver<Message>,
    news: mpsc::UnboundedSender<News>,
}

impl Outbox {
    fn tell(&self, news: News) {
        let _ = self.news.send(news);
    }

    /// Returns when the agent stops. Answers that come while there is no connection have nowhere to go.
    async fn stopped(&mut self) {
        while self.answers.recv().await.is_some() {}
    }

    /// The same, refusing messages.
    async fn stopped_refusing(&mut self) {
        loop {
            tokio::select! {
                answer = self.answers.recv() => if answer.is_none() { return },
                Some(message) = self.messages.recv() => drop(message.outcome.send(Outcome::NotSent)),
            }
        }
    }
}

/// Starts to keep the line.
pub fn start(
    identity: Identity,
    settings: LinkSettings,
    news: mpsc::UnboundedSender<News>,
    messages: mpsc::Receiver<Message>,
) -> LinkHandle {
    let (answers, answers_rx) = mpsc::unbounded_channel();
    let (reported, reported_rx) = watch::channel(None);
    let outbox = Outbox { answers: answers_rx, reported: reported_rx, messages, news };
    let task = tokio::spawn(keep(identity, settings, outbox));
    LinkHandle { answers, reported, task }
}

/// A connection that lasted this long shows that the trouble before it is over.
const STEADY: Duration = Duration::from_secs(10);
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
const TWIN_RETRY: Duration = Duration::from_secs(5);
/// edgeHub waits up to 50 s for the cloud before it answers from its own copy.
const TWIN_PATIENCE: Duration = Duration::from_secs(60);
const RECONNECT_MIN: Duration = Duration::from_millis(250);

async fn keep(identity: Identity, settings: LinkSettings, mut outbox: Outbox) {
    let mut twin = Twin::new(Timings { poll: settings.twin_poll, patience: TWIN_PATIENCE, retry: TWIN_RETRY });
    let mut tries = 0_u32;
    for number in 1.. {
        let started = Instant::now();
        let ended = run_once(number, &identity, &settings, &mut twin, &mut outbox).await;
        outbox.tell(News::Down);
        if started.elapsed() >= STEADY {
            tries = 0;
        }
        match ended {
            Ended::Stopped => return,
            Ended::Renewal => tracing::info!("the token is renewed on a new connection"),
            Ended::Lost(why) => {
                let wait = backoff(tries, settings.reconnect_max);
                tries = tries.saturating_add(1);
                let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(why, wait_ms, "the hub is out of reach");
                if !wait_unless_stopped(&mut outbox, wait).await {
                    return;
                }
            }
        }
    }
}

/// Full jitter: members that lost the hub together do not come back together.
fn backoff(tries: u32, max: Duration) -> Duration {
    let ceiling = RECONNECT_MIN.saturating_mul(1 << tries.min(16)).min(max);
    ceiling.mul_f64(rand::random_range(0.1..1.0))
}

async fn wait_unless_stopped(outbox: &mut Outbox, wait: Duration) -> bool {
    tokio::time::timeout(wait, outbox.stopped_refusing()).await.is_err()
}

async fn run_once(
    number: u64,
    identity: &Identity,
    settings: &LinkSettings,
    twin: &mut Twin,
    outbox: &mut Outbox,
) -> Ended {
    let connected = tokio::select! {
        connected = connect(identity, settings) => connected,
        // Messages wait: a connection is made in a moment, as when the token is renewed, or they are refused after it.
        () = outbox.stopped() => return Ended::Stopped,
    };
    match connected {
        Ok((Connected { transport, mqtt, early }, renew_at)) => {
            tracing::info!(hub = identity.hub(), module = identity.client_id(), "connected to the hub");
            outbox.tell(News::Up);
            let write_timeout = WRITE_TIMEOUT;
            outbox.reported.mark_changed();
            let from = (identity.device().to_owned(), identity.module().to_owned());
            let in_flight = InFlight::default();
            let session = Session { number, from, transport, mqtt, twin, outbox, in_flight, write_timeout };
            session.serve(early, renew_at).await
        }
        Err(ended) => ended,
    }
}

async fn connect(identity: &Identity, settings: &LinkSettings) -> Result<(Connected, Instant), Ended> {
    let lost = |error: identity::Error| Ended::Lost(crate::chain(&error));
    let (password, renew_at) = identity.token(settings.token_ttl).await.map_err(lost)?;
    let tls: Arc<rustls::ClientConfig> = identity.tls().await.map_err(lost)?;
    let login = Login {
        client_id: identity.client_id(),
        user_name: identity.user_name(),
        password,
        keep_alive_s: settings.keep_alive_s,
        ping_timeout: settings.ping_timeout,
    };
    let port = settings.port.unwrap_or(match settings.carrier {
        Carrier::Tls => 8883,
        Carrier::Websocket => 443,
    });
    let endpoint = Endpoint { host: identity.host().to_owned(), port, carrier: settings.carrier };
    let limits = Limits { connect: settings.connect_timeout };
    let connected = session::connect(&endpoint, &tls, &login, &limits).await?;
    Ok((connected, renew_at))
}
