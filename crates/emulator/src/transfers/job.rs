//! One import or export: what was asked for, and how far it is.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::containers::{Container, Containers, check_blob};
use crate::hub::{Refusal, print_time};

const DEVICES: &str = "devices.txt";

/// What to do, with places that were looked at.
#[derive(Debug, Clone)]
pub(super) enum Order {
    Import { input: Container, blob: String, output: Container },
    Export { output: Container, blob: String, with_keys: bool },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Enqueued,
    Running,
    Completed,
    Failed(String),
    Cancelled,
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) order: Order,
    pub(super) state: State,
    pub(super) percent: usize,
    pub(super) made: Timestamp,
    pub(super) ended: Option<Timestamp>,
}

impl Order {
    /// Reads `JobProperties`.
    pub(super) fn read(containers: &Containers, body: &Value) -> Result<Self, Refusal> {
        if body["includeConfigurations"] == true {
            return Err(Refusal::argument("includeConfigurations: this emulator moves devices and modules only"));
        }
        let container = |property| {
            let address = text(body, property)?;
            let address = address.ok_or_else(|| Refusal::argument(format!("{property} is missing")))?;
            containers.find(property, address)
        };
        let blob = |property| {
            let name = text(body, property)?.unwrap_or(DEVICES);
            check_blob(property, name).map(|()| name.to_owned())
        };
        let output = container("outputBlobContainerUri")?;
        match text(body, "type")? {
            Some("import") => {
                let input = container("inputBlobContainerUri")?;
                Ok(Self::Import { input, blob: blob("inputBlobName")?, output })
            }
            Some("export") => {
                let with_keys = match &body["excludeKeysInExport"] {
                    Value::Null => true,
                    Value::Bool(without) => !without,
                    _ => return Err(Refusal::argument("excludeKeysInExport is true or false")),
                };
                Ok(Self::Export { output, blob: blob("outputBlobName")?, with_keys })
            }
            _ => Err(Refusal::argument("type is 'import' or 'export'")),
        }
    }
}

fn text<'a>(body: &'a Value, property: &str) -> Result<Option<&'a str>, Refusal> {
    match &body[property] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        _ => Err(Refusal::argument(format!("{property} is a string"))),
    }
}

impl Job {
    pub(super) fn new(id: String, order: Order, now: Timestamp) -> Self {
        Self { id, order, state: State::Enqueued, percent: 0, made: now, ended: None }
    }

    pub(super) fn is_active(&self) -> bool {
        matches!(self.state, State::Enqueued | State::Running)
    }

    /// Takes the last of its states; a job that has ended stays as it is.
    pub(super) fn end(&mut self, state: State, now: Timestamp) {
        if self.is_active() {
            if state == State::Completed {
                self.percent = 100;
            }
            self.state = state;
            self.ended = Some(now);
        }
    }

    /// `JobProperties`
    pub(super) fn show(&self) -> Value {
        let mut shown = json!({
            "jobId": self.id,
            "startTimeUtc": print_time(self.made),
            "status": self.state.name(),
            "progress": self.percent,
        });
        if let Some(ended) = self.ended {
            shown["endTimeUtc"] = json!(print_time(ended));
        }
        if let State::Failed(reason) = &self.state {
            shown["failureReason"] = json!(reason);
        }
        match &self.order {
            Order::Import { input, blob, output } => {
                shown["type"] = json!("import");
                shown["inputBlobContainerUri"] = json!(input.address);
                shown["inputBlobName"] = json!(blob);
                shown["outputBlobContainerUri"] = json!(output.address);
            }
            Order::Export { output, blob, with_keys } => {
                shown["type"] = json!("export");
                shown["outputBlobContainerUri"] = json!(output.address);
                shown["outputBlobName"] = json!(blob);
                shown["excludeKeysInExport"] = json!(!with_keys);
            }
        }
        shown
    }
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            Self::Enqueued => "enqueued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}
