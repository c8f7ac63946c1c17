//! What came of a deployment.

use std::collections::BTreeMap;

use ha_controller::operate::deploy::{Progress, Release};
use ha_core::ids::MemberId;
use serde::Serialize;

use crate::exit::Exit;
use crate::printer::Printer;

/// What came of a deployment, for programs.
#[derive(Serialize)]
pub(super) struct Done {
    release: String,
    created: bool,
    pub(super) members: BTreeMap<MemberId, Progress>,
    pub(super) deleted: Vec<String>,
}

impl Done {
    pub(super) fn new(release: &Release) -> Self {
        let (id, created) = (release.id().to_owned(), !release.exists);
        Self { release: id, created, members: BTreeMap::new(), deleted: Vec::new() }
    }

    /// Prints it, and gives the code that it ends with.
    pub(super) fn print(&self, exit: Exit, printer: &Printer) -> Exit {
        if printer.wants_json() {
            printer.json_pretty(self);
            return exit;
        }
        for id in &self.deleted {
            printer.line(format_args!("deleted: {id}"));
        }
        for (member, progress) in &self.members {
            match progress {
                Progress::Runs => printer.line(format_args!("{member}: runs {}", self.release)),
                Progress::Waiting(why) => printer.line(format_args!("{member}: does not run it yet: {why}")),
                Progress::Unknown(why) => printer.line(format_args!("{member}: cannot be looked at: {why}")),
                Progress::Failed(why) => printer.line(format_args!("{member}: failed: {why}")),
            }
        }
        if self.members.is_empty() {
            printer
                .line(format_args!("{} is in the hub; `iotedge-ha drift` shows how far the members are", self.release));
        }
        exit
    }
}
