//! MQTT 3.1.1, both sides of it, without sockets: bytes in, bytes and words out.

pub(crate) mod client;
pub(crate) mod server;

use bytes::BytesMut;
use mqtt_protocol_core::mqtt::connection::Event;
use mqtt_protocol_core::mqtt::packet::GenericPacketTrait as _;

/// 256 KB of payload and its topic.
const PACKET_BYTES_MAX: u32 = 280_000;

/// What an MQTT connection dies of.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the other side broke the protocol: {0}")]
    Protocol(String),
    #[error("quality of service 2")]
    QosTwo,
    #[error("a packet id of zero")]
    NoPacketId,
    #[error("publishing to {0:?}, a topic that is not its own")]
    ForeignTopic(String),
    #[error("a payload over the limit")]
    TooLarge,
}

fn broken(error: impl std::fmt::Debug) -> Broken {
    Broken::Protocol(format!("{error:?}"))
}

/// Moves what is to be sent to `out`; the rest of the events is the caller's.
fn sort(events: Vec<Event>, out: &mut BytesMut) -> Vec<Event> {
    let mut left = Vec::new();
    for event in events {
        match event {
            Event::RequestSendPacket { packet, .. } => out.extend_from_slice(&packet.to_continuous_buffer()),
            other => left.push(other),
        }
    }
    left
}
