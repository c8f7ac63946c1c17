use std::fmt::Write;

use expect_test::{Expect, expect};

use super::*;
use crate::anchor::{Mark, OperatorRequest};
use crate::ids::BootId;
use crate::messages::{Answer, HolderState, Refusal, Workload};
use crate::policy::{Failback, OnDrift, OnWorkloadFailure};
use crate::script::{Line, phrases};
use crate::seen::{CallFailure, Deployed, Registry, Seen, Trouble};
use crate::time::{Millis, WallTime};

mod acting;
mod consent;
mod drift;
mod failover;
mod misfits;
mod operators;
mod planned;
mod successor;

const NOW: Time = Time::from_ms(1_000_000);

/// Plans for a pool of `a`, `b` and `c` in which all is well (`a` holds term 5, everybody has just answered),
/// but for what the phrases say.
fn check(but: &str, expect: Expect) {
    let mut view = all_well();
    for phrase in phrases(but) {
        apply(&mut view, &phrase);
    }
    expect.assert_eq(&shown(&plan(&view)));
}

fn shown(plan: &Plan) -> String {
    let mut out = String::new();
    for step in &plan.steps {
        let said = match step {
            Step::Claim => "claim".to_owned(),
            Step::Renew { member, term } => format!("renew {member} {term}"),
            Step::Probe { members } => format!("probe {}", waiting::listed_names(members)),
            Step::Hear { member } => format!("hear {member}"),
            Step::Revoke { member, term, wish } => format!("revoke {member} {term}: {wish}"),
            Step::Consult { wish, from, to, term } => format!("consult {from} -> {to}, term {term}: {wish}"),
            Step::Fence => "fence".to_owned(),
            Step::Appoint { member, term, reason } => format!("appoint {member} {term}: {reason}"),
            Step::Settle { request, refused: None } => format!("settle {request}"),
            Step::Settle { request, refused: Some(why) } => format!("refuse {request}: {why}"),
        };
        writeln!(out, "{said}").expect("a string");
    }
    for waiting in &plan.waiting {
        writeln!(out, "[{}] {waiting}", waiting.code()).expect("a string");
    }
    out
}

fn member(name: &str) -> MemberId {
    MemberId::new(name)
}

fn all_well() -> View {
    let members = ["a", "b", "c"].map(member).to_vec();
    let policy = Policy::default();
    let (pool, control) = ("press_1".parse().expect("a pool name"), ControlId::new("ha-control"));
    let mut anchor = Anchor::vacant(pool, control.clone(), Term(5), policy.timings.ttl, Epoch(3), WallTime(0));
    anchor.holder = Some(member("a"));
    View {
        seen: members.iter().map(|id| (id.clone(), seen(id.as_str() == "a"))).collect(),
        policy,
        members,
        control,
        epoch: Some(Epoch(3)),
        anchor: Some(anchor),
        standing: Standing::MayRunUntil(NOW + Millis(10_000)),
        given: Some((member("a"), Term(5))),
        proven: true,
        revoking: None,
        patience: None,
        consultation: None,
        term_seen: Term(5),
        brake: Brake::Off,
        now: Now { mono: NOW, wall: WallTime(1_000_000) },
    }
}

fn seen(holds: bool) -> MemberSeen {
    let answer = Answer {
        boot: BootId::new("boot"),
        state: if holds { HolderState::Active } else { HolderState::Standby },
        term: if holds { Term(5) } else { Term(0) },
        lease_left: None,
        workload: if holds { Workload::Running } else { Workload::Ready },
        leaving: false,
        refused: None,
        released: None,
        nonce: None,
    };
    MemberSeen {
        answer: Some(Seen { value: answer, at: NOW - Millis(100) }),
        fit_since: Some(NOW - Millis(60_000)),
        ..MemberSeen::default()
    }
}

fn apply(view: &mut View, phrase: &Line<'_>) {
    if let Some(seen) = view.seen.get_mut(&member(phrase.verb)) {
        return apply_seen(seen, phrase);
    }
    let anchor = view.anchor.as_mut().expect("an anchor");
    match phrase.verb {
        "not_in_charge" => view.epoch = None,
        "unread" => view.anchor = None,
        "control" => anchor.control = ControlId::new(phrase.word()),
        "epoch" => anchor.epoch = Epoch(phrase.or("is", 3)),
        "ttl" => anchor.ttl = Millis(phrase.or("is", 0)),
        "members" => view.members = phrase.words().map(member).collect(),
        "holder" => {
            anchor.holder = Some(member(phrase.word())).filter(|holder| holder.as_str() != "nobody");
            anchor.term = Term(phrase.or("term", 5));
        }
        "unproven" => view.proven = false,
        "given" => view.given = Some((member(phrase.word()), Term(phrase.or("term", 5)))),
        "term_seen" => view.term_seen = Term(phrase.or("is", 0)),
        "lapsed" => view.standing = Standing::Free(Free::Lapsed),
        "released" => {
            let (member, term) = (member(phrase.word()), Term(phrase.or("term", 5)));
            (view.standing, view.given) = (Standing::Free(Free::Released { member, term }), None);
        }
        "fenced" => (view.standing, view.given) = (Standing::Free(Free::Fenced), None),
        "patience" => view.patience = Some(NOW + Millis(phrase.or("left", 0))),
        "revoking" => view.revoking = Some(wish(phrase)),
        "paused" => anchor.paused = Some(Mark { by: "anna".to_owned(), at: WallTime(0) }),
        "maintenance" => {
            anchor.maintenance.insert(member(phrase.word()), Mark { by: "anna".to_owned(), at: WallTime(0) });
        }
        "request" => {
            let asked = OperatorRequest { verb: verb(phrase), by: "anna".to_owned(), at: WallTime(0) };
            anchor.requests.insert(RequestId::new(format!("r{}", anchor.requests.len() + 1)), asked);
        }
        "flaps" => anchor.unplanned = vec![WallTime(999_000); phrase.or("is", 5)],
        "brake" if phrase.has("all_off") => view.brake = Brake::AllOff,
        "brake" => view.brake = Brake::Held { dead: 6, of: 10 },
        "failback" => view.policy.failback = Failback::Automatic { after: Millis(phrase.or("after", 0)) },
        "consults" => view.policy.consults = true,
        "asked" => {
            let since = NOW - Millis(2_000);
            view.consultation =
                Some(Consultation { wish: wish(phrase), term: Term(phrase.or("term", 5)), since, verdict: None });
        }
        "said" => {
            let value = match phrase.word() {
                "go" => Verdict::Go,
                _ => Verdict::Veto { by: "the line".to_owned(), why: "mid-batch".to_owned() },
            };
            let verdict = Seen { value, at: NOW - Millis(phrase.or("ago", 1_000)) };
            view.consultation.as_mut().expect("somebody was asked").verdict = Some(verdict);
        }
        "drift" => view.policy.on_drift = drift_policy(phrase.word()),
        "stay" => view.policy.on_workload_failure = OnWorkloadFailure::Stay,
        other => panic!("no phrase {other:?}"),
    }
}

