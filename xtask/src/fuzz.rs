//! Fuzzing: hostile bytes for everything that reads bytes from strangers.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{root, run};

/// How long each target runs when nothing is said.
pub(crate) const SECONDS: u64 = 600;

/// AddressSanitizer looks for what unsafe code does wrong, and ours is safe: without it a target builds and runs several
/// times faster. Debug assertions and overflow checks stay on.
const SANITIZER: [&str; 2] = ["--sanitizer", "none"];

/// Runs the targets, all of them when none is named, one after the other; stops at the first finding.
pub(crate) fn fuzz(targets: &[String], seconds: u64) -> Result<()> {
    let known = targets_known()?;
    if let Some(unknown) = targets.iter().find(|target| !known.contains(target)) {
        bail!("there is no fuzz target '{unknown}'; there are {}", known.join(", "));
    }
    let ready = Command::new("cargo").args(["+nightly", "fuzz", "--version"]).current_dir(root()).output();
    if !ready.is_ok_and(|output| output.status.success()) {
        bail!(
            "fuzzing needs a nightly compiler and cargo-fuzz; try `rustup toolchain install nightly` and `cargo install cargo-fuzz`"
        );
    }
    for target in if targets.is_empty() { &known } else { targets } {
        let corpus = root().join("fuzz/corpus").join(target);
        std::fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
        let seeds = root().join("fuzz/seeds").join(target);
        let mut command = Command::new("cargo");
        command
            .args(["+nightly", "fuzz", "run", "--fuzz-dir=fuzz"])
            .args(SANITIZER)
            .arg(target)
            .args([&corpus, &seeds]);
        command.args(["--", &format!("-max_total_time={seconds}"), "-max_len=4096", "-print_final_stats=1"]);
        run(command.current_dir(root()))?;
    }
    Ok(())
}

fn targets_known() -> Result<Vec<String>> {
    let folder = root().join("fuzz/targets");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names: Vec<String> =
        entries.filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}
