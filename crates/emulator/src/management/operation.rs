//! Operations: writes that take their time, and can be asked about.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Finished operations that can still be asked about.
const KEPT_MAX: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Operation {
    id: String,
    started: Timestamp,
    due: Timestamp,
}

/// How an operation is getting on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) started: Timestamp,
    /// When it was over, if it is.
    pub(crate) ended: Option<Timestamp>,
}

/// The last operations of a hub.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Operations {
    begun: u64,
    last: VecDeque<Operation>,
}

impl Operations {
    /// Notes one that is over at `due`; answers with its id, which has the form of Azure's.
    pub(super) fn begin(&mut self, region: &str, started: Timestamp, due: Timestamp) -> String {
        self.begun += 1;
        let id = STANDARD.encode(format!("id=os_ih_{:032x};region={region}", self.begun));
        self.last.push_back(Operation { id: id.clone(), started, due });
        if self.last.len() > KEPT_MAX {
            self.last.pop_front();
        }
        id
    }

    /// How it is getting on; `None` if it is unknown or long over.
    pub(super) fn progress(&self, id: &str, now: Timestamp) -> Option<Progress> {
        let found = self.last.iter().find(|known| known.id == id)?;
        Some(Progress { started: found.started, ended: Some(found.due).filter(|due| *due <= now) })
    }

    /// All of them are over now at the latest.
    pub(super) fn finish(&mut self, now: Timestamp) {
        for operation in &mut self.last {
            operation.due = operation.due.min(now);
        }
    }
}
