//! What an agent reports.

use ha_core::ids::{BootId, Term};
use ha_core::messages::{HolderState, Workload};
use ha_core::time::WallTime;
use serde_json::{Value, json};

use crate::error::Error;
use crate::read::{NAME_MAX, Reader, flag, name, number, time, version};
use crate::state::{encode_workload, read_workload, state_word};
use crate::{HA, VERSION, text};

const HINT: &str = "the agent reports anew when it is restarted";

/// What an agent reports, on change only. A hint for people and for the controller, never a promise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reported {
    /// What it does.
    pub state: HolderState,
    /// The term it runs or last ran.
    pub term: Term,
    /// Since when, by the member's own wall clock.
    pub since: WallTime,
    /// Which run of the agent.
    pub boot: BootId,
    /// How the workload is.
    pub workload: Workload,
    /// The agent was asked to stop.
    pub leaving: bool,
    /// The version of the agent.
    pub agent: String,
}

/// The patch of the reported section. It names every field, so nothing of an earlier report stays.
pub fn reported_patch(reported: &Reported) -> Value {
    json!({ HA: {
        "v": VERSION,
        "state": reported.state.as_str(),
        "term": reported.term.0,
        "since": text::from_wall(reported.since),
        "boot": reported.boot.as_str(),
        "workload": encode_workload(&reported.workload),
        "leaving": reported.leaving,
        "agent": text::bounded(&reported.agent, NAME_MAX),
    }})
}

/// What the reported section of an agent's twin says; `None` if it has never reported.
pub fn decode_reported(reported: &Value) -> Result<Option<Reported>, Error> {
    let Some(document) = reported.get(HA).filter(|ha| !ha.is_null()) else { return Ok(None) };
    let reader = Reader::new(HINT);
    let read = reader.root(HA, document).and_then(|fields| {
        fields.need("v", &version());
        let state = fields.need("state", &state_word());
        let term = fields.need("term", &number()).map(Term);
        let since = fields.need("since", &time());
        let boot = fields.need("boot", &name(NAME_MAX)).map(BootId::new);
        let workload = fields.need_inner("workload").and_then(|inner| read_workload(&inner));
        let leaving = fields.need("leaving", &flag());
        let agent = fields.need("agent", &name(NAME_MAX))?;
        let (state, term, since, boot) = (state?, term?, since?, boot?);
        Some(Reported { state, term, since, boot, workload: workload?, leaving: leaving?, agent })
    });
    reader.finish(read).map(Some)
}
