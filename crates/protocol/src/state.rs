//! An agent's state and its workload's health, as answers and reported properties carry them.

use ha_core::messages::{HolderState, Workload};
use serde_json::{Value, json};

use crate::read::{Fields, Kind, sentence, word};
use crate::text;

/// What a probe said is cut to so many bytes.
pub(crate) const REASON_MAX: usize = 256;

pub(crate) fn state_word() -> Kind<HolderState> {
    let states =
        [HolderState::Starting, HolderState::Standby, HolderState::Opening, HolderState::Active, HolderState::Stopping];
    word(&states.map(|state| (state.as_str(), state)))
}

/// The reason is always there, be it null: reported properties are merged, and an old reason must go.
pub(crate) fn encode_workload(workload: &Workload) -> Value {
    let (health, reason) = match workload {
        Workload::Unknown => ("unknown", None),
        Workload::Ready => ("ready", None),
        Workload::Running => ("running", None),
        Workload::Unready(reason) => ("unready", Some(reason)),
        Workload::Failing(reason) => ("failing", Some(reason)),
    };
    json!({ "health": health, "reason": reason.map(|reason| text::bounded(reason, REASON_MAX)) })
}

pub(crate) fn read_workload(fields: &Fields<'_>) -> Option<Workload> {
    let reason = fields.take("reason", &sentence(REASON_MAX)).unwrap_or_default();
    let healths = [
        ("unknown", Workload::Unknown),
        ("ready", Workload::Ready),
        ("running", Workload::Running),
        ("unready", Workload::Unready(reason.clone())),
        ("failing", Workload::Failing(reason)),
    ];
    fields.need("health", &word(&healths))
}
