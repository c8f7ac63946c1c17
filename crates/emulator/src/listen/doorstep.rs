//! How many may stand at the doors without having proved who they are.
//!
//! When it is full, whoever stands there longest makes room: a login takes milliseconds, so a crowd that only stands there keeps nobody out.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Counts strangers, per source and in all.
#[derive(Debug, Clone)]
pub(crate) struct Doorstep(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    per_source_max: usize,
    in_all_max: usize,
    crowd: Mutex<Crowd>,
}

#[derive(Debug, Default)]
struct Crowd {
    by_source: HashMap<IpAddr, Strangers>,
    /// Those of all sources who have not been asked to leave.
    staying: usize,
    last: u64,
}

/// The strangers of one source.
#[derive(Debug, Default)]
struct Strangers {
    /// All who are there, those who were asked to leave among them.
    present: usize,
    /// Those who were not, in the order in which they came.
    staying: BTreeMap<u64, CancellationToken>,
}

/// One stranger; counts until dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    shared: Arc<Shared>,
    source: IpAddr,
    number: u64,
    leave: CancellationToken,
}

/// Why a stranger is turned away: so many were asked to leave and are still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} connections of this source have not logged in yet")]
pub(crate) struct Full(usize);

impl Doorstep {
    pub(crate) fn new(per_source_max: usize, in_all_max: usize) -> Self {
        Self(Arc::new(Shared { per_source_max, in_all_max, crowd: Mutex::default() }))
    }

    pub(crate) fn enter(&self, source: IpAddr) -> Result<Waiting, Full> {
        let mut crowd = self.0.lock();
        let present = crowd.by_source.get(&source).map_or(0, |strangers| strangers.present);
        if present >= 2 * self.0.per_source_max {
            return Err(Full(present));
        }
        if crowd.by_source.get(&source).is_some_and(|strangers| strangers.staying.len() >= self.0.per_source_max) {
            crowd.ask_oldest_to_leave(source);
        } else if crowd.staying >= self.0.in_all_max
            && let Some(most) = crowd.largest()
        {
            crowd.ask_oldest_to_leave(most);
        }
        let (number, leave) = crowd.take_in(source);
        Ok(Waiting { shared: Arc::clone(&self.0), source, number, leave })
    }
}

impl Crowd {
    fn take_in(&mut self, source: IpAddr) -> (u64, CancellationToken) {
        self.last += 1;
        self.staying += 1;
        let (number, leave) = (self.last, CancellationToken::new());
        let strangers = self.by_source.entry(source).or_default();
        strangers.present += 1;
        strangers.staying.insert(number, leave.clone());
        (number, leave)
    }

    /// The source with most strangers.
    fn largest(&self) -> Option<IpAddr> {
        self.by_source.iter().max_by_key(|(_, strangers)| strangers.staying.len()).map(|(source, _)| *source)
    }

    fn ask_oldest_to_leave(&mut self, source: IpAddr) {
        let oldest = self.by_source.get_mut(&source).and_then(|strangers| strangers.staying.pop_first());
        if let Some((_, leave)) = oldest {
            self.staying -= 1;
            leave.cancel();
        }
    }

    fn forget(&mut self, source: IpAddr, number: u64) {
        let Some(strangers) = self.by_source.get_mut(&source) else { return };
        strangers.present -= 1;
        if strangers.staying.remove(&number).is_some() {
            self.staying -= 1;
        }
        if strangers.present == 0 {
            self.by_source.remove(&source);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Crowd> {
        self.crowd.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Cancelled when it is to make room.
    pub(crate) fn leave(&self) -> CancellationToken {
        self.leave.clone()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shared.lock().forget(self.source, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, n])
    }

    fn enter(doorstep: &Doorstep, n: u8) -> Waiting {
        doorstep.enter(source(n)).expect("room")
    }

    fn left(strangers: &[&Waiting]) -> Vec<bool> {
        strangers.iter().map(|waiting| waiting.leave.is_cancelled()).collect()
    }

    #[test]
    fn who_came_first_makes_room_for_another_of_its_source() {
        let doorstep = Doorstep::new(2, 10);
        let (other, a, b, c) = (enter(&doorstep, 2), enter(&doorstep, 1), enter(&doorstep, 1), enter(&doorstep, 1));
        assert_eq!(left(&[&other, &a, &b, &c]), [false, true, false, false]);
        drop(b);
        let d = enter(&doorstep, 1);
        assert_eq!(left(&[&other, &a, &c, &d]), [false, true, false, false], "one had left by itself");
    }

    #[test]
    fn in_all_somebody_of_the_largest_source_makes_room() {
        let doorstep = Doorstep::new(3, 3);
        let (a, b, c) = (enter(&doorstep, 1), enter(&doorstep, 2), enter(&doorstep, 2));
        let d = enter(&doorstep, 3);
        assert_eq!(left(&[&a, &b, &c, &d]), [false, true, false, false]);
    }

    #[test]
    fn those_who_do_not_go_are_bounded() {
        let doorstep = Doorstep::new(2, 10);
        let mut there: Vec<_> = (0..4).map(|_| enter(&doorstep, 1)).collect();
        assert_eq!(doorstep.enter(source(1)).err(), Some(Full(4)));
        there.remove(0);
        enter(&doorstep, 1);
    }

    #[test]
    fn nothing_is_remembered_of_those_who_left() {
        let doorstep = Doorstep::new(1, 3);
        for n in 0..=255 {
            let (first, second) = (enter(&doorstep, n), enter(&doorstep, n));
            drop((second, first));
        }
        let crowd = doorstep.0.lock();
        assert!(crowd.by_source.is_empty() && crowd.staying == 0);
    }
}
