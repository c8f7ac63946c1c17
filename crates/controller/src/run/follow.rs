//! What is done after a change of holder, such as telling hooks or moving leaf devices.
//!
//! Each follower is a task of its own that watches the newest [`Handover`], and does its part once the new holder is
//! active. It holds up nothing. What it has done goes into the pool's record, so that whoever is in charge next goes
//! on from there; what it cannot do is tried again.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ha_core::anchor::Anchor;
use ha_core::ids::{FollowerId, MemberId, Term};
use ha_core::messages::HolderState;
use ha_core::plan::View;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// The longest pause between two tries that may help by themselves.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The pause where somebody has to mend something first.
const PAUSE_LASTING: Duration = Duration::from_secs(600);

/// A pool as its followers see it. There is one only while we are in charge and somebody holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Handover {
    /// The record.
    pub(crate) record: Anchor,
    /// The members.
    pub(crate) members: Vec<MemberId>,
    /// Whether the holder is active in the recorded term, by its own word.
    pub(crate) active: bool,
}

impl Handover {
    fn of(view: &View) -> Option<Self> {
        let record = view.anchor.as_ref().filter(|record| view.epoch == Some(record.epoch))?;
        let answer = view.seen.get(record.holder.as_ref()?)?.answer.as_ref();
        let active =
            answer.is_some_and(|answer| answer.value.state == HolderState::Active && answer.value.term == record.term);
        Some(Self { record: record.clone(), members: view.members.clone(), active })
    }
}

/// Something that is done after each change of holder.
pub(crate) trait Follower: Send + 'static {
    /// Whether it is stopped in the middle when the holder changes again, for what it does is overtaken then.
    const OVERTAKEN: bool = false;

    /// Whether it begins with a look of its own in each run, whatever the record says: somebody may have undone what was done.
    const COMPARES: bool = false;

    /// The names under which the record remembers what it has done.
    fn ids(&self) -> Vec<FollowerId>;

    /// Does what is left to do, and reports for each of its names. Called again until all are through.
    fn follow(&mut self, handover: &Handover, reports: &Reports) -> impl Future<Output = ()> + Send;
}

/// Where a follower reports.
pub(crate) struct Reports {
    ids: Vec<FollowerId>,
    compares: bool,
    known: Mutex<Known>,
    news: mpsc::UnboundedSender<News>,
}

#[derive(Default)]
struct Known {
    through: BTreeMap<FollowerId, Term>,
    /// The last try failed, for a reason that does not go away by itself.
    lasting: bool,
}

/// What a follower reports.
pub(super) enum News {
    Done { follower: FollowerId, term: Term },
    Behind { follower: FollowerId, term: Term, why: String },
}

impl Reports {
    /// All is done for everything through `term`.
    pub(crate) fn done(&self, follower: &FollowerId, term: Term) {
        self.known().through.insert(follower.clone(), term);
        // Whoever would listen is gone only when we are about to be.
        let _ = self.news.send(News::Done { follower: follower.clone(), term });
    }

    /// Something is left to do for `term`. `lasting`: until somebody mends something.
    pub(crate) fn behind(&self, follower: &FollowerId, term: Term, why: String, lasting: bool) {
        self.known().lasting |= lasting;
        let _ = self.news.send(News::Behind { follower: follower.clone(), term, why });
    }

    /// Through which term all is done; `None`: nobody has ever done it.
    pub(crate) fn through(&self, follower: &FollowerId, handover: &Handover) -> Option<Term> {
        let recorded = handover.record.followed.get(follower).copied().filter(|_| !self.compares);
        recorded.max(self.known().through.get(follower).copied())
    }

    fn is_through(&self, handover: &Handover) -> bool {
        let through = |id| self.through(id, handover).is_some_and(|term| term >= handover.record.term);
        self.ids.iter().all(through)
    }

