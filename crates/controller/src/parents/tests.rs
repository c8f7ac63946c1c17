use std::collections::BTreeMap;
use std::sync::Mutex;

use expect_test::{Expect, expect};
use ha_core::anchor::Anchor;
use ha_core::charge::{ControlRecord, Version};
use ha_core::ids::{ControlId, PoolName};
use ha_core::messages::{Answer, Request};
use ha_core::pool::Mirror;
use ha_core::seen::CallFailure;
use ha_core::time::Millis;

use super::*;
use crate::hub::{NotSteered, Opinions, OwnKey, Read, Reassertion, Rule, Seat, Steered, Written};

/// Devices by name; `edge-a` and `edge-b` are the members, and `edge-a` holds.
#[derive(Default)]
struct Registry {
    parents: Mutex<BTreeMap<String, Option<&'static str>>>,
    /// These cannot be written, and why.
    refused: BTreeMap<&'static str, Error>,
    /// How often the gateway does not answer.
    deaf: Mutex<u32>,
    told: Mutex<Vec<usize>>,
}

impl Registry {
    fn with(parents: &[(&str, Option<&'static str>)]) -> Self {
        let parents = parents.iter().map(|(child, parent)| ((*child).to_owned(), *parent)).collect();
        Self { parents: Mutex::new(parents), ..Self::default() }
    }
}

impl Hub for Registry {
    async fn adopt(
        &self,
        child: &str,
        scope: &str,
        may: impl Fn(&Placed) -> bool + Send + Sync,
    ) -> Result<Option<Placed>, Error> {
        if child.starts_with("edge") {
            return Ok(Some(Placed { scope: Some(child.to_owned()), parents: Vec::new() }));
        }
        let Some(parent) = self.parents.lock().expect("no panic").get(child).copied() else { return Ok(None) };
        let placed = Placed { scope: None, parents: parent.iter().map(|parent| (*parent).to_owned()).collect() };
        if may(&placed) {
            if let Some(error) = self.refused.get(child) {
                return Err(error.clone());
            }
            let scope = ["edge-a", "edge-b"].into_iter().find(|member| *member == scope);
            self.parents.lock().expect("no panic").insert(child.to_owned(), scope);
        }
        Ok(Some(placed))
    }

    async fn children_of(&self, scope: &str) -> Result<Vec<String>, Error> {
        let parents = self.parents.lock().expect("no panic");
        let children = parents.iter().filter(|(_, parent)| **parent == Some(scope));
        // The index lags behind: it still shows one that is gone, and one that has another parent by now.
        let stale = ["gone", "moved-away"].map(str::to_owned);
        Ok(children.map(|(child, _)| child.clone()).chain(stale).collect())
    }

    async fn tell_of_children(&self, _: &MemberId, children: &[String]) -> Result<(), CallFailure> {
        let mut deaf = self.deaf.lock().expect("no panic");
        if *deaf > 0 {
            *deaf -= 1;
            return Err(CallFailure::Offline);
        }
        self.told.lock().expect("no panic").push(children.len());
        Ok(())
    }

    async fn steer(&self, _: Rule) -> Result<Steered, NotSteered> {
        unreachable!("no route is needed")
    }

    async fn read_anchor(&self, _: &PoolName) -> Read<Anchor> {
        unreachable!("no record is needed")
    }

    async fn write_anchor(&self, _: &Anchor, _: Option<&Version>) -> Written {
        unreachable!("no record is needed")
    }

    async fn read_control(&self, _: &ControlId) -> Read<ControlRecord> {
        unreachable!("no record is needed")
    }

    async fn write_control(&self, _: &ControlId, _: &ControlRecord, _: Option<&Version>) -> Written {
        unreachable!("no record is needed")
    }

    async fn call(&self, _: &Seat, _: &Request, _: Millis, _: Millis) -> Result<Answer, CallFailure> {
        unreachable!("no agent is needed")
    }

    async fn gather(&self, _: &Seat) -> Opinions {
        unreachable!("no agent is needed")
    }

    async fn mirror(&self, _: &Seat, _: &Mirror) -> Result<(), Error> {
        unreachable!("no agent is needed")
    }

    async fn select(&self, _: &str) -> Result<Vec<MemberId>, Error> {
        unreachable!("the members are known")
    }

    async fn may_fit(&self, _: &MemberId, _: &str) -> Result<bool, Error> {
        unreachable!("the members are known")
    }

    async fn reassertions(&self, _: &[OwnKey]) -> Result<Vec<Reassertion>, Error> {
        unreachable!("no deployment is needed")
    }
}

fn listed(children: &[&str]) -> ParentsConfig {
    ParentsConfig::Listed(children.iter().map(|child| (*child).to_owned()).collect())
}

async fn applied(hub: &Registry, children: &ParentsConfig, take: bool) -> Result<Outcome, Impossible> {
    let (holder, members) = (MemberId::new("edge-a"), ["edge-a", "edge-b"].map(MemberId::new));
    apply(hub, &Order { children, members: &members, holder: &holder, take }, |_, _, _| {}).await
}

async fn check(hub: &Registry, children: &ParentsConfig, expected: Expect) {
    let outcome = applied(hub, children, false).await.expect("it is possible");
    let line = |child: &Child| format!("{} ({}) {}\n", child.child, child.parent.as_deref().unwrap_or("-"), child.fate);
    expected.assert_eq(&outcome.children.iter().map(line).collect::<String>());
}

#[tokio::test(start_paused = true)]
async fn each_listed_child_is_looked_after_and_what_cannot_be_done_is_said() {
    let mut hub = Registry::with(&[
        ("at-holder", Some("edge-a")),
        ("at-standby", Some("edge-b")),
        ("orphan", None),
        ("at-stranger", Some("gw-x")),
        ("busy", Some("edge-b")),
        ("locked", Some("edge-b")),
    ]);
    hub.refused.insert("busy", Error::Throttled("429".to_owned()));
    hub.refused.insert("locked", Error::Unauthorised("401".to_owned()));
    let children = listed(&["at-holder", "at-standby", "orphan", "at-stranger", "busy", "locked", "absent"]);
    check(
        &hub,
        &children,
        expect![[r#"
        absent (-) does not exist in IoT Hub: create it, or take it off the list
        at-holder (edge-a) is where it belongs
        at-standby (edge-b) was moved
        at-stranger (gw-x) has a parent outside the pool and is left there: `parents apply --take` moves it
        busy (-) could not be looked after: IoT Hub is throttling: 429
        locked (-) could not be looked after: IoT Hub does not accept the credentials or grants them too little: 401
        orphan (-) was moved
    "#]],
    )
    .await;
    let again = applied(&hub, &children, true).await.expect("it is possible");
    let taken = again.children.iter().find(|child| child.child == "at-stranger").expect("it is there");
    assert_eq!((taken.fate.clone(), again.amiss().count()), (Fate::Moved, 3));
    assert_eq!(*hub.told.lock().expect("no panic"), [3, 4], "those that were there already are told again");
}

#[tokio::test(start_paused = true)]
async fn children_are_found_and_what_the_index_makes_up_is_dropped() {
    let hub = Registry::with(&[
        ("leaf-1", Some("edge-a")),
        ("leaf-2", Some("edge-b")),
        ("moved-away", Some("gw-x")),
        ("stranger", None),
    ]);
    check(
        &hub,
        &ParentsConfig::Discovered,
        expect![[r#"
        leaf-1 (edge-a) is where it belongs
        leaf-2 (edge-b) was moved
    "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_plan_changes_nothing() {
    let hub = Registry::with(&[("leaf-1", Some("edge-b"))]);
    let (holder, members) = (MemberId::new("edge-a"), ["edge-a", "edge-b"].map(MemberId::new));
    let children = listed(&["leaf-1"]);
    let order = Order { children: &children, members: &members, holder: &holder, take: false };
    let outcome = plan(&hub, &order).await.expect("it is possible");
    assert_eq!(outcome.children[0].fate, Fate::Moves);
    assert_eq!(hub.parents.lock().expect("no panic")["leaf-1"], Some("edge-b"));
    assert!(hub.told.lock().expect("no panic").is_empty());
}

#[tokio::test(start_paused = true)]
async fn more_than_a_gateway_can_have_is_refused_before_anything_is_moved() {
    let names: Vec<String> = (0..101).map(|n| format!("leaf-{n}")).collect();
    let parents: Vec<_> = names.iter().map(|name| (name.as_str(), Some("edge-b"))).collect();
    let hub = Registry::with(&parents);
    let refused = applied(&hub, &ParentsConfig::Discovered, false).await;
    assert!(matches!(refused, Err(Impossible::TooMany { found: 103 })), "{refused:?}");
    assert!(hub.parents.lock().expect("no panic").values().all(|parent| *parent == Some("edge-b")));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_is_told_in_pieces_and_again_when_it_does_not_hear() {
    let names: Vec<String> = (0..60).map(|n| format!("leaf-{n}")).collect();
    let parents: Vec<_> = names.iter().map(|name| (name.as_str(), Some("edge-b"))).collect();
    let hub = Registry { deaf: Mutex::new(2), ..Registry::with(&parents) };
    let outcome = applied(&hub, &ParentsConfig::Discovered, false).await.expect("it is possible");
    assert_eq!((outcome.untold, outcome.children.len()), (None, 60));
    assert_eq!(*hub.told.lock().expect("no panic"), [25, 25, 10]);
    let hub = Registry { deaf: Mutex::new(99), ..Registry::with(&parents) };
    let outcome = applied(&hub, &ParentsConfig::Discovered, false).await.expect("it is possible");
    assert_eq!(outcome.untold, Some("not connected to IoT Hub".to_owned()));
    assert!(
        hub.parents.lock().expect("no panic").values().all(|parent| *parent == Some("edge-a")),
        "moved all the same"
    );
}
