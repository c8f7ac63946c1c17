//! What queries see: the twins as they are, or as they were some while ago.

mod page;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::identity::Device;
use super::query::Source;
use super::{Hub, Id};

pub use page::{PAGE_MAX, Page};
pub(super) use page::{Place, page_of};

/// Changes that may wait to be seen; beyond it the oldest shows early.
const PENDING_MAX: usize = 10_000;

/// A copy of the twins that trails their changes by `lag`.
#[derive(Debug, Default)]
pub(super) struct Index {
    lag: SignedDuration,
    seen: BTreeMap<Id, Value>,
    pending: VecDeque<Change>,
}

/// An identity as one write left it: a device with its modules, one module, or nothing.
#[derive(Debug)]
struct Change {
    due: Timestamp,
    id: Id,
    rows: Vec<(Id, Value)>,
}

type Row<'a> = (Id, Cow<'a, Value>);

impl Index {
    /// An index that shows a change `lag` after it was made; zero shows everything at once.
    pub(super) fn new(lag: SignedDuration) -> Self {
        Self { lag, ..Self::default() }
    }

    fn lags(&self) -> bool {
        self.lag > SignedDuration::ZERO
    }

    fn catch_up(&mut self, now: Timestamp) {
        while self.pending.front().is_some_and(|change| change.due <= now || self.pending.len() > PENDING_MAX) {
            let Some(change) = self.pending.pop_front() else {
                return;
            };
            // A device's fate is its modules' fate.
            match change.id.module {
                None => self.seen.retain(|seen, _| seen.device != change.id.device),
                Some(_) => {
                    self.seen.remove(&change.id);
                }
            }
            self.seen.extend(change.rows);
        }
    }
}

impl Hub {
    /// Remembers how a write left the identity, for the index to show when its time has come.
    pub(super) fn note_change(&mut self, id: &Id, now: Timestamp) {
        if !self.index.lags() {
            return;
        }
        let rows = self.devices.get(&id.device).map_or_else(Vec::new, |device| rows_of(id, device));
        let due = now.checked_add(self.index.lag).unwrap_or(now);
        self.index.pending.push_back(Change { due, id: id.clone(), rows });
        self.index.catch_up(now);
    }

    /// Everything that is shown at this moment is what the index knows from here on.
    pub(super) fn change_index_lag(&mut self, lag: SignedDuration) {
        if !self.index.lags() && lag > SignedDuration::ZERO {
            let rows = self.devices.iter().flat_map(|(name, device)| rows_of(&Id::device(name), device));
            self.index.seen = rows.collect();
        }
        self.index.lag = lag;
        if !self.index.lags() {
            self.index.seen.clear();
            self.index.pending.clear();
        }
    }

    /// How far the index trails.
    pub(super) fn shown_index_lag(&self) -> SignedDuration {
        self.index.lag
    }

    /// Brings the index up to now; before reading rows.
    pub(super) fn settle_index(&mut self, now: Timestamp) {
        self.index.catch_up(now);
    }

    /// The rows of a collection in the order of their ids, from behind `after`.
    pub(super) fn rows(&self, source: Source, after: Option<&Id>) -> Box<dyn Iterator<Item = Row<'_>> + '_> {
        let modules = match source {
            Source::Devices => false,
            Source::Modules => true,
            Source::Jobs => return Box::new(self.job_rows(after).map(|(id, row)| (id, Cow::Owned(row)))),
        };
        if !self.index.lags() {
            return self.live_rows(modules, after);
        }
        let from = after.cloned().map_or(Bound::Unbounded, Bound::Excluded);
        let seen = self.index.seen.range((from, Bound::Unbounded));
        let wanted = seen.filter(move |(id, _)| id.module.is_some() == modules);
        Box::new(wanted.map(|(id, row)| (id.clone(), Cow::Borrowed(row))))
    }

    /// The rows as they are, whatever the index shows.
    pub(super) fn live_rows(&self, modules: bool, after: Option<&Id>) -> Box<dyn Iterator<Item = Row<'_>> + '_> {
        let from = after.map_or(Bound::Unbounded, |id| match modules {
            true => Bound::Included(id.device.as_str()),
            false => Bound::Excluded(id.device.as_str()),
        });
        let devices = self.devices.range::<str, _>((from, Bound::Unbounded));
        if !modules {
            return Box::new(devices.map(|(name, device)| (Id::device(name), Cow::Owned(device.show_twin(name)))));
        }
        let after = after.cloned();
        let ids = devices.flat_map(|(name, device)| device.modules.keys().map(move |module| (name, device, module)));
        let rows = ids.filter_map(move |(name, device, module)| {
            let id = Id::module(name, module);
            let wanted = after.as_ref().is_none_or(|after| id > *after);
            wanted.then(|| module_row(name, device, module)).flatten().map(|row| (id, Cow::Owned(row)))
        });
        Box::new(rows)
    }
}

fn rows_of(id: &Id, device: &Device) -> Vec<(Id, Value)> {
    let name = id.device.as_str();
    let module = |module: &String| Some((Id::module(name, module), module_row(name, device, module)?));
    match &id.module {
        Some(id) => module(id).into_iter().collect(),
        None => {
            let mut rows = vec![(id.clone(), device.show_twin(name))];
            rows.extend(device.modules.keys().filter_map(module));
            rows
        }
    }
}

/// A query shows capabilities of modules, a twin read does not.
fn module_row(name: &str, device: &Device, module: &str) -> Option<Value> {
    let mut twin = device.modules.get(module)?.show_twin(name, device, module);
    twin["capabilities"] = json!({"iotEdge": false});
    Some(twin)
}
