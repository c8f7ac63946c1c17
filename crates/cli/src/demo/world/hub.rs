//! The hub of the demo: the emulator in a process of its own, and what the demo asks of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::process::Process;

pub(crate) struct Hub {
    addresses: Addresses,
    // Ended by its drop.
    _process: Process,
}

/// How to reach the hub.
#[derive(Clone)]
pub(crate) struct Addresses {
    pub(crate) connection_string: String,
    pub(crate) ca_file: PathBuf,
    pub(crate) mqtt_port: u16,
    pub(crate) control_url: String,
    pub(crate) control_token: String,
}

const START_LIMIT: Duration = Duration::from_secs(20);

impl Hub {
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        let state = folder.join("hub").display().to_string();
        let args = ["emulator", "--https-port=0", "--mqtt-port=0", "--print-env", "--state", &state];
        let mut process = Process::start("hub", folder, &args.map(str::to_owned), &[])?;
        // It is printed last.
        process.wait_for_line(START_LIMIT, |line| line.contains("IOTHUB_EMULATOR_TOKEN").then_some(())).await?;
        let addresses = Addresses::read(&process.log_text())?;
        Ok(Self { addresses, _process: process })
    }

    pub(crate) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    pub(crate) async fn cut(&self, _device: &str) -> Result<()> {
        Ok(())
    }

    pub(crate) async fn heal(&self, _device: &str) -> Result<()> {
        Ok(())
    }

    pub(crate) async fn is_standby(&self, _device: &str, _pool: &str) -> bool {
        true
    }
}

impl Addresses {
    fn read(text: &str) -> Result<Self> {
        let value = |name: &str| {
            let prefix = format!("export {name}='");
            let found = text.lines().find_map(|line| line.strip_prefix(&prefix)?.strip_suffix('\''));
            found.map(str::to_owned).with_context(|| format!("the hub did not print {name}"))
        };
        Ok(Self {
            connection_string: value("IOTEDGE_HA_CONNECTION_STRING")?,
            ca_file: value("IOTEDGE_HA_HUB_CA_FILE")?.into(),
            mqtt_port: value("IOTHUB_EMULATOR_MQTT_PORT")?.parse().context("the hub's MQTT port")?,
            control_url: value("IOTHUB_EMULATOR_CONTROL_URL")?,
            control_token: value("IOTHUB_EMULATOR_TOKEN")?,
        })
    }

    /// What an operator's program needs.
    pub(crate) fn operator_env(&self) -> Vec<(String, String)> {
        vec![
            ("IOTEDGE_HA_CONNECTION_STRING".to_owned(), self.connection_string.clone()),
            ("IOTEDGE_HA_HUB_CA_FILE".to_owned(), self.ca_file.display().to_string()),
        ]
    }
}
