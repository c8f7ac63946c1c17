//! The client's side: what is said to the hub, and what it answers.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event, TimerKind};
use mqtt_protocol_core::mqtt::packet::v3_1_1 as v3;
use mqtt_protocol_core::mqtt::packet::{Packet, Qos, SubEntry, SubOpts};
use mqtt_protocol_core::mqtt::result_code::{ConnectReturnCode, SubackReturnCode};
use mqtt_protocol_core::mqtt::{Connection, Version, role};

use super::{Broken, PACKET_BYTES_MAX, broken, sort};

/// How to introduce oneself.
pub(crate) struct Login {
    pub(crate) client_id: String,
    pub(crate) user_name: String,
    pub(crate) password: String,
    pub(crate) keep_alive_s: u16,
    pub(crate) ping_timeout: Duration,
}

/// What the hub has said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    Accepted,
    Refused(String),
    Subscribed {
        packet_id: u16,
        ok: bool,
    },
    Message {
        topic: String,
        payload: Vec<u8>,
    },
    /// It has this message of ours.
    Acknowledged(u16),
}

/// One connection to the hub.
pub(crate) struct Client {
    codec: Connection<role::Client>,
    out: BytesMut,
    ping_at: Option<Instant>,
    pong_by: Option<Instant>,
}

impl Client {
    pub(crate) fn new(login: &Login) -> Result<Self, Broken> {
        let options = ConnectionOptions::new().maximum_packet_size_recv(PACKET_BYTES_MAX);
        let mut codec = Connection::with_options(Version::V3_1_1, options);
        codec.set_pingresp_recv_timeout(u64::try_from(login.ping_timeout.as_millis()).unwrap_or(u64::MAX));
        let connect = v3::Connect::builder()
            .client_id(&login.client_id)
            .and_then(|connect| connect.user_name(&login.user_name))
            .and_then(|connect| connect.password(login.password.as_str()))
            .and_then(|connect| connect.clean_session(true).keep_alive(login.keep_alive_s).build())
            .map_err(broken)?;
        let mut client = Self { codec, out: BytesMut::new(), ping_at: None, pong_by: None };
        let events = client.codec.checked_send(connect);
        client.take(events)?;
        Ok(client)
    }

    /// What is to be written.
    pub(crate) fn output(&mut self) -> Bytes {
        self.out.split().freeze()
    }

    pub(crate) fn subscribe(&mut self, filter: &str) -> Result<u16, Broken> {
        let packet_id = self.codec.acquire_packet_id().map_err(broken)?;
        let entry = SubEntry::new(filter, SubOpts::new().set_qos(Qos::AtLeastOnce)).map_err(broken)?;
        let subscribe = v3::Subscribe::builder().packet_id(packet_id).entries(vec![entry]).build().map_err(broken)?;
        let events = self.codec.checked_send(subscribe);
        self.take(events)?;
        Ok(packet_id)
    }

    pub(crate) fn unsubscribe(&mut self, filter: &str) -> Result<(), Broken> {
        let packet_id = self.codec.acquire_packet_id().map_err(broken)?;
        let unsubscribe = v3::Unsubscribe::builder().packet_id(packet_id).entries(vec![filter]).map_err(broken)?;
        let events = self.codec.checked_send(unsubscribe.build().map_err(broken)?);
        self.take(events)?;
        Ok(())
    }

    pub(crate) fn publish(&mut self, topic: &str, payload: Vec<u8>) -> Result<(), Broken> {
        let publish = v3::Publish::builder().topic_name(topic).map_err(broken)?.qos(Qos::AtMostOnce).payload(payload);
        let events = self.codec.checked_send(publish.build().map_err(broken)?);
        self.take(events)?;
        Ok(())
    }

