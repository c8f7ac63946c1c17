//! A copy of one twin: it answers while the cloud is away, and keeps what is to be reported.

use std::time::{Duration, Instant};

use ha_wire::Map;
use ha_wire::twin::merge;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::patch::{combine, difference};

/// A copy of the desired and reported properties, and the reports that have not arrived yet.
#[derive(Debug, Default)]
pub(crate) struct TwinCopy {
    stored: Option<(Map, Map)>,
    read_at: Option<Instant>,
    unsent: Map,
    sending: Option<Sending>,
    send_at: Option<Instant>,
    /// What is here differs from what was last kept.
    unkept: bool,
}

/// What outlives the process: the copy, if there is one, and the reports that have not arrived.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    copy: Option<(Map, Map)>,
    unsent: Map,
}

#[derive(Debug)]
struct Sending {
    rid: String,
    patch: Map,
    until: Instant,
}

impl TwinCopy {
    /// The body of an answer to GET. Without a copy it is empty, as edgeHub has it.
    pub(crate) fn body(&self) -> Value {
        let (desired, mut reported) = self.stored.clone().unwrap_or_default();
        if let Some(sending) = &self.sending {
            merge(&mut reported, &sending.patch);
        }
        merge(&mut reported, &self.unsent);
        json!({"desired": desired, "reported": reported})
    }

    /// The twin of an earlier life; what it had not sent goes `delay` from here, before what was reported since.
    pub(crate) fn restore(&mut self, kept: Kept, now: Instant, delay: Duration) {
        let later = std::mem::replace(&mut self.unsent, kept.unsent);
        combine(&mut self.unsent, later);
        self.stored = kept.copy;
        if !self.unsent.is_empty() {
            self.send_at.get_or_insert(now + delay);
        }
    }

    /// What is to be kept, if that has changed since it was last asked for.
    pub(crate) fn take_unkept(&mut self) -> Option<Kept> {
        std::mem::take(&mut self.unkept).then(|| {
            let mut unsent = self.sending.as_ref().map(|sending| sending.patch.clone()).unwrap_or_default();
            combine(&mut unsent, self.unsent.clone());
            Kept { copy: self.stored.clone(), unsent }
        })
    }

    /// The desired properties, if they were ever read.
    pub(crate) fn desired(&self) -> Option<&Map> {
        self.stored.as_ref().map(|(desired, _)| desired)
    }

    /// The reported properties as the cloud had them.
    pub(crate) fn reported(&self) -> Option<&Map> {
        self.stored.as_ref().map(|(_, reported)| reported)
    }

    /// Whether a reconnect is reason to read the twin anew: there is a copy, of an earlier life or of this age.
    pub(crate) fn is_stale(&self, now: Instant, age: Duration) -> bool {
        self.stored.is_some() && self.read_at.is_none_or(|at| now.saturating_duration_since(at) >= age)
    }

    /// Takes in what the cloud holds. Answers with the patch to the desired properties, if there was a copy and it differs.
    pub(crate) fn read(&mut self, now: Instant, body: &[u8]) -> Option<Map> {
        let mut twin: Map = serde_json::from_slice(body).ok()?;
        let mut section = |name| match twin.remove(name) {
            Some(Value::Object(section)) => section,
            _ => Map::new(),
        };
        let (desired, reported) = (section("desired"), section("reported"));
        self.read_at = Some(now);
        self.unkept = true;
        let before = self.stored.replace((desired.clone(), reported));
        let patch = difference(&before?.0, &desired);
        (!patch.is_empty()).then_some(patch)
    }

    /// Takes in a change of the desired properties; the first one begins a copy. Answers false if it is no news.
    pub(crate) fn changed(&mut self, patch: &Map) -> bool {
        let (desired, _) = self.stored.get_or_insert_default();
        let version = |map: &Map| map.get("$version").and_then(Value::as_u64).unwrap_or(0);
        if version(patch) <= version(desired) {
            return false;
        }
        merge(desired, patch);
        self.unkept = true;
        true
    }

    /// Keeps a report for the cloud; it goes `delay` from here, or with one that goes before.
    pub(crate) fn report(&mut self, now: Instant, patch: Map, delay: Duration) {
        combine(&mut self.unsent, patch);
        self.unkept = true;
        self.send_at.get_or_insert(now + delay);
    }

