//! The server's side: what a module says, and what it is told.

use bytes::{Bytes, BytesMut};
use ha_wire::topics::{Filter, FromDevice};
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event};
use mqtt_protocol_core::mqtt::packet::v3_1_1 as v3;
use mqtt_protocol_core::mqtt::packet::{Packet, Qos};
use mqtt_protocol_core::mqtt::result_code::{ConnectReturnCode, SubackReturnCode};
use mqtt_protocol_core::mqtt::{Connection, Version, role};

use super::{Broken, PACKET_BYTES_MAX, broken, sort};
use crate::id::Id;

const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// What a client has said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Said {
    Published {
        topic: FromDevice,
        payload: Bytes,
    },
    Subscribed(Filter),
    Unsubscribed(Filter),
    /// It has this message of ours.
    Acknowledged(u16),
    /// Any other packet: it lives.
    Alive,
    Goodbye,
}

/// A CONNECT, not judged yet.
pub(crate) struct Opened {
    codec: Connection<role::Server>,
    pub(crate) connect: v3::Connect,
    /// How many of the bytes it took.
    pub(crate) taken: usize,
}

impl Opened {
    /// Reads a complete CONNECT.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Broken> {
        let options = ConnectionOptions::new().maximum_packet_size_recv(PACKET_BYTES_MAX).receive_maximum(100);
        let mut codec = Connection::with_options(Version::V3_1_1, options);
        codec.set_auto_ping_response(true);
        let mut cursor = Cursor::new(bytes);
        let mut connect = None;
        for event in codec.recv(&mut cursor) {
            match event {
                Event::NotifyPacketReceived(Packet::V3_1_1Connect(packet)) => connect = Some(packet),
                Event::NotifyError(error) => return Err(broken(error)),
                _ => {}
            }
        }
        let taken = usize::try_from(cursor.position()).unwrap_or(bytes.len());
        let connect = connect.ok_or_else(|| broken("no CONNECT"))?;
        Ok(Self { codec, connect, taken })
    }

    /// The bytes of a refusal.
    pub(crate) fn refuse(mut self, code: ConnectReturnCode) -> Bytes {
        let mut out = BytesMut::new();
        if let Ok(packet) = v3::Connack::builder().return_code(code).session_present(false).build() {
            sort(self.codec.checked_send(packet), &mut out);
        }
        out.freeze()
    }

    /// Accepts it as `id`.
    pub(crate) fn accept(self, id: Id, session_present: bool) -> Server {
        let mut server = Server { codec: self.codec, id, out: BytesMut::new() };
        let connack = v3::Connack::builder().return_code(ConnectReturnCode::Accepted).session_present(session_present);
        if let Ok(packet) = connack.build() {
            sort(server.codec.checked_send(packet), &mut server.out);
        }
        server
    }
}

/// The protocol state of an accepted connection.
pub(crate) struct Server {
    codec: Connection<role::Server>,
    id: Id,
    out: BytesMut,
}

impl Server {
    /// What is to be written.
    pub(crate) fn output(&mut self) -> Bytes {
        self.out.split().freeze()
    }

