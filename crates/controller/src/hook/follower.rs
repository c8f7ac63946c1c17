use std::sync::Arc;

use ha_core::anchor::{Reason, Transition};
use ha_core::ids::FollowerId;

use super::{Answer, Event, Failed, Hooks};
use crate::config::{HookConfig, HookEvent};
use crate::run::follow::{Follower, Handover, Reports};

/// Tells the hooks of a pool of each change of holder.
pub(crate) struct Telling {
    hooks: Arc<Hooks>,
}

impl Telling {
    /// `None`: there is nobody to tell.
    pub(crate) fn new(hooks: Arc<Hooks>) -> Option<Self> {
        let any = hooks.on(HookEvent::AfterHandover).next().is_some();
        any.then_some(Self { hooks })
    }
}

impl Follower for Telling {
    fn ids(&self) -> Vec<FollowerId> {
        self.hooks.on(HookEvent::AfterHandover).map(id).collect()
    }

    async fn follow(&mut self, handover: &Handover, reports: &Reports) {
        for hook in self.hooks.on(HookEvent::AfterHandover) {
            for change in untold(hook, handover, reports) {
                self.tell(hook, &change, handover, reports).await;
            }
        }
    }
}

impl Telling {
    async fn tell(&self, hook: &HookConfig, change: &Transition, handover: &Handover, reports: &Reports) {
        let event = Event::of(&handover.record, change);
        let (pool, term) = (&event.pool, event.term);
        let failed = match self.hooks.call_for_long(hook, &event).await {
            Ok(Answer::Yes) => {
                tracing::info!(%pool, hook = hook.name, %term, "a hook was told of a change of holder");
                return reports.done(&id(hook), term);
            }
            Ok(Answer::No(why)) => Failed::Passing(why),
            Err(failed) => failed,
        };
        if term < handover.record.term {
            let why = failed.why();
            tracing::error!(%pool, hook = hook.name, %term, why, "a hook could not be told of a term that is over by now, and will not be");
            return reports.done(&id(hook), term);
        }
        let lasting = matches!(failed, Failed::Lasting(_));
        reports.behind(&id(hook), term, failed.why().to_owned(), lasting);
    }
}

/// The name under which the record remembers what a hook was told.
pub(crate) fn id(hook: &HookConfig) -> FollowerId {
    FollowerId::new(format!("hook:{}", hook.name))
}

/// What a hook has not been told, oldest first. A new hook is told of the present term alone.
fn untold(hook: &HookConfig, handover: &Handover, reports: &Reports) -> Vec<Transition> {
    let record = &handover.record;
    let through = reports.through(&id(hook), handover);
    let wanted = |change: &&Transition| through.is_some_and(|through| change.term > through);
    let earlier = record.history.iter().filter(|change| change.term < record.term).filter(wanted);
    let mut untold: Vec<Transition> = earlier.cloned().collect();
    if through.is_none_or(|through| through < record.term) {
        untold.extend(present(handover));
    }
    untold
}

fn present(handover: &Handover) -> Option<Transition> {
    let record = &handover.record;
    let holder = record.holder.clone()?;
    let known = record.history.iter().find(|change| change.term == record.term && change.holder == holder).cloned();
    let (term, at) = (record.term, record.since);
    // The record was written by hand: nobody knows more than that it is so.
    Some(known.unwrap_or(Transition { term, holder, from: None, at, reason: Reason::Rebuilt }))
}
