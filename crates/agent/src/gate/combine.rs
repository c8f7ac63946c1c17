//! Several parts, one gate.

use std::collections::BTreeMap;

use ha_core::ids::Term;
use ha_core::time::Time;

use super::GateOrder;

/// One part of a gate. The notice comes first: a workload that starts may read it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    /// HTTP and file.
    Notice,
    /// The keeper.
    Exec,
}

/// What has to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// Pass this on.
    Order(Part, GateOrder),
    /// Tell the agent: every part holds this end.
    Armed(Term, Time),
    /// Tell the agent: every part is closed.
    Closed(Term),
}

/// The parts of a gate and what each has confirmed. Pure.
#[derive(Debug)]
pub struct Combined {
    all: Vec<Part>,
    now: Option<Opened>,
}

#[derive(Debug)]
struct Opened {
    term: Term,
    asked: Time,
    closing: bool,
    parts: BTreeMap<Part, PartState>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PartState {
    Waiting,
    Asked,
    Armed(Time),
    Closed,
}

impl Combined {
    /// A closed gate of these parts.
    pub fn new(mut all: Vec<Part>) -> Self {
        all.sort_unstable();
        Self { all, now: None }
    }

    /// Takes an order of the agent's.
    pub fn order(&mut self, order: GateOrder) -> Vec<Act> {
        match order {
            GateOrder::Open { term, until } => self.open(term, until),
            GateOrder::Extend { term, until } => self.extend(term, until),
            GateOrder::Close { term, by } => self.close(term, by),
        }
    }

    /// A part holds this end.
    pub fn armed(&mut self, part: Part, term: Term, until: Time) -> Vec<Act> {
        let Some(opened) = self.now.as_mut().filter(|o| o.term == term && !o.closing) else { return vec![] };
        opened.parts.insert(part, PartState::Armed(until));
        let mut acts = Vec::new();
        if let Some(next) = opened.next_waiting() {
            opened.parts.insert(next, PartState::Asked);
            acts.push(Act::Order(next, GateOrder::Open { term, until: opened.asked }));
        }
        acts.extend(opened.armed_until().map(|until| Act::Armed(term, until)));
        acts
    }

    /// A part is closed. If nobody asked for that, the others follow.
    pub fn closed(&mut self, part: Part, term: Term) -> Vec<Act> {
        let Some(opened) = self.now.as_mut().filter(|o| o.term == term) else { return vec![] };
        opened.parts.insert(part, PartState::Closed);
        let by = opened.asked;
        let mut acts = if opened.closing { vec![] } else { self.close(term, by) };
        if acts.is_empty() {
            acts.extend(self.finished());
        }
        acts
    }

    fn open(&mut self, term: Term, until: Time) -> Vec<Act> {
        if self.now.is_some() {
            return vec![];
        }
        let mut parts: BTreeMap<_, _> = self.all.iter().map(|part| (*part, PartState::Waiting)).collect();
        let first = self.all[0];
        parts.insert(first, PartState::Asked);
        self.now = Some(Opened { term, asked: until, closing: false, parts });
        vec![Act::Order(first, GateOrder::Open { term, until })]
    }

    fn extend(&mut self, term: Term, until: Time) -> Vec<Act> {
        let Some(opened) = self.now.as_mut().filter(|o| o.term == term && !o.closing) else { return vec![] };
        opened.asked = opened.asked.max(until);
        let asked = opened.parts.iter().filter(|(_, state)| !matches!(state, PartState::Waiting));
        asked.map(|(part, _)| Act::Order(*part, GateOrder::Extend { term, until })).collect()
    }

    fn close(&mut self, term: Term, by: Time) -> Vec<Act> {
        let Some(opened) = self.now.as_mut() else { return vec![Act::Closed(term)] };
        if opened.term != term {
            return vec![];
        }
        opened.closing = true;
        let mut acts = Vec::new();
        for (part, state) in &mut opened.parts {
            match state {
                PartState::Waiting => *state = PartState::Closed,
                PartState::Asked | PartState::Armed(_) => acts.push(Act::Order(*part, GateOrder::Close { term, by })),
                PartState::Closed => {}
            }
        }
        acts.extend(self.finished());
        acts
    }

