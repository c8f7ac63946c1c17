//! Reference pages that the program itself writes, so that they cannot differ from it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run;
use crate::suite;

/// A page below docs/reference, and the hidden `iotedge-ha reference` topic that prints it.
const PAGES: &[(&str, &str)] = &[
    ("cli.md", "cli"),
    ("configuration.md", "configuration"),
    ("config.schema.json", "schema"),
    ("agent.md", "agent"),
    ("agent.schema.json", "agent-schema"),
];

pub(crate) fn generate(check: bool) -> Result<()> {
    suite::build_programs()?;
    let program = program()?;
    let mut drifted = Vec::new();
    for (page, topic) in PAGES {
        let fresh = run::output(Command::new(&program).args(["reference", topic]).env_clear())?;
        let path = run::root().join("docs/reference").join(page);
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        if old == fresh {
            continue;
        }
        if check {
            drifted.push(format!("docs/reference/{page}, {}", first_difference(&old, &fresh)));
        } else {
            write(&path, &fresh)?;
            eprintln!("wrote docs/reference/{page}");
        }
    }
    if !drifted.is_empty() {
        bail!("generated pages are out of date; run `cargo xtask docs`\n  {}", drifted.join("\n  "));
    }
    Ok(())
}

/// The program as `cargo build` left it.
pub(crate) fn program() -> Result<PathBuf> {
    let name = format!("iotedge-ha{}", std::env::consts::EXE_SUFFIX);
    Ok(run::metadata()?.target_directory.join("debug").join(name))
}

fn write(path: &std::path::Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn first_difference(old: &str, fresh: &str) -> String {
    let pairs = old.lines().zip(fresh.lines());
    match pairs.enumerate().find(|(_, (old, fresh))| old != fresh) {
        Some((at, (old, fresh))) => {
            format!("line {}: has `{old}`, should have `{fresh}`", at + 1)
        }
        None => "lines missing or left over at the end".to_owned(),
    }
}
