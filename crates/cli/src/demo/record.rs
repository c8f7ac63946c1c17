//! What the plant wrote down, and what follows from it. No clock and no sockets: instants are milliseconds handed in.

use std::collections::BTreeMap;

use serde::Serialize;

/// An instant or a span on the plant's own clock, in milliseconds.
pub(crate) type Ms = f64;

/// One piece of advice as it arrived at the plant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Write {
    pub(crate) at: Ms,
    pub(crate) device: String,
    pub(crate) term: u64,
    pub(crate) value: f64,
}

/// A device under a term, from its first write to its last. Silences within are part of it, so that a write that comes late
/// counts against the whole time since the one before.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Activity {
    pub(crate) device: String,
    pub(crate) term: u64,
    pub(crate) first: Ms,
    pub(crate) last: Ms,
    pub(crate) writes: u64,
}

/// The activities in the order in which they began.
pub(crate) fn activities(writes: &[Write]) -> Vec<Activity> {
    let mut by_holder: BTreeMap<(&str, u64), Activity> = BTreeMap::new();
    for write in writes {
        by_holder
            .entry((&write.device, write.term))
            .and_modify(|activity| {
                activity.first = activity.first.min(write.at);
                activity.last = activity.last.max(write.at);
                activity.writes += 1;
            })
            .or_insert_with(|| Activity {
                device: write.device.clone(),
                term: write.term,
                first: write.at,
                last: write.at,
                writes: 1,
            });
    }
    let mut found: Vec<_> = by_holder.into_values().collect();
    found.sort_by(|a, b| a.first.total_cmp(&b.first));
    found
}

/// For how long two or more were active at once.
pub(crate) fn overlap(activities: &[Activity]) -> Ms {
    let mut edges: Vec<(Ms, i32)> = Vec::with_capacity(activities.len() * 2);
    for activity in activities {
        edges.push((activity.first, 1));
        edges.push((activity.last, -1));
    }
    // At the same instant ends come first: who stops and who starts then do not overlap.
    edges.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let (mut active, mut since, mut total) = (0, 0.0, 0.0);
    for (at, change) in edges {
        if active >= 2 {
            total += at - since;
        }
        active += change;
        since = at;
    }
    total
}

/// How the work went from one to the next after a fault.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Handover {
    pub(crate) to: String,
    pub(crate) term: u64,
    /// From the fault to the new holder's first write.
    pub(crate) failover: Ms,
    /// From the old holder's last write to the new holder's first.
    pub(crate) gap: Ms,
    /// From the fault to the old holder's last write.
    pub(crate) stopped: Ms,
}

/// What followed a fault at `fault` that befell whoever was active under `term`; `None` while nobody has followed.
pub(crate) fn handover(activities: &[Activity], term: u64, fault: Ms) -> Option<Handover> {
    let old = activities.iter().find(|activity| activity.term == term)?;
    let new = activities.iter().find(|activity| activity.term > term && activity.first >= fault)?;
    Some(Handover {
        to: new.device.clone(),
        term: new.term,
        failover: new.first - fault,
        gap: (new.first - old.last).max(0.0),
        stopped: (old.last - fault).max(0.0),
    })
}

/// The longest time between two writes, whoever made them, from `from` on; `until` ends the last one.
pub(crate) fn longest_silence(writes: &[Write], from: Ms, until: Ms) -> Ms {
    let mut last = from;
    let mut longest: Ms = 0.0;
    for write in writes.iter().filter(|write| write.at >= from && write.at <= until) {
        longest = longest.max(write.at - last);
        last = write.at;
    }
    longest.max(until - last)
}

/// Terms must grow from one activity to the next, and a term belongs to one device; says what does not hold.
pub(crate) fn broken_terms(activities: &[Activity]) -> Option<String> {
    activities.windows(2).find_map(|pair| {
        let (before, after) = (&pair[0], &pair[1]);
        (after.term <= before.term).then(|| {
            format!(
                "{} began to write with term {} after {} had with term {}",
                after.device, after.term, before.device, before.term
            )
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a1@0,10,20 b2@30`: device a, term 1, at 0, 10 and 20 ms; then device b, term 2, at 30 ms.
    fn writes(text: &str) -> Vec<Write> {
        let mut found = Vec::new();
        for holder in text.split_whitespace() {
            let (who, times) = holder.split_once('@').unwrap();
            for at in times.split(',') {
                found.push(Write {
                    at: at.parse().unwrap(),
                    device: who[..1].to_owned(),
                    term: who[1..].parse().unwrap(),
                    value: 0.0,
                });
            }
        }
        found.sort_by(|a, b| a.at.total_cmp(&b.at));
        found
    }

    fn overlap_of(text: &str) -> Ms {
        overlap(&activities(&writes(text)))
    }

    #[test]
    fn those_who_follow_each_other_do_not_overlap() {
        assert_eq!(overlap_of("a1@0,10,20 b2@30,40"), 0.0);
        assert_eq!(overlap_of("a1@0,10,20 b2@20,40"), 0.0);
        assert_eq!(overlap_of("a1@0"), 0.0);
        assert_eq!(overlap_of(""), 0.0);
    }

    #[test]
    fn a_single_late_write_counts_against_the_whole_time() {
        assert_eq!(overlap_of("a1@0,10,200 b2@30,100,300"), 170.0);
    }

    #[test]
    fn three_at_once_count_once() {
        assert_eq!(overlap_of("a1@0,100 b2@50,150 c3@60,120"), 70.0);
    }

    #[test]
    fn the_same_device_under_two_terms_overlaps_too() {
        assert_eq!(overlap_of("a1@0,40 a2@30,50"), 10.0);
    }

    #[test]
    fn a_handover_is_measured_from_the_fault() {
        let activities = activities(&writes("a1@0,10,20,30 b2@2030,2040"));
        let found = handover(&activities, 1, 25.0).unwrap();
        assert_eq!((found.to.as_str(), found.term), ("b", 2));
        assert_eq!((found.failover, found.gap, found.stopped), (2005.0, 2000.0, 5.0));
        assert_eq!(handover(&activities, 2, 2050.0), None);
    }

    #[test]
    fn silence_includes_both_ends() {
        let writes = writes("a1@100,110,120 b2@150");
        assert_eq!(longest_silence(&writes, 95.0, 155.0), 30.0);
        assert_eq!(longest_silence(&writes, 0.0, 155.0), 100.0);
        assert_eq!(longest_silence(&writes, 100.0, 500.0), 350.0);
    }

    #[test]
    fn terms_that_go_back_or_stand_still_are_told() {
        let told = |text| broken_terms(&activities(&writes(text)));
        assert_eq!(told("a1@0 b2@10 a4@20"), None);
        assert_eq!(told("a3@0 b2@10").unwrap(), "b began to write with term 2 after a had with term 3");
        assert!(told("a3@0 b3@10").is_some());
    }
}
