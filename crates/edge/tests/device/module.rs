//! A module on mqtt-protocol-core, over TLS.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::Event;
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait as _, Packet, Qos, SubEntry, SubOpts, v3_1_1 as v3};
use mqtt_protocol_core::mqtt::result_code::ConnectReturnCode;
use mqtt_protocol_core::mqtt::{Connection, Version, role};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{DEVICE, Site};

/// Longer than anything may take on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// A connected module.
pub(super) struct Module {
    stream: TlsStream<TcpStream>,
    codec: Connection<role::Client>,
    packets: VecDeque<Packet>,
}

/// A message from edgeHub.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
}

impl Received {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).expect("JSON")
    }
}

impl Module {
    pub(super) async fn connect(site: &Site, name: &str, token: &str) -> Result<Self, ConnectReturnCode> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(site.edge.trust_bundle.as_bytes()).flatten());
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let tcp = TcpStream::connect(site.edge.mqtt_addr).await.expect("an open port");
        let localhost = ServerName::try_from("localhost").expect("a name");
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(localhost, tcp).await.expect("TLS");
        let mut module = Self { stream, codec: Connection::new(Version::V3_1_1), packets: VecDeque::new() };
        let connect = v3::Connect::builder()
            .client_id(format!("{DEVICE}/{name}"))
            .and_then(|b| b.user_name(format!("localhost/{DEVICE}/{name}/?api-version=2021-04-12")))
            .and_then(|b| b.password(token))
            .and_then(|b| b.keep_alive(600).clean_session(true).build())
            .expect("a CONNECT");
        let events = module.codec.checked_send(connect);
        module.send(events).await;
        let Some(Packet::V3_1_1Connack(connack)) = module.next_packet().await else { panic!("no CONNACK") };
        match connack.return_code() {
            ConnectReturnCode::Accepted => Ok(module),
            refused => Err(refused),
        }
    }

    pub(super) async fn subscribe(&mut self, filters: &[&str]) {
        let packet_id = self.codec.acquire_packet_id().expect("an id");
        let entry = |filter: &&str| SubEntry::new(*filter, SubOpts::new().set_qos(Qos::AtLeastOnce)).expect("an entry");
        let entries: Vec<_> = filters.iter().map(entry).collect();
        let packet = v3::Subscribe::builder().packet_id(packet_id).entries(entries).build().expect("a SUBSCRIBE");
        let events = self.codec.checked_send(packet);
        self.send(events).await;
        let found = self.wait_for(|packet| matches!(packet, Packet::V3_1_1Suback(_))).await;
        assert!(found.is_some(), "the connection ended");
    }

    /// Publishes at QoS 1 and waits for the acknowledgement.
    pub(super) async fn publish(&mut self, topic: &str, payload: impl Into<Vec<u8>>) {
        let packet_id = self.codec.acquire_packet_id().expect("an id");
        let packet = v3::Publish::builder()
            .topic_name(topic)
            .and_then(|b| b.qos(Qos::AtLeastOnce).packet_id(packet_id).payload(payload.into()).build())
            .expect("a PUBLISH");
        let events = self.codec.checked_send(packet);
        self.send(events).await;
        let found = self.wait_for(|packet| matches!(packet, Packet::V3_1_1Puback(_))).await;
        assert!(found.is_some(), "the connection ended");
    }

    /// The next message whose topic begins like this; `None` if the connection ends before.
    pub(super) async fn receive(&mut self, topic: &str) -> Option<Received> {
        let fits = |packet: &Packet| matches!(packet, Packet::V3_1_1Publish(p) if p.topic_name().starts_with(topic));
        match self.wait_for(fits).await? {
            Packet::V3_1_1Publish(publish) => {
                if let Some(packet_id) = publish.packet_id() {
                    let puback = v3::Puback::builder().packet_id(packet_id).build().expect("a PUBACK");
                    let events = self.codec.checked_send(puback);
                    self.send(events).await;
                }
                let payload = publish.payload().as_slice().to_vec();
                Some(Received { topic: publish.topic_name().to_owned(), payload })
            }
            _ => None,
        }
    }

    pub(super) async fn twin(&mut self, rid: &str) -> Value {
        self.publish(&format!("$iothub/twin/GET/?$rid={rid}"), " ").await;
        self.receive(&format!("$iothub/twin/res/200/?$rid={rid}")).await.expect("an answer").json()
    }

    /// Reports, and gives the topic of the answer.
    pub(super) async fn report(&mut self, rid: &str, patch: &Value) -> String {
        self.publish(&format!("$iothub/twin/PATCH/properties/reported/?$rid={rid}"), patch.to_string()).await;
        self.receive("$iothub/twin/res/").await.expect("an answer").topic
    }

    /// Waits for the end of the connection.
    pub(super) async fn ended(&mut self) {
        while self.wait_for(|_| true).await.is_some() {}
    }

    async fn wait_for(&mut self, fits: impl Fn(&Packet) -> bool) -> Option<Packet> {
        let mut passed = VecDeque::new();
        let found = loop {
            let packet = match self.packets.pop_front() {
                Some(packet) => Some(packet),
                None => self.next_packet().await,
            };
            match packet {
                None => break None,
                Some(packet) if fits(&packet) => break Some(packet),
                Some(packet) => passed.push_back(packet),
            }
        };
        passed.append(&mut self.packets);
        self.packets = passed;
        found
    }

    async fn next_packet(&mut self) -> Option<Packet> {
        let mut chunk = [0; 8192];
        loop {
            if let Some(packet) = self.packets.pop_front() {
                return Some(packet);
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut chunk)).await.expect("an answer in time");
            let read = read.ok().filter(|read| *read > 0)?;
            let mut cursor = Cursor::new(&chunk[..read]);
            loop {
                let before = cursor.position();
                for event in self.codec.recv(&mut cursor) {
                    if let Event::NotifyPacketReceived(packet) = event {
                        self.packets.push_back(packet);
                    }
                }
                if cursor.position() == before {
                    break;
                }
            }
        }
    }

    async fn send(&mut self, events: Vec<Event>) {
        for event in events {
            if let Event::RequestSendPacket { packet, .. } = event {
                self.stream.write_all(&packet.to_continuous_buffer()).await.expect("an open connection");
            }
        }
        self.stream.flush().await.expect("an open connection");
    }
}
