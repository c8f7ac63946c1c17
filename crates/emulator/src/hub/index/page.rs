//! A query's result, page by page.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::query::{Query, Source};
use super::super::refusal::Refusal;
use super::super::{Hub, Id};

/// One page of a result.
#[derive(Debug, Clone)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Value>,
    /// `Twin`, `Raw`, `DeviceJob` or `JobResponse`.
    pub item_type: &'static str,
    /// Present when there is more.
    pub continuation: Option<String>,
}

/// The most rows of one page.
pub const PAGE_MAX: usize = 100;

/// Where the next page begins. Rows come in the order of their ids, so writes between two pages neither repeat a row
/// nor hide one.
#[derive(Debug, Default, Hash)]
pub(in super::super) struct Place {
    /// The last row given.
    pub after: Option<Id>,
    /// How many rows were given.
    pub given: usize,
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
        // The real hub says no more than that.
        let query = Query::parse(text).map_err(|e| Refusal::argument("BadRequest").because(e.to_string()))?;
        let place = Place::read(continuation, text)?;
        self.settle_index(now);
        let top = query.top.unwrap_or(usize::MAX);
        if query.is_aggregate() {
            let admitted = self.rows(query.source, None).map(|(_, row)| row.into_owned());
            let rows: Vec<Value> = admitted.filter(|row| query.admits(row)).collect();
            let groups = query.fold(&rows).into_iter().take(top).skip(place.given);
            return Ok(page_of(groups.map(|row| (None, row)), page, &place, "Raw", text));
        }
        let admitted = self.rows(query.source, place.after.as_ref()).filter(|(_, row)| query.admits(row));
        let rows = admitted.take(top.saturating_sub(place.given));
        let item_type = match query.source {
            Source::Jobs => "DeviceJob",
            _ if query.is_whole() => "Twin",
            _ => "Raw",
        };
        let rows = rows.map(|(id, row)| (Some(id), query.project(Cow::into_owned(row))));
        Ok(page_of(rows, page, &place, item_type, text))
    }
}

/// The first `page` of these rows, and where to go on; `text` is what the continuation is good for.
pub(in super::super) fn page_of(
    mut rows: impl Iterator<Item = (Option<Id>, Value)>,
    page: usize,
    place: &Place,
    item_type: &'static str,
    text: &str,
) -> Page {
    let taken: Vec<(Option<Id>, Value)> = rows.by_ref().take(page.clamp(1, PAGE_MAX)).collect();
    let given = place.given.saturating_add(taken.len());
    let more = rows.next().is_some();
    let last = taken.last().filter(|_| more).map(|(id, _)| Place { after: id.clone(), given });
    let continuation = last.map(|place| place.write(text));
    Page { rows: taken.into_iter().map(|(_, row)| row).collect(), item_type, continuation }
}

impl Place {
    /// Reads a continuation token of the same query; one of another query, or one made up, is refused.
    pub(in super::super) fn read(token: Option<&str>, text: &str) -> Result<Self, Refusal> {
        let Some(token) = token else {
            return Ok(Self::default());
        };
        let bytes = URL_SAFE_NO_PAD.decode(token).ok();
        let parsed = bytes.and_then(|bytes| serde_json::from_slice::<(Option<Id>, usize, u64)>(&bytes).ok());
        let place = parsed.map(|(after, given, sum)| (Self { after, given }, sum));
        let fits = place.filter(|(place, sum)| place.checksum(text) == *sum);
        fits.map(|(place, _)| place)
            .ok_or_else(|| Refusal::argument("x-ms-continuation is not a token that this query was given"))
    }

    fn write(&self, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(json!([self.after, self.given, self.checksum(text)]).to_string())
    }

    fn checksum(&self, text: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self, text).hash(&mut hasher);
        hasher.finish()
    }
}
