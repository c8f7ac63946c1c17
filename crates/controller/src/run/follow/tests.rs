use ha_core::anchor::Reason;
use ha_core::ids::{ControlId, Epoch};
use ha_core::time::{Millis, WallTime};

use super::*;

fn pager() -> FollowerId {
    FollowerId::new("hook:pager")
}

/// Fails as often as it is told to, and remembers what it was shown.
struct Fake {
    failures: Arc<Mutex<Vec<bool>>>,
    seen: Arc<Mutex<Vec<Term>>>,
}

impl Follower for Fake {
    fn ids(&self) -> Vec<FollowerId> {
        vec![pager()]
    }

    async fn follow(&mut self, handover: &Handover, reports: &Reports) {
        let term = handover.record.term;
        self.seen.lock().expect("no panic").push(term);
        let failure = self.failures.lock().expect("no panic").pop();
        match failure {
            Some(lasting) => reports.behind(&pager(), term, "no route".to_owned(), lasting),
            None => reports.done(&pager(), term),
        }
    }
}

struct Stage {
    followers: Followers,
    record: Anchor,
    failures: Arc<Mutex<Vec<bool>>>,
    seen: Arc<Mutex<Vec<Term>>>,
}

impl Stage {
    fn new() -> Self {
        let (pool, control) = ("press_1".parse().expect("a pool name"), ControlId::new("ha-control"));
        let mut record = Anchor::vacant(pool, control, Term(0), Millis(15_000), Epoch(1), WallTime(0));
        record.appoint(MemberId::new("a"), Term(1), Reason::First, WallTime(0));
        let (failures, seen) = (Arc::default(), Arc::default());
        let mut followers = Followers::none();
        followers.add(Fake { failures: Arc::clone(&failures), seen: Arc::clone(&seen) });
        Self { followers, record, failures, seen }
    }

    fn show(&self, active: bool) {
        let members = vec![MemberId::new("a")];
        let handover = Handover { record: self.record.clone(), members, active };
        self.followers.handover.send_replace(Some(Arc::new(handover)));
    }

    fn move_to(&mut self, term: u64) {
        self.record.appoint(MemberId::new("a"), Term(term), Reason::TermSpent, WallTime(0));
    }

    async fn heard(&mut self) -> String {
        let news = self.followers.news.recv().await.expect("the follower lives");
        let said = match &news {
            News::Done { term, .. } => format!("done {term}"),
            News::Behind { term, why, .. } => format!("behind {term}: {why}"),
        };
        self.followers.heard(news);
        said
    }

    async fn hears_nothing_for(&mut self, time: Duration) {
        let heard = tokio::time::timeout(time, self.heard()).await;
        assert_eq!(heard.ok(), None);
    }

    fn seen(&self) -> Vec<u64> {
        self.seen.lock().expect("no panic").iter().map(|term| term.0).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_before_the_holder_is_active_nor_after_it_was_recorded() {
    let mut stage = Stage::new();
    stage.show(false);
    stage.hears_nothing_for(Duration::from_secs(3_600)).await;
    assert!(stage.followers.are_settled(), "one pass does not wait for it");
    stage.show(true);
    assert!(!stage.followers.are_settled());
    assert_eq!(stage.heard().await, "done 1");
    stage.record.follow(pager(), Term(1));
    stage.show(true);
    assert!(stage.followers.are_settled());
    stage.hears_nothing_for(Duration::from_secs(3_600)).await;
    stage.move_to(2);
    stage.show(true);
    assert_eq!(stage.heard().await, "done 2");
    assert_eq!(stage.seen(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_again_sooner_or_later() {
    let mut stage = Stage::new();
    *stage.failures.lock().expect("no panic") = vec![true, false, false];
    let begin = tokio::time::Instant::now();
    stage.show(true);
    let mut at = Vec::new();
    for said in ["behind 1: no route", "behind 1: no route", "behind 1: no route", "done 1"] {
        assert_eq!(stage.heard().await, said);
        at.push(begin.elapsed().as_secs());
        let told = stage.followers.behind(&stage.record);
        assert_eq!(told.is_empty(), said == "done 1", "{told:?}");
        assert!(said == "done 1" || stage.followers.are_settled(), "one pass does not wait for it");
    }
    assert_eq!(at, [0, 1, 3, 603]);
}

#[tokio::test(start_paused = true)]
async fn a_new_change_of_holder_ends_the_pause() {
    let mut stage = Stage::new();
    *stage.failures.lock().expect("no panic") = vec![true];
    stage.show(true);
    assert_eq!(stage.heard().await, "behind 1: no route");
    stage.move_to(2);
    stage.show(true);
    assert_eq!(tokio::time::timeout(Duration::from_secs(1), stage.heard()).await.ok(), Some("done 2".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_was_done_but_not_recorded_is_said_again_and_not_done_again() {
    let mut stage = Stage::new();
    stage.show(true);
    assert_eq!(stage.heard().await, "done 1");
    // The charge was lost before the record could be written, and has come back.
    stage.followers.handover.send_replace(None);
    stage.hears_nothing_for(Duration::from_secs(60)).await;
    stage.show(true);
    assert_eq!(stage.heard().await, "done 1");
    assert_eq!(stage.seen(), [1]);
}
