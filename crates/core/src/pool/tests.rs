use std::fmt::Write;

use expect_test::{Expect, expect};

use super::*;
use crate::ids::{BootId, Nonce};
use crate::messages::{HolderState, Refusal, Workload};
use crate::script::{Line, lines};
use crate::time::WallTime;

mod consult;
mod follow;
mod founding;
mod holding;
mod random;
mod record;
mod takeover;

/// A pool and what a script needs to refer to what went before.
struct Script {
    pool: Pool,
    /// The latest call to each member, by what was asked.
    calls: BTreeMap<(String, String), CallId>,
    /// The latest question about a planned change.
    asked: Option<(Wish, Term)>,
    written: Option<Anchor>,
    versions: u64,
    nonces: u64,
    out: String,
}

/// Runs a script for a pool of `a` and `b` at the default timings. Gathering, mirroring and decisions
/// are shown only by scripts that say `0 show`; held hellos never.
fn check(script: &str, expect: Expect) {
    let mut run = Script::new();
    let mut shows = false;
    for line in lines(script) {
        match line.verb {
            "show" => shows = true,
            "consults" => run.pool.spec.policy.consults = true,
            "wake" => {
                let wake = run.pool.next_wake().map_or("never".to_owned(), |at| at.as_ms().to_string());
                writeln!(run.out, "{} wake {wake}", line.at).expect("a string");
            }
            "why" => {
                let sentence = run.pool.sentence(now(line.at));
                writeln!(run.out, "{} {sentence}", line.at).expect("a string");
            }
            _ => run.observe(&line, shows),
        }
    }
    expect.assert_eq(&run.out);
}

fn now(ms: u64) -> Now {
    Now { mono: Time::from_ms(ms), wall: WallTime(0) }
}

fn member(name: &str) -> MemberId {
    MemberId::new(name)
}

fn spec() -> PoolSpec {
    PoolSpec {
        name: "press_1".parse().expect("a pool name"),
        control: ControlId::new("ours"),
        members: vec![member("a"), member("b")],
        policy: Policy::default(),
    }
}

impl Script {
    fn new() -> Self {
        Self {
            pool: Pool::new(spec(), CallId(1)),
            calls: BTreeMap::new(),
            asked: None,
            written: None,
            versions: 0,
            nonces: 0,
            out: String::new(),
        }
    }

    fn observe(&mut self, line: &Line<'_>, shows: bool) {
        let now = now(line.at);
        let fact = self.fact(line);
        self.pool.observe(now, fact);
        while let Some(effect) = self.pool.next_effect() {
            self.note(&effect);
            let minor = matches!(effect, Effect::Gather { .. } | Effect::Mirror { .. } | Effect::Record(_));
            let held = matches!(&effect, Effect::Call { request: Request::Hello(_), hold, .. } if *hold > Millis::ZERO);
            if !held && (shows || !minor) {
                writeln!(self.out, "{} {}", line.at, shown(&effect)).expect("a string");
            }
        }
        assert!(self.pool.next_wake().is_some_and(|wake| wake > now.mono), "it would spin at {}", line.at);
    }

    fn fact(&mut self, line: &Line<'_>) -> Fact {
        match line.verb {
            "in_charge" => Fact::InCharge {
                epoch: Epoch(line.or("epoch", 3)),
                valid_until: Time::from_ms(line.or("until", 10_000_000)),
            },
            "out_of_charge" => Fact::NotInCharge,
            "none" => Fact::AnchorRead(None),
            "read" => Fact::AnchorRead(Some((anchor(line), self.version()))),
            "reread" => Fact::AnchorRead(Some((self.written.clone().expect("a write"), self.version()))),
            "read_failed" => Fact::AnchorReadFailed,
            "written" => Fact::AnchorWritten(self.version()),
            "conflict" => Fact::AnchorConflict,
            "write_failed" => Fact::AnchorWriteFailed,
            "unsure" => Fact::AnchorUnsure,
            "gathered" => Fact::Gathered { member: member(line.word()), evidence: Evidence::default() },
            "mirrored" => Fact::Mirrored { member: member(line.word()), done: !line.has("failed") },
            "members" => Fact::Members(line.words().map(member).collect()),
            "said" => {
                let (wish, term) = self.asked.clone().expect("somebody was asked");
                let verdict = match line.word() {
                    "go" => Verdict::Go,
                    _ => Verdict::Veto { by: "the line".to_owned(), why: "mid-batch".to_owned() },
                };
                Fact::Consulted { wish, term, verdict }
            }
            "followed" => Fact::Followed { follower: FollowerId::new(line.word()), term: Term(line.or("term", 5)) },
            "hint" => Fact::Hinted(member(line.word())),
            "tick" => Fact::Tick,
            "fail" => Fact::Failed { call: self.call(line), failure: failure(line) },
            _ => self.answer(line),
        }
    }

