//! Connection events as Event Grid tells them: the state at the end of a window, not every change in it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::hub::Id;

/// Holds the last of a device's or module's changes until its window ends.
#[derive(Debug)]
pub(super) struct Snapshot<T> {
    window: Duration,
    held: BTreeMap<Id, (Instant, T)>,
}

impl<T> Snapshot<T> {
    pub(super) fn new(window: Duration) -> Self {
        Self { window, held: BTreeMap::new() }
    }

    /// Takes in a change; gives it back if there is nothing to wait for.
    pub(super) fn take_in(&mut self, id: &Id, change: T, now: Instant) -> Option<T> {
        if self.window.is_zero() {
            return Some(change);
        }
        let until = self.held.get(id).map_or(now + self.window, |(until, _)| *until);
        self.held.insert(id.clone(), (until, change));
        None
    }

    /// What is told at this instant: one change for each whose window has ended.
    pub(super) fn flush(&mut self, now: Instant) -> Vec<T> {
        let due: Vec<Id> = self.held.iter().filter(|(_, (until, _))| *until <= now).map(|(id, _)| id.clone()).collect();
        due.iter().filter_map(|id| self.held.remove(id)).map(|(_, change)| change).collect()
    }

    /// When to flush next.
    pub(super) fn wake(&self) -> Option<Instant> {
        self.held.values().map(|(until, _)| *until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flaps_within_a_window_become_one_change() {
        let (window, now) = (Duration::from_secs(60), Instant::now());
        let mut snapshot = Snapshot::new(window);
        let (a, b) = (Id::device("a"), Id::device("b"));
        assert_eq!(snapshot.take_in(&a, "a on", now), None);
        assert_eq!(snapshot.take_in(&a, "a off", now + window / 2), None);
        assert_eq!(snapshot.take_in(&b, "b on", now + window / 2), None);
        assert_eq!(snapshot.wake(), Some(now + window));
        assert_eq!(snapshot.flush(now + window / 2), [""; 0]);
        assert_eq!(snapshot.flush(now + window), ["a off"]);
        assert_eq!(snapshot.take_in(&a, "a on again", now + window), None);
        assert_eq!(snapshot.flush(now + window * 2), ["a on again", "b on"]);
        assert_eq!(snapshot.wake(), None);
        assert_eq!(Snapshot::new(Duration::ZERO).take_in(&a, "a on", now), Some("a on"));
    }
}
