//! A hub that is open: where it is, how to talk to it, how to disturb and end it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ha_wire::SharedAccessKey;
use ha_wire::connection_string::{ConnectionString, Credential, Identity};
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::{Audience, TokenRequest};
use crate::doors::Restart;
use crate::evaluation;
use crate::faults::Faults;
use crate::fleet;
use crate::hub::{CloudMessage, Evaluated, Id, Key, Refusal};
use crate::listen::Peer;
use crate::meters::Meters;
use crate::mqtt::{self, Caller};
use crate::options::Seed;
use crate::seeds::plant;
use crate::shell::{Connection, Message, Shell};
use crate::snapshot;
use crate::throttle::Throttling;

/// The emulator at work. Dropping it closes the ports.
#[derive(Debug)]
pub struct Running {
    /// Where REST, WebSocket and the control API are.
    pub https_addr: SocketAddr,
    /// Where MQTT over TLS is.
    pub mqtt_addr: SocketAddr,
    /// Where AMQP clients are told, in the log, what to use instead; `None` unless that was asked for and the port was free.
    pub amqp_addr: Option<SocketAddr>,
    /// The authority that clients must trust.
    pub ca_pem: String,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) control_token: String,
    pub(crate) host_name: Option<String>,
    pub(crate) shell: Arc<Shell>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) snapshot: Option<PathBuf>,
}

impl Running {
    /// The file with the authority, if one was asked for.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// `HostName=…;SharedAccessKeyName=iothubowner;SharedAccessKey=…`, with the port of this run. Of a hub that has
    /// lost this policy: the first that it has.
    pub fn connection_string(&self) -> String {
        let first = || self.shell.access().rules().policies.iter().next().map(|policy| policy.name().to_owned());
        let owner = self.policy_connection_string("iothubowner");
        owner.or_else(|| self.policy_connection_string(&first()?)).unwrap_or_default()
    }

    /// The same for any policy of the hub.
    pub fn policy_connection_string(&self, policy: &str) -> Option<String> {
        let rules = self.shell.access().rules();
        let key = rules.policies.find(policy)?.keys()[0];
        Some(format!("HostName={};SharedAccessKeyName={policy};SharedAccessKey={}", self.host_and_port(), key.reveal()))
    }

    /// `HostName=…;DeviceId=…;SharedAccessKey=…` without a port: devices take that from elsewhere.
    pub fn device_connection_string(&self, device: &str) -> Option<String> {
        self.identity_connection_string(&Id::device(device))
    }

    /// The same for a module.
    pub fn module_connection_string(&self, device: &str, module: &str) -> Option<String> {
        self.identity_connection_string(&Id::module(device, module))
    }

    /// Makes a device, and modules, unless they are there.
    ///
    /// # Errors
    /// With the hub's reason when it refuses.
    pub fn seed(&self, seed: &Seed) -> Result<(), String> {
        self.shell.act(|hub, now| plant(hub, seed, now))
    }

    /// `https://host:port`
    pub fn https_url(&self) -> String {
        format!("https://{}", self.host_and_port())
    }

    /// Base of the control API.
    pub fn control_url(&self) -> String {
        format!("{}/_emulator/v1", self.https_url())
    }

    /// Bearer token of the control API.
    pub fn control_token(&self) -> &str {
        &self.control_token
    }

    /// A bearer token of the emulator's own authority: for the audience (say `https://iothubs.azure.net`), and with the
    /// roles that [`Options::entra`](crate::Options::entra) gives `client_id`.
    pub fn bearer_token(&self, client_id: &str, audience: &str) -> Option<String> {
        let host = self.host_and_port();
        let request = TokenRequest { host: &host, tenant: "emulator", client_id, audience };
        self.shell.access().issuer().mint(&request, Timestamp::now())
    }

    /// Whom a bearer token names that this hub takes: `Bearer …`, as in an `Authorization` header.
    ///
    /// # Errors
    /// With the reason, when the hub does not take it.
    pub fn check_bearer_token(&self, header: &str) -> Result<String, String> {
        let bearer = self.shell.access().check_bearer(Some(header), Audience::Hub, Timestamp::now());
        bearer.map(|bearer| bearer.id).map_err(|denied| denied.to_string())
    }

    /// The hub's id in Azure Resource Manager, which is served at [`Running::https_url`].
    pub fn resource_id(&self) -> String {
        self.shell.events.management.id()
    }

    /// Faults, without the detour over HTTP.
    pub fn faults(&self) -> &Faults {
        &self.shell.faults
    }

    /// Closes every connection, refuses new ones for a while, and opens again.
    ///
    /// # Errors
    /// When another restart is under way.
    pub fn restart(&self, restart: Restart) -> Result<(), String> {
        self.shell.restart(restart)
    }

