//! What several commands share: where the configuration is, the way to the hub, what its errors mean to an operator.

use std::path::{Path, PathBuf};

use ha_controller::config::{Config, Override, PoolConfig, Refused, environment, load};
use ha_controller::hub::Error as HubError;
use ha_controller::hub::iot::{IotHub, Unusable};

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
        self.read(flags)?.or_exit(Exit::Usage)
    }

    /// The same for whoever wants to see what is wrong with it; there must be one, though.
    pub(crate) fn read(&self, flags: Vec<Override>) -> Result<Result<Config, Refused>> {
        Ok(load(&self.path()?, &overrides(flags)))
    }

    /// Whether somebody has said which file it is.
    pub(crate) fn is_named(&self) -> bool {
        self.file.is_some()
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

/// What is given outside the file.
pub(crate) fn overrides(flags: Vec<Override>) -> Vec<Override> {
    let mut overrides = environment(std::env::vars_os().filter_map(|(name, value)| {
        // What is no text cannot be one of ours.
        Some((name.into_string().ok()?, value.into_string().ok()?))
    }));
    overrides.extend(flags);
    overrides
}

/// The way to the hub. Nothing is sent yet.
pub(crate) fn open_hub(config: &Config) -> Result<IotHub> {
    IotHub::new(&config.hub).map_err(|error| {
        let exit = if matches!(error, Unusable::Client(_)) { Exit::Failed } else { Exit::Usage };
        Failure::new(exit, error).hint(
            "the service connection string of the hub belongs into the place that `[hub]` names: \
             `az iot hub connection-string show --hub-name NAME` prints it",
        )
    })
}

/// The pool of that name.
pub(crate) fn pool<'a>(config: &'a Config, name: &str) -> Result<&'a PoolConfig> {
    config.pool(name).ok_or_else(|| {
        let names: Vec<_> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
        let path = config.path.display();
        Failure::says(Exit::Usage, format!("there is no pool {name:?} in {path}"))
            .hint(format!("the pools there are {}", names.join(", ")))
    })
}

/// An error of the hub, as an operator should see it.
pub(crate) fn hub_failure(error: HubError) -> Failure {
    let (exit, hint) = match &error {
        HubError::Unauthorised(_) => (
            Exit::Hub,
            "take a policy with the rights registry read, registry write and service connect, such as iothubowner",
        ),
        HubError::Unreachable(_) => {
            (Exit::Hub, "see whether the host name is right and whether a firewall lets port 443 through")
        }
        HubError::Throttled(_) => (Exit::Hub, "`iotedge-ha estimate` says how much of the hub's limits the pools take"),
        _ => return Failure::new(Exit::Failed, error),
    };
    Failure::new(exit, error).hint(hint)
}
