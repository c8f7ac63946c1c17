//! A device on mqtt-protocol-core, role client, over TLS.

use std::sync::Arc;
use std::time::Duration;

use ha_wire::sas::Unsigned;
use ha_wire::{ConnectionString, SharedAccessKey, percent_encode};
use iotedge_ha_emulator::Running;
use mqtt_protocol_core::mqtt;
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::Event;
use mqtt_protocol_core::mqtt::packet::{Packet, Qos, SubEntry, SubOpts, v3_1_1};
use mqtt_protocol_core::mqtt::prelude::*;
use mqtt_protocol_core::mqtt::result_code::ConnectReturnCode;
use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Longer than anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A message from the hub.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Received {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    /// What to acknowledge it by.
    pub(crate) packet_id: Option<u16>,
}

impl Received {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).expect("JSON")
    }
}

/// How to connect.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) device: String,
    pub(crate) module: Option<String>,
    pub(crate) token: String,
    pub(crate) hub: String,
    pub(crate) keep_alive_s: u16,
    pub(crate) clean: bool,
    pub(crate) model: Option<&'static str>,
}

impl Login {
    /// With the identity's own key, good for ten minutes.
    pub(crate) fn of(hub: &Running, device: &str, module: Option<&str>) -> Self {
        Self::until(hub, device, module, unix_s() + 600)
    }

    /// The same, good until then.
    pub(crate) fn until(hub: &Running, device: &str, module: Option<&str>, expiry: u64) -> Self {
        let text = match module {
            None => hub.device_connection_string(device),
            Some(module) => hub.module_connection_string(device, module),
        };
        let text = text.expect("a registered identity");
        let key = text.split("SharedAccessKey=").nth(1).expect("a key");
        let _: ConnectionString = text.parse().expect("a connection string");
        Self::with_key(device, module, key, expiry)
    }

    pub(crate) fn with_key(device: &str, module: Option<&str>, key: &str, expiry: u64) -> Self {
        let key = SharedAccessKey::from_base64(key).expect("base64");
        let unsigned = match module {
            None => Unsigned::device("localhost", device, expiry),
            Some(module) => Unsigned::module("localhost", device, module, expiry),
        };
        Self {
            device: device.to_owned(),
            module: module.map(str::to_owned),
            token: unsigned.sign(&key),
            hub: "localhost".to_owned(),
            keep_alive_s: 600,
            clean: true,
            model: None,
        }
    }

    pub(crate) fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive_s = seconds;
        self
    }

    pub(crate) fn model(mut self, model: &'static str) -> Self {
        self.model = Some(model);
        self
    }

    fn path(&self) -> String {
        match &self.module {
            None => self.device.clone(),
            Some(module) => format!("{}/{module}", self.device),
        }
    }

    fn packet(&self) -> v3_1_1::Connect {
        let path = self.path();
        let model = self.model.map(|model| format!("&model-id={}", percent_encode(model))).unwrap_or_default();
        v3_1_1::Connect::builder()
            .client_id(&path)
            .and_then(|b| b.user_name(format!("{}/{path}/?api-version=2021-04-12{model}", self.hub)))
            .and_then(|b| match self.token.as_str() {
                "" => Ok(b),
                token => b.password(token.as_bytes().to_vec()),
            })
            .and_then(|b| b.keep_alive(self.keep_alive_s).clean_session(self.clean).build())
            .expect("a CONNECT")
    }
}

/// A connected device.
pub(crate) struct Device {
    stream: Box<dyn Stream>,
    codec: mqtt::Connection<mqtt::role::Client>,
    packets: std::collections::VecDeque<Packet>,
    pub(crate) session_present: bool,
}

impl Device {
    /// Connects, or says why not; `None` means that the hub closed the connection without a word.
    pub(crate) async fn connect(hub: &Running, login: &Login) -> Result<Self, Option<ConnectReturnCode>> {
        let stream = tls(hub, hub.mqtt_addr).await;
        Self::connect_over(stream, login).await
    }

    pub(crate) async fn connect_over(
        stream: Box<dyn Stream>,
        login: &Login,
    ) -> Result<Self, Option<ConnectReturnCode>> {
        let mut device = Self::hello(stream, login).await;
        match device.packet().await {
            Some(Packet::V3_1_1Connack(connack)) => {
                device.session_present = connack.session_present();
                match connack.return_code() {
                    ConnectReturnCode::Accepted => Ok(device),
                    refused => Err(Some(refused)),
                }
            }
            Some(other) => panic!("not a CONNACK: {other:?}"),
            None => Err(None),
        }
    }

    /// Sends CONNECT and does not wait for the answer.
    pub(crate) async fn hello(stream: Box<dyn Stream>, login: &Login) -> Self {
        let mut device = Self {
            stream,
            codec: mqtt::Connection::new(mqtt::Version::V3_1_1),
            packets: std::collections::VecDeque::new(),
            session_present: false,
        };
        let events = device.codec.checked_send(login.packet());
        device.carry_out(events).await;
        device
    }

    pub(crate) async fn subscribe(&mut self, filter: &str, qos: Qos) -> Vec<u8> {
        self.subscribe_all(&[filter.to_owned()], qos).await
    }

