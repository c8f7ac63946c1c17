//! Arguments that several commands share.

use std::path::{Path, PathBuf};

use crate::exit::Exit;
use crate::failure::Failure;

const PLACES: &[&str] = &["iotedge-ha.toml", "/etc/iotedge-ha/config.toml"];

#[derive(clap::Args, Debug)]
pub(crate) struct ConfigArgs {
    /// The configuration: pools, timings and where the hub's credentials are
    /// [default: iotedge-ha.toml, else /etc/iotedge-ha/config.toml]
    #[arg(short, long = "config", env = "IOTEDGE_HA_CONFIG", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl ConfigArgs {
    pub(crate) fn path(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.file {
            return Ok(path.clone());
        }
        let place = PLACES.iter().map(Path::new).find(|path| path.is_file());
        place.map(Path::to_path_buf).ok_or_else(|| {
            Failure::says(Exit::Usage, "there is no configuration").hint(
                "name it with --config FILE or IOTEDGE_HA_CONFIG; `iotedge-ha config example` prints one to start from",
            )
        })
    }
}

/// For the verbs that ask the controller in charge for something.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Asking")]
pub(crate) struct RequestArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,

    /// Ask without showing the plan and waiting for a yes
    #[arg(short, long)]
    pub(crate) yes: bool,

    /// Show what would happen, and stop there
    #[arg(short = 'n', long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,

    /// Do not wait until it has happened
    #[arg(long)]
    pub(crate) no_wait: bool,

    /// How long to wait until it has happened
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) timeout_s: u64,

    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}
