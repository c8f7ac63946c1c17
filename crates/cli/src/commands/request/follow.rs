//! Watches a request until it has come about, and says on the way what it waits for.

use std::time::Instant;

use ha_controller::config::PoolConfig;
use ha_controller::hub::iot::IotHub;
use ha_controller::operate::{wait_active, wait_settled};
use ha_core::anchor::{Anchor, Verb};
use ha_core::ids::{MemberId, RequestId};
use serde_json::json;

use super::ask_failure;
use crate::exit::Exit;
use crate::failure::Result;
use crate::printer::Printer;

/// What a request is to bring about.
pub(super) enum Goal {
    /// Its mark in the record.
    Settled,
    /// An active holder; not `relieved`, if somebody hands the work over.
    Active { relieved: Option<MemberId> },
}

impl Goal {
    pub(super) fn of(verb: &Verb, anchor: &Anchor) -> Self {
        match verb {
            Verb::Switchover { .. } | Verb::Failover { .. } => Self::Active { relieved: None },
            Verb::Maintenance { member, on: true } if Some(member) == anchor.holder.as_ref() => {
                Self::Active { relieved: Some(member.clone()) }
            }
            Verb::Pause | Verb::Resume | Verb::Maintenance { .. } => Self::Settled,
        }
    }
}

pub(super) struct Follow<'a> {
    pub(super) hub: &'a IotHub,
    pub(super) pool: &'a PoolConfig,
    pub(super) printer: &'a Printer,
    pub(super) deadline: Instant,
}

impl Follow<'_> {
    pub(super) async fn until(&self, goal: &Goal, id: &RequestId) -> Result<Exit> {
        let mut told = String::new();
        let show = |anchor: &Anchor| {
            let line = holding(anchor);
            if line != told {
                self.printer.note(format_args!("  {line}"));
                told = line;
            }
        };
        let settled = wait_settled(self.hub, &self.pool.name, id, self.left(), show).await;
        let (settled, anchor) = settled.map_err(ask_failure)?;
        if let Some(why) = settled.refused {
            self.printer.note(format_args!("refused: {why}"));
            self.json(&json!({
                "request": id, "settled": true, "refused": why, "holder": anchor.holder, "term": anchor.term,
            }));
            return Ok(Exit::Refused);
        }
        match goal {
            Goal::Settled => {
                self.line(format_args!("done: {}", holding(&anchor)));
                self.json(&json!({
                    "request": id, "settled": true, "refused": null, "holder": anchor.holder, "term": anchor.term,
                }));
            }
            Goal::Active { relieved } => self.until_active(relieved.as_ref(), id).await?,
        }
        Ok(Exit::Ok)
    }

    async fn until_active(&self, relieved: Option<&MemberId>, id: &RequestId) -> Result<()> {
        let show = |missing: &_| self.printer.note(format_args!("  {missing}"));
        let active = wait_active(self.hub, self.pool, relieved, self.left(), show).await.map_err(ask_failure)?;
        let (holder, term) = (active.holder, active.term);
        self.line(format_args!("done: {holder} is active in term {term}"));
        self.json(&json!({
            "request": id, "settled": true, "refused": null, "holder": holder, "term": term, "active": true,
        }));
        Ok(())
    }

    fn line(&self, text: impl std::fmt::Display) {
        if !self.printer.wants_json() {
            self.printer.line(text);
        }
    }

    fn json(&self, value: &serde_json::Value) {
        if self.printer.wants_json() {
            self.printer.json(value);
        }
    }

    fn left(&self) -> std::time::Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

fn holding(anchor: &Anchor) -> String {
    let holder = anchor.holder.as_ref().map_or("nobody", MemberId::as_str);
    let status = anchor.status.as_deref().map(|status| format!(": {status}")).unwrap_or_default();
    format!("{holder} holds term {}{status}", anchor.term)
}
