//! Whether the members of a pool are told to run the same, and whether each runs what it is told.

use std::collections::BTreeMap;

use futures_util::future::{join_all, try_join_all};
use ha_core::ids::{MemberId, PoolName};
use ha_deployment::diff::{Difference, diff, diff_of_known};
use ha_deployment::{Applied, EDGE_AGENT, EDGE_HUB, Ignore, Member, cause, claims_of};
use ha_wire::configuration::Configuration;
use ha_wire::{Map, Twin};
use serde::Serialize;

use super::report::members_of;
use crate::config::PoolConfig;
use crate::hub::iot::{self, IotHub};
use crate::hub::{Error, Hub as _, chain};

/// One pool.
#[derive(Clone, Debug, Serialize)]
pub struct DriftReport {
    /// Its name.
    pub pool: PoolName,
    /// The member that the others are compared with: the holder, or the first of which anything is known.
    pub compared_with: Option<MemberId>,
    /// Its members, in the order of priority.
    pub members: Vec<MemberDrift>,
    /// Why it is not known which deployment set what; `None`: it is known.
    pub deployments_unread: Option<String>,
}

/// One member.
#[derive(Clone, Debug, Serialize)]
pub struct MemberDrift {
    /// Its device id.
    pub member: MemberId,
    /// A digest of what it is told to run; `None`: it is told nothing, or that is not known.
    pub told: Option<String>,
    /// The deployments that apply to it, and how far each is.
    pub deployments: BTreeMap<String, String>,
    /// In what it does not run what it is told, in one sentence.
    pub astray: Option<String>,
    /// Why nothing is known of it.
    pub unread: Option<String>,
    /// Each setting that differs.
    pub differences: Vec<Drifted>,
    /// Each that differs and is meant to.
    pub meant: Vec<Drifted>,
}

/// One setting that differs.
#[derive(Clone, Debug, Serialize)]
pub struct Drifted {
    /// Which two are compared.
    pub kind: Kind,
    /// The module.
    pub module: String,
    /// The key, with dots between its parts.
    pub key: String,
    /// What this member is told.
    pub here: String,
    /// What the other is told, or this one reports.
    pub there: String,
    /// Which deployment set it here; `None`: not known.
    pub set_by: Option<String>,
    /// Which deployment set it there.
    pub set_there_by: Option<String>,
}

/// Which two are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What this member is told with what the other is told.
    Told,
    /// What this member is told with what it reports.
    Reported,
    /// The content of this member's image with that of the other's, under the same name.
    Image,
}

impl DriftReport {
    /// Whether anything differs, or could not be looked at.
    pub fn has_drift(&self) -> bool {
        self.members.iter().any(MemberDrift::has_drift)
    }
}

impl MemberDrift {
    /// Whether anything differs, or could not be looked at.
    pub fn has_drift(&self) -> bool {
        self.astray.is_some() || self.unread.is_some() || !self.differences.is_empty()
    }
}

/// Looks at every member's twins. The hub's copy is asked, no device is.
///
/// # Errors
/// If the record or the members cannot be looked up. A member that cannot be read says so itself.
pub async fn drift(hub: &IotHub, config: &PoolConfig) -> Result<DriftReport, Error> {
    let holder = hub.read_anchor(&config.name).await?.and_then(|(anchor, _)| anchor.holder);
    let members = members_of(hub, config).await?;
    let read = join_all(members.iter().map(|member| read_member(hub, member))).await;
    let configurations = hub.client().configurations(&iot::routine_call()).await;
    let deployments_unread = configurations.as_ref().err().map(|error| chain(error));
    let known = Known {
        ignore: config.ignore.clone(),
        configurations: configurations.ok(),
        members: members.into_iter().zip(read).collect(),
    };
    let compared_with = known.reference(holder.as_ref()).cloned();
    Ok(DriftReport {
        pool: config.name.clone(),
        members: known
            .members
            .iter()
            .map(|(member, read)| known.compare(member, read, compared_with.as_ref()))
            .collect(),
        compared_with,
        deployments_unread,
    })
}