    /// Whether something waits for the cloud.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || self.sending.is_some()
    }

    /// The report that is due, under way until `patience` has passed.
    pub(crate) fn send(&mut self, now: Instant, rid: &str, patience: Duration) -> Option<Map> {
        if self.sending.is_some() || self.unsent.is_empty() || self.send_at.is_none_or(|at| now < at) {
            return None;
        }
        let patch = std::mem::take(&mut self.unsent);
        self.sending = Some(Sending { rid: rid.to_owned(), patch: patch.clone(), until: now + patience });
        self.send_at = None;
        Some(patch)
    }

    /// The answer to a report. Answers false if it was to another request. What failed for now is kept.
    pub(crate) fn sent(&mut self, now: Instant, rid: &str, status: u16, retry: Duration) -> bool {
        let Some(sending) = self.sending.take_if(|sending| sending.rid == rid) else {
            return false;
        };
        self.unkept = true;
        match status {
            200..300 => {
                let (_, reported) = self.stored.get_or_insert_default();
                merge(reported, &sending.patch);
                self.send_at = (!self.unsent.is_empty()).then_some(now + retry);
            }
            429 | 500.. => self.put_back(now, sending.patch, retry),
            _ => {
                tracing::warn!(status, "the hub refuses a report; it is dropped");
                self.send_at = (!self.unsent.is_empty()).then_some(now + retry);
            }
        }
        true
    }

    /// The connection is gone, and with it the answer.
    pub(crate) fn lost(&mut self, now: Instant, retry: Duration) {
        if let Some(sending) = self.sending.take() {
            self.put_back(now, sending.patch, retry);
        }
    }

    /// Gives up waiting for an answer whose time is over.
    pub(crate) fn time_passed(&mut self, now: Instant, retry: Duration) {
        if self.sending.as_ref().is_some_and(|sending| now >= sending.until) {
            self.lost(now, retry);
        }
    }

    pub(crate) fn next_wake(&self, up: bool) -> Option<Instant> {
        match &self.sending {
            Some(sending) => Some(sending.until),
            None => self.send_at.filter(|_| up && !self.unsent.is_empty()),
        }
    }

    fn put_back(&mut self, now: Instant, patch: Map, retry: Duration) {
        let later = std::mem::replace(&mut self.unsent, patch);
        combine(&mut self.unsent, later);
        self.send_at = Some(now + retry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn map(value: Value) -> Map {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn without_a_copy_the_twin_is_empty() {
        assert_eq!(TwinCopy::default().body(), json!({"desired": {}, "reported": {}}));
    }

    #[test]
    fn a_restart_loses_neither_the_copy_nor_what_was_reported() {
        let now = Instant::now();
        let mut twin = TwinCopy::default();
        assert_eq!(twin.take_unkept(), None);
        twin.read(now, br#"{"desired":{"a":1,"$version":1},"reported":{"$version":1}}"#);
        twin.report(now, map(json!({"b": 1, "c": 1})), S);
        twin.send(now + S, "1", S * 20).expect("a report");
        twin.report(now + S, map(json!({"c": null})), S);
        let kept = serde_json::to_string(&twin.take_unkept().expect("news")).expect("JSON");
        assert_eq!(twin.take_unkept(), None, "nothing has changed since");

        let mut later = TwinCopy::default();
        later.restore(serde_json::from_str(&kept).expect("read"), now, S);
        assert_eq!(later.body(), json!({"desired": {"a": 1, "$version": 1}, "reported": {"$version": 1, "b": 1}}));
        assert!(later.is_stale(now, S * 120), "nobody knows how old it is");
        assert_eq!(later.send(now + S, "1", S * 20), Some(map(json!({"b": 1, "c": null}))));
        assert!(later.sent(now + S, "1", 204, S));
        assert_eq!(later.take_unkept().expect("news").unsent, Map::new());
    }

    #[test]
    fn a_report_survives_a_lost_connection_in_order() {
        let now = Instant::now();
        let mut twin = TwinCopy::default();
        twin.read(now, br#"{"desired":{"$version":1},"reported":{"a":0,"$version":1}}"#);
        twin.report(now, map(json!({"a": 1, "b": 1})), S * 5);
        assert_eq!(twin.send(now, "1", S * 20), None, "not yet");
        assert_eq!(twin.send(now + S * 5, "1", S * 20), Some(map(json!({"a": 1, "b": 1}))));
        twin.report(now + S * 6, map(json!({"a": 2, "b": null})), S * 5);
        assert_eq!(twin.body()["reported"], json!({"a": 2, "$version": 1}));
        twin.lost(now + S * 7, S * 5);
        assert_eq!(twin.send(now + S * 12, "2", S * 20), Some(map(json!({"a": 2, "b": null}))));
        assert!(twin.sent(now + S * 13, "2", 204, S * 5));
        assert!(!twin.has_unsent());
    }

    #[test]
    fn a_refused_report_is_dropped_and_a_throttled_one_kept() {
        let now = Instant::now();
        let mut twin = TwinCopy::default();
        for (status, kept) in [(429, true), (503, true), (400, false)] {
            twin.report(now, map(json!({"a": 1})), Duration::ZERO);
            assert!(twin.send(now + S * 60, "r", S).is_some());
            assert!(twin.sent(now, "r", status, S));
            assert_eq!(twin.has_unsent(), kept, "{status}");
        }
    }

    #[test]
    fn an_older_change_is_no_news_and_a_reading_tells_the_difference() {
        let now = Instant::now();
        let mut twin = TwinCopy::default();
        assert_eq!(twin.read(now, br#"{"desired":{"a":1,"$version":3},"reported":{}}"#), None, "there was no copy");
        assert!(!twin.changed(&map(json!({"a": 9, "$version": 3}))));
        assert!(twin.changed(&map(json!({"a": 2, "$version": 4}))));
        let patch = twin.read(now, br#"{"desired":{"b":1,"$version":6},"reported":{}}"#);
        assert_eq!(patch, Some(map(json!({"b": 1, "$version": 6, "a": null}))));
        assert!(twin.is_stale(now + S * 120, S * 120) && !twin.is_stale(now + S * 119, S * 120));
    }
}
