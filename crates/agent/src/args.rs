use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The agent's command line. What is given here wins over the environment, and that over the file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct AgentArgs {
    /// The settings file (TOML)
    #[arg(long, value_name = "FILE", env = "HA_AGENT_CONFIG")]
    pub config: Option<PathBuf>,

    /// The pool that this device is a member of
    #[arg(long, env = "HA_AGENT_POOL")]
    pub pool: Option<String>,

    /// A folder of the agent's own, kept over restarts
    #[arg(long, value_name = "FOLDER", env = "HA_AGENT_STATE_DIR")]
    pub state_dir: Option<PathBuf>,

    /// The environment variable that holds the module's connection string
    ///
    /// Without this and the next, the agent is an IoT Edge module and uses the IOTEDGE_... variables.
    #[arg(
        long,
        value_name = "NAME",
        env = "HA_AGENT_CONNECTION_STRING_ENV",
        conflicts_with = "connection_string_file"
    )]
    pub connection_string_env: Option<String>,

    /// The file that holds the module's connection string
    #[arg(long, value_name = "FILE", env = "HA_AGENT_CONNECTION_STRING_FILE")]
    pub connection_string_file: Option<PathBuf>,

    /// Certificates (PEM) to trust instead of the system's or edgeHub's
    #[arg(long, value_name = "FILE", env = "HA_AGENT_CA_FILE")]
    pub ca_file: Option<PathBuf>,

    /// The hub's MQTT port [default: 8883, with --websocket 443]
    #[arg(long, value_name = "PORT", env = "HA_AGENT_MQTT_PORT")]
    pub mqtt_port: Option<u16>,

    /// Carry MQTT over a WebSocket
    #[arg(long, env = "HA_AGENT_WEBSOCKET")]
    pub websocket: bool,

    /// How long the workload may take to stop: SIGTERM so long before the lease ends
    #[arg(long, value_name = "MS", env = "HA_AGENT_STOP_MS")]
    pub stop_ms: Option<u64>,

    /// The longest that a reader of HTTP or file goes on believing its last answer
    #[arg(long, value_name = "MS", env = "HA_AGENT_SETTLE_MS")]
    pub settle_ms: Option<u64>,

    /// How long a stopping agent waits to be relieved
    #[arg(long, value_name = "MS", env = "HA_AGENT_LEAVE_GRACE_MS")]
    pub leave_grace_ms: Option<u64>,

    /// Serve GET /active and others on this address, such as 127.0.0.1:8480
    #[arg(long, value_name = "ADDRESS:PORT", env = "HA_AGENT_HTTP_ADDR")]
    pub http_addr: Option<SocketAddr>,

    /// Take messages of the workload at POST /v1/messages and send them to the hub, stamped with the term
    #[arg(long, env = "HA_AGENT_MESSAGES")]
    pub messages: bool,

    /// Keep a file that says whether the workload is to be active
    #[arg(long, value_name = "FILE", env = "HA_AGENT_STATE_FILE")]
    pub state_file: Option<PathBuf>,

    /// The workload: run while this member holds the lease, and at no other time
    #[arg(last = true, value_name = "COMMAND")]
    pub workload: Vec<OsString>,
}
