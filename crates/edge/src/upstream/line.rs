//! One connection to the cloud, made again and again as long as it is wanted.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ha_wire::API_VERSION;
use ha_wire::sas::Unsigned;
use ha_wire::topics::{ClientId, Filter, Username};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Shared;
use crate::Cut;
use crate::access::now_unix_s;
use crate::hub::{News, UpstreamOrder};
use crate::id::Id;
use crate::mqtt::client::{Client, Heard, Login};
use crate::outflow::Outflow;

type Stream = TlsStream<TcpStream>;

/// The line of one identity.
pub(super) struct Line {
    shared: Arc<Shared>,
    id: Id,
    orders: mpsc::UnboundedReceiver<UpstreamOrder>,
    news: mpsc::Sender<(Id, News)>,
    wanted: bool,
    filters: HashSet<Filter>,
    /// What was ordered while the connection was being made.
    backlog: Vec<UpstreamOrder>,
}

/// Why a connection is over.
enum Ended {
    /// Nobody wants it.
    Closed,
    /// Its token has to be renewed.
    Renewal,
    Lost(String),
    /// Nobody gives orders any more.
    Orphaned,
}

/// A connection that stands.
struct Standing {
    stream: Stream,
    mqtt: Client,
    renew_at: Instant,
    subscribing: HashSet<u16>,
    sent: HashMap<u16, u64>,
    out: Outflow,
}

const RETRY_MIN: Duration = Duration::from_millis(250);
/// The rest of the lifetime is for trying, should renewal not work at once.
const RENEW_AT: f64 = 0.8;
const CLIENT_TYPE: &str = concat!("iotedge-ha-edge/", env!("CARGO_PKG_VERSION"));

impl Line {
    pub(super) fn new(
        shared: Arc<Shared>,
        id: Id,
        orders: mpsc::UnboundedReceiver<UpstreamOrder>,
        news: mpsc::Sender<(Id, News)>,
    ) -> Self {
        Self { shared, id, orders, news, wanted: false, filters: HashSet::new(), backlog: Vec::new() }
    }

    /// Keeps the connection as ordered, until nobody gives orders any more.
    pub(super) async fn keep(mut self) {
        let mut tries = 0_u32;
        loop {
            if !self.wanted {
                let Some(order) = self.orders.recv().await else { return };
                self.note(order);
                continue;
            }
            let ended = match self.connect().await {
                Ok(standing) => {
                    tries = 0;
                    self.serve(standing).await
                }
                Err(ended) => ended,
            };
            self.backlog.clear();
            match ended {
                Ended::Orphaned => return,
                Ended::Closed => {}
                Ended::Renewal => self.tell(News::Down).await,
                Ended::Lost(why) => {
                    tracing::info!(id = %self.id, why, "no connection upstream");
                    self.tell(News::Down).await;
                    let wait = RETRY_MIN.saturating_mul(1 << tries.min(12)).min(self.shared.timings.upstream_retry_max);
                    tries = tries.saturating_add(1);
                    if !self.wait_for_retry(wait).await {
                        return;
                    }
                }
            }
        }
    }

    async fn tell(&self, news: News) {
        let _ = self.news.send((self.id.clone(), news)).await;
    }

    /// Takes an order in while there is no connection. Answers whether it asks for one.
    fn note(&mut self, order: UpstreamOrder) -> bool {
        match order {
            UpstreamOrder::Open => {
                self.wanted = true;
                return true;
            }
            UpstreamOrder::Close => {
                self.wanted = false;
                self.backlog.clear();
            }
            UpstreamOrder::Subscribe(filter) => {
                self.filters.insert(filter);
            }
            UpstreamOrder::Unsubscribe(filter) => {
                self.filters.remove(&filter);
            }
            later => self.backlog.push(later),
        }
        false
    }

    async fn wait_for_retry(&mut self, wait: Duration) -> bool {
        let over = tokio::time::sleep(wait);
        tokio::pin!(over);
        let mut cut = self.shared.cut.clone();
        cut.mark_unchanged();
        loop {
            tokio::select! {
                () = &mut over => return true,
                Ok(()) = cut.changed() => return true,
                order = self.orders.recv() => match order {
                    None => return false,
                    Some(order) => if self.note(order) || !self.wanted { return true },
                }
            }
        }
    }

