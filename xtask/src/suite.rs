//! The whole test suite, and everything CI runs.

use anyhow::Result;

use crate::run::{cargo, root, run};

/// The end-to-end tests start built programs, which `cargo test` does not build by itself.
pub(crate) fn test(args: &[String]) -> Result<()> {
    build_programs()?;
    let program = crate::docs::program()?;
    let sdks = crate::sdks::set_up()?;
    run(cargo(&["test", "--workspace", "--locked"]).args(args).env("IOTEDGE_HA_BIN", program).envs(sdks))
}

pub(crate) fn build_programs() -> Result<()> {
    run(&mut cargo(&["build", "--locked", "--package=iotedge-ha", "--package=iotedge-ha-agent", "--bins"]))
}

pub(crate) fn check() -> Result<()> {
    run(std::process::Command::new("bash").arg(root().join(".ci/run")).current_dir(root()))
}