/// Reads the twins of a member's runtime and of every module that it is told to run.
pub(super) async fn read_member(hub: &IotHub, member: &MemberId) -> Result<Member, Error> {
    let agent = twin(hub, member, EDGE_AGENT).await?;
    let edge_hub = twin(hub, member, EDGE_HUB).await?;
    let named = agent.properties.desired.get("modules").and_then(|modules| modules.as_object());
    let names: Vec<&str> = named.into_iter().flat_map(Map::keys).map(String::as_str).collect();
    let others = try_join_all(names.iter().map(|name| async move {
        match twin(hub, member, name).await {
            Ok(twin) => Ok(Some(twin)),
            // `$edgeAgent` is told of a module whose identity is not there yet.
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }))
    .await?;
    let others = names.iter().zip(&others).filter_map(|(name, twin)| Some((*name, twin.as_ref()?)));
    Ok(Member::read(&agent, Some(&edge_hub), others))
}

async fn twin(hub: &IotHub, member: &MemberId, module: &str) -> Result<Twin, Error> {
    let read = hub.client().twin(member.as_str(), Some(module), &iot::routine_call()).await;
    read.map_err(|error| iot::error(&error))
}

struct Known {
    ignore: Ignore,
    configurations: Option<Vec<Configuration>>,
    members: Vec<(MemberId, Result<Member, Error>)>,
}

impl Known {
    fn reference<'a>(&'a self, holder: Option<&MemberId>) -> Option<&'a MemberId> {
        let readable = || self.members.iter().filter(|(_, read)| read.as_ref().is_ok_and(Member::is_told));
        let holds = readable().find(|(member, _)| Some(member) == holder);
        holds.or_else(|| readable().next()).map(|(member, _)| member)
    }

    fn compare(&self, member: &MemberId, read: &Result<Member, Error>, reference: Option<&MemberId>) -> MemberDrift {
        let mut drift = MemberDrift {
            member: member.clone(),
            told: None,
            deployments: BTreeMap::new(),
            astray: None,
            unread: None,
            differences: Vec::new(),
            meant: Vec::new(),
        };
        let here = match read {
            Ok(here) => here,
            Err(error) => return MemberDrift { unread: Some(chain(error)), ..drift },
        };
        drift.told = here.is_told().then(|| self.ignore.told(member.as_str(), &here.told).common.short());
        drift.deployments.clone_from(&here.deployments);
        drift.astray = here.astray();
        let other = self.members.iter().find(|(id, _)| Some(id) == reference && id != member);
        if let Some((other, Ok(there))) = other {
            let members = [member.as_str(), other.as_str()];
            (drift.meant, drift.differences) = self.told_otherwise(here, there, members);
        }
        let set_by = self.causes(here);
        drift.differences.extend(here.differences().into_iter().map(|difference| {
            let by = set_by(&difference);
            drifted(Kind::Reported, &difference, by, None)
        }));
        drift
    }

    /// What differs between two members and is meant to, and what is not.
    fn told_otherwise(&self, here: &Member, there: &Member, members: [&str; 2]) -> (Vec<Drifted>, Vec<Drifted>) {
        let (set_here, set_there) = (self.causes(here), self.causes(there));
        let told = [(&here.told.modules, &there.told.modules), (&here.told.twins, &there.told.twins)];
        let told = told.into_iter().flat_map(|(here, there)| diff(here, there));
        let told = told.map(|difference| (Kind::Told, difference));
        let images = [here, there].map(|member| member.reported.as_ref().map(|reported| reported.images.clone()));
        let [here, there] = images.map(Option::unwrap_or_default);
        let images = diff_of_known(&here, &there).into_iter().map(|difference| (Kind::Image, difference));
        let (meant, not): (Vec<_>, Vec<_>) =
            told.chain(images).partition(|(_, difference)| self.ignore.covers(difference, &members));
        let described = |(kind, difference): (Kind, Difference)| {
            let causes = (kind == Kind::Told).then(|| (set_here(&difference), set_there(&difference)));
            let (by, there_by) = causes.unwrap_or_default();
            drifted(kind, &difference, by, there_by)
        };
        (meant.into_iter().map(described).collect(), not.into_iter().map(described).collect())
    }

    /// Says which of the deployments that apply to `member` set something.
    fn causes(&self, member: &Member) -> impl Fn(&Difference) -> Option<String> {
        let applied = self.configurations.as_ref().map(|all| {
            let applies = |configuration: &&Configuration| member.deployments.contains_key(&configuration.id);
            all.iter().filter(applies).filter_map(applied).collect::<Vec<_>>()
        });
        move |difference| applied.as_ref().map(|applied| cause(&difference.place, applied).to_string())
    }
}

/// What a deployment sets.
pub(super) fn applied(configuration: &Configuration) -> Option<Applied> {
    let claims = claims_of(configuration.modules_content()?);
    Some(Applied { id: configuration.id.clone(), priority: configuration.priority, claims })
}

fn drifted(kind: Kind, difference: &Difference, set_by: Option<String>, set_there_by: Option<String>) -> Drifted {
    let (here, there) = difference.shown();
    let place = difference.place.clone();
    Drifted { kind, module: place.module, key: place.key, here, there, set_by, set_there_by }
}