    async fn connect(&mut self) -> Result<Standing, Ended> {
        let shared = Arc::clone(&self.shared);
        let id = self.id.clone();
        let connecting = timeout(shared.timings.upstream_connect, log_in(&shared, &id));
        tokio::pin!(connecting);
        let mut standing = loop {
            tokio::select! {
                connected = &mut connecting => {
                    break connected.unwrap_or_else(|_| Err("connecting took too long".to_owned())).map_err(Ended::Lost)?;
                }
                order = self.orders.recv() => {
                    self.note(order.ok_or(Ended::Orphaned)?);
                    if !self.wanted {
                        return Err(Ended::Closed);
                    }
                }
            }
        };
        standing.subscribe(&Filter::TwinAnswers).map_err(Ended::Lost)?;
        for filter in &self.filters {
            standing.subscribe(filter).map_err(Ended::Lost)?;
        }
        Ok(standing)
    }

    async fn serve(&mut self, mut standing: Standing) -> Ended {
        match self.work(&mut standing).await {
            Ok(never) => match never {},
            Err(ended) => {
                if matches!(ended, Ended::Closed | Ended::Renewal | Ended::Orphaned) {
                    standing.mqtt.disconnect();
                    standing.out.push(&standing.mqtt.output());
                    let goodbye = async {
                        standing.out.drain(&mut standing.stream).await?;
                        standing.stream.shutdown().await
                    };
                    // Through a line that is cut nothing gets out.
                    if *self.shared.cut.borrow() == Cut::None {
                        let _ = timeout(GOODBYE, goodbye).await;
                    }
                }
                ended
            }
        }
    }

    async fn work(&mut self, standing: &mut Standing) -> Result<std::convert::Infallible, Ended> {
        let mut cut = self.shared.cut.clone();
        let mut chunk = vec![0; 16 * 1024];
        let mut up = false;
        loop {
            if !up && standing.subscribing.is_empty() {
                up = true;
                self.tell(News::Up).await;
                for order in std::mem::take(&mut self.backlog) {
                    self.carry_out(standing, order)?;
                }
            }
            standing.out.push(&standing.mqtt.output());
            let state = *cut.borrow_and_update();
            if state == Cut::Refused {
                return Err(Ended::Lost("the line is cut on purpose".to_owned()));
            }
            let (flows, busy) = (state == Cut::None, standing.out.is_busy());
            let wake =
                standing.mqtt.next_wake().into_iter().chain([standing.renew_at]).min().unwrap_or(standing.renew_at);
            let (mut reader, mut writer) = tokio::io::split(&mut standing.stream);
            tokio::select! {
                read = reader.read(&mut chunk), if flows => {
                    let read = read.map_err(|error| Ended::Lost(error.to_string()))?;
                    if read == 0 {
                        return Err(Ended::Lost("the hub closed the connection".to_owned()));
                    }
                    let heard = standing.mqtt.feed(&chunk[..read]).map_err(|error| Ended::Lost(error.to_string()))?;
                    for heard in heard {
                        self.heard(standing, heard).await?;
                    }
                }
                written = standing.out.write_some(&mut writer), if flows && busy => {
                    written.map_err(|error| Ended::Lost(error.to_string()))?;
                }
                Ok(()) = cut.changed() => {}
                order = self.orders.recv() => {
                    let order = order.ok_or(Ended::Orphaned)?;
                    if up { self.carry_out(standing, order)? } else { self.backlog.push(order) }
                }
                () = sleep_until(wake.into()) => {
                    let now = Instant::now();
                    if now >= standing.renew_at {
                        return Err(Ended::Renewal);
                    }
                    standing.mqtt.time_passed(now).map_err(|error| Ended::Lost(error.to_string()))?;
                }
            }
        }
    }

    fn carry_out(&mut self, standing: &mut Standing, order: UpstreamOrder) -> Result<(), Ended> {
        let lost = |error: crate::mqtt::Broken| Ended::Lost(error.to_string());
        match order {
            UpstreamOrder::Open => Ok(()),
            UpstreamOrder::Close => {
                self.wanted = false;
                Err(Ended::Closed)
            }
            UpstreamOrder::Subscribe(filter) => {
                if self.filters.insert(filter.clone()) {
                    standing.mqtt.subscribe(&filter.to_string()).map_err(lost)?;
                }
                Ok(())
            }
            UpstreamOrder::Unsubscribe(filter) => {
                if self.filters.remove(&filter) {
                    standing.mqtt.unsubscribe(&filter.to_string()).map_err(lost)?;
                }
                Ok(())
            }
            UpstreamOrder::Publish { topic, payload } => {
                standing.mqtt.publish(&topic.to_string(), payload).map_err(lost)
            }
            UpstreamOrder::Send { topic, payload, message } => {
                let packet = standing.mqtt.publish_surely(&topic.to_string(), payload.to_vec()).map_err(lost)?;
                standing.sent.insert(packet, message);
                Ok(())
            }
        }
    }

