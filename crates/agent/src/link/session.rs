//! One connection to the hub, from its making to its end.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ha_wire::topics::{Filter, FromDevice, RequestId, ToDevice};
use tokio::time::{sleep_until, timeout};

use super::mqtt::{Heard, Login, Mqtt};
use super::outgoing::{InFlight, Message};
use super::transport::{Endpoint, Transport};
use super::twin::{self, Twin};
use super::{Call, CallRoute, News, Outbox};

/// Why a connection ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// The token has to be renewed, which takes a new connection.
    Renewal,
    /// The agent stops.
    Stopped,
    /// Everything else, in words.
    Lost(String),
}

pub(super) struct Limits {
    pub(super) connect: Duration,
}

pub(super) struct Session<'a> {
    /// Counts the connections: answers to calls of an earlier one are void.
    pub(super) number: u64,
    /// Device and module, as topics name them.
    pub(super) from: (String, String),
    pub(super) transport: Transport,
    pub(super) mqtt: Mqtt,
    pub(super) twin: &'a mut Twin,
    pub(super) outbox: &'a mut Outbox,
    pub(super) in_flight: InFlight,
    pub(super) write_timeout: Duration,
}

/// A connection whose login is done.
pub(super) struct Connected {
    pub(super) transport: Transport,
    pub(super) mqtt: Mqtt,
    /// Calls that the hub sent on the heels of its last word to the login.
    pub(super) early: Vec<Heard>,
}

const FILTERS: [Filter; 3] = [Filter::TwinAnswers, Filter::DesiredChanges, Filter::MethodCalls];

const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(5);

type Step<T> = Result<T, Ended>;

fn lost(what: impl std::fmt::Display) -> Ended {
    Ended::Lost(what.to_string())
}

/// Connects and logs in; the subscriptions stand when it returns.
pub(super) async fn connect(
    endpoint: &Endpoint,
    tls: &Arc<rustls::ClientConfig>,
    login: &Login,
    limits: &Limits,
) -> Step<Connected> {
    let connecting = async {
        let place = || format!("{}:{}", endpoint.host, endpoint.port);
        let transport = Transport::connect(endpoint, tls).await;
        let mut transport = transport.map_err(|error| lost(format!("cannot connect to {}: {error}", place())))?;
        let mut mqtt = Mqtt::new(login).map_err(|error| lost(format!("cannot log in: {error:?}")))?;
        let mut missing = FILTERS.len();
        let mut early = Vec::new();
        while missing > 0 {
            transport.write(mqtt.output()).await.map_err(lost)?;
            let bytes = transport.read().await.map_err(|error| lost(format!("the login was not answered: {error}")))?;
            for heard in mqtt.feed(&bytes) {
                match heard {
                    Heard::Accepted => {
                        let subscribed = FILTERS.iter().try_for_each(|filter| mqtt.subscribe(&filter.to_string()));
                        subscribed.map_err(|error| lost(format!("cannot subscribe: {error:?}")))?;
                    }
                    Heard::Subscribed { ok: true } => missing -= 1,
                    Heard::Subscribed { ok: false } => return Err(lost("the hub refused a subscription")),
                    Heard::Refused(why) | Heard::Broken(why) => return Err(lost(why)),
                    Heard::Acknowledged { .. } => {}
                    message @ Heard::Message { .. } => early.push(message),
                }
            }
        }
        Ok(Connected { transport, mqtt, early })
    };
    timeout(limits.connect, connecting).await.unwrap_or_else(|_| Err(lost("connecting took too long")))
}

