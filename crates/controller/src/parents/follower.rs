use std::sync::Arc;

use ha_core::ids::FollowerId;

use super::{Fate, Impossible, Order, Outcome, apply};
use crate::config::ParentsConfig;
use crate::hub::{Error, Hub, chain};
use crate::run::follow::{Follower, Handover, Reports};

/// So many children are named where something is left to do.
const NAMED_MAX: usize = 3;

/// Moves leaf devices after a change of holder.
pub(crate) struct Moving<H> {
    hub: Arc<H>,
    children: ParentsConfig,
}

impl<H> Moving<H> {
    pub(crate) fn new(hub: Arc<H>, children: ParentsConfig) -> Self {
        Self { hub, children }
    }
}

/// The name under which the record remembers that the leaf devices were moved.
pub(crate) fn id() -> FollowerId {
    FollowerId::new("parents")
}

impl<H: Hub> Follower for Moving<H> {
    const OVERTAKEN: bool = true;

    fn ids(&self) -> Vec<FollowerId> {
        vec![id()]
    }

    async fn follow(&mut self, handover: &Handover, reports: &Reports) {
        let record = &handover.record;
        let Some(holder) = &record.holder else { return };
        let (pool, term) = (&record.pool, record.term);
        let order = Order { children: &self.children, members: &handover.members, holder, take: false };
        let done = apply(&*self.hub, &order, |child, done, of| match child.fate {
            Fate::There => tracing::debug!(%pool, child = child.child, done, of, "a leaf device is where it belongs"),
            Fate::Moved => {
                let (child, from) = (&child.child, child.parent.as_deref().unwrap_or("no parent"));
                tracing::info!(%pool, child, from, to = %holder, done, of, "a leaf device was moved");
            }
            _ => tracing::warn!(%pool, child = child.child, done, of, "a leaf device {}", child.fate),
        });
        match done.await {
            Ok(outcome) => match left(&outcome) {
                None => {
                    let children = outcome.children.len();
                    tracing::info!(%pool, %term, gateway = %holder, children, "the leaf devices are where they belong");
                    reports.done(&id(), term);
                }
                Some((why, lasting)) => reports.behind(&id(), term, why, lasting),
            },
            Err(impossible) => reports.behind(&id(), term, said(&impossible), !impossible.is_transient()),
        }
    }
}

/// What is left to do, and whether somebody has to mend something first.
fn left(outcome: &Outcome) -> Option<(String, bool)> {
    let amiss: Vec<_> = outcome.amiss().collect();
    let passing = |fate: &Fate| matches!(fate, Fate::Failed { passing: true, .. });
    if !amiss.is_empty() {
        let named = amiss.iter().take(NAMED_MAX).map(|child| format!("{} {}", child.child, child.fate));
        let named = named.collect::<Vec<_>>().join("; ");
        let why = format!("{} of {} leaf devices: {named}", amiss.len(), outcome.children.len());
        return Some((why, !amiss.iter().any(|child| passing(&child.fate)) && outcome.untold.is_none()));
    }
    let why = outcome.untold.as_ref()?;
    Some((format!("edgeHub on {} could not be told of its leaf devices: {why}", outcome.holder), false))
}

fn said(impossible: &Impossible) -> String {
    let hint = match impossible {
        Impossible::Hub(Error::Unauthorised(_)) => "; the policy needs registry write as well",
        Impossible::TooMany { .. } => "; list those that matter under [pool.parents]",
        _ => "",
    };
    format!("{}{hint}", chain(impossible))
}
