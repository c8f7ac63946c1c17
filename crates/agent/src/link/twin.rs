//! What is known of the module's twin, and what is to be reported. Pure.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};

/// What has to be done.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Act {
    /// Ask for the whole twin.
    Get { rid: String },
    /// Send reported properties.
    Report { rid: String, patch: Value },
    /// The desired properties are these now.
    Desired(Value),
    /// What was to be reported was refused for good.
    Unreportable { status: u16 },
}

#[derive(Debug)]
pub(super) struct Twin {
    timings: Timings,
    rids: u64,
    desired: Option<(u64, Map<String, Value>)>,
    /// The last read gave an older version than known.
    older_read: bool,
    get: Option<(String, Instant)>,
    get_at: Option<Instant>,
    wanted: Option<Value>,
    reported: Option<Value>,
    sent: Option<(String, Value, Instant)>,
    report_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Timings {
    /// The whole twin is read this often: edgeHub may miss changes.
    pub(super) poll: Duration,
    /// An answer later than that is given up. edgeHub may wait for the cloud this long before it answers.
    pub(super) patience: Duration,
    /// The wait before the next try.
    pub(super) retry: Duration,
}

impl Twin {
    pub(super) fn new(timings: Timings) -> Self {
        Self {
            timings,
            rids: 0,
            desired: None,
            older_read: false,
            get: None,
            get_at: None,
            wanted: None,
            reported: None,
            sent: None,
            report_at: None,
        }
    }

    /// A connection has been made: what was asked on the old one is lost.
    pub(super) fn connected(&mut self, now: Instant) -> Vec<Act> {
        (self.get, self.sent) = (None, None);
        self.get_at = Some(now);
        self.report_at = Some(now);
        self.time_passed(now)
    }

    pub(super) fn want(&mut self, now: Instant, patch: Value) -> Vec<Act> {
        self.wanted = Some(patch);
        self.report_at = Some(now);
        self.time_passed(now)
    }

    /// An answer on `$iothub/twin/res`.
    pub(super) fn answered(&mut self, now: Instant, status: u16, rid: &str, body: &[u8]) -> Vec<Act> {
        if self.get.take_if(|(asked, _)| asked == rid).is_some() {
            return self.got(now, status, body);
        }
        let Some((_, patch, _)) = self.sent.take_if(|(asked, ..)| asked == rid) else { return vec![] };
        match status {
            200..300 => self.reported = Some(patch),
            429 | 500.. => self.report_at = Some(now + self.timings.retry),
            _ => {
                self.reported = Some(patch);
                return vec![Act::Unreportable { status }];
            }
        }
        self.time_passed(now)
    }

    /// A patch of the desired properties.
    pub(super) fn patched(&mut self, now: Instant, body: &[u8]) -> Vec<Act> {
        let patch = serde_json::from_slice::<Map<String, Value>>(body).ok();
        let version = patch.as_ref().and_then(|patch| patch.get("$version")?.as_u64());
        match (&mut self.desired, patch, version) {
            (Some((known, _)), _, Some(version)) if version <= *known => vec![],
            (Some((known, desired)), Some(patch), Some(version)) if version == *known + 1 => {
                *known = version;
                merge(desired, patch);
                vec![Act::Desired(Value::Object(desired.clone()))]
            }
            _ => {
                self.get_at = Some(now);
                self.time_passed(now)
            }
        }
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        let get = self.get.as_ref().map(|(_, by)| *by).or(self.get_at);
        let sent = self.sent.as_ref().map(|(.., by)| *by).or(self.report_at.filter(|_| self.unreported()));
        get.into_iter().chain(sent).min()
    }

    pub(super) fn time_passed(&mut self, now: Instant) -> Vec<Act> {
        if self.get.take_if(|(_, by)| now >= *by).is_some() {
            self.get_at = Some(now);
        }
        if self.sent.take_if(|(.., by)| now >= *by).is_some() {
            self.report_at = Some(now);
        }
        let mut acts = Vec::new();
        if self.get.is_none() && self.get_at.take_if(|at| now >= *at).is_some() {
            let rid = self.rid();
            self.get = Some((rid.clone(), now + self.timings.patience));
            acts.push(Act::Get { rid });
        }
        if self.sent.is_none() && self.unreported() && self.report_at.take_if(|at| now >= *at).is_some() {
            let (rid, patch) = (self.rid(), self.wanted.clone().unwrap_or_default());
            self.sent = Some((rid.clone(), patch.clone(), now + self.timings.patience));
            acts.push(Act::Report { rid, patch });
        }
        acts
    }

    fn unreported(&self) -> bool {
        self.wanted.is_some() && self.wanted != self.reported
    }