    /// Says again what the record does not say: it may have been lost with a charge.
    fn remind(&self, handover: &Handover) {
        for (follower, term) in &self.known().through {
            if handover.record.followed.get(follower).is_none_or(|recorded| recorded < term) {
                let _ = self.news.send(News::Done { follower: follower.clone(), term: *term });
            }
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All followers of a pool.
pub(super) struct Followers {
    handover: watch::Sender<Option<Arc<Handover>>>,
    sender: mpsc::UnboundedSender<News>,
    pub(super) news: mpsc::UnboundedReceiver<News>,
    ids: Vec<FollowerId>,
    behind: BTreeMap<FollowerId, (Term, String)>,
    tasks: JoinSet<()>,
}

impl Followers {
    pub(super) fn none() -> Self {
        let (sender, news) = mpsc::unbounded_channel();
        let (handover, ids, behind) = (watch::Sender::new(None), Vec::new(), BTreeMap::new());
        Self { handover, sender, news, ids, behind, tasks: JoinSet::new() }
    }

    pub(super) fn add<F: Follower>(&mut self, follower: F) {
        let ids = follower.ids();
        self.ids.extend(ids.iter().cloned());
        let reports = Reports { ids, compares: F::COMPARES, known: Mutex::default(), news: self.sender.clone() };
        self.tasks.spawn(keep_up(follower, self.handover.subscribe(), reports));
    }

    /// Shows the followers where the pool stands.
    pub(super) fn show(&self, view: &View) {
        if self.ids.is_empty() {
            return;
        }
        let next = Handover::of(view).map(Arc::new);
        self.handover.send_if_modified(|current| {
            let news = *current != next;
            *current = next;
            news
        });
    }

    /// Takes note of a report; what of it belongs into the record.
    pub(super) fn heard(&mut self, news: News) -> Option<(FollowerId, Term)> {
        match news {
            News::Done { follower, term } => {
                self.behind.remove(&follower);
                Some((follower, term))
            }
            News::Behind { follower, term, why } => {
                tracing::warn!(%follower, %term, why, "something is left to do after a change of holder");
                self.behind.insert(follower, (term, why));
                None
            }
        }
    }

    /// Who has not done everything for the present term, and why, as far as it is known.
    pub(super) fn behind(&self, record: &Anchor) -> Vec<String> {
        let of_present = self.behind.iter().filter(|(_, (term, _))| *term == record.term);
        of_present.map(|(follower, (_, why))| format!("{follower} is left to do: {why}")).collect()
    }

    /// Whether nothing can be gained by waiting: each is through, or has tried in vain.
    pub(super) fn are_settled(&self) -> bool {
        let handover = self.handover.borrow();
        let Some(handover) = handover.as_ref().filter(|handover| handover.active) else { return true };
        let term = handover.record.term;
        self.ids.iter().all(|id| {
            let through = handover.record.followed.get(id).is_some_and(|through| *through >= term);
            through || self.behind.get(id).is_some_and(|(tried, _)| *tried == term)
        })
    }
}

async fn keep_up<F: Follower>(mut follower: F, mut shown: watch::Receiver<Option<Arc<Handover>>>, reports: Reports) {
    let mut pause = Duration::from_secs(1);
    while let Some(handover) = next(&mut shown, &reports).await {
        reports.known().lasting = false;
        let mut elsewhere = shown.clone();
        tokio::select! {
            () = follower.follow(&handover, &reports) => {}
            () = overtaken(&mut elsewhere, &handover), if F::OVERTAKEN => {}
        }
        if reports.is_through(&handover) {
            pause = Duration::from_secs(1);
            continue;
        }
        let rest = if reports.known().lasting { PAUSE_LASTING } else { pause };
        pause = (pause * 2).min(PAUSE_MAX);
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = overtaken(&mut shown, &handover) => pause = Duration::from_secs(1),
        }
    }
}

/// The next handover after which something is left to do.
async fn next(shown: &mut watch::Receiver<Option<Arc<Handover>>>, reports: &Reports) -> Option<Arc<Handover>> {
    let mut news = shown.has_changed().ok()?;
    loop {
        if let Some(handover) = shown.borrow_and_update().clone().filter(|handover| handover.active) {
            if !reports.is_through(&handover) {
                return Some(handover);
            }
            if news {
                reports.remind(&handover);
            }
        }
        shown.changed().await.ok()?;
        news = true;
    }
}

/// Waits until the holder has changed again, or we are not in charge any more.
async fn overtaken(shown: &mut watch::Receiver<Option<Arc<Handover>>>, handover: &Handover) {
    let other = |now: &Option<Arc<Handover>>| now.as_ref().is_none_or(|now| now.record.term != handover.record.term);
    if shown.wait_for(other).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests;
