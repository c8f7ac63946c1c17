use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ha_wire::Secret;

use crate::Cut;
use crate::timings::Timings;

/// The command lines that stand in for images.
pub type Images = BTreeMap<String, Vec<String>>;

/// How a device is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The Edge device's id; it must exist in the hub.
    pub device: String,
    /// A service's connection string: with it the keys of the device's modules are read, and its missing modules made.
    pub connection_string: Secret,
    /// Certificates (PEM) to trust for the hub instead of the system's: an emulator's.
    pub hub_ca_pem: Option<Vec<u8>>,
    /// The hub's MQTT port.
    pub hub_mqtt_port: u16,
    /// The line to the cloud at the start.
    pub cut: Cut,
    /// The address to listen on.
    pub bind: IpAddr,
    /// The port for MQTT; 0 takes a free one. Microsoft's SDKs insist on 8883.
    pub mqtt_port: u16,
    /// The port for HTTPS and MQTT over WebSocket; 0 takes a free one. Microsoft's SDKs insist on 443.
    pub https_port: u16,
    /// The device's host name: modules connect to it, so it must lead to `bind`.
    pub host_name: String,
    /// A folder of the device's own: certificates, sockets, logs, and what it remembers over a restart.
    pub state_dir: PathBuf,
    /// The command lines that stand in for images: edgeAgent starts them as modules.
    pub images: Images,
    /// How long things take.
    pub timings: Timings,
}

impl Options {
    /// A device on free loopback ports.
    pub fn new(device: impl Into<String>, connection_string: impl Into<String>, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            device: device.into(),
            connection_string: Secret::new(connection_string),
            hub_ca_pem: None,
            hub_mqtt_port: 8883,
            cut: Cut::None,
            bind: IpAddr::from([127, 0, 0, 1]),
            mqtt_port: 0,
            https_port: 0,
            host_name: "localhost".to_owned(),
            state_dir: state_dir.into(),
            images: Images::new(),
            timings: Timings::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_not_shown() {
        let options = Options::new("edge-1", "HostName=h;SharedAccessKeyName=service;SharedAccessKey=c2VjcmV0", "/tmp");
        assert!(!format!("{options:?}").contains("c2VjcmV0"), "{options:?}");
    }
}
