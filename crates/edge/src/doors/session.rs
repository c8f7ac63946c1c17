//! One MQTT connection of a module or leaf device, from its first byte to its last.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use ha_mqtt::read_first;
use ha_wire::topics::{ClientId, Username};
use mqtt_protocol_core::mqtt::result_code::ConnectReturnCode;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::Door;
use crate::access::{self, now_unix_s};
use crate::hub::{ClientOrder, Input, Session};
use crate::id::Id;
use crate::mqtt::Broken;
use crate::mqtt::server::{Opened, Said, Server};
use crate::outflow::Outflow;
use crate::shell::Hub;

/// A CONNECT must be complete within this.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The longest silence that is borne.
const SILENCE_MAX: Duration = Duration::from_millis(1_767_000);
/// How long the last bytes may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// Bytes that may wait for a client that does not read.
const OUT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the client said goodbye")]
    Goodbye,
    #[error("the client closed the connection")]
    Closed,
    #[error("reading or writing failed")]
    Io(#[from] std::io::Error),
    #[error("MQTT failed")]
    Mqtt(#[from] Broken),
    #[error("silence for longer than the keep-alive allows")]
    Silence,
    #[error("the token has expired")]
    Expired,
    #[error("it reads too slowly")]
    TooSlow,
    #[error("a newer connection, or edgeHub, ended it")]
    ByHub,
    #[error("edgeHub stops")]
    Stop,
}

/// Serves one connection until it ends.
pub(super) async fn serve<S>(door: Arc<Door>, stream: S, carrier: &'static str)
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let first = tokio::select! {
        () = door.stop.cancelled() => return,
        first = timeout(CONNECT_WITHIN, read_first(&mut reader)) => first,
    };
    let bytes = match first {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => return tracing::debug!(carrier, %error, "no CONNECT"),
        Err(_) => return tracing::debug!(carrier, "no CONNECT in time"),
    };
    let opened = match Opened::read(&bytes) {
        Ok(opened) => opened,
        Err(error) => return tracing::info!(carrier, %error, "CONNECT cannot be read"),
    };
    let early = bytes[opened.taken..].to_vec();
    let (id, expires) = match judge(&door, &opened).await {
        Ok(granted) => granted,
        Err((code, reason)) => {
            tracing::warn!(carrier, reason, client = opened.connect.client_id(), "connection refused");
            let refusal = opened.refuse(code);
            let last = async {
                writer.write_all(&refusal).await?;
                writer.shutdown().await
            };
            let _ = timeout(FAREWELL, last).await;
            return;
        }
    };
    let (clean, keep_alive_s) = (opened.connect.clean_session(), opened.connect.keep_alive());
    let Some((session, orders, present)) = door.hub.attach(&id, clean).await else { return };
    tracing::info!(%id, carrier, "connected");
    let attachment = Attachment { hub: door.hub.clone(), id: id.clone(), session };
    let silence = silence_allowed(keep_alive_s);
    let connection = Connection {
        server: opened.accept(id, present),
        attachment,
        door,
        orders,
        expires,
        silence,
        silent_from: Instant::now() + silence,
        out: Outflow::default(),
        deliveries: HashMap::new(),
    };
    connection.run(reader, writer, early).await;
}

/// Who a CONNECT is from, and when its token ends.
async fn judge(door: &Door, opened: &Opened) -> Result<(Id, u64), (ConnectReturnCode, String)> {
    let nonsense = |error: &dyn std::fmt::Display| (ConnectReturnCode::IdentifierRejected, error.to_string());
    let refused = |error: &dyn std::fmt::Display| (ConnectReturnCode::NotAuthorized, error.to_string());
    let client: ClientId = opened.connect.client_id().parse().map_err(|error| nonsense(&error))?;
    let user: Username = opened.connect.user_name().unwrap_or_default().parse().map_err(|error| nonsense(&error))?;
    if !user.matches(&client) {
        return Err(nonsense(&"client id and user name name different identities"));
    }
    if user.api_version().is_none() {
        return Err(refused(&"the user name holds no api-version, which edgeHub insists on"));
    }
    let id = Id { device: client.device, module: client.module };
    let identity =
        door.registry.find(&id).await.ok_or_else(|| refused(&format!("{id} is not known on this device")))?;
    let password = opened.connect.password().unwrap_or_default();
    let token = std::str::from_utf8(password).unwrap_or_default();
    let checked = access::check(token, &id, &identity, &door.hosts, now_unix_s());
    checked.map(|expires| (id, expires)).map_err(|denied| refused(&denied))
}

/// Takes the client out of edgeHub however its task ends, panics included.
struct Attachment {
    hub: Hub,
    id: Id,
    session: Session,
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.hub.detach(self.id.clone(), self.session);
    }
}