impl Session<'_> {
    /// Serves until the connection ends or the token has to be renewed.
    pub(super) async fn serve(mut self, early: Vec<Heard>, renew_at: Instant) -> Ended {
        match self.work(early, renew_at).await {
            Ok(never) => never,
            Err(ended) => ended,
        }
    }

    async fn work(&mut self, early: Vec<Heard>, renew_at: Instant) -> Step<Ended> {
        for heard in early {
            self.heard(heard)?;
        }
        let acts = self.twin.connected(Instant::now());
        self.twin_acts(acts)?;
        loop {
            self.flush().await?;
            let renewal = self.renewal(renew_at);
            let wake = [self.mqtt.next_wake(), self.twin.next_wake(), Some(renewal)].into_iter().flatten().min();
            let takes_messages = self.in_flight.has_room() && Instant::now() < renew_at;
            tokio::select! {
                bytes = self.transport.read() => {
                    let bytes = bytes.map_err(|error| lost(format!("the connection broke: {error}")))?;
                    for heard in self.mqtt.feed(&bytes) {
                        self.heard(heard)?;
                    }
                }
                answer = self.outbox.answers.recv() => {
                    let Some(answer) = answer else { return self.stop().await };
                    if answer.route.session == self.number {
                        let topic = FromDevice::MethodAnswer { status: answer.status.into(), rid: answer.route.rid };
                        self.publish(&topic, answer.body.to_string().into_bytes())?;
                    }
                }
                Ok(()) = self.outbox.reported.changed() => {
                    let report = self.outbox.reported.borrow_and_update().clone();
                    let acts = report.map_or_else(Vec::new, |report| self.twin.want(Instant::now(), report));
                    self.twin_acts(acts)?;
                }
                Some(message) = self.outbox.messages.recv(), if takes_messages => self.send(message)?,
                () = sleep_to(wake) => self.time_passed(renewal).await?,
            }
        }
    }

    /// What was sent and not acknowledged gets a moment before the connection is replaced.
    fn renewal(&self, renew_at: Instant) -> Instant {
        if self.in_flight.is_empty() { renew_at } else { renew_at + ACKNOWLEDGED_WITHIN }
    }

    /// One that nobody waits for any more is not sent.
    fn send(&mut self, message: Message) -> Step<()> {
        let Message { properties, payload, outcome } = message;
        if outcome.is_closed() {
            return Ok(());
        }
        let (device, module) = self.from.clone();
        let topic = FromDevice::Event { device, module: Some(module), properties };
        let packet_id = self.mqtt.publish_acknowledged(&topic.to_string(), payload);
        self.in_flight.sent(packet_id.map_err(|error| lost(format!("cannot publish: {error:?}")))?, outcome);
        Ok(())
    }

    async fn time_passed(&mut self, renew_at: Instant) -> Step<()> {
        let now = Instant::now();
        if now >= renew_at {
            self.mqtt.disconnect();
            let _ = self.flush().await;
            return Err(Ended::Renewal);
        }
        if let Some(heard) = self.mqtt.time_passed(now) {
            self.heard(heard)?;
        }
        let acts = self.twin.time_passed(now);
        self.twin_acts(acts)
    }

    async fn stop(&mut self) -> Step<Ended> {
        self.mqtt.disconnect();
        let _ = self.flush().await;
        Err(Ended::Stopped)
    }

    fn heard(&mut self, heard: Heard) -> Step<()> {
        match heard {
            Heard::Message { topic, payload } => self.message(&topic, &payload),
            Heard::Broken(why) | Heard::Refused(why) => Err(lost(why)),
            Heard::Acknowledged { packet_id } => {
                self.in_flight.acknowledged(packet_id);
                Ok(())
            }
            Heard::Accepted | Heard::Subscribed { .. } => Ok(()),
        }
    }

    fn message(&mut self, topic: &str, payload: &[u8]) -> Step<()> {
        let now = Instant::now();
        match topic.parse() {
            Ok(ToDevice::TwinAnswer { status, rid, .. }) => {
                let acts = self.twin.answered(now, status, rid.as_str(), payload);
                self.twin_acts(acts)
            }
            Ok(ToDevice::DesiredChanged { .. }) => {
                let acts = self.twin.patched(now, payload);
                self.twin_acts(acts)
            }
            Ok(ToDevice::MethodCall { name, rid }) => {
                let route = CallRoute { session: self.number, rid };
                self.outbox.tell(News::Call(Call { route, method: name, payload: payload.to_vec() }));
                Ok(())
            }
            Ok(ToDevice::Message { .. } | ToDevice::Input { .. }) | Err(_) => {
                tracing::debug!(topic, "a message of no concern");
                Ok(())
            }
        }
    }

    fn twin_acts(&mut self, acts: Vec<twin::Act>) -> Step<()> {
        for act in acts {
            match act {
                twin::Act::Get { rid } => self.publish(&FromDevice::GetTwin { rid: request_id(rid)? }, Vec::new())?,
                twin::Act::Report { rid, patch } => {
                    let topic = FromDevice::PatchReported { rid: request_id(rid)? };
                    self.publish(&topic, patch.to_string().into_bytes())?;
                }
                twin::Act::Desired(desired) => self.outbox.tell(News::Desired(desired)),
                twin::Act::Unreportable { status } => {
                    tracing::error!(status, "the hub refused the reported properties");
                }
            }
        }
        Ok(())
    }

    fn publish(&mut self, topic: &FromDevice, payload: Vec<u8>) -> Step<()> {
        self.mqtt.publish(&topic.to_string(), payload).map_err(|error| lost(format!("cannot publish: {error:?}")))
    }

    async fn flush(&mut self) -> Step<()> {
        let bytes = self.mqtt.output();
        if bytes.is_empty() {
            return Ok(());
        }
        match timeout(self.write_timeout, self.transport.write(bytes)).await {
            Ok(written) => written.map_err(|error| lost(format!("the connection broke: {error}"))),
            Err(_) => Err(lost("the other side takes nothing more")),
        }
    }
}

fn request_id(text: String) -> Step<RequestId> {
    RequestId::new(text).map_err(lost)
}

async fn sleep_to(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => pending().await,
    }
}
