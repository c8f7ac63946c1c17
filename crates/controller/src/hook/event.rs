use ha_core::anchor::{Anchor, Reason, Transition};
use ha_core::ids::{ControlId, MemberId, PoolName, Term};
use ha_core::time::WallTime;
use serde::Serialize;

use crate::config::HookEvent;

/// What a hook is asked or told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Event {
    pub(crate) on: HookEvent,
    pub(crate) pool: PoolName,
    pub(crate) control: ControlId,
    /// The term that begins, or would begin.
    pub(crate) term: Term,
    /// Who holds then.
    pub(crate) holder: MemberId,
    /// Who held before.
    pub(crate) former: Option<MemberId>,
    pub(crate) reason: Reason,
    pub(crate) at: WallTime,
}

/// CloudEvents 1.0, in the structured mode of its HTTP binding.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct CloudEvent {
    specversion: &'static str,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    subject: String,
    time: String,
    datacontenttype: &'static str,
    data: Facts,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Facts {
    pool: String,
    hook: String,
    holder: String,
    former: Option<String>,
    term: u64,
    reason: String,
    said: String,
}

impl Event {
    /// One change of holder that has been recorded.
    pub(crate) fn of(record: &Anchor, change: &Transition) -> Self {
        Self {
            on: HookEvent::AfterHandover,
            pool: record.pool.clone(),
            control: record.control.clone(),
            term: change.term,
            holder: change.holder.clone(),
            former: change.from.clone(),
            reason: change.reason.clone(),
            at: change.at,
        }
    }

    /// The same for the same event however often it is delivered. A question is put anew each time, so its id tells when.
    pub(super) fn id(&self, hook: &str) -> String {
        let id = format!("{}/{}/{hook}", self.pool, self.term);
        match self.on {
            HookEvent::AfterHandover => id,
            HookEvent::BeforeSwitchover => format!("{id}/{}", self.at.0),
        }
    }

    pub(super) fn cloud_event(&self, hook: &str) -> CloudEvent {
        CloudEvent {
            specversion: "1.0",
            id: self.id(hook),
            source: format!("/iotedge-ha/{}/pools/{}", self.control, self.pool),
            kind: format!("io.github.iotedge-ha.{}", self.on.as_str()),
            subject: self.holder.to_string(),
            time: jiff::Timestamp::from_millisecond(self.at.0).unwrap_or_default().to_string(),
            datacontenttype: "application/json",
            data: Facts {
                pool: self.pool.to_string(),
                hook: hook.to_owned(),
                holder: self.holder.to_string(),
                former: self.former.as_ref().map(ToString::to_string),
                term: self.term.0,
                reason: self.reason_word(),
                said: self.reason.to_string(),
            },
        }
    }

    /// The environment that tells a command the same.
    pub(super) fn environment(&self, hook: &str) -> [(&'static str, String); 8] {
        [
            ("HA_EVENT", self.on.as_str().to_owned()),
            ("HA_ID", self.id(hook)),
            ("HA_HOOK", hook.to_owned()),
            ("HA_POOL", self.pool.to_string()),
            ("HA_HOLDER", self.holder.to_string()),
            ("HA_FORMER", self.former.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("HA_TERM", self.term.to_string()),
            ("HA_REASON", self.reason.to_string()),
        ]
    }

    fn reason_word(&self) -> String {
        let shown = serde_json::to_value(&self.reason).unwrap_or_default();
        shown["why"].as_str().unwrap_or_default().to_owned()
    }
}
