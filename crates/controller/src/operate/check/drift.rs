use ha_core::policy::OnDrift;

use super::{Check, Outcome};
use crate::config::PoolConfig;
use crate::hub::chain;
use crate::hub::iot::IotHub;
use crate::operate::drift::{DriftReport, MemberDrift, drift};

pub(super) const CHECK: Check = Check { id: "drift", description: "every member runs the same, and what it is told" };

pub(super) async fn check(hub: &IotHub, pool: &PoolConfig) -> Outcome {
    if pool.policy.on_drift == OnDrift::Ignore {
        return Outcome::NotApplicable { because: "policy.drift is \"ignore\"".to_owned() };
    }
    match drift(hub, pool).await {
        Ok(report) if report.has_drift() => {
            Outcome::warning(said(&report), format!("`iotedge-ha drift {}` shows how", pool.name))
        }
        Ok(report) if report.members.iter().all(|member| member.told.is_none()) => {
            Outcome::NotApplicable { because: "no deployment tells the members what to run".to_owned() }
        }
        Ok(_) => Outcome::ok("they do"),
        Err(error) => Outcome::warning(chain(&error), "give the policy registry read and service connect"),
    }
}

fn said(report: &DriftReport) -> String {
    let drifted = report.members.iter().filter(|member| member.has_drift());
    drifted.map(one).collect::<Vec<_>>().join("; ")
}

fn one(member: &MemberDrift) -> String {
    let name = &member.member;
    match (&member.unread, &member.astray, member.differences.first()) {
        (Some(why), _, _) => format!("{name}: {why}"),
        (_, Some(astray), _) => format!("{name} does not run what it is told: {astray}"),
        (_, _, Some(first)) => {
            let count = member.differences.len();
            format!("{name} differs in {count} settings, the first is {} {}", first.module, first.key)
        }
        _ => format!("{name} differs"),
    }
}