struct Connection {
    server: Server,
    attachment: Attachment,
    door: Arc<Door>,
    orders: mpsc::Receiver<ClientOrder>,
    expires: u64,
    silence: Duration,
    silent_from: Instant,
    out: Outflow,
    /// Messages on inputs, by the packet that will acknowledge them.
    deliveries: HashMap<u16, u64>,
}

impl Connection {
    async fn run<S>(mut self, mut reader: ReadHalf<S>, mut writer: WriteHalf<S>, early: Vec<u8>)
    where
        S: AsyncRead + AsyncWrite,
    {
        let ended = self.work(&mut reader, &mut writer, &early).await;
        let Err(end) = ended;
        tracing::info!(id = %self.attachment.id, end = %end, "connection ended");
        if matches!(end, End::Goodbye | End::Closed | End::Io(_) | End::Stop) {
            return;
        }
        self.out.push(&self.server.output());
        let last = async {
            self.out.drain(&mut writer).await?;
            writer.shutdown().await
        };
        let _ = timeout(FAREWELL, last).await;
    }

    async fn work<S>(
        &mut self,
        reader: &mut ReadHalf<S>,
        writer: &mut WriteHalf<S>,
        early: &[u8],
    ) -> Result<std::convert::Infallible, End>
    where
        S: AsyncRead + AsyncWrite,
    {
        self.feed(early).await?;
        let door = Arc::clone(&self.door);
        let period = door.timings.reauthentication.max(Duration::from_millis(1));
        let mut reauthentication = tokio::time::interval_at(Instant::now() + period, period);
        let mut chunk = vec![0; 8 * 1024];
        loop {
            self.out.push(&self.server.output());
            if self.out.len() > OUT_BYTES_MAX {
                return Err(End::TooSlow);
            }
            let busy = self.out.is_busy();
            tokio::select! {
                () = door.stop.cancelled() => return Err(End::Stop),
                read = reader.read(&mut chunk) => self.hear(&chunk[..read?]).await?,
                written = self.out.write_some(writer), if busy => written?,
                order = self.orders.recv() => self.carry_out(order.ok_or(End::TooSlow)?)?,
                _ = reauthentication.tick() => {
                    if self.expires <= now_unix_s() {
                        return Err(End::Expired);
                    }
                }
                () = tokio::time::sleep_until(self.silent_from) => match reader.read(&mut chunk).now_or_never() {
                    // A machine that stood still has heard nothing, though something has come.
                    Some(read) => self.hear(&chunk[..read?]).await?,
                    None => return Err(End::Silence),
                },
            }
        }
    }

    /// Takes in what was read; nothing is the end.
    async fn hear(&mut self, bytes: &[u8]) -> Result<(), End> {
        if bytes.is_empty() {
            return Err(End::Closed);
        }
        self.feed(bytes).await
    }

    async fn feed(&mut self, bytes: &[u8]) -> Result<(), End> {
        let (hub, session) = (self.door.hub.clone(), self.attachment.session);
        for said in self.server.feed(bytes)? {
            self.silent_from = Instant::now() + self.silence;
            let id = self.attachment.id.clone();
            match said {
                Said::Published { topic, payload } => {
                    hub.tell(Input::Published { id, session, topic, payload }).await;
                }
                Said::Subscribed(filter) => hub.tell(Input::Subscribed { id, session, filter }).await,
                Said::Unsubscribed(filter) => hub.tell(Input::Unsubscribed { id, session, filter }).await,
                Said::Acknowledged(packet) => {
                    if let Some(message) = self.deliveries.remove(&packet) {
                        hub.tell(Input::Delivered { id, message }).await;
                    }
                }
                Said::Alive => {}
                Said::Goodbye => return Err(End::Goodbye),
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, order: ClientOrder) -> Result<(), End> {
        match order {
            ClientOrder::Publish { topic, payload } => self.server.publish(&topic.to_string(), payload)?,
            ClientOrder::Deliver { topic, payload, message } => {
                let packet = self.server.publish_surely(&topic.to_string(), payload.to_vec())?;
                self.deliveries.insert(packet, message);
            }
            ClientOrder::Close => return Err(End::ByHub),
        }
        Ok(())
    }
}

fn silence_allowed(keep_alive_s: u16) -> Duration {
    match keep_alive_s {
        0 => SILENCE_MAX,
        seconds => Duration::from_millis(u64::from(seconds) * 1_500).min(SILENCE_MAX),
    }
}
