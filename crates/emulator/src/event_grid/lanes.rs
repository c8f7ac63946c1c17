//! Events that wait for a subscriber: in order for each device, bounded in all, tried again on a schedule.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// Waits before the second attempt, the third and so on; the last one repeats.
const WAITS: [Duration; 10] = [
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(60 * 60),
    Duration::from_secs(3 * 60 * 60),
    Duration::from_secs(6 * 60 * 60),
    Duration::from_secs(12 * 60 * 60),
];
const ATTEMPTS_MAX: u32 = 30;
const LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The subscriber has it.
    Delivered,
    /// It may do better later, but not earlier than after so long.
    Failed { not_within: Duration },
    /// It will never take this one.
    Refused,
}

impl Outcome {
    pub(super) fn again(not_within: Duration) -> Self {
        Self::Failed { not_within }
    }
}

/// One queue for each device.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    lanes: BTreeMap<String, Lane<T>>,
    waiting: usize,
    most: usize,
    scale: f64,
    pub(super) dropped: u64,
    pub(super) delivered: u64,
    pub(super) failures: u64,
}

#[derive(Debug)]
struct Lane<T> {
    queue: VecDeque<T>,
    front: Front,
}

/// What is the matter with the first in a queue.
#[derive(Debug, Clone, Copy)]
struct Front {
    attempts: u32,
    first_at: Option<Instant>,
    not_before: Option<Instant>,
    in_flight: bool,
}

const FRESH: Front = Front { attempts: 0, first_at: None, not_before: None, in_flight: false };

/// Something to deliver.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Attempt<T> {
    pub(super) device: String,
    pub(super) item: T,
    /// 0 for the first.
    pub(super) count: u32,
}

impl<T: Clone> Lanes<T> {
    /// Room for so many events; `scale` stretches the schedule.
    pub(super) fn new(most: usize, scale: f64) -> Self {
        Self { lanes: BTreeMap::new(), waiting: 0, most, scale, dropped: 0, delivered: 0, failures: 0 }
    }

    /// Puts an event at the end of its device's queue; without room it is lost, and counted.
    pub(super) fn offer(&mut self, device: &str, item: T) {
        if self.waiting >= self.most {
            self.dropped += 1;
            return;
        }
        self.waiting += 1;
        let lane = self.lanes.entry(device.to_owned());
        lane.or_insert_with(|| Lane { queue: VecDeque::new(), front: FRESH }).queue.push_back(item);
    }

    /// Something whose time has come; `settle` must follow.
    pub(super) fn next(&mut self, now: Instant) -> Option<Attempt<T>> {
        let due = |lane: &Lane<T>| !lane.front.in_flight && lane.front.not_before.is_none_or(|at| at <= now);
        let (device, lane) = self.lanes.iter_mut().find(|(_, lane)| due(lane))?;
        lane.front.in_flight = true;
        lane.front.first_at.get_or_insert(now);
        let item = lane.queue.front()?.clone();
        Some(Attempt { device: device.clone(), item, count: lane.front.attempts })
    }

    /// Notes how the attempt for this device ended.
    pub(super) fn settle(&mut self, device: &str, outcome: Outcome, now: Instant) {
        let Some(lane) = self.lanes.get_mut(device) else {
            return;
        };
        let attempts = lane.front.attempts + 1;
        if outcome != Outcome::Delivered {
            self.failures += 1;
        }
        if let Outcome::Failed { not_within } = outcome
            && attempts < ATTEMPTS_MAX
        {
            let nth = usize::try_from(attempts).unwrap_or(WAITS.len()) - 1;
            let wait = WAITS[nth.min(WAITS.len() - 1)].max(not_within).mul_f64(self.scale);
            let at = now + wait;
            // A schedule that is pressed together ends by the number of attempts.
            let dies = lane.front.first_at.unwrap_or(now) + LIFE.mul_f64(self.scale.max(1.0));
            if at <= dies {
                lane.front = Front { attempts, not_before: Some(at), in_flight: false, ..lane.front };
                return;
            }
        }
        match outcome {
            Outcome::Delivered => self.delivered += 1,
            Outcome::Failed { .. } | Outcome::Refused => self.dropped += 1,
        }
        lane.queue.pop_front();
        lane.front = FRESH;
        self.waiting -= 1;
        if lane.queue.is_empty() {
            self.lanes.remove(device);
        }
    }

    /// When to ask `next` again, if nothing else happens.
    pub(super) fn wake(&self) -> Option<Instant> {
        self.lanes.values().filter(|lane| !lane.front.in_flight).filter_map(|lane| lane.front.not_before).min()
    }

