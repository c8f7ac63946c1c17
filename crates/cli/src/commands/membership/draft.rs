//! The configuration file, and a change to it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use ha_controller::config::edit::{Edit, changed_lines, edit};
use ha_controller::config::{Config, parse_unfinished};
use ha_core::ids::PoolName;
use serde_json::{Value, json};

use crate::commands::common::{ConfigArgs, overrides};
use crate::exit::Exit;
use crate::failure::{Failure, OrExit, Result};
use crate::printer::Printer;

/// Where the configuration is looked for, and created, when nobody says so.
const USUAL: &str = "iotedge-ha.toml";

/// The configuration file as it is; perhaps there is none yet, or no pool in it.
pub(crate) struct Draft {
    path: PathBuf,
    text: String,
    /// It is there, or somebody has named it.
    is_kept: bool,
}

impl Draft {
    pub(crate) fn read(args: &ConfigArgs) -> Result<Self> {
        let path = args.path().unwrap_or_else(|_| USUAL.into());
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Self { path, text, is_kept: true }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self { path, text: String::new(), is_kept: args.is_named() })
            }
            Err(e) => Err(Failure::new(Exit::Usage, e)
                .hint(format!("{} cannot be read: give another file with --config", path.display()))),
        }
    }

    /// What the file says.
    pub(crate) fn config(&self) -> Result<Config> {
        config(&self.path, &self.text)
    }

    /// The file with a change made to it.
    pub(crate) fn revise(&self, pool: &PoolName, change: &Edit) -> Result<Revision> {
        let after = edit(&self.text, pool, change).map_err(|error| {
            let said = format!("{} cannot be changed", self.path.display());
            Failure::new(Exit::Usage, anyhow::Error::new(error).context(said))
                .hint("change the list of members by hand")
        })?;
        // Whatever we write must be a configuration.
        let config = config(&self.path, &after)?;
        let (path, before) = (self.path.clone(), self.text.clone());
        Ok(Revision { path, before, after, is_kept: self.is_kept, config })
    }

    /// The file as it is.
    pub(crate) fn unchanged(&self) -> Result<Revision> {
        let (path, before, after) = (self.path.clone(), self.text.clone(), self.text.clone());
        Ok(Revision { path, before, after, is_kept: self.is_kept, config: self.config()? })
    }
}

/// The configuration file with a change.
pub(crate) struct Revision {
    path: PathBuf,
    before: String,
    after: String,
    is_kept: bool,
    pub(crate) config: Config,
}

/// What became of the change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// There was nothing to change.
    AsItIs,
    /// It is in the file.
    Written,
    /// It has been shown.
    Shown,
}

impl Revision {
    pub(crate) fn is_change(&self) -> bool {
        self.before != self.after
    }

    /// Says what changes.
    pub(crate) fn show(&self, printer: &Printer) {
        if self.is_change() && self.is_kept {
            printer.note(format_args!("would change {}:", self.path.display()));
            changed_lines(&self.before, &self.after).iter().for_each(|line| printer.note(format_args!("  {line}")));
        }
    }

    /// Says what the change would be; where there is no file, on stdout.
    pub(crate) fn preview(&self, printer: &Printer) -> Kept {
        match (self.is_change(), self.is_kept) {
            (false, _) => return Kept::AsItIs,
            (true, true) => self.show(printer),
            (true, false) => self.print_addition(printer),
        }
        Kept::Shown
    }

    /// Writes the change, in one step; with `show_only`, or where there is no file, shows it.
    pub(crate) fn keep(&self, show_only: bool, printer: &Printer) -> Result<Kept> {
        if !self.is_change() {
            return Ok(Kept::AsItIs);
        }
        if show_only || !self.is_kept {
            self.print_addition(printer);
            return Ok(Kept::Shown);
        }
        self.write().or_exit(Exit::Failed)?;
        printer.note(format_args!("{} is changed", self.path.display()));
        Ok(Kept::Written)
    }

    /// What belongs into the file, for whoever puts it there.
    fn print_addition(&self, printer: &Printer) {
        if printer.wants_json() {
            return;
        }
        match self.after.strip_prefix(&self.before) {
            Some(added) => printer.line(added.trim()),
            None => changed_lines(&self.before, &self.after).iter().for_each(|line| printer.line(line)),
        }
    }

    fn write(&self) -> anyhow::Result<()> {
        let shown = self.path.display();
        // A link stays one.
        let path = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        anyhow::ensure!(found == self.before, "{shown} was changed by somebody else meanwhile: run the command again");
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut beside =
            tempfile::NamedTempFile::new_in(folder).with_context(|| format!("cannot write beside {shown}"))?;
        beside.write_all(self.after.as_bytes())?;
        beside.as_file().sync_all()?;
        if let Ok(old) = std::fs::metadata(&path) {
            beside.as_file().set_permissions(old.permissions())?;
        }
        beside.persist(&path).with_context(|| format!("cannot replace {shown}"))?;
        Ok(())
    }

    pub(crate) fn json(&self, kept: Kept) -> Value {
        json!({
            "file": self.path,
            "changed": kept == Kept::Written,
            "to_change": if kept == Kept::Shown { changed_lines(&self.before, &self.after) } else { Vec::new() },
        })
    }
}

fn config(path: &Path, text: &str) -> Result<Config> {
    parse_unfinished(path, text, &overrides(Vec::new())).or_exit(Exit::Usage)
}
