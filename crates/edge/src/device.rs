//! Start, run, stop.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ha_wire::ConnectionString;
use ha_wire::workload::ModuleList;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_platform_verifier::ConfigVerifierExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Cut;
use crate::agent::{Agent, Parts};
use crate::authority::Authority;
use crate::doors::control::{self, Control};
use crate::doors::{self, Door};
use crate::error::Error;
use crate::options::Options;
use crate::registry::Registry;
use crate::shell::{NEWS_MAX, Shell};
use crate::store::Store;
use crate::upstream::{Endpoint, Lines, Shared};
use crate::workload::{About, Cipher, Workload};

/// An IoT Edge device at work. Dropping it ends everything.
pub struct Running {
    /// Where modules connect with MQTT.
    pub mqtt_addr: SocketAddr,
    /// Where modules connect with HTTPS.
    pub https_addr: SocketAddr,
    /// Whom modules must trust.
    pub trust_bundle: String,
    ca_file: PathBuf,
    control_token: String,
    host_name: String,
    cut: watch::Sender<Cut>,
    workload: Arc<Workload>,
    registry: Arc<Registry>,
    agent: JoinHandle<()>,
    agent_stop: CancellationToken,
    agent_ends_within: Duration,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// How long tasks that were told to end may take.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Starts an IoT Edge device.
///
/// # Errors
/// When a port is taken, the hub does not tell the device's identities, or the state folder cannot be used.
pub async fn start(options: Options) -> Result<Running, Error> {
    // Whoever embeds us may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let connection: ConnectionString = options.connection_string.expose().parse().map_err(|error| {
        Error::Option(format!("the connection string of the hub's service cannot be read: {error}"))
    })?;
    std::fs::create_dir_all(&options.state_dir).map_err(Error::file(&options.state_dir))?;
    let authority = Arc::new(Authority::open(&options.state_dir)?);
    let names = vec![options.host_name.clone(), "localhost".to_owned(), "127.0.0.1".to_owned()];
    let server_tls = authority.server(&names)?.server_config()?;
    let (mqtt, mqtt_addr) = doors::open(SocketAddr::new(options.bind, options.mqtt_port)).await?;
    let (https, https_addr) = doors::open(SocketAddr::new(options.bind, options.https_port)).await?;

    let store = Store::open(&options.state_dir, &options.device)?;
    let (cut, cut_seen) = watch::channel(options.cut);
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let shared = Arc::new(cloud(&options, &connection, cut_seen, store.clone()).await?);
    let registry = Arc::clone(&shared.registry);
    let (shell, hub) = Shell::new(&options.device, Arc::clone(&shared), store.clone(), &stop, &tasks);
    tasks.spawn(shell.run(stop.clone()));
    let (list, listed) = watch::channel(ModuleList::default());
    let known = (Arc::clone(&authority), Arc::clone(&registry));
    let workload = sockets(&options, connection.host(), known, listed, (stop.clone(), tasks.clone()))?;

    let (news, news_received) = mpsc::channel(NEWS_MAX);
    let lines = Lines::new(shared, news, stop.clone(), tasks.clone());
    let (known, opened) = (Arc::clone(&registry), Arc::clone(&workload));
    let parts = Parts { lines, news: news_received, registry: known, workload: opened, list, store };
    let agent_stop = CancellationToken::new();
    let agent = tokio::spawn(Agent::new(&options, parts)?.run(agent_stop.clone()));

    let control_token = format!("{:032x}", rand::random::<u128>());
    let door = Arc::new(Door {
        hub,
        registry: Arc::clone(&registry),
        device: options.device.clone(),
        hosts: vec![connection.host().to_owned(), options.host_name.clone(), "localhost".to_owned()],
        timings: options.timings.clone(),
        control: Control { token: control_token.clone(), cut: cut.clone() },
        stop: stop.clone(),
    });
    doors::serve(&door, mqtt, https, &server_tls, &tasks);
    tracing::info!(device = options.device, mqtt = %mqtt_addr, https = %https_addr, "the device is open");
    let ca_file = Authority::ca_path(&options.state_dir);
    Ok(Running {
        mqtt_addr,
        https_addr,
        trust_bundle: authority.ca_pem.clone(),
        // Those who read the printed environment may work in another folder.
        ca_file: std::path::absolute(&ca_file).unwrap_or(ca_file),
        control_token,
        host_name: options.host_name,
        cut,
        workload,
        registry,
        agent,
        agent_stop,
        agent_ends_within: options.timings.stop_grace + options.timings.last_words + END_WITHIN,
        stop,
        tasks,
    })
}

