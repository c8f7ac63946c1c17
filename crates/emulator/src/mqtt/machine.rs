//! One connection's packets, without sockets: bytes in, bytes out.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ha_wire::Properties;
use ha_wire::method::PAYLOAD_BYTES_MAX;
use ha_wire::topics::{Filter, FromDevice, RequestId, ToDevice};
use mqtt_protocol_core::mqtt;
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event};
use mqtt_protocol_core::mqtt::packet::{Packet, Qos, v3_1_1};
use mqtt_protocol_core::mqtt::prelude::*;
use mqtt_protocol_core::mqtt::result_code::{ConnectReturnCode, MqttError, SubackReturnCode};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{PACKET_BYTES_MAX, toll};
use crate::hub::{Channel, Id, Session, Subscriptions};
use crate::meters::{Bill, Meter};
use crate::shell::{Message, MethodAnswer, Parcel, Shell};
use crate::throttle::Turn;

pub(crate) const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Subscriptions of one client, and so of one SUBSCRIBE.
const SUBSCRIPTIONS_MAX: usize = 5;

pub(super) type Codec = mqtt::Connection<mqtt::role::Server>;

/// The protocol state of an accepted connection.
pub(super) struct Machine {
    shell: Arc<Shell>,
    codec: Codec,
    id: Id,
    session: Session,
    out: BytesMut,
    heard: bool,
    held: Option<(v3_1_1::Publish, Instant)>,
    /// Sequence numbers of the cloud-to-device messages that the client has not acknowledged, by packet id.
    unacknowledged: HashMap<u16, u64>,
}

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum End {
    #[error("the client said goodbye")]
    Disconnect,
    #[error("the client closed the connection")]
    Closed,
    #[error("reading or writing failed: {0}")]
    Broken(String),
    #[error("the client broke the protocol: {0:?}")]
    Protocol(MqttError),
    #[error("quality of service 2")]
    QosTwo,
    #[error("a packet id of zero")]
    NoPacketId,
    #[error("publishing to a topic that is not its own")]
    ForeignTopic,
    #[error("a payload over the limit")]
    TooLarge,
    #[error("silence for longer than the keep-alive allows")]
    Silence,
    #[error("the shared access signature has expired")]
    Expired,
    #[error("closed by the hub")]
    ByHub,
    #[error("the day's messages are spent (403002)")]
    Spent,
    #[error("it reads too slowly")]
    TooSlow,
    #[error("the emulator stops")]
    Stop,
}

/// A codec set up for bytes from strangers.
pub(super) fn codec() -> Codec {
    let options = ConnectionOptions::new().maximum_packet_size_recv(PACKET_BYTES_MAX).receive_maximum(100);
    let mut codec = Codec::with_options(mqtt::Version::V3_1_1, options);
    codec.set_auto_ping_response(true);
    codec
}

/// Feeds a complete CONNECT; answers with it and with the number of bytes it took.
pub(super) fn open(codec: &mut Codec, bytes: &[u8]) -> Result<(v3_1_1::Connect, usize), MqttError> {
    let mut cursor = Cursor::new(bytes);
    let mut connect = None;
    for event in codec.recv(&mut cursor) {
        match event {
            Event::NotifyPacketReceived(Packet::V3_1_1Connect(packet)) => connect = Some(packet),
            Event::NotifyError(e) => return Err(e),
            _ => {}
        }
    }
    let taken = usize::try_from(cursor.position()).unwrap_or(bytes.len());
    connect.map(|packet| (packet, taken)).ok_or(MqttError::ProtocolError)
}

/// The bytes of a refusal.
pub(super) fn refusal(codec: &mut Codec, code: ConnectReturnCode) -> Bytes {
    let mut out = BytesMut::new();
    if let Ok(packet) = v3_1_1::Connack::builder().return_code(code).session_present(false).build() {
        collect(codec.checked_send(packet), &mut out);
    }
    out.freeze()
}

fn collect(events: Vec<Event>, out: &mut BytesMut) {
    for event in events {
        if let Event::RequestSendPacket { packet, .. } = event {
            out.extend_from_slice(&packet.to_continuous_buffer());
        }
    }
}