fn apply_seen(seen: &mut MemberSeen, phrase: &Line<'_>) {
    let answer = seen.answer.as_mut().expect("an answer");
    match phrase.word() {
        "silent" => fail(seen, CallFailure::TimedOut),
        "throttled" => fail(seen, CallFailure::Throttled),
        "offline" => fail(seen, CallFailure::Offline),
        "no_module" => fail(seen, CallFailure::NotFound),
        "unheard" => *seen = MemberSeen::default(),
        "old" => answer.at = NOW - Millis(phrase.or("age", 10_000)),
        "fit" => seen.fit_since = Some(NOW - Millis(phrase.or("for", 0))),
        "leaving" => answer.value.leaving = true,
        "starting" => answer.value.state = HolderState::Starting,
        "failing" => answer.value.workload = Workload::Failing("hung".to_owned()),
        "unready" => answer.value.workload = Workload::Unready("no image".to_owned()),
        "disabled" => register(seen, Some("disabled")),
        "enabled" => register(seen, Some("enabled")),
        "unregistered" => register(seen, None),
        "deployed" => deploy(seen, phrase),
        "refused" => answer.value.refused = Some(refusal(phrase)),
        other => panic!("nothing is {other:?}"),
    }
}

fn fail(seen: &mut MemberSeen, failure: CallFailure) {
    seen.trouble = Some(Trouble { failure, since: NOW - Millis(20_000) });
    seen.fit_since = None;
}

fn register(seen: &mut MemberSeen, status: Option<&str>) {
    let value = status.map(|status| Registry {
        status: status.to_owned(),
        status_reason: None,
        status_updated: None,
        connection_state: "Disconnected".to_owned(),
        connection_state_updated: None,
        last_activity: None,
        etag: "e".to_owned(),
    });
    seen.evidence.registry = Some(Seen { value, at: NOW });
}

fn drift_policy(word: &str) -> OnDrift {
    match word {
        "block" => OnDrift::Block,
        "warn" => OnDrift::Warn,
        "ignore" => OnDrift::Ignore,
        other => panic!("no policy {other:?}"),
    }
}

/// `b deployed DIGEST [apart=DIGEST] [release=ID] [astray=WHERE]`
fn deploy(seen: &mut MemberSeen, phrase: &Line<'_>) {
    let told = phrase.words().nth(1).expect("a digest").to_owned();
    let apart = phrase.get("apart").map(|digest: String| ("press env.PORT".to_owned(), digest)).into_iter().collect();
    let deployed = Deployed { told, apart, release: phrase.get("release"), astray: phrase.get("astray") };
    seen.evidence.deployed = Some(Seen { value: Some(deployed), at: NOW });
}

fn refusal(phrase: &Line<'_>) -> Refusal {
    let term = Term(phrase.or("term", 5));
    match phrase.words().nth(1) {
        Some("released") => Refusal::Released { through: term },
        Some("stale") => Refusal::StaleTerm { seen: term },
        Some("flag") => Refusal::FlagInactive { term },
        Some("ttl") => Refusal::TtlTooLong { max: Millis(5_000) },
        Some("nonce") => Refusal::UnknownNonce,
        other => panic!("no refusal {other:?}"),
    }
}

fn verb(phrase: &Line<'_>) -> Verb {
    let to = phrase.get::<String>("to").map(MemberId::new);
    match phrase.word() {
        "switchover" => Verb::Switchover { to },
        "failover" => Verb::Failover { to, fenced: phrase.has("fenced") },
        "pause" => Verb::Pause,
        "resume" => Verb::Resume,
        "maintenance" => {
            Verb::Maintenance { member: member(phrase.words().nth(1).expect("a member")), on: phrase.has("on") }
        }
        other => panic!("no request {other:?}"),
    }
}

fn wish(phrase: &Line<'_>) -> Wish {
    let reason = match phrase.word() {
        "maintenance" => Reason::HolderInMaintenance,
        "leaving" => Reason::HolderLeaving,
        "failback" => Reason::Failback,
        "asked" => Reason::Asked { by: "anna".to_owned(), request: RequestId::new("r1"), fenced: false },
        other => panic!("no wish {other:?}"),
    };
    Wish { reason, to: phrase.get::<String>("to").map(MemberId::new) }
}
