use super::{Check, Outcome};
use crate::config::{Config, Refused};

pub(super) const CHECK: Check = Check { id: "configuration", description: "the configuration is complete and safe" };

pub(super) fn taken(config: &Config) -> Outcome {
    let pools: Vec<&str> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
    Outcome::ok(format!("{}: {}", config.path.display(), pools.join(", ")))
}

pub(super) fn refused(refused: &Refused) -> Outcome {
    Outcome::error(refused.to_string(), "mend the file; `config example` prints one to start from")
}