    fn finished(&mut self) -> Option<Act> {
        let done = self.now.as_ref().is_some_and(|o| o.parts.values().all(|state| *state == PartState::Closed));
        done.then(|| self.now.take()).flatten().map(|opened| Act::Closed(opened.term))
    }
}

impl Opened {
    fn next_waiting(&self) -> Option<Part> {
        let settled = !self.parts.values().any(|state| *state == PartState::Asked);
        let mut waiting = self.parts.iter().filter(|(_, state)| **state == PartState::Waiting);
        waiting.next().filter(|_| settled).map(|(part, _)| *part)
    }

    fn armed_until(&self) -> Option<Time> {
        let ends = self.parts.values().map(|state| match state {
            PartState::Armed(until) => Some(*until),
            PartState::Waiting | PartState::Asked | PartState::Closed => None,
        });
        ends.collect::<Option<Vec<_>>>()?.into_iter().min()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const T: Term = Term(7);

    fn at(ms: u64) -> Time {
        Time::from_ms(ms)
    }

    fn check(acts: Vec<Act>, expected: Expect) {
        let shown: Vec<String> = acts.iter().map(|act| format!("{act:?}")).collect();
        expected.assert_eq(&shown.join("\n"));
    }

    fn opened() -> Combined {
        let mut gate = Combined::new(vec![Part::Exec, Part::Notice]);
        gate.order(GateOrder::Open { term: T, until: at(100) });
        gate.armed(Part::Notice, T, at(100));
        assert_eq!(gate.armed(Part::Exec, T, at(100)), [Act::Armed(T, at(100))]);
        gate
    }

    #[test]
    fn the_notice_is_out_before_the_workload_starts() {
        let mut gate = Combined::new(vec![Part::Exec, Part::Notice]);
        check(
            gate.order(GateOrder::Open { term: T, until: at(100) }),
            expect!["Order(Notice, Open { term: Term(7), until: @100ms })"],
        );
        gate.order(GateOrder::Extend { term: T, until: at(150) });
        check(gate.armed(Part::Notice, T, at(100)), expect!["Order(Exec, Open { term: Term(7), until: @150ms })"]);
        check(gate.armed(Part::Exec, T, at(150)), expect!["Armed(Term(7), @100ms)"]);
        check(gate.armed(Part::Notice, T, at(150)), expect!["Armed(Term(7), @150ms)"]);
    }

    #[test]
    fn closed_means_all_parts() {
        let mut gate = opened();
        check(
            gate.order(GateOrder::Close { term: T, by: at(90) }),
            expect![[r#"
                Order(Notice, Close { term: Term(7), by: @90ms })
                Order(Exec, Close { term: Term(7), by: @90ms })"#]],
        );
        check(gate.closed(Part::Exec, T), expect![""]);
        check(gate.armed(Part::Notice, T, at(200)), expect![""]);
        check(gate.closed(Part::Notice, T), expect!["Closed(Term(7))"]);
        check(gate.order(GateOrder::Close { term: T, by: at(90) }), expect!["Closed(Term(7))"]);
    }

    #[test]
    fn a_part_that_fails_takes_the_others_along() {
        let mut gate = opened();
        check(gate.closed(Part::Exec, T), expect!["Order(Notice, Close { term: Term(7), by: @100ms })"]);
        check(gate.closed(Part::Notice, T), expect!["Closed(Term(7))"]);
    }

    #[test]
    fn closing_before_all_parts_were_asked_leaves_the_rest_alone() {
        let mut gate = Combined::new(vec![Part::Notice, Part::Exec]);
        gate.order(GateOrder::Open { term: T, until: at(100) });
        check(
            gate.order(GateOrder::Close { term: T, by: at(90) }),
            expect!["Order(Notice, Close { term: Term(7), by: @90ms })"],
        );
        check(gate.closed(Part::Notice, T), expect!["Closed(Term(7))"]);
    }

    #[test]
    fn words_about_another_term_change_nothing() {
        let mut gate = opened();
        check(gate.closed(Part::Exec, Term(6)), expect![""]);
        check(gate.order(GateOrder::Close { term: Term(6), by: at(1) }), expect![""]);
        check(gate.order(GateOrder::Open { term: Term(8), until: at(500) }), expect![""]);
    }
}
