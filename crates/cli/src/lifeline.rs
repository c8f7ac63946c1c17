//! A process that was started for another one's sake ends with it, even when that one is killed.

use anyhow::{Context, Result, bail};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

pub(crate) fn die_with(parent: i32) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot ask to end with the parent process")?;
    // It may have ended before we asked.
    if getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(parent) {
        bail!("process {parent}, which started this one, is gone");
    }
    Ok(())
}