    fn call(&self, line: &Line<'_>) -> CallId {
        let mut words = line.words();
        let key = (words.next().expect("a member").to_owned(), words.next().expect("a request").to_owned());
        *self.calls.get(&key).unwrap_or_else(|| panic!("{key:?} was not called"))
    }

    fn version(&mut self) -> Version {
        self.versions += 1;
        Version(self.versions.to_string())
    }

    /// `100 answer a quick active term=5`: what `a` answers to the latest such call.
    fn answer(&mut self, line: &Line<'_>) -> Fact {
        let call = self.call(line);
        self.nonces += 1;
        let refused = match line.get::<String>("refused").as_deref() {
            Some("released") => Some(Refusal::Released { through: Term(line.or("through", 5)) }),
            Some("stale_term") => Some(Refusal::StaleTerm { seen: Term(line.or("through", 5)) }),
            Some("stale_epoch") => Some(Refusal::StaleEpoch { seen: Epoch(line.or("through", 5)) }),
            Some("flag") => Some(Refusal::FlagInactive { term: Term(line.or("through", 5)) }),
            Some(other) => panic!("no refusal {other:?}"),
            None => None,
        };
        let active = line.has("active");
        let answer = Answer {
            boot: BootId::new(line.or("boot", "boot".to_owned())),
            state: if active { HolderState::Active } else { HolderState::Standby },
            term: Term(line.or("term", if active { 5 } else { 0 })),
            lease_left: None,
            workload: if active { Workload::Running } else { Workload::Ready },
            leaving: line.has("leaving"),
            refused,
            released: line.get("released").map(Term),
            nonce: Some(Nonce { run: 7, count: self.nonces }),
        };
        Fact::Answered { call, answer }
    }

    fn note(&mut self, effect: &Effect) {
        match effect {
            Effect::Call { call, member, request, hold, .. } => {
                let asked = match request {
                    Request::Hello(_) if *hold == Millis::ZERO => "quick",
                    Request::Hello(_) => "hello",
                    Request::Grant(_) => "grant",
                    Request::Revoke(_) => "revoke",
                };
                self.calls.insert((member.to_string(), asked.to_owned()), *call);
            }
            Effect::WriteAnchor { anchor, .. } => self.written = Some(anchor.clone()),
            Effect::Consult { wish, term, .. } => self.asked = Some((wish.clone(), *term)),
            _ => {}
        }
    }
}

fn failure(line: &Line<'_>) -> CallFailure {
    if line.has("throttled") { CallFailure::Throttled } else { CallFailure::TimedOut }
}

fn anchor(line: &Line<'_>) -> Anchor {
    let control = ControlId::new(line.or("control", "ours".to_owned()));
    let (name, ttl) = ("press_1".parse().expect("a pool name"), Millis(line.or("ttl", 15_000)));
    let (term, epoch) = (Term(line.or("term", 5)), Epoch(line.or("epoch", 3)));
    let mut anchor = Anchor::vacant(name, control, term, ttl, epoch, WallTime(0));
    anchor.holder = line.words().next().filter(|holder| *holder != "nobody").map(member);
    anchor.status = line.get("status");
    if let Some(out) = line.get::<String>("maintenance") {
        let mark = crate::anchor::Mark { by: "anna".to_owned(), at: WallTime(0) };
        anchor.maintenance.insert(member(&out), mark);
    }
    if let Some(follower) = line.get::<String>("followed") {
        anchor.follow(FollowerId::new(follower), term);
    }
    anchor
}

fn shown(effect: &Effect) -> String {
    match effect {
        Effect::ReadAnchor => "read".to_owned(),
        Effect::WriteAnchor { anchor, basis } => {
            let holder = anchor.holder.as_ref().map_or("nobody", MemberId::as_str);
            let basis = basis.as_ref().map_or("none", |basis| basis.0.as_str());
            let status = anchor.status.as_ref().map(|status| format!(" ({status})")).unwrap_or_default();
            let followed: String = anchor.followed.iter().map(|(by, term)| format!(", {by} through {term}")).collect();
            format!(
                "write {holder} term={} epoch={} ttl={} over {basis}{status}{followed}",
                anchor.term, anchor.epoch, anchor.ttl.0
            )
        }
        Effect::Call { member, request, .. } => match request {
            Request::Hello(hello) => format!("hello {member}{}", if hello.wants_nonce { "" } else { " onlooker" }),
            Request::Grant(grant) => {
                format!("grant {member} term={} nonce={} ttl={}", grant.term, grant.nonce.count, grant.ttl.0)
            }
            Request::Revoke(revoke) => format!("revoke {member} term={}", revoke.term),
        },
        Effect::Gather { member } => format!("gather {member}"),
        Effect::Mirror { member, mirror } => format!("mirror {member} {} term={}", mirror.role.as_str(), mirror.term),
        Effect::Consult { wish, from, to, term } => format!("consult {from} -> {to} term={term}: {wish}"),
        Effect::EpochSeen(epoch) => format!("epoch seen {epoch}"),
        Effect::Record(decision) => format!("record: {}", decision.sentence),
    }
}
