//! The slim program for devices: the agent and nothing else.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser;
use iotedge_ha_agent::{AgentArgs, Error, keeper, run};
use tracing_subscriber::EnvFilter;

/// Keep the lease of this device and run its workload only while it holds it
#[derive(Parser)]
#[command(name = "iotedge-ha-agent", version)]
struct Cli {
    /// What to log, such as info or debug
    #[arg(long, value_name = "FILTER", default_value = "info", env = "HA_AGENT_LOG")]
    log: String,

    /// Log as JSON, one object a line
    #[arg(long, env = "HA_AGENT_LOG_JSON")]
    log_json: bool,

    #[command(flatten)]
    agent: AgentArgs,
}

fn main() -> ExitCode {
    keeper::dispatch_if_asked();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    start_log(&cli);
    let ended =
        tokio::runtime::Runtime::new().map_err(Error::Signals).and_then(|runtime| runtime.block_on(run(&cli.agent)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let is_usage = error.is_usage();
            eprintln!("error: {:#}", anyhow::Error::from(error));
            ExitCode::from(if is_usage { BAD_USAGE } else { FAILED })
        }
    }
}

const FAILED: u8 = 1;
const BAD_USAGE: u8 = 2;

fn start_log(cli: &Cli) {
    let filter = EnvFilter::try_new(&cli.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if cli.log_json {
        log.json().init();
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).init();
    }
}
