//! The hub of the demo: the emulator in a process of its own, and what the demo asks of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ha_iothub::{Call, Client, Limits, Options};
use ha_wire::connection_string::{Credential, Identity};
use ha_wire::identity::Capabilities;
use ha_wire::{ConnectionString, Device, Module, SharedAccessKey, Twin};

use super::process::Process;

pub(crate) struct Hub {
    addresses: Addresses,
    client: Client,
    faults: reqwest::Client,
    // Ended by its drop.
    _process: Process,
}

/// How to reach the hub.
#[derive(Clone)]
pub(crate) struct Addresses {
    connection_string: String,
    pub(crate) ca_file: PathBuf,
    pub(crate) mqtt_port: u16,
    pub(crate) control_url: String,
    control_token: String,
}

/// The module that the agents are, in every device.
pub(crate) const AGENT_MODULE: &str = "ha-agent";

const START_LIMIT: Duration = Duration::from_secs(120);
const CALL_LIMIT: Duration = Duration::from_secs(60);

impl Hub {
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        let state = folder.join("hub").display().to_string();
        let args = ["emulator", "--https-port=0", "--mqtt-port=0", "--print-env", "--state", &state];
        let mut process = Process::start("hub", folder, &args.map(str::to_owned), &[])?;
        let addresses = process.wait_for_log(START_LIMIT, |log| Addresses::read(log).ok()).await?;
        let ca_pem = std::fs::read(&addresses.ca_file).context("cannot read the hub's certificate")?;
        let options = Options { ca_pem: Some(ca_pem.clone()), limits: Limits::unlimited(), ..Options::default() };
        let client = Client::new(&addresses.service()?, &options)?;
        let faults = reqwest::Client::builder()
            .tls_certs_only(reqwest::Certificate::from_pem_bundle(&ca_pem)?)
            .no_proxy()
            .timeout(CALL_LIMIT)
            .build()?;
        Ok(Self { addresses, client, faults, _process: process })
    }

    pub(crate) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Makes an Edge device with the agent's module; gives the module's connection string.
    pub(crate) async fn register(&self, device: &str) -> Result<ConnectionString> {
        let mut body = Device::new(device);
        body.capabilities = Some(Capabilities { iot_edge: true, ..Capabilities::default() });
        self.client.create_device(&body, &Call::within(CALL_LIMIT)).await?;
        let module = Module::new(device, AGENT_MODULE);
        let module = self.client.create_module(&module, &Call::within(CALL_LIMIT)).await?;
        let keys = module.authentication.and_then(|authentication| authentication.symmetric_key);
        let key = keys.as_ref().and_then(|keys| keys.primary()).context("the hub made no key")?;
        let key = SharedAccessKey::from_base64(key.expose())?;
        let identity = Identity::Module { device: device.to_owned(), module: AGENT_MODULE.to_owned() };
        Ok(ConnectionString::new(self.addresses.service()?.host(), identity, Credential::Key(key))?)
    }

    /// What the hub has of a device's agent.
    pub(crate) async fn agent_twin(&self, device: &str) -> Result<Twin> {
        Ok(self.client.twin(device, Some(AGENT_MODULE), &Call::within(CALL_LIMIT)).await?)
    }

    /// From here on nothing flows between the hub and the device, in either direction; connections stay open.
    pub(crate) async fn cut(&self, device: &str) -> Result<()> {
        let request = self.faults.put(self.link(device)).body(r#"{"cut":"both"}"#);
        self.control(request).await.with_context(|| format!("cannot cut the link of {device}"))
    }

    pub(crate) async fn heal(&self, device: &str) -> Result<()> {
        self.control(self.faults.delete(self.link(device))).await.with_context(|| format!("cannot heal {device}"))
    }

    fn link(&self, device: &str) -> String {
        format!("{}/faults/devices/{device}", self.addresses.control_url)
    }

    async fn control(&self, request: reqwest::RequestBuilder) -> Result<()> {
        let answer = request.bearer_auth(&self.addresses.control_token).send().await?;
        if !answer.status().is_success() {
            bail!("the hub answered {}: {}", answer.status(), answer.text().await?);
        }
        Ok(())
    }
}

impl Addresses {
    fn read(text: &str) -> Result<Self> {
        let value = |name: &str| {
            let prefix = format!("{name}='");
            let found = text.lines().find_map(|line| line.strip_prefix(&prefix)?.strip_suffix('\''));
            found.map(str::to_owned).with_context(|| format!("the hub did not print {name}"))
        };
        let mqtt: std::net::SocketAddr = value("EMULATOR_MQTT")?.parse().context("the hub's MQTT port")?;
        Ok(Self {
            connection_string: value("IOTHUB_CONNECTION_STRING")?,
            ca_file: value("IOTHUB_CA_FILE")?.into(),
            mqtt_port: mqtt.port(),
            control_url: value("EMULATOR_CONTROL_URL")?,
            control_token: value("EMULATOR_CONTROL_TOKEN")?,
        })
    }

    /// What an operator's program needs.
    pub(crate) fn operator_env(&self) -> Vec<(String, String)> {
        vec![
            ("IOTEDGE_HA_CONNECTION_STRING".to_owned(), self.connection_string.clone()),
            ("IOTEDGE_HA_HUB_CA_FILE".to_owned(), self.ca_file.display().to_string()),
        ]
    }

    fn service(&self) -> Result<ConnectionString> {
        self.connection_string.parse().context("the hub printed a connection string that makes no sense")
    }
}
