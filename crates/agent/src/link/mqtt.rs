//! The client's side of MQTT 3.1.1, without I/O: bytes and time in, bytes and messages out.

use std::time::{Duration, Instant};

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event, TimerKind};
use mqtt_protocol_core::mqtt::packet::v3_1_1 as v3;
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait as _, Packet, Qos, SubEntry, SubOpts};
use mqtt_protocol_core::mqtt::result_code::{ConnectReturnCode, MqttError, SubackReturnCode};
use mqtt_protocol_core::mqtt::{Connection, Version, role};

/// The largest packet taken: a twin with both sections full, and some.
const PACKET_BYTES_MAX: u32 = 280_000;

/// How to introduce oneself.
pub(super) struct Login {
    pub(super) client_id: String,
    pub(super) user_name: String,
    pub(super) password: String,
    pub(super) keep_alive_s: u16,
    pub(super) ping_timeout: Duration,
}

/// What the other side has said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    Accepted,
    /// The login was refused, with this reason.
    Refused(String),
    Subscribed {
        ok: bool,
    },
    Message {
        topic: String,
        payload: Vec<u8>,
    },
    /// The hub has what was published under this packet id.
    Acknowledged {
        packet_id: u16,
    },
    /// Nothing more will come of this connection.
    Broken(String),
}

pub(super) struct Mqtt {
    connection: Connection<role::Client>,
    out: Vec<u8>,
    ping_at: Option<Instant>,
    pong_by: Option<Instant>,
}

impl Mqtt {
    pub(super) fn new(login: &Login) -> Result<Self, MqttError> {
        let options = ConnectionOptions::new().maximum_packet_size_recv(PACKET_BYTES_MAX);
        let mut connection = Connection::with_options(Version::V3_1_1, options);
        let timeout = u64::try_from(login.ping_timeout.as_millis()).unwrap_or(u64::MAX);
        connection.set_pingresp_recv_timeout(timeout);
        let connect = v3::Connect::builder()
            .client_id(&login.client_id)?
            .user_name(&login.user_name)?
            .password(login.password.as_str())?
            .clean_session(true)
            .keep_alive(login.keep_alive_s)
            .build()?;
        let mut mqtt = Self { connection, out: Vec::new(), ping_at: None, pong_by: None };
        let events = mqtt.connection.checked_send(connect);
        mqtt.take(events);
        Ok(mqtt)
    }

    /// Bytes to be written.
    pub(super) fn output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    pub(super) fn subscribe(&mut self, filter: &str) -> Result<(), MqttError> {
        let packet_id = self.connection.acquire_packet_id()?;
        let entry = SubEntry::new(filter, SubOpts::new().set_qos(Qos::AtMostOnce))?;
        let subscribe = v3::Subscribe::builder().packet_id(packet_id).entries(vec![entry]).build()?;
        let events = self.connection.checked_send(subscribe);
        self.take(events);
        Ok(())
    }

    pub(super) fn publish(&mut self, topic: &str, payload: Vec<u8>) -> Result<(), MqttError> {
        let publish = v3::Publish::builder().topic_name(topic)?.qos(Qos::AtMostOnce).payload(payload).build()?;
        let events = self.connection.checked_send(publish);
        self.take(events);
        Ok(())
    }

    /// At QoS 1: [`Heard::Acknowledged`] comes with the packet id returned.
    pub(super) fn publish_acknowledged(&mut self, topic: &str, payload: Vec<u8>) -> Result<u16, MqttError> {
        let packet_id = self.connection.acquire_packet_id()?;
        let publish = v3::Publish::builder().topic_name(topic)?.qos(Qos::AtLeastOnce).packet_id(packet_id);
        let events = self.connection.checked_send(publish.payload(payload).build()?);
        self.take(events);
        Ok(packet_id)
    }