/// The workload sockets of the device.
fn sockets(
    options: &Options,
    hub: &str,
    (authority, registry): (Arc<Authority>, Arc<Registry>),
    listed: watch::Receiver<ModuleList>,
    ends: (CancellationToken, TaskTracker),
) -> Result<Arc<Workload>, Error> {
    let about = About { hub: hub.to_owned(), device: options.device.clone(), host_name: options.host_name.clone() };
    let keys = (authority, Cipher::open(&options.state_dir)?);
    Workload::open(options.state_dir.join("run"), about, keys, registry, listed, ends).map(Arc::new)
}

/// What is needed to speak with the cloud; the identities of the device are known when this returns.
async fn cloud(
    options: &Options,
    connection: &ConnectionString,
    cut: watch::Receiver<Cut>,
    store: Store,
) -> Result<Shared, Error> {
    let ca_pem = options.hub_ca_pem.clone();
    let client_options = ha_iothub::Options { ca_pem, ..ha_iothub::Options::default() };
    let failed = |source| Error::Registry { device: options.device.clone(), source: Box::new(source) };
    let client = ha_iothub::Client::new(connection, &client_options).map_err(failed)?;
    let delay = options.timings.scope_refresh_delay;
    let registry = Registry::open(client, &options.device, delay, cut.clone(), store).await?;
    let endpoint = Endpoint {
        hub: connection.host().to_owned(),
        host: connection.host().to_owned(),
        port: options.hub_mqtt_port,
        tls: upstream_tls(options.hub_ca_pem.as_deref())?,
        settled: AtomicBool::new(false),
    };
    Ok(Shared { endpoint, registry: Arc::new(registry), cut, timings: options.timings.clone() })
}

impl Running {
    /// Cuts the line to the cloud, or heals it.
    pub fn cut(&self, cut: Cut) {
        tracing::info!(?cut, "the line to the cloud");
        self.cut.send_replace(cut);
    }

    /// The environment that IoT Edge gives a module of this name; the module is made if the hub does not know it.
    ///
    /// # Errors
    /// When the hub does not give the module, or its socket cannot be opened.
    pub async fn module_environment(&self, module: &str) -> Result<Vec<(String, String)>, Error> {
        let made = self.registry.ensure_module(module).await;
        made.map_err(|source| Error::Registry { device: module.to_owned(), source: Box::new(source) })?;
        self.workload.environment(module)
    }

    /// The file with the authority that modules must trust.
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// Base of the control API.
    pub fn control_url(&self) -> String {
        format!("https://{}:{}{}", self.host_name, self.https_addr.port(), control::PATH)
    }

    /// Bearer token of the control API.
    pub fn control_token(&self) -> &str {
        &self.control_token
    }

    /// Ends everything, the modules first, so that edgeAgent can still tell.
    pub async fn shutdown(mut self) {
        self.agent_stop.cancel();
        if tokio::time::timeout(self.agent_ends_within, &mut self.agent).await.is_err() {
            tracing::warn!("edgeAgent did not end");
        }
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(END_WITHIN, self.tasks.wait()).await.is_err() {
            tracing::warn!("a task did not end");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.agent_stop.cancel();
        self.stop.cancel();
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("mqtt", &self.mqtt_addr)
            .field("https", &self.https_addr)
            .finish_non_exhaustive()
    }
}

fn upstream_tls(ca_pem: Option<&[u8]>) -> Result<Arc<rustls::ClientConfig>, Error> {
    let Some(pem) = ca_pem else {
        return rustls::ClientConfig::with_platform_verifier().map(Arc::new).map_err(Error::Tls);
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).flatten());
    if added == 0 {
        return Err(Error::Option("the file with the hub's authority holds no certificate in PEM form".to_owned()));
    }
    Ok(Arc::new(rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}