    /// Takes in bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Said>, Broken> {
        let mut said = Vec::new();
        let mut cursor = Cursor::new(bytes);
        loop {
            let before = cursor.position();
            for event in sort(self.codec.recv(&mut cursor), &mut self.out) {
                match event {
                    Event::NotifyPacketReceived(packet) => self.receive(packet, &mut said)?,
                    Event::NotifyError(error) => return Err(broken(error)),
                    Event::RequestClose => return Err(broken("closed")),
                    _ => {}
                }
            }
            if cursor.position() == before {
                return Ok(said);
            }
        }
    }

    /// Publishes without wanting to know whether it arrives.
    pub(crate) fn publish(&mut self, topic: &str, payload: Vec<u8>) -> Result<(), Broken> {
        let publish = v3::Publish::builder().topic_name(topic).map_err(broken)?.qos(Qos::AtMostOnce).payload(payload);
        sort(self.codec.checked_send(publish.build().map_err(broken)?), &mut self.out);
        Ok(())
    }

    /// Publishes and answers with the id under which it will be acknowledged.
    pub(crate) fn publish_surely(&mut self, topic: &str, payload: Vec<u8>) -> Result<u16, Broken> {
        let packet_id = self.codec.acquire_packet_id().map_err(broken)?;
        let publish = v3::Publish::builder().topic_name(topic).map_err(broken)?.qos(Qos::AtLeastOnce);
        let publish = publish.packet_id(packet_id).payload(payload).build().map_err(broken)?;
        sort(self.codec.checked_send(publish), &mut self.out);
        Ok(packet_id)
    }

    fn receive(&mut self, packet: Packet, said: &mut Vec<Said>) -> Result<(), Broken> {
        match packet {
            Packet::V3_1_1Publish(publish) => said.push(self.published(&publish)?),
            Packet::V3_1_1Subscribe(subscribe) => self.subscribed(&subscribe, said)?,
            Packet::V3_1_1Unsubscribe(unsubscribe) => {
                let filters = unsubscribe.entries().iter().filter_map(|filter| own_filter(&self.id, filter.as_str()));
                said.extend(filters.map(Said::Unsubscribed));
                let unsuback = v3::Unsuback::builder().packet_id(unsubscribe.packet_id()).build().map_err(broken)?;
                sort(self.codec.checked_send(unsuback), &mut self.out);
            }
            Packet::V3_1_1Puback(puback) => said.push(Said::Acknowledged(puback.packet_id())),
            Packet::V3_1_1Disconnect(_) => said.push(Said::Goodbye),
            _ => said.push(Said::Alive),
        }
        Ok(())
    }

    fn published(&mut self, publish: &v3::Publish) -> Result<Said, Broken> {
        let packet_id = match publish.qos() {
            Qos::AtMostOnce => None,
            // By hand: the codec's own answer panics on packet id 0.
            Qos::AtLeastOnce => Some(publish.packet_id().filter(|id| *id != 0).ok_or(Broken::NoPacketId)?),
            Qos::ExactlyOnce => return Err(Broken::QosTwo),
        };
        let foreign = || Broken::ForeignTopic(publish.topic_name().to_owned());
        let topic: FromDevice = publish.topic_name().parse().map_err(|_| foreign())?;
        if !topic.belongs_to(&self.id.device, self.id.module.as_deref()) {
            return Err(foreign());
        }
        let payload = publish.payload().as_slice();
        if payload.len() > MESSAGE_BYTES_MAX {
            return Err(Broken::TooLarge);
        }
        if let Some(packet_id) = packet_id {
            let puback = v3::Puback::builder().packet_id(packet_id).build().map_err(broken)?;
            sort(self.codec.checked_send(puback), &mut self.out);
        }
        Ok(Said::Published { topic, payload: Bytes::copy_from_slice(payload) })
    }

    fn subscribed(&mut self, subscribe: &v3::Subscribe, said: &mut Vec<Said>) -> Result<(), Broken> {
        let mut codes = Vec::new();
        for entry in subscribe.entries() {
            let Some(filter) = own_filter(&self.id, entry.topic_filter()) else {
                tracing::info!(id = %self.id, filter = entry.topic_filter(), "a subscription was refused");
                codes.push(SubackReturnCode::Failure);
                continue;
            };
            said.push(Said::Subscribed(filter));
            codes.push(match entry.sub_opts().qos() {
                Qos::AtMostOnce => SubackReturnCode::SuccessMaximumQos0,
                _ => SubackReturnCode::SuccessMaximumQos1,
            });
        }
        let suback = v3::Suback::builder().packet_id(subscribe.packet_id()).return_codes(codes);
        sort(self.codec.checked_send(suback.build().map_err(broken)?), &mut self.out);
        Ok(())
    }
}

fn own_filter(id: &Id, filter: &str) -> Option<Filter> {
    let filter: Filter = filter.parse().ok()?;
    filter.belongs_to(&id.device, id.module.as_deref()).then_some(filter)
}