    /// How many have not been settled.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_device_waits_for_its_own_events_only() {
        let (mut lanes, now) = (Lanes::new(10, 1.0), Instant::now());
        for (device, item) in [("a", 1), ("a", 2), ("b", 3)] {
            lanes.offer(device, item);
        }
        let attempt = |device: &str, item, count| Some(Attempt { device: device.into(), item, count });
        assert_eq!(lanes.next(now), attempt("a", 1, 0));
        assert_eq!(lanes.next(now), attempt("b", 3, 0));
        assert_eq!(lanes.next(now), None);
        lanes.settle("a", Outcome::again(Duration::ZERO), now);
        lanes.settle("b", Outcome::Delivered, now);
        assert_eq!((lanes.next(now), lanes.wake()), (None, Some(now + WAITS[0])));
        assert_eq!(lanes.next(now + WAITS[0]), attempt("a", 1, 1));
        lanes.settle("a", Outcome::Refused, now);
        assert_eq!(lanes.next(now), attempt("a", 2, 0));
        lanes.settle("a", Outcome::Delivered, now);
        assert_eq!((lanes.waiting(), lanes.delivered, lanes.dropped, lanes.failures), (0, 2, 1, 2));
    }

    #[test]
    fn the_schedule_is_that_of_event_grid_and_ends() {
        let (mut lanes, mut now) = (Lanes::new(1, 1.0), Instant::now());
        lanes.offer("a", ());
        let mut waits = Vec::new();
        while lanes.next(now).is_some() {
            lanes.settle("a", Outcome::again(Duration::ZERO), now);
            let Some(wake) = lanes.wake() else {
                break;
            };
            waits.push((wake - now).as_secs());
            now = wake;
        }
        let hour = 3600;
        assert_eq!(waits, [10, 30, 60, 300, 600, 1800, hour, 3 * hour, 6 * hour, 12 * hour]);
        assert_eq!(lanes.dropped, 1, "another 12 hours would be too late");
    }

    #[test]
    fn some_answers_ask_for_a_longer_wait() {
        let (mut lanes, now) = (Lanes::new(1, 1.0), Instant::now());
        lanes.offer("a", ());
        for (not_within, wait) in [(120, 120), (30, 30), (0, 60)] {
            assert!(lanes.next(lanes.wake().unwrap_or(now)).is_some());
            lanes.settle("a", Outcome::again(Duration::from_secs(not_within)), now);
            assert_eq!(lanes.wake(), Some(now + Duration::from_secs(wait)), "{not_within}");
        }
    }

    #[test]
    fn without_waits_there_are_as_many_attempts() {
        let (mut lanes, now) = (Lanes::new(1, 0.0), Instant::now());
        lanes.offer("a", ());
        let mut attempts = 0;
        while lanes.next(now + Duration::from_millis(attempts)).is_some() {
            attempts += 1;
            lanes.settle("a", Outcome::again(Duration::from_secs(30)), now + Duration::from_millis(attempts));
        }
        assert_eq!((attempts, lanes.dropped), (30, 1));
    }

    proptest! {
        /// The model: a list per device of what was offered and not yet settled for good.
        #[test]
        fn order_holds_and_nothing_is_lost_uncounted(
            steps in prop::collection::vec((0..3usize, 0..5usize), 0..80),
        ) {
            let (mut lanes, mut now) = (Lanes::new(8, 1.0), Instant::now());
            let mut model: BTreeMap<String, VecDeque<usize>> = BTreeMap::new();
            let mut flying: Vec<Attempt<usize>> = Vec::new();
            let mut offered = 0;
            for (device, step) in steps {
                let device = ["a", "b", "c"][device].to_owned();
                match step {
                    0 | 1 => {
                        let held: usize = model.values().map(VecDeque::len).sum();
                        lanes.offer(&device, offered);
                        if held < 8 {
                            model.entry(device).or_default().push_back(offered);
                        }
                        offered += 1;
                    }
                    2 => {
                        while let Some(attempt) = lanes.next(now) {
                            prop_assert!(flying.iter().all(|other| other.device != attempt.device));
                            prop_assert_eq!(model[&attempt.device].front(), Some(&attempt.item));
                            flying.push(attempt);
                        }
                    }
                    n => {
                        if let Some(attempt) = flying.pop() {
                            let outcome = if n == 3 { Outcome::Delivered } else { Outcome::again(Duration::ZERO) };
                            if n == 3 {
                                model.get_mut(&attempt.device).and_then(VecDeque::pop_front);
                            }
                            lanes.settle(&attempt.device, outcome, now);
                        }
                        now += Duration::from_secs(45);
                    }
                }
            }
            let held: usize = model.values().map(VecDeque::len).sum();
            prop_assert_eq!(lanes.waiting(), held);
            let told = usize::try_from(lanes.delivered + lanes.dropped).expect("few") + held;
            prop_assert_eq!(told, offered);
        }
    }
}
