//! A device of the load: MQTT 3.1.1 over TLS, as little as it takes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use mqtt_protocol_core::mqtt;
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::Event;
use mqtt_protocol_core::mqtt::packet::{Packet, Qos, SubEntry, SubOpts, v3_1_1};
use mqtt_protocol_core::mqtt::prelude::*;
use mqtt_protocol_core::mqtt::result_code::ConnectReturnCode;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A server that devices connect to.
pub(crate) trait Broker: Sync {
    fn address(&self) -> SocketAddr;
    fn ca_pem(&self) -> &str;
    fn login(&self, number: usize) -> Login;
    fn event_topic(&self, number: usize) -> String;
}

pub(crate) struct Login {
    pub(crate) client_id: String,
    pub(crate) user_name: String,
    pub(crate) password: String,
}

pub(crate) struct Device {
    stream: TlsStream<TcpStream>,
    codec: mqtt::Connection<mqtt::role::Client>,
    packets: VecDeque<Packet>,
}

/// Trusts the broker's authority; no session is resumed, as with devices that start.
pub(crate) fn connector(broker: &impl Broker) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(broker.ca_pem().as_bytes()).expect("PEM")).expect("an authority");
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

impl Device {
    pub(crate) async fn connect(address: SocketAddr, tls: &TlsConnector, login: &Login) -> Self {
        let tcp = TcpStream::connect(address).await.expect("a connection");
        tcp.set_nodelay(true).expect("an option");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = tls.connect(name, tcp).await.expect("TLS");
        let mut device = Self { stream, codec: mqtt::Connection::new(mqtt::Version::V3_1_1), packets: VecDeque::new() };
        let connect = v3_1_1::Connect::builder()
            .client_id(&login.client_id)
            .and_then(|b| b.user_name(&login.user_name))
            .and_then(|b| b.password(login.password.clone().into_bytes()))
            .and_then(|b| b.keep_alive(1_000).clean_session(true).build());
        let events = device.codec.checked_send(connect.expect("a CONNECT"));
        device.carry_out(events).await;
        match device.packet().await {
            Packet::V3_1_1Connack(connack) if connack.return_code() == ConnectReturnCode::Accepted => device,
            other => panic!("not accepted: {other:?}"),
        }
    }

    pub(crate) async fn subscribe(&mut self, filter: &str) {
        let packet_id = self.codec.acquire_packet_id().expect("a packet id");
        let entry = SubEntry::new(filter, SubOpts::new().set_qos(Qos::AtMostOnce)).expect("a filter");
        let packet = v3_1_1::Subscribe::builder().packet_id(packet_id).entries(vec![entry]).build();
        let events = self.codec.checked_send(packet.expect("a SUBSCRIBE"));
        self.carry_out(events).await;
        let answer = self.packet().await;
        assert!(matches!(answer, Packet::V3_1_1Suback(_)), "not a SUBACK: {answer:?}");
    }

    /// At QoS 0, without waiting.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &[u8]) {
        let packet = v3_1_1::Publish::builder().topic_name(topic).expect("a topic").payload(payload.to_vec()).build();
        let events = self.codec.checked_send(packet.expect("a PUBLISH"));
        self.carry_out(events).await;
    }

    /// At QoS 1, until it is acknowledged.
    pub(crate) async fn deliver(&mut self, topic: &str, payload: &[u8]) {
        let packet_id = self.codec.acquire_packet_id().expect("a packet id");
        let packet = v3_1_1::Publish::builder().topic_name(topic).expect("a topic").qos(Qos::AtLeastOnce);
        let packet = packet.packet_id(packet_id).payload(payload.to_vec()).build();
        let events = self.codec.checked_send(packet.expect("a PUBLISH"));
        self.carry_out(events).await;
        let answer = self.packet().await;
        assert!(matches!(answer, Packet::V3_1_1Puback(_)), "not a PUBACK: {answer:?}");
    }

    /// The topic of the next message.
    pub(crate) async fn receive(&mut self) -> String {
        match self.packet().await {
            Packet::V3_1_1Publish(publish) => publish.topic_name().to_owned(),
            other => panic!("not a message: {other:?}"),
        }
    }

    async fn packet(&mut self) -> Packet {
        loop {
            if let Some(packet) = self.packets.pop_front() {
                return packet;
            }
            let mut chunk = [0; 4_096];
            let read = self.stream.read(&mut chunk).await.expect("bytes");
            assert!(read > 0, "the server closed the connection");
            let mut cursor = Cursor::new(&chunk[..read]);
            while cursor.position() < read as u64 {
                let events = self.codec.recv(&mut cursor);
                self.carry_out(events).await;
            }
        }
    }

    async fn carry_out(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::RequestSendPacket { packet, .. } => {
                    self.stream.write_all(&packet.to_continuous_buffer()).await.expect("written");
                    self.stream.flush().await.expect("flushed");
                }
                Event::NotifyPacketReceived(packet) => self.packets.push_back(packet),
                _ => {}
            }
        }
    }
}