/// A topic that this identity may publish to.
pub(super) fn from_device(id: &Id, topic: &str) -> Option<FromDevice> {
    let topic: FromDevice = topic.parse().ok()?;
    topic.belongs_to(&id.device, id.module.as_deref()).then_some(topic)
}

/// Properties as listeners get them; one without a value counts as empty.
pub(super) fn pairs(properties: &Properties) -> Vec<(String, String)> {
    let own = |(name, value): (&str, Option<&str>)| (name.into(), value.unwrap_or_default().into());
    properties.iter().map(own).collect()
}

/// What a filter of this identity stands for; `None` when the hub does not serve it.
fn channel(id: &Id, filter: &str) -> Option<Channel> {
    let filter: Filter = filter.parse().ok()?;
    filter.belongs_to(&id.device, id.module.as_deref()).then_some(match filter {
        Filter::Messages { .. } => Channel::Messages,
        Filter::Inputs { .. } => Channel::Inputs,
        Filter::TwinAnswers => Channel::TwinAnswers,
        Filter::DesiredChanges => Channel::Desired,
        Filter::MethodCalls => Channel::Methods,
    })
}

impl Machine {
    /// Takes over the codec of an accepted CONNECT and answers it.
    pub(super) fn accept(shell: Arc<Shell>, mut codec: Codec, id: Id, session: Session, session_present: bool) -> Self {
        let mut out = BytesMut::new();
        if let Ok(packet) =
            v3_1_1::Connack::builder().return_code(ConnectReturnCode::Accepted).session_present(session_present).build()
        {
            collect(codec.checked_send(packet), &mut out);
        }
        Self { shell, codec, id, session, out, heard: false, held: None, unacknowledged: HashMap::new() }
    }

    /// What is to be sent since the last call.
    pub(super) fn take_out(&mut self) -> Bytes {
        self.out.split().freeze()
    }

    /// Whether a whole packet has come since the last call: any packet ends a silence.
    pub(super) fn take_heard(&mut self) -> bool {
        std::mem::take(&mut self.heard)
    }

    /// Takes in bytes and says how many: fewer than all when a throttle holds one of the packets. `lose` says whether
    /// a fault swallows the answer to a method.
    pub(super) fn take_in(&mut self, bytes: &[u8], lose: &mut impl FnMut() -> bool) -> Result<usize, End> {
        let mut cursor = Cursor::new(bytes);
        loop {
            let before = cursor.position();
            for event in self.codec.recv(&mut cursor) {
                self.handle(event, lose)?;
            }
            if cursor.position() == before || self.held.is_some() {
                return Ok(usize::try_from(cursor.position()).unwrap_or(bytes.len()));
            }
        }
    }