    /// Lets queries trail so far behind changes from here on.
    pub fn set_index_lag(&self, lag: std::time::Duration) {
        let lag = jiff::SignedDuration::try_from(lag).unwrap_or(jiff::SignedDuration::MAX);
        self.shell.act(|hub, now| hub.set_index_lag(lag, now));
    }

    /// Shows an identity as disconnected and connected again (or the reverse) without touching its connection.
    pub fn flap(&self, id: &Id) -> bool {
        self.shell.act(|hub, now| hub.flap(id, now))
    }

    /// Evaluates configurations and deployments now instead of at the next round.
    pub fn evaluate(&self) -> Evaluated {
        evaluation::now(&self.shell)
    }

    /// Every identity with its keys and twin, one JSON object a line, as the service's export writes them.
    pub fn export(&self) -> String {
        self.shell.act(|hub, _| fleet::export(hub))
    }

    /// Counts of operations.
    pub fn meters(&self) -> &Meters {
        &self.shell.meters
    }

    /// Throttles from here on as a hub of this size, idle and with a fresh quota; `None` turns them off, and the size
    /// stays.
    ///
    /// # Errors
    /// When there is no such hub.
    pub fn set_throttling(&self, throttling: Option<Throttling>) -> Result<(), String> {
        if let Some(throttling) = &throttling {
            throttling.check()?;
        }
        self.shell.set_throttling(throttling);
        Ok(())
    }

    /// Live MQTT connections.
    pub fn connections(&self) -> Vec<Connection> {
        self.shell.connections()
    }

    /// Sends a message to a device; answers with its sequence number.
    ///
    /// # Errors
    /// With the hub's refusal: no such device, too many messages, too long.
    pub fn send_to_device(&self, device: &str, message: CloudMessage) -> Result<u64, Refusal> {
        self.shell.send_message(device, message)
    }

    /// Device-to-cloud messages from here on. Who listens too slowly misses some.
    pub fn messages(&self) -> broadcast::Receiver<Arc<Message>> {
        self.shell.tail()
    }

    /// Speaks MQTT over a stream of the caller's as if it had come in through TLS: an in-memory pipe, a simulated
    /// network. Returns when the connection has ended.
    pub async fn serve_mqtt<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let caller = Caller { transport: "memory", peer: Arc::new(Peer::nobody()) };
        mqtt::serve(Arc::clone(&self.shell), stream, caller, self.stop.clone()).await;
    }

    /// Lines `NAME=value` for a shell or an env file: connection strings, authority, control API.
    pub fn print_env(&self) -> String {
        let mut lines = vec![
            ("IOTHUB_CONNECTION_STRING", self.connection_string()),
            ("EMULATOR_HTTPS", self.https_addr.to_string()),
            ("EMULATOR_MQTT", self.mqtt_addr.to_string()),
            ("EMULATOR_CONTROL_URL", self.control_url()),
            ("EMULATOR_CONTROL_TOKEN", self.control_token.clone()),
            ("IOTHUB_RESOURCE_ID", self.resource_id()),
        ];
        if let Some(path) = &self.ca_file {
            lines.insert(1, ("IOTHUB_CA_FILE", path.display().to_string()));
        }
        lines.into_iter().map(|(name, value)| format!("{name}='{value}'\n")).collect()
    }

    /// Serves until `until` is done, then shuts down.
    pub async fn serve_until(self, until: impl Future<Output = ()>) {
        until.await;
        self.shutdown().await;
    }

    /// Closes every connection and writes the snapshot a last time.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.wait().await;
        self.shell.close_journal();
        if let Some(path) = &self.snapshot {
            snapshot::write(&self.shell, path).await;
        }
        tracing::info!(at = %Timestamp::now(), "the hub is closed");
    }

    fn identity_connection_string(&self, id: &Id) -> Option<String> {
        let key = self.shell.act(|hub, _| hub.primary_key(id))?;
        let device = id.device.clone();
        let identity = match id.module.clone() {
            None => Identity::Device { device },
            Some(module) => Identity::Module { device, module },
        };
        connection_string(self.host(), identity, &key)
    }

    fn host(&self) -> &str {
        self.host_name.as_deref().unwrap_or("localhost")
    }

    fn host_and_port(&self) -> String {
        match self.https_addr.port() {
            // What every client assumes; Node's service SDK takes no port at all.
            443 => self.host().to_owned(),
            port => format!("{}:{port}", self.host()),
        }
    }
}

fn connection_string(host: &str, identity: Identity, key: &Key) -> Option<String> {
    let key = SharedAccessKey::from_base64(key.reveal()).ok()?;
    let built = ConnectionString::new(host, identity, Credential::Key(key)).ok()?;
    Some(built.expose())
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
