//! How many may stand at the doors without having proved who they are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    by_source: HashMap<IpAddr, usize>,
    in_all: usize,
}

/// One stranger; counts until dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    shared: Arc<Shared>,
    source: IpAddr,
}

/// Why a stranger is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    /// One source has too many.
    #[error("{0} connections of this source have not logged in yet")]
    Source(usize),
    /// All sources together have too many.
    #[error("{0} connections have not logged in yet")]
    All(usize),
}

impl Doorstep {
    pub(crate) fn new(per_source_max: usize, in_all_max: usize) -> Self {
        Self(Arc::new(Shared { per_source_max, in_all_max, crowd: Mutex::default() }))
    }

    pub(crate) fn enter(&self, source: IpAddr) -> Result<Waiting, Full> {
        let mut crowd = self.0.lock();
        if crowd.in_all >= self.0.in_all_max {
            return Err(Full::All(crowd.in_all));
        }
        let of_source = crowd.by_source.entry(source).or_default();
        if *of_source >= self.0.per_source_max {
            return Err(Full::Source(*of_source));
        }
        *of_source += 1;
        crowd.in_all += 1;
        Ok(Waiting { shared: Arc::clone(&self.0), source })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Crowd> {
        self.crowd.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut crowd = self.shared.lock();
        crowd.in_all -= 1;
        if let Some(of_source) = crowd.by_source.get_mut(&self.source) {
            *of_source -= 1;
            if *of_source == 0 {
                crowd.by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_counted_by_source_and_in_all() {
        let doorstep = Doorstep::new(2, 3);
        let [a, b, c] = [1, 2, 3].map(|n| IpAddr::from([127, 0, 0, n]));
        let first = doorstep.enter(a).expect("room");
        let _second = doorstep.enter(a).expect("room");
        assert_eq!(doorstep.enter(a).err(), Some(Full::Source(2)));
        let _other = doorstep.enter(b).expect("room");
        assert_eq!(doorstep.enter(c).err(), Some(Full::All(3)));
        drop(first);
        let _again = doorstep.enter(a).expect("room");
        assert_eq!(doorstep.0.lock().by_source.len(), 2);
    }

    #[test]
    fn nothing_is_remembered_of_those_who_left() {
        let doorstep = Doorstep::new(1, 1000);
        for n in 0..=255 {
            drop(doorstep.enter(IpAddr::from([10, 0, 0, n])).expect("room"));
        }
        assert!(doorstep.0.lock().by_source.is_empty());
    }
}
