//! Paths into a row, and the names that the hub itself gives.

use serde_json::Value;

use super::Source;

/// Names from the row down, the first in the hub's own spelling.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Path(Vec<String>);

const TWIN: [&str; 22] = [
    "deviceId",
    "moduleId",
    "etag",
    "deviceEtag",
    "status",
    "statusReason",
    "statusUpdateTime",
    "connectionState",
    "lastActivityTime",
    "cloudToDeviceMessageCount",
    "authenticationType",
    "x509Thumbprint",
    "modelId",
    "version",
    "tags",
    "properties",
    "capabilities",
    "configurations",
    "deviceScope",
    "parentScopes",
    "managedBy",
    "generationId",
];

const JOB: [&str; 11] = [
    "deviceId",
    "moduleId",
    "jobId",
    "jobType",
    "status",
    "startTimeUtc",
    "endTimeUtc",
    "createdDateTimeUtc",
    "lastUpdatedDateTimeUtc",
    "outcome",
    "error",
];

impl Path {
    /// A path as it was written; not yet one to look with.
    pub(super) fn written(names: Vec<String>) -> Self {
        Self(names)
    }

    /// The path as a collection reads it: the collection's name in front goes, the hub's own names get its spelling.
    pub(super) fn read_for(mut self, source: Source) -> Self {
        let prefix: &[&str] = match source {
            Source::Devices => &["devices"],
            Source::Modules => &["devices", "modules"],
            Source::Jobs => &["devices", "jobs"],
        };
        let matching = self.0.iter().zip(prefix).take_while(|(name, known)| name.eq_ignore_ascii_case(known)).count();
        self.0.drain(..matching.min(self.0.len().saturating_sub(1)));
        let known: &[&str] = if source == Source::Jobs { &JOB } else { &TWIN };
        if let Some(first) = self.0.first_mut()
            && let Some(canonical) = known.iter().find(|name| name.eq_ignore_ascii_case(first))
        {
            (*canonical).clone_into(first);
        }
        self
    }

    /// What the row has there; `None` is undefined.
    pub(super) fn look<'a>(&self, row: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(row, |value, name| value.as_object()?.get(name))
    }

    /// The name of its column unless another is given.
    pub(super) fn last(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }
}
