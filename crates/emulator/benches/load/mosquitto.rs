//! A well-known broker as the server under load: TLS and a password, no twins.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};

use crate::client::{Broker, Login};
use crate::server::Server;

pub(crate) struct Mosquitto {
    pub(crate) server: Server,
    address: SocketAddr,
    ca_pem: String,
    _folder: tempfile::TempDir,
}

pub(crate) async fn start() -> Mosquitto {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    let ca_pem = certificates(folder.path());
    let mut make = Command::new("mosquitto_passwd");
    make.args(["-c", "-b"]).arg(file("passwords")).args(["device", "secret"]);
    assert!(make.status().expect("mosquitto_passwd, of the package mosquitto").success(), "no password file");
    let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).expect("a port");
    let shown = |name: &str| file(name).display().to_string();
    let settings = format!(
        "listener {} 127.0.0.1\ncertfile {}\nkeyfile {}\npassword_file {}\nuser root\n",
        port.port(),
        shown("leaf.pem"),
        shown("leaf.key"),
        shown("passwords")
    );
    std::fs::write(file("mosquitto.conf"), settings).expect("written");
    let mut command = Command::new("mosquitto");
    let child = command.arg("-c").arg(file("mosquitto.conf")).stderr(Stdio::null()).spawn().expect("mosquitto");
    let server = Server(child);
    while tokio::net::TcpStream::connect(port).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Mosquitto { server, address: port, ca_pem, _folder: folder }
}

/// The same kind of keys and certificates as the emulator's.
fn certificates(folder: &std::path::Path) -> String {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::default();
    ca.distinguished_name = DistinguishedName::new();
    ca.distinguished_name.push(DnType::CommonName, "load");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).expect("an authority").pem();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate").pem();
    std::fs::write(folder.join("leaf.pem"), leaf).expect("written");
    std::fs::write(folder.join("leaf.key"), key.serialize_pem()).expect("written");
    ca_pem
}

impl Broker for Mosquitto {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    fn login(&self, number: usize) -> Login {
        Login { client_id: format!("device-{number}"), user_name: "device".into(), password: "secret".into() }
    }

    fn event_topic(&self, number: usize) -> String {
        format!("devices/device-{number}/messages/events/")
    }
}