    async fn heard(&mut self, standing: &mut Standing, heard: Heard) -> Result<(), Ended> {
        match heard {
            Heard::Subscribed { packet_id, ok } => {
                standing.subscribing.remove(&packet_id);
                if !ok {
                    tracing::warn!(id = %self.id, "the hub refused a subscription");
                }
            }
            Heard::Acknowledged(packet) => {
                if let Some(message) = standing.sent.remove(&packet) {
                    self.tell(News::Sent { message }).await;
                }
            }
            Heard::Message { topic, payload } => match topic.parse() {
                Ok(topic) => self.tell(News::Heard { topic, payload }).await,
                Err(error) => tracing::debug!(id = %self.id, %error, "a message of no concern"),
            },
            Heard::Accepted => {}
            Heard::Refused(why) => return Err(Ended::Lost(why)),
        }
        Ok(())
    }
}

const GOODBYE: Duration = Duration::from_secs(2);

impl Standing {
    fn subscribe(&mut self, filter: &Filter) -> Result<(), String> {
        let packet = self.mqtt.subscribe(&filter.to_string()).map_err(|error| error.to_string())?;
        self.subscribing.insert(packet);
        Ok(())
    }
}

/// Connects and logs in.
async fn log_in(shared: &Shared, id: &Id) -> Result<Standing, String> {
    let mut cut = shared.cut.clone();
    // A silent line takes every byte and gives none back.
    loop {
        match *cut.borrow_and_update() {
            Cut::None => break,
            Cut::Refused => return Err("the line is cut on purpose".to_owned()),
            Cut::Silent => {}
        }
        cut.changed().await.map_err(|_| "the device stops".to_owned())?;
    }
    let identity = shared.registry.find(id).await.ok_or("its identity is not known")?;
    let key = identity.keys.first().ok_or("it has no key")?;
    let endpoint = &shared.endpoint;
    let expiry = now_unix_s() + shared.timings.token.as_secs().max(1);
    let unsigned = match &id.module {
        Some(module) => Unsigned::module(&endpoint.hub, &id.device, module, expiry),
        None => Unsigned::device(&endpoint.hub, &id.device, expiry),
    };
    let user_name = Username::new(&endpoint.hub, &id.device, id.module.as_deref(), API_VERSION);
    let login = Login {
        client_id: ClientId { device: id.device.clone(), module: id.module.clone() }.to_string(),
        user_name: user_name.with_client_type(CLIENT_TYPE).to_string(),
        password: unsigned.sign(key),
        keep_alive_s: u16::try_from(shared.timings.upstream_keep_alive.as_secs().max(1)).unwrap_or(u16::MAX),
        ping_timeout: shared.timings.upstream_ping,
    };
    let renew_at = Instant::now() + shared.timings.token.mul_f64(RENEW_AT);
    let text = |error: std::io::Error| format!("cannot connect to {}:{}: {error}", endpoint.host, endpoint.port);
    let connected = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await;
    let tcp = connected.inspect_err(|error| endpoint.refused(error)).map_err(text)?;
    endpoint.settled.store(true, Ordering::Relaxed);
    let _ = tcp.set_nodelay(true);
    let name = ServerName::try_from(endpoint.host.clone()).map_err(|error| error.to_string())?;
    let mut stream = TlsConnector::from(Arc::clone(&endpoint.tls)).connect(name, tcp).await.map_err(text)?;
    let mut mqtt = Client::new(&login).map_err(|error| error.to_string())?;
    let mut chunk = [0; 4096];
    loop {
        stream.write_all(&mqtt.output()).await.map_err(text)?;
        stream.flush().await.map_err(text)?;
        let read = stream.read(&mut chunk).await.map_err(text)?;
        if read == 0 {
            return Err("the hub closed the connection before it answered".to_owned());
        }
        for heard in mqtt.feed(&chunk[..read]).map_err(|error| error.to_string())? {
            match heard {
                Heard::Accepted => {
                    let (subscribing, sent) = (HashSet::new(), HashMap::new());
                    return Ok(Standing { stream, mqtt, renew_at, subscribing, sent, out: Outflow::default() });
                }
                Heard::Refused(why) => return Err(why),
                _ => {}
            }
        }
    }
}
