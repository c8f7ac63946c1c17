//! Microsoft's SDKs for the conformance suite, below the target folder: made once for each state of the lock files.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::run;

/// Variables that make a missing SDK an error.
const REQUIRED: [&str; 2] = ["CI", "IOTEDGE_HA_REQUIRE_SDKS"];

/// One language's SDKs.
struct Sdks {
    language: &'static str,
    /// What must be there already.
    program: &'static str,
    hint: &'static str,
    /// Below crates/conformance.
    lock_files: &'static [&'static str],
    install: fn(&Path) -> Result<()>,
    /// How the tests learn where they are, and what they look for there.
    variable: &'static str,
    place: &'static str,
}

const ALL: [Sdks; 2] = [
    Sdks {
        language: "Python",
        program: "python3",
        hint: "it needs Python 3 with venv and pip",
        lock_files: &["python/requirements.txt"],
        install: install_python,
        variable: "IOTEDGE_HA_SDK_PYTHON",
        place: "venv/bin/python",
    },
    Sdks {
        language: "Node",
        program: "npm",
        hint: "it needs Node and npm",
        lock_files: &["node/package.json", "node/package-lock.json"],
        install: install_node,
        variable: "IOTEDGE_HA_SDK_NODE_MODULES",
        place: "node_modules",
    },
];

/// Installs what is missing and gives the variables that tell the tests where it is. Without a language's tools its tests are
/// skipped, unless they are required.
pub(crate) fn set_up() -> Result<Vec<(&'static str, PathBuf)>> {
    let required = REQUIRED.iter().any(|name| std::env::var_os(name).is_some());
    let mut variables = Vec::new();
    for sdks in &ALL {
        match sdks.ensure() {
            Ok(folder) => variables.push((sdks.variable, folder.join(sdks.place))),
            Err(error) if required => return Err(error),
            Err(error) => eprintln!("skipping the {} SDKs: {error:#}", sdks.language),
        }
    }
    Ok(variables)
}

impl Sdks {
    fn ensure(&self) -> Result<PathBuf> {
        let folder = self.folder()?;
        let complete = folder.join("complete");
        if complete.is_file() {
            return Ok(folder);
        }
        let version = Command::new(self.program).arg("--version").stdout(Stdio::null()).status();
        version.with_context(|| format!("cannot start `{}`; {}", self.program, self.hint))?;
        eprintln!("installing the {} SDKs in {}", self.language, folder.display());
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        (self.install)(&folder).with_context(|| format!("cannot install the {} SDKs; {}", self.language, self.hint))?;
        std::fs::write(&complete, "").with_context(|| format!("cannot write {}", complete.display()))?;
        Ok(folder)
    }

    /// Named after the lock files' content: another content is another folder.
    fn folder(&self) -> Result<PathBuf> {
        let mut hasher = DefaultHasher::new();
        for name in self.lock_files {
            let path = scripts().join(name);
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?.hash(&mut hasher);
        }
        let name = format!("{}-{:016x}", self.language.to_lowercase(), hasher.finish());
        Ok(run::metadata()?.target_directory.join("sdks").join(name))
    }
}

fn scripts() -> PathBuf {
    run::root().join("crates/conformance")
}

fn install_python(folder: &Path) -> Result<()> {
    let venv = folder.join("venv");
    run::run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    run::run(pip.arg(scripts().join("python/requirements.txt")))
}

fn install_node(folder: &Path) -> Result<()> {
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(scripts().join("node").join(name), folder.join(name))?;
    }
    run::run(Command::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder))
}
