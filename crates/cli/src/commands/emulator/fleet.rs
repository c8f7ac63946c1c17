use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use ha_emulator::{Options, Running};

use crate::exit::Exit;
use crate::failure::{OrExit, Result};

/// What fills the hub at the start, disturbs it on the way, and what is kept of it.
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// Make the fleet of this file at the start, TOML or YAML (`.yaml`, `.yml`); what exists is left alone
    #[arg(long, value_name = "FILE")]
    seed_file: Option<PathBuf>,

    /// Carry out the lines of this file at the start: `devices.txt`, as the service's import takes it
    #[arg(long, value_name = "FILE")]
    import: Option<PathBuf>,

    /// Take import and export jobs (`/jobs/create`) and files of devices: the folders in this folder are blob containers
    #[arg(long, value_name = "FOLDER")]
    blob_dir: Option<PathBuf>,

    /// Have devices upload files to this container, unless the hub's resource names another one later
    #[arg(long, value_name = "NAME", requires = "blob_dir")]
    upload_container: Option<String>,

    /// Write all identities with their keys and twins to this file at the end, as the service's export does
    #[arg(long, value_name = "FILE")]
    pub(super) export: Option<PathBuf>,

    /// Play the faults of this TOML file, each at its time from the start
    #[arg(long, value_name = "FILE")]
    faults_script: Option<PathBuf>,

    /// Add every request over HTTP, and its answer, to this file as a line of JSON: headers without credentials, bodies as they are
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

impl Args {
    pub(super) fn apply(self, options: &mut Options) {
        options.seed_file = self.seed_file;
        options.import = self.import;
        options.blob_dir = self.blob_dir;
        options.upload_container = self.upload_container;
        options.faults_script = self.faults_script;
        options.record = self.record;
    }
}

pub(super) fn export(hub: &Running, path: &Path) -> Result<()> {
    let mut file = open(path)?;
    let written = file.set_len(0).and_then(|()| file.write_all(hub.export().as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display())).or_exit(Exit::Failed)
}

/// Keys are going to be in it, so it is readable by the owner only. What it holds is left alone.
pub(super) fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.with_context(|| format!("cannot write {}", path.display())).or_exit(Exit::Failed)
}
