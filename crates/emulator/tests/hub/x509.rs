//! Log-in with certificates, and what the log says when it fails.

use iotedge_ha_emulator::{Emulator, Options, Running};
use mqtt_protocol_core::mqtt::packet::Qos;
use mqtt_protocol_core::mqtt::result_code::ConnectReturnCode;
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use reqwest::{Method, StatusCode};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::backend::Backend;
use crate::device::{Device, Login, shake, tls, trusting};
use crate::{eventually, hub, logs};

const NOT_AUTHORIZED: Option<ConnectReturnCode> = Some(ConnectReturnCode::NotAuthorized);

struct Card {
    certificate: Certificate,
    key: KeyPair,
}

impl Card {
    fn self_signed(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        Self { certificate: params(name).self_signed(&key).expect("signed"), key }
    }

    fn signed_by(name: &str, issuer: &Issuer<'_, KeyPair>) -> Self {
        let key = KeyPair::generate().expect("a key");
        Self { certificate: params(name).signed_by(&key, issuer).expect("signed"), key }
    }

    fn thumbprint(&self) -> String {
        Sha256::digest(self.certificate.der()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn config(&self, hub: &Running) -> rustls::ClientConfig {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let chain = vec![self.certificate.der().clone()];
        trusting(&hub.ca_pem).with_client_auth_cert(chain, key).expect("a certificate")
    }

    async fn connect(&self, hub: &Running, login: &Login) -> Result<Device, Option<ConnectReturnCode>> {
        let tcp = tokio::net::TcpStream::connect(hub.mqtt_addr).await.expect("a connection");
        let stream = shake(tcp, self.config(hub), "localhost").await.expect("TLS");
        Device::connect_over(Box::new(stream), login).await
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn login(device: &str) -> Login {
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let mut login = Login::with_key(device, None, key, 0);
    login.token = String::new();
    login
}

fn prints(primary: Option<String>, secondary: Option<String>) -> Value {
    json!({"authentication": {"type": "selfSigned",
        "x509Thumbprint": {"primaryThumbprint": primary, "secondaryThumbprint": secondary}}})
}

#[tokio::test]
async fn either_thumbprint_logs_in_until_it_is_taken_away() {
    logs::keep();
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let (first, second, stranger) = (Card::self_signed("a"), Card::self_signed("b"), Card::self_signed("x509-dev"));
    let body = prints(Some(first.thumbprint()), Some(second.thumbprint()));
    assert_eq!(backend.put("/devices/x509-dev", body).await.status, StatusCode::OK);
    let login = login("x509-dev");
    let mut device = first.connect(&hub, &login).await.expect("connected");
    device.subscribe("$iothub/twin/res/#", Qos::AtMostOnce).await;
    assert_eq!(device.request("$iothub/twin/GET/?$rid=1", b"").await.topic, "$iothub/twin/res/200/?$rid=1");
    let mut device = second.connect(&hub, &login).await.expect("connected");
    assert_eq!(stranger.connect(&hub, &login).await.err(), Some(NOT_AUTHORIZED));
    logs::says(&["connection refused", "x509-dev", "thumbprint", "is not registered"]).await;
    assert_eq!(Device::connect(&hub, &login).await.err(), Some(NOT_AUTHORIZED));
    logs::says(&["connection refused", "x509-dev", "no client certificate"]).await;
    let mut token = login.clone();
    token.token = Login::of(&hub, "leaf", None).token;
    assert_eq!(first.connect(&hub, &token).await.err(), Some(NOT_AUTHORIZED));
    let body = prints(Some(first.thumbprint()), None);
    let changed = backend.call(Method::PUT, "/devices/x509-dev", Some("*"), Some(body)).await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_eq!(device.receive().await, None);
    assert_eq!(second.connect(&hub, &login).await.err(), Some(NOT_AUTHORIZED));
    // A certificate is no trouble for those who log in with a token.
    assert!(stranger.connect(&hub, &Login::of(&hub, "leaf", None)).await.is_ok());
}

#[tokio::test]
async fn an_authority_vouches_for_the_name_it_signed() {
    logs::keep();
    let folder = tempfile::tempdir().expect("a folder");
    let mut ca = params("plant authority");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let file = folder.path().join("devices.pem");
    std::fs::write(&file, ca.self_signed(&key).expect("signed").pem()).expect("written");
    let issuer = Issuer::new(ca, key);
    let hub = Emulator::start(Options { device_authorities: vec![file], ..Options::default() }).await.expect("a hub");
    let backend = Backend::new(&hub);
    let body = json!({"authentication": {"type": "certificateAuthority"}});
    for id in ["press-1", "press-2"] {
        assert_eq!(backend.put(&format!("/devices/{id}"), body.clone()).await.status, StatusCode::OK);
    }
    let card = Card::signed_by("press-1", &issuer);
    assert!(card.connect(&hub, &login("press-1")).await.is_ok());
    assert_eq!(card.connect(&hub, &login("press-2")).await.err(), Some(NOT_AUTHORIZED));
    logs::says(&["press-2", "subject names 'press-1'"]).await;
    let own = Card::self_signed("press-1");
    assert_eq!(own.connect(&hub, &login("press-1")).await.err(), Some(NOT_AUTHORIZED));
    logs::says(&["press-1", "--device-ca"]).await;
    let mut messages = hub.messages();
    let identity = card.certificate.pem() + &card.key.serialize_pem();
    let client = Backend::with_certificate(&hub, &identity);
    let sent = client.post_raw("/devices/press-1/messages/events", &[], "hi").await;
    assert_eq!(sent.status, StatusCode::NO_CONTENT);
    assert_eq!(messages.recv().await.expect("a message").body.as_ref(), b"hi");
    let foreign = client.post_raw("/devices/press-2/messages/events", &[], "hi").await;
    assert_eq!(foreign.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_log_says_whether_authority_name_or_protocol_was_wrong() {
    logs::keep();
    let (hub, earlier) = (hub().await, hub().await);
    let stranger = Card::self_signed("stranger").certificate.pem();
    for address in [hub.mqtt_addr, hub.https_addr] {
        let tcp = tokio::net::TcpStream::connect(address).await.expect("open");
        let own = tcp.local_addr().expect("bound").to_string();
        assert!(shake(tcp, trusting(&stranger).with_no_client_auth(), "localhost").await.is_err());
        logs::says(&[&own, "does not trust the hub's authority", "--ca-file"]).await;
        let tcp = tokio::net::TcpStream::connect(address).await.expect("open");
        let own = tcp.local_addr().expect("bound").to_string();
        assert!(shake(tcp, trusting(&earlier.ca_pem).with_no_client_auth(), "localhost").await.is_err());
        logs::says(&[&own, "same name with another key", "--ca-file"]).await;
        let tcp = tokio::net::TcpStream::connect(address).await.expect("open");
        let own = tcp.local_addr().expect("bound").to_string();
        assert!(shake(tcp, trusting(&hub.ca_pem).with_no_client_auth(), "hub.example").await.is_err());
        logs::says(&[&own, "'hub.example'", "localhost, 127.0.0.1"]).await;
        let tcp = tokio::net::TcpStream::connect(address).await.expect("open");
        let own = tcp.local_addr().expect("bound").to_string();
        drop(shake(tcp, trusting(&hub.ca_pem).with_no_client_auth(), "127.0.0.1").await.expect("TLS"));
        logs::says(&[&own, "left right after the TLS handshake", "it asked for no name"]).await;
        let mut tcp = tokio::net::TcpStream::connect(address).await.expect("open");
        let own = tcp.local_addr().expect("bound").to_string();
        tokio::io::AsyncWriteExt::write_all(&mut tcp, b"AMQP\x03\x01\x00\x00").await.expect("written");
        logs::says(&[&own, "AMQP is not spoken here"]).await;
        let mut stream = tls(&hub, address).await;
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"AMQP\x00\x01\x00\x00").await.expect("written");
        let mut rest = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await;
        assert_eq!(rest, b"");
    }
    let mut elsewhere = Login::of(&hub, "leaf", None);
    elsewhere.hub = "hub.elsewhere".into();
    assert_eq!(Device::connect(&hub, &elsewhere).await.err(), Some(NOT_AUTHORIZED));
    logs::says(&["connection refused", "'hub.elsewhere'", "--host-name"]).await;
}

#[tokio::test]
async fn the_amqp_port_says_what_to_use() {
    logs::keep();
    let asking_for = async |port| {
        let options = Options { amqp_port: Some(port), ..Options::default() };
        Emulator::start(options).await.expect("a hub")
    };
    let hub = asking_for(0).await;
    let address = hub.amqp_addr.expect("a free port");
    let second = asking_for(address.port()).await;
    assert_eq!(second.amqp_addr, None, "two hubs, one port: the second does without");
    let tcp = tokio::net::TcpStream::connect(address).await.expect("open");
    let own = tcp.local_addr().expect("bound").to_string();
    logs::says(&[&own, "AMQP is not spoken here", &hub.mqtt_addr.port().to_string()]).await;
    eventually("closed", async || tcp.try_read(&mut [0; 1]).is_ok_and(|read| read == 0)).await;
}

#[tokio::test]
async fn an_authority_that_is_registered_counts_once_it_is_verified_and_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = || Options { state_dir: Some(folder.path().to_owned()), ..Options::default() };
    let hub = Emulator::start(options()).await.expect("a hub");
    let mut ca = params("plant authority");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let pem = ca.self_signed(&key).expect("signed").pem();
    let issuer = Issuer::new(ca, key);
    let body = json!({"authentication": {"type": "certificateAuthority"}});
    assert_eq!(Backend::new(&hub).put("/devices/press-1", body).await.status, StatusCode::OK);
    let card = Card::signed_by("press-1", &issuer);

    let token = hub.bearer_token("somebody", "https://management.azure.com").expect("a token");
    let manager = Backend::with_token(&hub, format!("Bearer {token}"));
    let at = format!("{}/certificates/Plant", hub.resource_id());
    let registered = json!({"properties": {"certificate": pem}});
    let made = manager.call(Method::PUT, &at, None, Some(registered.clone())).await;
    assert_eq!(
        (made.status, &made.body["properties"]["isVerified"]),
        (StatusCode::CREATED, &json!(false)),
        "{}",
        made.body
    );
    assert_eq!(made.body["properties"]["subject"], "CN=plant authority");
    assert_eq!(manager.call(Method::PUT, &at, None, Some(registered)).await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(card.connect(&hub, &login("press-1")).await.err(), Some(NOT_AUTHORIZED));

    let etag = made.body["etag"].as_str();
    let asked = manager.call(Method::POST, &format!("{at}/generateVerificationCode"), etag, None).await.body;
    let code = asked["properties"]["verificationCode"].as_str().expect("a code");
    for (proof, status) in [
        (Card::self_signed(code), StatusCode::BAD_REQUEST),
        (Card::signed_by("another code", &issuer), StatusCode::BAD_REQUEST),
        (Card::signed_by(code, &issuer), StatusCode::OK),
    ] {
        let proof = json!({"certificate": proof.certificate.pem()});
        let answer = manager.call(Method::POST, &format!("{at}/verify"), Some("*"), Some(proof)).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    assert!(card.connect(&hub, &login("press-1")).await.is_ok());
    hub.shutdown().await;

    let hub = Emulator::start(options()).await.expect("a hub");
    assert!(card.connect(&hub, &login("press-1")).await.is_ok());
    let token = hub.bearer_token("somebody", "https://management.azure.com").expect("a token");
    let manager = Backend::with_token(&hub, format!("Bearer {token}"));
    assert_eq!(manager.call(Method::DELETE, &at, Some("*"), None).await.status, StatusCode::OK);
    assert_eq!(manager.get(&at).await.status, StatusCode::NOT_FOUND);
    assert_eq!(card.connect(&hub, &login("press-1")).await.err(), Some(NOT_AUTHORIZED));
}
