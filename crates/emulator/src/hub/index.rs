//! What queries see: the twins as they are, or as they were some while ago.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::query::{Query, Source};
use super::refusal::Refusal;
use super::{Hub, Id};

/// A copy of the twins that trails their changes by `lag`.
#[derive(Debug, Default)]
pub(super) struct Index {
    lag: SignedDuration,
    seen: BTreeMap<Id, Value>,
    pending: VecDeque<(Timestamp, Id)>,
}

/// One page of a query's result.
#[derive(Debug, Clone)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Value>,
    /// `Twin`, `Raw` or `DeviceJob`.
    pub item_type: &'static str,
    /// Present when there is more.
    pub continuation: Option<String>,
}

/// The most rows of one page.
pub const PAGE_MAX: usize = 100;

impl Index {
    /// An index that shows a change `lag` after it was made; zero shows everything at once.
    pub(super) fn new(lag: SignedDuration) -> Self {
        Self { lag, ..Self::default() }
    }

    pub(super) fn note(&mut self, id: &Id, now: Timestamp) {
        if self.lag > SignedDuration::ZERO {
            let due = now.checked_add(self.lag).unwrap_or(now);
            self.pending.push_back((due, id.clone()));
        }
    }
}

impl Hub {
    /// Runs a query; `continuation` is what an earlier page of the same query returned.
    pub fn query(
        &mut self,
        text: &str,
        page: usize,
        continuation: Option<&str>,
        now: Timestamp,
    ) -> Result<Page, Refusal> {
        let query = Query::parse(text).map_err(|e| {
            tracing::debug!(error = %e, "a query was refused");
            Refusal::argument("BadRequest")
        })?;
        let place = Place::read(continuation)?;
        let rows = self.rows(query.source, now);
        let admitted = rows.into_iter().filter(|(_, row)| query.admits(row));
        if query.is_aggregate() {
            let rows: Vec<Value> = admitted.map(|(_, row)| row).collect();
            return Ok(Page { rows: query.fold(&rows), item_type: "Raw", continuation: None });
        }
        let page = page.clamp(1, PAGE_MAX);
        let left = query.top.unwrap_or(usize::MAX).saturating_sub(place.given);
        let mut rest = admitted.filter(|(id, _)| place.after.as_ref().is_none_or(|a| id > a));
        let taken: Vec<(Id, Value)> = rest.by_ref().take(page.min(left)).collect();
        let more = left > taken.len() && rest.next().is_some();
        let continuation = taken.last().filter(|_| more).map(|(id, _)| {
            let place = Place { after: Some(id.clone()), given: place.given + taken.len() };
            place.write()
        });
        Ok(Page {
            rows: taken.into_iter().map(|(_, row)| query.project(row)).collect(),
            item_type: match query.source {
                Source::Jobs => "DeviceJob",
                _ if query.is_whole() => "Twin",
                _ => "Raw",
            },
            continuation,
        })
    }

    fn rows(&mut self, source: Source, now: Timestamp) -> Vec<(Id, Value)> {
        let modules = match source {
            Source::Devices => false,
            Source::Modules => true,
            Source::Jobs => return Vec::new(),
        };
        if self.index.lag <= SignedDuration::ZERO {
            return self.live_rows(modules);
        }
        self.catch_up(now);
        let wanted = self.index.seen.iter();
        wanted.filter(|(id, _)| id.module.is_some() == modules).map(|(id, row)| (id.clone(), row.clone())).collect()
    }

    fn live_rows(&self, modules: bool) -> Vec<(Id, Value)> {
        let mut rows = Vec::new();
        for (name, device) in &self.devices {
            if !modules {
                rows.push((Id::device(name), device.show_twin(name)));
                continue;
            }
            for (module_name, module) in &device.modules {
                let row = module_row(module.show_twin(name, device, module_name));
                rows.push((Id::module(name, module_name), row));
            }
        }
        rows
    }

    fn catch_up(&mut self, now: Timestamp) {
        while let Some((due, _)) = self.index.pending.front() {
            if *due > now {
                return;
            }
            let Some((_, id)) = self.index.pending.pop_front() else {
                return;
            };
            self.refresh(&id);
        }
    }

    /// A device's fate is its modules' fate.
    fn refresh(&mut self, id: &Id) {
        if id.module.is_none() {
            self.index.seen.retain(|seen, _| seen.device != id.device);
            let Some(device) = self.devices.get(&id.device) else {
                return;
            };
            for (name, module) in &device.modules {
                let row = module_row(module.show_twin(&id.device, device, name));
                self.index.seen.insert(Id::module(&id.device, name), row);
            }
        }
        match self.twin(id) {
            Ok(row) if id.module.is_some() => self.index.seen.insert(id.clone(), module_row(row)),
            Ok(row) => self.index.seen.insert(id.clone(), row),
            Err(_) => self.index.seen.remove(id),
        };
    }
}

/// A query shows capabilities of modules, a twin read does not.
fn module_row(mut twin: Value) -> Value {
    twin["capabilities"] = json!({"iotEdge": false});
    twin
}

#[derive(Debug, Default)]
struct Place {
    after: Option<Id>,
    given: usize,
}

impl Place {
    fn read(token: Option<&str>) -> Result<Self, Refusal> {
        use base64::Engine as _;
        let Some(token) = token else {
            return Ok(Self::default());
        };
        let bad = || Refusal::argument("not a continuation token of this hub");
        let bytes = base64::engine::general_purpose::URL_SAFE.decode(token).map_err(|_| bad())?;
        let (after, given) = serde_json::from_slice(&bytes).map_err(|_| bad())?;
        Ok(Self { after, given })
    }

    fn write(&self) -> String {
        use base64::Engine as _;
        let text = json!([self.after, self.given]).to_string();
        base64::engine::general_purpose::URL_SAFE.encode(text)
    }
}