    /// Until when a throttle holds a packet; nothing is to be taken in before.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.held.as_ref().map(|(_, until)| *until)
    }

    /// Carries out the packet that was held.
    pub(super) fn go_on(&mut self, lose: &mut impl FnMut() -> bool) -> Result<(), End> {
        match self.held.take() {
            Some((publish, _)) => self.receive_publish(&publish, lose),
            None => Ok(()),
        }
    }

    /// Publishes to the client: at quality of service 0, as the hub does for twins and methods, or with a receipt at 1.
    pub(super) fn publish(&mut self, parcel: Parcel) {
        self.shell.meters.count_for(parcel.meter, &self.id);
        let Some(sequence) = parcel.receipt else {
            return self.send(&parcel.topic, parcel.payload, None);
        };
        // There are more packet ids than messages in a queue.
        let Ok(packet_id) = self.codec.acquire_packet_id() else {
            return tracing::error!(id = %self.id, "no packet id is free");
        };
        self.unacknowledged.insert(packet_id, sequence);
        self.send(&parcel.topic, parcel.payload, Some(packet_id));
    }

    fn send(&mut self, topic: &str, payload: Vec<u8>, packet_id: Option<u16>) {
        let builder = v3_1_1::Publish::builder().topic_name(topic);
        let packet = builder.and_then(|builder| match packet_id {
            None => builder.qos(Qos::AtMostOnce).payload(payload).build(),
            Some(packet_id) => builder.qos(Qos::AtLeastOnce).packet_id(packet_id).payload(payload).build(),
        });
        match packet {
            Ok(packet) => collect(self.codec.checked_send(packet), &mut self.out),
            Err(e) => tracing::warn!(id = %self.id, topic, error = ?e, "cannot publish"),
        }
    }

    fn handle(&mut self, event: Event, lose: &mut impl FnMut() -> bool) -> Result<(), End> {
        match event {
            Event::NotifyPacketReceived(packet) => self.receive(packet, lose),
            Event::RequestSendPacket { packet, .. } => {
                self.out.extend_from_slice(&packet.to_continuous_buffer());
                Ok(())
            }
            Event::NotifyError(e) => Err(End::Protocol(e)),
            Event::RequestClose => Err(End::Protocol(MqttError::ProtocolError)),
            _ => Ok(()),
        }
    }

    fn receive(&mut self, packet: Packet, lose: &mut impl FnMut() -> bool) -> Result<(), End> {
        self.heard = true;
        match packet {
            Packet::V3_1_1Publish(publish) => match toll::turn(&self.shell, publish.topic_name()) {
                Turn::Now => self.receive_publish(&publish, lose),
                Turn::After(wait) => {
                    self.shell.meters.count_for(Meter::Queued, &self.id);
                    self.held = Some((publish, Instant::now() + wait));
                    Ok(())
                }
                Turn::Refused => self.refuse_publish(&publish, 429),
            },
            Packet::V3_1_1Subscribe(subscribe) => self.receive_subscribe(&subscribe),
            Packet::V3_1_1Unsubscribe(unsubscribe) => self.receive_unsubscribe(&unsubscribe),
            Packet::V3_1_1Puback(puback) => {
                self.receive_puback(puback.packet_id());
                Ok(())
            }
            Packet::V3_1_1Disconnect(_) => Err(End::Disconnect),
            _ => Ok(()),
        }
    }

    fn receive_publish(&mut self, publish: &v3_1_1::Publish, lose: &mut impl FnMut() -> bool) -> Result<(), End> {
        let packet_id = match publish.qos() {
            Qos::AtMostOnce => None,
            Qos::AtLeastOnce => Some(publish.packet_id().filter(|n| *n != 0)),
            Qos::ExactlyOnce => return Err(End::QosTwo),
        };
        let topic = from_device(&self.id, publish.topic_name()).ok_or(End::ForeignTopic)?;
        let body = publish.payload().as_slice();
        if body.len() > MESSAGE_BYTES_MAX {
            return Err(End::TooLarge);
        }
        if toll::is_metered(&topic) && self.shell.check_quota().is_err() {
            return match topic {
                FromDevice::Event { .. } => Err(End::Spent),
                _ => self.refuse_publish(publish, 403),
            };
        }
        match topic {
            FromDevice::Event { properties, .. } => {
                self.telemetry(&properties, publish.retain(), body);
            }
            FromDevice::GetTwin { rid } => self.twin_get(rid),
            FromDevice::PatchReported { rid } => self.report(rid, body),
            FromDevice::MethodAnswer { .. } if lose() => self.shell.meters.count(Meter::Dropped),
            FromDevice::MethodAnswer { status, rid } => self.method_answer(status, &rid, body)?,
        }
        match packet_id {
            Some(packet_id) => self.acknowledge(packet_id.unwrap_or(0)),
            None => Ok(()),
        }
    }

    /// Answers a twin request with nothing but a status; other packets are taken for granted.
    fn refuse_publish(&mut self, publish: &v3_1_1::Publish, status: u16) -> Result<(), End> {
        if status == 429 {
            self.shell.meters.count_for(Meter::Throttled, &self.id);
        }
        if let Some(FromDevice::GetTwin { rid } | FromDevice::PatchReported { rid }) =
            from_device(&self.id, publish.topic_name())
        {
            self.twin_answer(status, rid, None, Vec::new());
        }
        match publish.packet_id().filter(|_| publish.qos() == Qos::AtLeastOnce) {
            Some(packet_id) => self.acknowledge(packet_id),
            None => Ok(()),
        }
    }

    fn acknowledge(&mut self, packet_id: u16) -> Result<(), End> {
        let packet_id = Some(packet_id).filter(|n| *n != 0).ok_or(End::NoPacketId)?;
        let puback = v3_1_1::Puback::builder().packet_id(packet_id).build();
        collect(self.codec.checked_send(puback.map_err(End::Protocol)?), &mut self.out);
        Ok(())
    }

    fn telemetry(&mut self, properties: &Properties, retain: bool, body: &[u8]) {
        let mut properties = pairs(properties);
        if retain {
            properties.push(("mqtt-retain".into(), "true".into()));
        }
        let (id, session) = (&self.id, self.session);
        let at = self.shell.act(|hub, now| {
            hub.note_messaging(id, session, now);
            now
        });
        self.shell.publish_message(Message {
            from: self.id.clone(),
            at,
            properties,
            body: Bytes::copy_from_slice(body),
        });
    }

    fn twin_get(&mut self, rid: RequestId) {
        self.shell.meters.count_for(Meter::DeviceTwinReads, &self.id);
        let twin = self.shell.act(|hub, _| hub.own_twin(&self.id));
        match twin {
            Ok(twin) => {
                let twin = twin.to_string().into_bytes();
                self.shell.bill(Bill::TwinReads, Some(&self.id.device), twin.len());
                self.twin_answer(200, rid, None, twin);
            }
            Err(refusal) => self.twin_answer(refusal.code.http_status(), rid, None, Vec::new()),
        }
    }

    fn report(&mut self, rid: RequestId, body: &[u8]) {
        self.shell.meters.count_for(Meter::DeviceReports, &self.id);
        let Ok(patch) = serde_json::from_slice::<Map<String, Value>>(body) else {
            return self.twin_answer(400, rid, None, Vec::new());
        };
        let id = &self.id;
        match self.shell.act(|hub, now| hub.report(id, &patch, now)) {
            Ok(version) => {
                self.shell.bill(Bill::TwinWrites, Some(&self.id.device), body.len());
                self.twin_answer(204, rid, Some(version), Vec::new());
            }
            Err(refusal) => {
                tracing::info!(id = %self.id, error = %refusal, "a reported patch was refused");
                self.twin_answer(refusal.code.http_status(), rid, None, Vec::new());
            }
        }
    }

    fn twin_answer(&mut self, status: u16, rid: RequestId, version: Option<u64>, payload: Vec<u8>) {
        if self.hears(|subscriptions| subscriptions.twin_answers.is_some()) {
            let topic = ToDevice::TwinAnswer { status, rid, version };
            self.send(&topic.to_string(), payload, None);
        }
    }

    fn method_answer(&mut self, status: i32, rid: &RequestId, body: &[u8]) -> Result<(), End> {
        if body.len() > PAYLOAD_BYTES_MAX {
            return Err(End::TooLarge);
        }
        if let Ok(rid) = u64::from_str_radix(rid.as_str(), 16) {
            let payload = Bytes::copy_from_slice(body);
            let answer = MethodAnswer { status, payload };
            self.shell.answer_call(&self.id, rid, answer);
        }
        Ok(())
    }

    fn receive_puback(&mut self, packet_id: u16) {
        if let Some(sequence) = self.unacknowledged.remove(&packet_id) {
            let (device, session) = (&self.id.device, self.session);
            self.shell.act(|hub, now| hub.complete_message(device, session, sequence, now));
        }
    }

    fn receive_subscribe(&mut self, subscribe: &v3_1_1::Subscribe) -> Result<(), End> {
        let mut codes = Vec::new();
        let (mut granted, mut refused) = (0, Vec::new());
        for entry in subscribe.entries() {
            let filter = entry.topic_filter();
            let Some(channel) = channel(&self.id, filter).filter(|_| granted < SUBSCRIPTIONS_MAX) else {
                refused.push(filter);
                codes.push(SubackReturnCode::Failure);
                continue;
            };
            granted += 1;
            let (qos, code) = match entry.sub_opts().qos() {
                Qos::AtMostOnce => (0, SubackReturnCode::SuccessMaximumQos0),
                _ => (1, SubackReturnCode::SuccessMaximumQos1),
            };
            let (id, session) = (&self.id, self.session);
            self.shell.act(|hub, now| hub.subscribe(id, session, channel, Some(qos), now));
            codes.push(code);
        }
        if let Some(first) = refused.first() {
            tracing::info!(id = %self.id, filter = first, refused = refused.len(), "subscriptions were refused");
        }
        let suback = v3_1_1::Suback::builder()
            .packet_id(subscribe.packet_id())
            .return_codes(codes)
            .build()
            .map_err(End::Protocol)?;
        collect(self.codec.checked_send(suback), &mut self.out);
        self.shell.links_changed();
        Ok(())
    }

    fn receive_unsubscribe(&mut self, unsubscribe: &v3_1_1::Unsubscribe) -> Result<(), End> {
        for filter in unsubscribe.entries() {
            if let Some(channel) = channel(&self.id, filter.as_str()) {
                let (id, session) = (&self.id, self.session);
                self.shell.act(|hub, now| hub.subscribe(id, session, channel, None, now));
            }
        }
        let unsuback = v3_1_1::Unsuback::builder().packet_id(unsubscribe.packet_id()).build().map_err(End::Protocol)?;
        collect(self.codec.checked_send(unsuback), &mut self.out);
        Ok(())
    }

    fn hears(&self, what: impl FnOnce(&Subscriptions) -> bool) -> bool {
        let (id, session) = (&self.id, self.session);
        self.shell.act(|hub, _| hub.subscriptions(id, session).is_some_and(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Access;
    use crate::hub::{Dice, Hub};
    use proptest::prelude::*;

    fn machine() -> Machine {
        let mut dice = Dice::new([3; 32]);
        let access = Access::example(&mut dice);
        let events = crate::events::Events::example(access.rules().policies.clone());
        let shell = Shell::new(Hub::new(dice, jiff::SignedDuration::ZERO), access, events);
        let mut codec = codec();
        let connect = v3_1_1::Connect::builder().client_id("d").and_then(|b| b.keep_alive(60).build());
        let bytes = connect.expect("a CONNECT").to_continuous_buffer();
        open(&mut codec, &bytes).expect("opened");
        Machine::accept(Arc::new(shell), codec, Id::device("d"), Session(1), false)
    }

    /// Whole packets of every kind with bodies of chance, so that more than the header is reached.
    fn packets() -> impl Strategy<Value = Vec<u8>> {
        let packet = (any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(first, body)| {
            let mut bytes = vec![first, u8::try_from(body.len()).expect("short")];
            bytes.extend(body);
            bytes
        });
        prop::collection::vec(packet, 1..6).prop_map(|packets| packets.concat())
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_stranger_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = open(&mut codec(), &bytes);
        }

        #[test]
        fn no_packets_of_a_client_panic(bytes in packets(), at in 0..200usize) {
            let mut machine = machine();
            let (first, second) = bytes.split_at(at.min(bytes.len()));
            if machine.take_in(first, &mut || false).is_ok() {
                let _ = machine.take_in(second, &mut || false);
            }
        }
    }

    #[test]
    fn topics_and_filters_belong_to_their_identity() {
        let (device, module) = (Id::device("d"), Id::module("d", "m"));
        for (id, topic, served) in [
            (&device, "devices/d/messages/events/", true),
            (&device, "devices/d/messages/events/%24.mid=1&a=b/", true),
            (&device, "devices/dd/messages/events/", false),
            (&device, "devices/d/modules/m/messages/events/", false),
            (&module, "devices/d/modules/m/messages/events/", true),
            (&module, "devices/d/messages/events/", false),
            (&device, "$iothub/twin/GET/?$rid=7", true),
            (&device, "$iothub/twin/GET/", false),
            (&device, "anything", false),
        ] {
            assert_eq!(from_device(id, topic).is_some(), served, "{topic}");
        }
        assert_eq!(channel(&module, "devices/d/modules/m/inputs/#"), Some(Channel::Inputs));
        assert_eq!(channel(&device, "devices/d/modules/m/inputs/#"), None);
        assert_eq!(channel(&device, "$iothub/#"), None);
    }
}
