use std::collections::BTreeMap;

use ha_core::messages::Workload;

use crate::probe::{Opinion, ProbeSettings, When};

/// What is known of the workload: its process, and what the probes say.
#[derive(Debug)]
pub(super) struct Wellness {
    kinds: Vec<When>,
    /// The probes that fail, by their place.
    failing: BTreeMap<usize, String>,
    ended: Option<String>,
}

impl Wellness {
    pub(super) fn new(probes: &[ProbeSettings]) -> Self {
        Self { kinds: probes.iter().map(|probe| probe.when).collect(), failing: BTreeMap::new(), ended: None }
    }

    pub(super) fn heard(&mut self, Opinion { probe, failing }: Opinion) {
        match failing {
            Some(why) => self.failing.insert(probe, why),
            None => self.failing.remove(&probe),
        };
    }

    pub(super) fn started(&mut self) {
        self.ended = None;
    }

    pub(super) fn ended(&mut self, how: &str) {
        self.ended = Some(format!("the workload ended {how}"));
    }

    /// What was said while it ran says nothing about the next run.
    pub(super) fn stopped(&mut self) {
        self.ended = None;
        let kinds = &self.kinds;
        self.failing.retain(|probe, _| kinds.get(*probe) == Some(&When::Standby));
    }

    pub(super) fn workload(&self, active: bool) -> Workload {
        let when = if active { When::Active } else { When::Standby };
        let mut failing = self.failing.iter().filter(|(probe, _)| self.kinds.get(**probe) == Some(&when));
        match (active, &self.ended, failing.next()) {
            (true, Some(how), _) => Workload::Failing(how.clone()),
            (true, None, Some((_, why))) => Workload::Failing(why.clone()),
            (true, None, None) => Workload::Running,
            (false, _, Some((_, why))) => Workload::Unready(why.clone()),
            (false, _, None) => Workload::Ready,
        }
    }
}

/// The words for it in logs and answers to people.
pub(super) fn sentence(workload: &Workload) -> String {
    match workload {
        Workload::Unknown => "unknown".to_owned(),
        Workload::Ready => "ready to be started".to_owned(),
        Workload::Running => "running".to_owned(),
        Workload::Unready(why) => format!("not ready: {why}"),
        Workload::Failing(why) => format!("failing: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::probe::ProbeKind;

    fn probe(when: When) -> ProbeSettings {
        let kind = ProbeKind::Tcp { address: String::new() };
        let second = Duration::from_secs(1);
        ProbeSettings { name: None, kind, when, interval: second, timeout: second, failures_max: 1 }
    }

    fn says(probe: usize, why: Option<&str>) -> Opinion {
        Opinion { probe, failing: why.map(str::to_owned) }
    }

    #[test]
    fn each_probe_counts_while_its_time_is() {
        let mut wellness = Wellness::new(&[probe(When::Active), probe(When::Standby)]);
        assert_eq!(wellness.workload(false), Workload::Ready);
        wellness.heard(says(1, Some("no plant")));
        assert_eq!(wellness.workload(false), Workload::Unready("no plant".to_owned()));
        assert_eq!(wellness.workload(true), Workload::Running);
        wellness.heard(says(0, Some("no answer")));
        assert_eq!(wellness.workload(true), Workload::Failing("no answer".to_owned()));
        wellness.ended("with code 3");
        assert_eq!(wellness.workload(true), Workload::Failing("the workload ended with code 3".to_owned()));
        wellness.stopped();
        assert_eq!(wellness.workload(true), Workload::Running);
        assert_eq!(wellness.workload(false), Workload::Unready("no plant".to_owned()));
        wellness.heard(says(1, None));
        assert_eq!(wellness.workload(false), Workload::Ready);
    }
}
