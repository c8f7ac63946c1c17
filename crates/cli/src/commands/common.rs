//! Arguments that several commands share.

use std::path::{Path, PathBuf};

use ha_controller::config::{Config, Override, environment, load};

use crate::exit::Exit;
use crate::failure::{Failure, OrExit, Result};

const PLACES: &[&str] = &["iotedge-ha.toml", "/etc/iotedge-ha/config.toml"];

#[derive(clap::Args, Debug)]
pub(crate) struct ConfigArgs {
    /// The configuration: pools, timings and where the hub's credentials are
    /// [default: iotedge-ha.toml, else /etc/iotedge-ha/config.toml]
    #[arg(short = 'c', long = "config", env = "IOTEDGE_HA_CONFIG", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl ConfigArgs {
    /// The configuration in force: the file, then the environment, then `flags`.
    pub(crate) fn load(&self, flags: Vec<Override>) -> Result<Config> {
        let mut overrides = environment(std::env::vars_os().filter_map(|(name, value)| {
            // What is no text cannot be one of ours.
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }));
        overrides.extend(flags);
        load(&self.path()?, &overrides).or_exit(Exit::Usage)
    }

    pub(crate) fn path(&self) -> Result<PathBuf> {
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