    pub(super) fn disconnect(&mut self) {
        if let Ok(disconnect) = v3::Disconnect::builder().build() {
            let events = self.connection.checked_send(disconnect);
            self.take(events);
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Heard> {
        let mut heard = Vec::new();
        let mut cursor = Cursor::new(bytes);
        loop {
            let before = cursor.position();
            let events = self.connection.recv(&mut cursor);
            heard.extend(self.take(events));
            let broken = matches!(heard.last(), Some(Heard::Broken(_)));
            if broken || cursor.position() == before || cursor.position() >= bytes.len() as u64 {
                return heard;
            }
        }
    }

    /// When to call [`Mqtt::time_passed`].
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.ping_at.into_iter().chain(self.pong_by).min()
    }

    pub(super) fn time_passed(&mut self, now: Instant) -> Option<Heard> {
        if self.pong_by.take_if(|by| now >= *by).is_some() {
            return Some(Heard::Broken("the other side does not answer pings".to_owned()));
        }
        if self.ping_at.take_if(|at| now >= *at).is_some() {
            let events = self.connection.notify_timer_fired(TimerKind::PingreqSend);
            return self.take(events).pop();
        }
        None
    }

    fn take(&mut self, events: Vec<Event>) -> Vec<Heard> {
        let mut heard = Vec::new();
        for event in events {
            match event {
                Event::RequestSendPacket { packet, .. } => self.out.extend(packet.to_continuous_buffer()),
                Event::NotifyPacketReceived(packet) => heard.extend(self.received(packet)),
                Event::RequestTimerReset { kind, duration_ms } => {
                    self.set_timer(kind, Some(Instant::now() + Duration::from_millis(duration_ms)));
                }
                Event::RequestTimerCancel(kind) => self.set_timer(kind, None),
                Event::NotifyError(error) => heard.push(Heard::Broken(format!("not MQTT: {error:?}"))),
                Event::RequestClose => heard.push(Heard::Broken("the connection was ended".to_owned())),
                Event::NotifyPacketIdReleased(_) => {}
            }
        }
        heard
    }

    fn set_timer(&mut self, kind: TimerKind, at: Option<Instant>) {
        match kind {
            TimerKind::PingreqSend => self.ping_at = at,
            TimerKind::PingrespRecv => self.pong_by = at,
            TimerKind::PingreqRecv => {}
        }
    }

    fn received(&mut self, packet: Packet) -> Option<Heard> {
        match packet {
            Packet::V3_1_1Connack(connack) => Some(match connack.return_code() {
                ConnectReturnCode::Accepted => Heard::Accepted,
                code => Heard::Refused(refusal(code)),
            }),
            Packet::V3_1_1Suback(suback) => {
                let ok = !suback.return_codes().contains(&SubackReturnCode::Failure);
                Some(Heard::Subscribed { ok })
            }
            Packet::V3_1_1Puback(puback) => Some(Heard::Acknowledged { packet_id: puback.packet_id() }),
            Packet::V3_1_1Publish(publish) => {
                self.acknowledge(&publish);
                let payload = publish.payload().as_slice().to_vec();
                Some(Heard::Message { topic: publish.topic_name().to_owned(), payload })
            }
            _ => None,
        }
    }

    /// By hand: the codec's own answer panics on packet id 0.
    fn acknowledge(&mut self, publish: &v3::Publish) {
        if let (Qos::AtLeastOnce, Some(id)) = (publish.qos(), publish.packet_id().filter(|id| *id != 0))
            && let Ok(puback) = v3::Puback::builder().packet_id(id).build()
        {
            let events = self.connection.checked_send(puback);
            self.take(events);
        }
    }
}

fn refusal(code: ConnectReturnCode) -> String {
    match code {
        ConnectReturnCode::NotAuthorized | ConnectReturnCode::BadUserNameOrPassword => {
            "the hub does not accept the credentials: the key may be wrong, the module missing or disabled, or the \
             clock of this device more than minutes off"
                .to_owned()
        }
        code => format!("the hub refused the connection: {code:?}"),
    }
}