    /// Many filters in one packet.
    pub(crate) async fn subscribe_all(&mut self, filters: &[String], qos: Qos) -> Vec<u8> {
        let packet_id = self.codec.acquire_packet_id().expect("a packet id");
        let entry = |filter: &String| SubEntry::new(filter, SubOpts::new().set_qos(qos)).expect("a filter");
        let entries: Vec<SubEntry> = filters.iter().map(entry).collect();
        let packet = v3_1_1::Subscribe::builder().packet_id(packet_id).entries(entries).build().expect("a SUBSCRIBE");
        let events = self.codec.checked_send(packet);
        self.carry_out(events).await;
        match self.packet().await {
            Some(Packet::V3_1_1Suback(suback)) => suback.return_codes().into_iter().map(|c| c as u8).collect(),
            other => panic!("not a SUBACK: {other:?}"),
        }
    }

    pub(crate) async fn publish(&mut self, topic: &str, qos: Qos, payload: &[u8]) {
        let mut builder =
            v3_1_1::Publish::builder().topic_name(topic).expect("a topic").qos(qos).payload(payload.to_vec());
        if qos != Qos::AtMostOnce {
            let packet_id = self.codec.acquire_packet_id().expect("a packet id");
            builder = builder.packet_id(packet_id);
        }
        let events = self.codec.checked_send(builder.build().expect("a PUBLISH"));
        self.carry_out(events).await;
    }

    pub(crate) async fn acknowledge(&mut self, message: &Received) {
        let packet_id = message.packet_id.expect("quality of service 1");
        let packet = v3_1_1::Puback::builder().packet_id(packet_id).build().expect("a PUBACK");
        let events = self.codec.checked_send(packet);
        self.carry_out(events).await;
    }

    /// The next message; `None` when the hub closes the connection first.
    pub(crate) async fn receive(&mut self) -> Option<Received> {
        loop {
            if let Packet::V3_1_1Publish(publish) = self.packet().await? {
                return Some(Received {
                    topic: publish.topic_name().to_owned(),
                    payload: publish.payload().as_slice().to_vec(),
                    packet_id: publish.packet_id(),
                });
            }
        }
    }

    /// The next packet of any kind.
    pub(crate) async fn packet(&mut self) -> Option<Packet> {
        let next = async {
            loop {
                if let Some(packet) = self.packets.pop_front() {
                    return Some(packet);
                }
                let mut chunk = [0; 4096];
                let read = self.stream.read(&mut chunk).await.unwrap_or(0);
                if read == 0 {
                    return None;
                }
                let mut cursor = Cursor::new(&chunk[..read]);
                while cursor.position() < read as u64 {
                    let events = self.codec.recv(&mut cursor);
                    self.carry_out(events).await;
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("a packet in time")
    }

    /// Whether the hub says nothing for this long.
    pub(crate) async fn is_silent_for(&mut self, span: Duration) -> bool {
        let mut chunk = [0; 4096];
        tokio::time::timeout(span, self.stream.read(&mut chunk)).await.is_err()
    }

    pub(crate) async fn request(&mut self, topic: &str, payload: &[u8]) -> Received {
        self.publish(topic, Qos::AtMostOnce, payload).await;
        self.receive().await.expect("an answer")
    }

    /// Writes bytes that are no MQTT.
    pub(crate) async fn write_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("written");
    }

    async fn carry_out(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::RequestSendPacket { packet, .. } => {
                    // The hub may have closed already; reading will tell.
                    let _ = self.stream.write_all(&packet.to_continuous_buffer()).await;
                    let _ = self.stream.flush().await;
                }
                Event::NotifyPacketReceived(packet) => self.packets.push_back(packet),
                _ => {}
            }
        }
    }
}

pub(crate) async fn tls(hub: &Running, address: std::net::SocketAddr) -> Box<dyn Stream> {
    try_tls(hub, address).await.expect("TLS")
}

/// The same with a hub that may hang up meanwhile.
pub(crate) async fn try_tls(hub: &Running, address: std::net::SocketAddr) -> std::io::Result<Box<dyn Stream>> {
    let tcp = TcpStream::connect(address).await?;
    let config = trusting(&hub.ca_pem).with_no_client_auth();
    Ok(Box::new(shake(tcp, config, "localhost").await?))
}

/// A connection through memory, for tests that pause the clock: what goes through a socket would not hold it.
pub(crate) fn in_memory(hub: &Arc<Running>) -> Box<dyn Stream> {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let hub = Arc::clone(hub);
    tokio::spawn(async move { hub.serve_mqtt(theirs).await });
    Box::new(ours)
}

/// A client's TLS set-up that trusts this authority and nothing else.
pub(crate) fn trusting(ca_pem: &str) -> rustls::ConfigBuilder<rustls::ClientConfig, WantsClientCert> {
    let mut roots = rustls::RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).expect("PEM");
    roots.add(ca).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
}

pub(crate) async fn shake(
    tcp: TcpStream,
    config: rustls::ClientConfig,
    name: &'static str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(ServerName::try_from(name).expect("a name"), tcp).await
}

pub(crate) fn unix_s() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).expect("after 1970")
}