    /// Publishes and answers with the id under which it will be acknowledged.
    pub(crate) fn publish_surely(&mut self, topic: &str, payload: Vec<u8>) -> Result<u16, Broken> {
        let packet_id = self.codec.acquire_packet_id().map_err(broken)?;
        let publish = v3::Publish::builder().topic_name(topic).map_err(broken)?.qos(Qos::AtLeastOnce);
        let publish = publish.packet_id(packet_id).payload(payload).build().map_err(broken)?;
        let events = self.codec.checked_send(publish);
        self.take(events)?;
        Ok(packet_id)
    }

    pub(crate) fn disconnect(&mut self) {
        if let Ok(disconnect) = v3::Disconnect::builder().build() {
            let events = self.codec.checked_send(disconnect);
            sort(events, &mut self.out);
        }
    }

    /// Takes in bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Heard>, Broken> {
        let mut heard = Vec::new();
        let mut cursor = Cursor::new(bytes);
        loop {
            let before = cursor.position();
            let events = self.codec.recv(&mut cursor);
            heard.extend(self.take(events)?);
            if cursor.position() == before {
                return Ok(heard);
            }
        }
    }

    /// When to call [`Client::time_passed`].
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.ping_at.into_iter().chain(self.pong_by).min()
    }

    pub(crate) fn time_passed(&mut self, now: Instant) -> Result<(), Broken> {
        if self.pong_by.take_if(|by| now >= *by).is_some() {
            return Err(Broken::Protocol("it does not answer pings".to_owned()));
        }
        if self.ping_at.take_if(|at| now >= *at).is_some() {
            let events = self.codec.notify_timer_fired(TimerKind::PingreqSend);
            self.take(events)?;
        }
        Ok(())
    }

    fn take(&mut self, events: Vec<Event>) -> Result<Vec<Heard>, Broken> {
        let mut heard = Vec::new();
        for event in sort(events, &mut self.out) {
            match event {
                Event::NotifyPacketReceived(packet) => heard.extend(self.received(packet)?),
                Event::RequestTimerReset { kind, duration_ms } => {
                    self.set_timer(kind, Some(Instant::now() + Duration::from_millis(duration_ms)));
                }
                Event::RequestTimerCancel(kind) => self.set_timer(kind, None),
                Event::NotifyError(error) => return Err(broken(error)),
                Event::RequestClose => return Err(broken("closed")),
                _ => {}
            }
        }
        Ok(heard)
    }

    fn set_timer(&mut self, kind: TimerKind, at: Option<Instant>) {
        match kind {
            TimerKind::PingreqSend => self.ping_at = at,
            TimerKind::PingrespRecv => self.pong_by = at,
            TimerKind::PingreqRecv => {}
        }
    }

    fn received(&mut self, packet: Packet) -> Result<Option<Heard>, Broken> {
        Ok(match packet {
            Packet::V3_1_1Connack(connack) => Some(match connack.return_code() {
                ConnectReturnCode::Accepted => Heard::Accepted,
                code => Heard::Refused(format!("the hub refused the connection: {code:?}")),
            }),
            Packet::V3_1_1Suback(suback) => {
                let ok = !suback.return_codes().contains(&SubackReturnCode::Failure);
                Some(Heard::Subscribed { packet_id: suback.packet_id(), ok })
            }
            Packet::V3_1_1Puback(puback) => Some(Heard::Acknowledged(puback.packet_id())),
            Packet::V3_1_1Publish(publish) => {
                // By hand: the codec's own answer panics on packet id 0.
                if publish.qos() == Qos::AtLeastOnce {
                    let id = publish.packet_id().filter(|id| *id != 0).ok_or(Broken::NoPacketId)?;
                    let puback = v3::Puback::builder().packet_id(id).build().map_err(broken)?;
                    let events = self.codec.checked_send(puback);
                    sort(events, &mut self.out);
                }
                let payload = publish.payload().as_slice().to_vec();
                Some(Heard::Message { topic: publish.topic_name().to_owned(), payload })
            }
            _ => None,
        })
    }
}