    fn got(&mut self, now: Instant, status: u16, body: &[u8]) -> Vec<Act> {
        let twin = (status == 200).then(|| serde_json::from_slice::<Map<String, Value>>(body).ok()).flatten();
        let desired = twin.and_then(|mut twin| match twin.remove("desired") {
            Some(Value::Object(desired)) => Some(desired),
            _ => None,
        });
        let Some(desired) = desired else {
            self.get_at = Some(now + self.timings.retry);
            return vec![];
        };
        self.get_at = Some(now + self.timings.poll);
        let version = desired.get("$version").and_then(Value::as_u64).unwrap_or(0);
        if self.desired.as_ref().is_some_and(|(_, old)| *old == desired) {
            return vec![];
        }
        // An older copy, as edgeHub keeps one, says nothing new; if it is all there is, the twin was made anew.
        let older = self.desired.as_ref().is_some_and(|(known, _)| version < *known);
        if older && !std::mem::replace(&mut self.older_read, older) {
            self.get_at = Some(now + self.timings.retry);
            return vec![];
        }
        self.older_read = false;
        self.desired = Some((version, desired.clone()));
        vec![Act::Desired(Value::Object(desired))]
    }

    fn rid(&mut self) -> String {
        self.rids += 1;
        self.rids.to_string()
    }
}

/// JSON merge patch, as twins do it: null deletes.
fn merge(into: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match (into.get_mut(&name), value) {
            (_, Value::Null) => {
                into.remove(&name);
            }
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, Value::Object(new)) => {
                let mut fresh = Map::new();
                merge(&mut fresh, new);
                into.insert(name, Value::Object(fresh));
            }
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn twin(now: Instant) -> Twin {
        let mut twin = Twin::new(Timings { poll: S * 300, patience: S * 60, retry: S * 5 });
        assert_eq!(twin.connected(now), [Act::Get { rid: "1".into() }]);
        twin
    }

    fn got(twin: &mut Twin, now: Instant, rid: &str, version: u64) -> Vec<Act> {
        let body = json!({"desired": {"a": {"b": 1}, "$version": version}, "reported": {}});
        twin.answered(now, 200, rid, body.to_string().as_bytes())
    }

    fn patch(twin: &mut Twin, now: Instant, patch: Value) -> Vec<Act> {
        twin.patched(now, patch.to_string().as_bytes())
    }

    #[test]
    fn patches_are_merged_while_no_version_is_missing() {
        let now = Instant::now();
        let mut twin = twin(now);
        assert_eq!(got(&mut twin, now, "1", 4).len(), 1);
        assert_eq!(patch(&mut twin, now, json!({"a": {"b": 9}, "$version": 4})), [], "known already");
        let merged = json!({"a": {"b": 1, "c": 2}, "$version": 5});
        assert_eq!(patch(&mut twin, now, json!({"a": {"c": 2}, "$version": 5})), [Act::Desired(merged)]);
        let gap = patch(&mut twin, now, json!({"a": null, "$version": 7}));
        assert_eq!(gap, [Act::Get { rid: "2".into() }]);
        assert_eq!(got(&mut twin, now, "2", 3), [], "an older copy");
        assert_eq!(twin.time_passed(now + S * 5), [Act::Get { rid: "3".into() }]);
        assert_eq!(got(&mut twin, now, "3", 3).len(), 1, "there is no newer one");
    }

    #[test]
    fn nonsense_makes_it_read_the_twin_again() {
        let now = Instant::now();
        let mut twin = twin(now);
        got(&mut twin, now, "1", 4);
        assert_eq!(twin.patched(now, b"}{"), [Act::Get { rid: "2".into() }]);
        assert_eq!(twin.answered(now, 200, "2", b"[]"), []);
        assert_eq!(twin.next_wake(), Some(now + S * 5));
        assert_eq!(twin.answered(now, 200, "99", b"[]"), []);
    }

    #[test]
    fn the_twin_is_read_again_now_and_then() {
        let now = Instant::now();
        let mut twin = twin(now);
        got(&mut twin, now, "1", 4);
        assert_eq!(twin.time_passed(now + S * 299), []);
        assert_eq!(twin.time_passed(now + S * 300), [Act::Get { rid: "2".into() }]);
        assert_eq!(twin.time_passed(now + S * 361), [Act::Get { rid: "3".into() }], "no answer");
    }

    #[test]
    fn reports_are_sent_on_change_and_tried_again() {
        let now = Instant::now();
        let mut twin = twin(now);
        let report = |rid: &str, n| Act::Report { rid: rid.into(), patch: json!(n) };
        assert_eq!(twin.want(now, json!(1)), [report("2", 1)]);
        assert_eq!(twin.want(now, json!(2)), [], "one at a time");
        assert_eq!(twin.answered(now, 204, "2", b""), [report("3", 2)]);
        assert_eq!(twin.answered(now, 429, "3", b""), []);
        assert_eq!(twin.time_passed(now + S * 5), [report("4", 2)]);
        assert_eq!(twin.answered(now, 204, "4", b""), []);
        assert_eq!(twin.want(now, json!(2)), [], "nothing new");
        assert_eq!(twin.want(now, json!(3)), [report("5", 3)]);
        assert!(twin.connected(now).contains(&report("7", 3)));
        assert_eq!(twin.answered(now, 400, "7", b""), [Act::Unreportable { status: 400 }]);
    }

    #[test]
    fn null_deletes_at_every_depth() {
        let mut doc = json!({"a": {"b": 1, "c": 2}}).as_object().cloned().unwrap();
        let patch = json!({"a": {"b": null}, "d": {"e": null, "f": 1}}).as_object().cloned().unwrap();
        merge(&mut doc, patch);
        assert_eq!(Value::Object(doc), json!({"a": {"c": 2}, "d": {"f": 1}}));
    }
}
