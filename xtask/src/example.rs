//! Builds and runs `examples/press-line`, from its own workspace.

use std::process::Command;

use anyhow::Result;

use crate::run::{root, run};

pub(crate) fn press_line() -> Result<()> {
    let folder = root().join("examples/press-line");
    run(Command::new("cargo").args(["test", "--quiet"]).current_dir(&folder))?;
    run(Command::new("./run.sh").current_dir(&folder))
}
