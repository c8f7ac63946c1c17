//! How far each member is with a release, by its twins and never by a query.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use ha_core::ids::MemberId;
use ha_deployment::{Applied, Cause, EDGE_AGENT, EDGE_HUB, Manifest, Member, Runs, Uptake, cause, diff::diff};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use super::{Event, Release};
use crate::hub::iot::IotHub;
use crate::hub::{Error, chain};
use crate::operate::drift::read_member;

/// How often members' twins are read.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How far a member is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "said")]
pub enum Progress {
    /// On its way: what it waits for.
    Waiting(String),
    /// It could not be looked at, which says nothing about it: why.
    Unknown(String),
    /// It runs the release.
    Runs,
    /// It will not get there by itself: why.
    Failed(String),
}

/// Follows `members` until each runs the release or has failed, or until `deadline`; gives how far each is then.
pub async fn follow(
    hub: &IotHub,
    release: &Release,
    members: &[MemberId],
    deadline: Instant,
    tell: &mut impl FnMut(&Event),
) -> BTreeMap<MemberId, Progress> {
    let mut known: BTreeMap<MemberId, Progress> = BTreeMap::new();
    loop {
        let open: Vec<&MemberId> = members
            .iter()
            .filter(|member| !matches!(known.get(*member), Some(Progress::Runs | Progress::Failed(_))))
            .collect();
        let looked = join_all(open.iter().map(|member| look(hub, release, member))).await;
        for (member, progress) in open.into_iter().zip(looked) {
            if known.get(member) != Some(&progress) {
                tell_progress(member, &progress, tell);
                known.insert(member.clone(), progress);
            }
        }
        let is_over = known.values().all(|progress| !matches!(progress, Progress::Waiting(_) | Progress::Unknown(_)));
        if is_over || Instant::now() >= deadline {
            return known;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn tell_progress(member: &MemberId, progress: &Progress, tell: &mut impl FnMut(&Event)) {
    let member = member.clone();
    tell(&match progress {
        Progress::Runs => Event::Runs { member },
        Progress::Waiting(said) | Progress::Unknown(said) | Progress::Failed(said) => {
            Event::Waiting { member, said: said.clone() }
        }
    });
}

/// How far one member is at this moment.
pub(super) async fn look(hub: &IotHub, release: &Release, member: &MemberId) -> Progress {
    match read_member(hub, member).await {
        Ok(read) => progress(&read, release.id(), &release.manifest, &release.layers),
        Err(Error::NotFound(_)) => Progress::Failed("it does not exist in IoT Hub any more".to_owned()),
        Err(error) if error.is_transient() => Progress::Unknown(chain(&error)),
        Err(error) => Progress::Failed(chain(&error)),
    }
}

fn progress(member: &Member, id: &str, manifest: &Manifest, layers: &[Applied]) -> Progress {
    if let Some(wait) = not_applied(member, id) {
        return Progress::Waiting(wait);
    }
    if let Some(place) = overridden(member, manifest, layers) {
        return Progress::Waiting(format!("another deployment sets {place} otherwise"));
    }
    for (name, uptake) in [(EDGE_AGENT, &member.agent), (EDGE_HUB, &member.hub)] {
        match uptake {
            // Bad content stays bad; what failed is tried again by the runtime.
            Uptake::Refused { code: 400 | 412, .. } => return Progress::Failed(said(name, uptake)),
            Uptake::Refused { .. } | Uptake::Behind { .. } => return Progress::Waiting(said(name, uptake)),
            Uptake::Unknown if name == EDGE_AGENT => {
                return Progress::Waiting(format!("{EDGE_AGENT} has reported nothing of it"));
            }
            Uptake::Unknown | Uptake::Taken => {}
        }
    }
    if let Some(astray) = member.astray() {
        return Progress::Waiting(astray);
    }
    modules(member, manifest)
}

fn said(name: &str, uptake: &Uptake) -> String {
    format!("{name} {}", uptake.trouble().unwrap_or_default())
}

fn not_applied(member: &Member, id: &str) -> Option<String> {
    match member.deployments.get(id).map(String::as_str) {
        Some("Applied") => None,
        Some(_) => {
            let applied = member.deployments.iter().find(|(other, status)| *status == "Applied" && *other != id);
            let by = applied.map_or("another deployment", |(other, _)| other);
            Some(format!("targeted, but {by} has its place"))
        }
        None => Some("the hub has not targeted it yet (it evaluates every five minutes)".to_owned()),
    }
}

/// A setting of the manifest that the member is told otherwise, and not by one of the pool's own layers.
fn overridden(member: &Member, manifest: &Manifest, layers: &[Applied]) -> Option<String> {
    let layers: Vec<Applied> =
        layers.iter().filter(|layer| member.deployments.contains_key(&layer.id)).cloned().collect();
    let mut sections = manifest.over(&member.sections);
    // A section for a module that is not run is nobody's.
    sections.retain(|module, _| member.sections.contains_key(module));
    let wanted = Runs::told(&sections);
    let differences =
        diff(&wanted.modules, &member.told.modules).into_iter().chain(diff(&wanted.twins, &member.told.twins));
    let mut places = differences.map(|difference| difference.place);
    places.find(|place| cause(place, &layers) == Cause::DeviceAlone).map(|place| place.to_string())
}

/// Whether the modules of the manifest that are to run do.
fn modules(member: &Member, manifest: &Manifest) -> Progress {
    for name in to_run(member, manifest) {
        let Some(module) = member.modules.get(&name) else {
            return Progress::Waiting(format!("{name} is not there yet"));
        };
        let exit = module.exit_code.map(|code| format!(", last exit code {code}")).unwrap_or_default();
        let status = format!("{name} is {}{exit}: {}", module.status, module.said);
        match module.status.as_str() {
            "running" => {}
            "failed" | "dead" => return Progress::Failed(status),
            _ => return Progress::Waiting(status),
        }
    }
    Progress::Runs
}

fn to_run(member: &Member, manifest: &Manifest) -> Vec<String> {
    let of = |sections: &ha_deployment::Sections| -> Vec<String> {
        let modules = sections.get(EDGE_AGENT).and_then(|agent| agent.get("modules")).and_then(Value::as_object);
        let running = |entry: &Value| entry.get("status").and_then(Value::as_str) != Some("stopped");
        modules.into_iter().flatten().filter(|(_, entry)| running(entry)).map(|(name, _)| name.clone()).collect()
    };
    let told = of(&member.sections);
    let named = of(&manifest.over(&ha_deployment::Sections::new()));
    named.into_iter().filter(|name| told.contains(name)).collect()
}

#[cfg(test)]
mod tests;
