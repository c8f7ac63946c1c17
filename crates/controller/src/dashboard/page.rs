use std::time::Duration;

use askama::Template;
use ha_core::time::Millis;

use super::look::{ChargeLook, Look, PoolLook};
use crate::operate::when;

/// The page. It loads itself again; there is no script.
#[derive(Template)]
#[template(path = "dashboard.html")]
pub(super) struct Page<'a> {
    look: &'a Look,
    period_s: u64,
}

impl<'a> Page<'a> {
    pub(super) fn of(look: &'a Look, period: Duration) -> Self {
        Self { look, period_s: period.as_secs() }
    }
}

impl Look {
    fn when(&self) -> String {
        when(self.at)
    }

    fn charge(&self) -> String {
        match &self.charge {
            ChargeLook::Held { owner, epoch, silent: false, .. } => format!("{owner} is in charge (charge {epoch})"),
            ChargeLook::Held { owner, epoch, unchanged_ms, silent: true } => {
                let silent = Millis(*unchanged_ms);
                format!("No controller is seen to work: {owner} (charge {epoch}) has written nothing for {silent}")
            }
            ChargeLook::Vacant => "No controller is in charge".to_owned(),
            ChargeLook::Unknown { why } => format!("Who is in charge is unknown: {why}"),
        }
    }
}

impl PoolLook {
    /// That what is shown is old, if it is.
    fn stale(&self) -> Option<String> {
        let trouble = self.trouble.as_ref()?;
        Some(match self.known_at {
            Some(at) => format!("known as of {}: it cannot be asked now, {trouble}", when(at)),
            None => format!("it cannot be asked: {trouble}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use ha_core::ids::{ControllerId, Epoch, MemberId, Term};
    use ha_core::seen::Evidence;
    use ha_core::time::WallTime;

    use super::*;
    use crate::operate::{MemberReport, PoolReport};

    fn member(name: &str, fenced: bool) -> MemberReport {
        MemberReport {
            member: MemberId::new(name),
            role: "active",
            state: Some("active"),
            term: fenced.then_some(Term(7)),
            fenced,
            lease_left_ms: fenced.then_some(11_900),
            age_ms: Some(40),
            fit: true,
            why: "fit; the workload runs".to_owned(),
            drift: None,
            evidence: Evidence::default(),
        }
    }

    fn pool(name: &str, member: MemberReport) -> PoolLook {
        let report = PoolReport {
            pool: name.parse().expect("a pool's name"),
            holder: Some(member.member.clone()),
            term: Term(7),
            since: Some(WallTime(1_700_000_000_000)),
            paused_by: Some("<b>eve</b>".to_owned()),
            status: None,
            requests: 0,
            last_change: None,
            followers: Vec::new(),
            members: vec![member],
        };
        let known_at = Some(WallTime(1_700_000_100_000));
        PoolLook { pool: report.pool.clone(), trouble: None, report: Some(report), known_at }
    }

    fn html() -> String {
        let mut lost = pool("line_2", member("edge-x", true));
        lost.trouble = Some("IoT Hub cannot be reached".to_owned());
        let owner = ControllerId::new("site-a");
        let look = Look {
            hub: "hub.example".to_owned(),
            at: WallTime(1_700_000_200_000),
            charge: ChargeLook::Held { owner, epoch: Epoch(3), unchanged_ms: 0, silent: false },
            pools: vec![pool("press_1", member("edge-a", false)), lost],
        };
        Page::of(&look, Duration::from_secs(5)).render().expect("it can be made")
    }

    #[test]
    fn it_tells_what_is_not_fenced_and_what_is_old() {
        let html = html();
        for said in [
            "<td>not fenced</td>",
            "not fenced, a device that is cut off may go on beside the active one",
            "site-a is in charge (charge 3)",
            "known as of 2023-11-14T22:15:00Z: it cannot be asked now, IoT Hub cannot be reached",
            "<td>11.9 s</td>",
            "content=\"5\"",
        ] {
            assert!(html.contains(said), "{said}\n{html}");
        }
        assert_eq!(html.matches("not fenced, a device").count(), 1, "a pool with leases is not called that");
    }

    #[test]
    fn what_people_wrote_is_text() {
        assert!(!html().contains("<b>eve"));
    }
}
