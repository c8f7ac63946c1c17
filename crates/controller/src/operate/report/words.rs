//! What a report says to people, alike on the command line and on the dashboard.

use ha_core::time::{Millis, WallTime};

use super::{FollowerReport, MemberReport, PoolReport};

impl PoolReport {
    /// What an operator should know of the pool beside its members, most urgent first.
    pub fn notes(&self) -> Vec<String> {
        let nobody = self.holder.is_none().then(|| "nobody holds".to_owned());
        let unfenced = self.members.iter().any(|member| !member.fenced);
        let unfenced =
            unfenced.then(|| "not fenced, a device that is cut off may go on beside the active one".to_owned());
        let paused = self.paused_by.as_ref().map(|by| format!("paused by {by}"));
        let behind = self.followers.iter().filter(|follower| follower.behind).map(|follower| self.left_to_do(follower));
        let open = (self.requests > 0).then(|| format!("{} requests wait for a controller", self.requests));
        let first = nobody.into_iter().chain(unfenced).chain(paused).chain(self.status.clone());
        first.chain(behind).chain(open).collect()
    }

    fn left_to_do(&self, follower: &FollowerReport) -> String {
        let through =
            follower.through.map_or_else(|| "never done".to_owned(), |term| format!("done through term {term}"));
        let after = Millis(follower.behind_ms.unwrap_or_default());
        format!("{} is left to do for term {} ({through}), {after} after the change", follower.follower, self.term)
    }
}

impl MemberReport {
    /// How long its lease lasts, or that it has none and why.
    pub fn lease(&self) -> String {
        match self.lease_left_ms {
            _ if !self.fenced => "not fenced".to_owned(),
            Some(ms) => Millis(ms).to_string(),
            None => "-".to_owned(),
        }
    }

    /// What speaks against it or how it is, and how it differs from the rest.
    pub fn why_and_drift(&self) -> String {
        match &self.drift {
            Some(drift) if self.fit => format!("{}; {drift}", self.why),
            _ => self.why.clone(),
        }
    }
}

/// A wall-clock instant.
pub fn when(at: WallTime) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| "unknown".to_owned(), |at| format!("{at:.0}"))
}
