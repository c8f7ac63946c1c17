//! The part of a gate that only tells: what it says, and when its readers have surely stopped.

use ha_core::ids::Term;
use ha_core::time::{Millis, Time};

use super::{GateOrder, Notice};

/// What has to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// Show this to readers.
    Publish(Notice),
    /// Every place shows this end.
    Armed(Term, Time),
    /// The readers have stopped.
    Closed(Term),
}

/// The notice and its readers. Pure.
#[derive(Debug)]
pub struct Notices {
    settle: Millis,
    /// A file has to be written before a notice is out.
    with_file: bool,
    told: Notice,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    Open {
        end: Time,
    },
    /// `settled_at` is known once the notice is out.
    Closing {
        end: Time,
        settled_at: Option<Time>,
    },
}

impl Notices {
    /// Nothing is active.
    pub fn new(settle: Millis, with_file: bool) -> Self {
        Self { settle, with_file, told: Notice::default(), phase: Phase::Closed }
    }

    /// What readers are told.
    pub fn told(&self) -> Notice {
        self.told
    }

    /// Takes an order.
    pub fn order(&mut self, now: Time, order: GateOrder) -> Vec<Act> {
        match order {
            GateOrder::Open { term, until } | GateOrder::Extend { term, until } => self.open(term, until),
            GateOrder::Close { term, by } => self.close(now, term, by),
        }
    }

    /// The file holds this notice now.
    pub fn written(&mut self, now: Time, notice: Notice) -> Vec<Act> {
        match &mut self.phase {
            Phase::Open { .. } if notice.active && notice.term == self.told.term => {
                vec![Act::Armed(notice.term, notice.until + self.settle)]
            }
            Phase::Closing { settled_at, .. } if notice == self.told => {
                settled_at.get_or_insert(now + self.settle);
                self.time_passed(now)
            }
            _ => vec![],
        }
    }

    /// A reader says that it has stopped for this term.
    pub fn acknowledged(&mut self, term: Term) -> Vec<Act> {
        match self.phase {
            Phase::Closing { .. } if term == self.told.term => self.finish(),
            _ => vec![],
        }
    }

    /// Does what is due.
    pub fn time_passed(&mut self, now: Time) -> Vec<Act> {
        match self.phase {
            Phase::Open { end } if now >= end => {
                self.told.active = false;
                let mut acts = vec![Act::Publish(self.told)];
                acts.extend(self.finish());
                acts
            }
            Phase::Closing { end, settled_at } if now >= end || settled_at.is_some_and(|at| now >= at) => self.finish(),
            _ => vec![],
        }
    }

    /// When to look at the clock again.
    pub fn next_wake(&self) -> Option<Time> {
        match self.phase {
            Phase::Closed => None,
            Phase::Open { end } => Some(end),
            Phase::Closing { end, settled_at } => Some(settled_at.map_or(end, |at| at.min(end))),
        }
    }

    fn open(&mut self, term: Term, end: Time) -> Vec<Act> {
        match self.phase {
            Phase::Open { end: before } if self.told.term != term || end <= before => return vec![],
            Phase::Closing { .. } => return vec![],
            Phase::Open { .. } | Phase::Closed => {}
        }
        self.phase = Phase::Open { end };
        self.told = Notice { active: true, term, until: end - self.settle };
        let mut acts = vec![Act::Publish(self.told)];
        if !self.with_file {
            acts.push(Act::Armed(term, end));
        }
        acts
    }

    fn close(&mut self, now: Time, term: Term, by: Time) -> Vec<Act> {
        let Phase::Open { end } = self.phase else { return vec![] };
        if self.told.term != term {
            return vec![];
        }
        let settled_at = (!self.with_file).then_some(now + self.settle);
        // Without a file nothing holds the old end, so the readers stop within the settling time.
        self.phase = Phase::Closing { end: if self.with_file { end } else { by.min(end) }, settled_at };
        self.told.active = false;
        let mut acts = vec![Act::Publish(self.told)];
        acts.extend(self.time_passed(now));
        acts
    }

    fn finish(&mut self) -> Vec<Act> {
        self.phase = Phase::Closed;
        vec![Act::Closed(self.told.term)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Term = Term(7);
    const OPEN: GateOrder = GateOrder::Open { term: T, until: Time::from_ms(1_000) };
    const CLOSE: GateOrder = GateOrder::Close { term: T, by: Time::from_ms(900) };

    fn at(ms: u64) -> Time {
        Time::from_ms(ms)
    }

    fn active(until: u64) -> Notice {
        Notice { active: true, term: T, until: at(until) }
    }

    fn inactive() -> Notice {
        Notice { active: false, ..active(800) }
    }

    #[test]
    fn readers_are_told_an_end_that_leaves_them_time_to_notice() {
        let mut notices = Notices::new(Millis(200), false);
        assert_eq!(notices.order(at(0), OPEN), [Act::Publish(active(800)), Act::Armed(T, at(1_000))]);
        assert!(active(800).active_at(at(799)) && !active(800).active_at(at(800)));
    }

    #[test]
    fn a_file_counts_once_it_is_written() {
        let mut notices = Notices::new(Millis(200), true);
        assert_eq!(notices.order(at(0), OPEN), [Act::Publish(active(800))]);
        assert_eq!(notices.written(at(5), active(800)), [Act::Armed(T, at(1_000))]);
        assert_eq!(notices.order(at(10), CLOSE), [Act::Publish(inactive())]);
        assert_eq!(notices.written(at(12), active(800)), [], "an older notice");
        assert_eq!(notices.written(at(20), inactive()), []);
        assert_eq!(notices.next_wake(), Some(at(220)));
        assert_eq!(notices.time_passed(at(220)), [Act::Closed(T)]);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_believed_until_the_lease_end() {
        let mut notices = Notices::new(Millis(200), true);
        notices.order(at(0), OPEN);
        notices.order(at(10), CLOSE);
        assert_eq!(notices.time_passed(at(999)), []);
        assert_eq!(notices.time_passed(at(1_000)), [Act::Closed(T)]);
    }

    #[test]
    fn an_acknowledged_stop_needs_no_settling() {
        let mut notices = Notices::new(Millis(200), false);
        notices.order(at(0), OPEN);
        assert_eq!(notices.acknowledged(T), [], "nobody asked it to stop");
        assert_eq!(notices.order(at(10), CLOSE), [Act::Publish(inactive())]);
        assert_eq!(notices.acknowledged(Term(6)), []);
        assert_eq!(notices.acknowledged(T), [Act::Closed(T)]);
    }

    #[test]
    fn without_an_order_it_closes_at_the_lease_end() {
        let mut notices = Notices::new(Millis(0), false);
        notices.order(at(0), OPEN);
        let acts = notices.time_passed(at(1_000));
        assert!(matches!(acts.as_slice(), [Act::Publish(Notice { active: false, .. }), Act::Closed(T)]));
    }
}
