//! The calls that bring a release about, one by one: what `--dry-run` shows is what is carried out.

use std::fmt;

use ha_core::ids::MemberId;
use ha_wire::IfMatch;
use ha_wire::configuration::Configuration;
use ha_wire::twin::TwinPatch;

use super::labels::{self, Phase};
use super::{DeployError, Event, Release, Survey};
use crate::config::PoolConfig;
use crate::hub::Error;
use crate::hub::iot::{self, IotHub};

/// How often a label is written anew because somebody else wrote first.
const TRIES: u32 = 5;

/// One call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Make the configuration.
    Create,
    /// Name the release in a member's tags.
    Tag(MemberId),
    /// Note how far the release is, and what members had before. The hub evaluates target conditions shortly after a configuration was written, else only every
    /// five minutes: this is also what makes it look at the tags.
    Note(Phase, Option<String>),
    /// Ask for the work to be handed over. Not carried out here: the controller in charge does it.
    Switchover(MemberId),
}

/// The calls of a deployment to all members at once.
pub fn steps(release: &Release, survey: &Survey) -> Vec<Step> {
    let create = (!release.exists).then_some(Step::Create);
    let to_tag = survey.members.iter().filter(|member| survey.tagged(member, &release.part) != Some(release.id()));
    let tags: Vec<Step> = to_tag.cloned().map(Step::Tag).collect();
    let before = survey.before(release);
    let note = (!tags.is_empty()).then(|| Step::Note(Phase::Done, before.map(str::to_owned)));
    create.into_iter().chain(tags).chain(note).collect()
}

/// The calls of a roll-out, in the order in which they are made if all goes well.
pub fn rolling_steps(release: &Release, survey: &Survey, holder: &MemberId) -> Vec<Step> {
    let tag = |member: &MemberId| {
        let is_tagged = survey.tagged(member, &release.part) == Some(release.id());
        let steps = [Step::Tag(member.clone()), Step::Note(Phase::Rolling, None)];
        steps.into_iter().filter(move |_| !is_tagged).collect::<Vec<_>>()
    };
    let mut steps: Vec<Step> = (!release.exists).then_some(Step::Create).into_iter().collect();
    steps.extend(survey.members.iter().rev().filter(|member| *member != holder).flat_map(tag));
    let last = tag(holder);
    if let (false, Some(to)) = (last.is_empty(), survey.members.iter().find(|member| *member != holder)) {
        steps.push(Step::Switchover(to.clone()));
    }
    steps.extend(last);
    steps.push(Step::Note(Phase::Done, None));
    steps
}

/// Carries steps out, one after the other.
///
/// # Errors
/// With the first that fails; what was done stays, and the same steps can be carried out again.
pub async fn carry_out(
    hub: &IotHub,
    pool: &PoolConfig,
    release: &Release,
    steps: &[Step],
    tell: &mut impl FnMut(&Event),
) -> Result<(), DeployError> {
    for step in steps {
        match step {
            Step::Create => create(hub, release).await?,
            Step::Tag(member) => tag(hub, pool, release, member).await?,
            Step::Note(phase, before) => note(hub, release.id(), phase, before.as_deref()).await?,
            Step::Switchover(_) => {}
        }
        tell(&Event::Made { step: step.shown(pool, release).to_string() });
    }
    Ok(())
}

async fn create(hub: &IotHub, release: &Release) -> Result<(), DeployError> {
    match hub.client().create_configuration(&release.configuration, &iot::routine_call()).await {
        Ok(_) => Ok(()),
        // An earlier try whose answer was lost, or somebody else with the same content: the id says the content.
        Err(ha_iothub::Error::Conflict(_)) => Ok(()),
        Err(error) if error.outcome_unknown() => {
            let made = hub.client().configuration(release.id(), &iot::routine_call()).await;
            made.map(drop).map_err(|_| DeployError::of(&error))
        }
        Err(error) => Err(DeployError::of(&error)),
    }
}

pub(super) async fn tag(
    hub: &IotHub,
    pool: &PoolConfig,
    release: &Release,
    member: &MemberId,
) -> Result<(), DeployError> {
    let patch = TwinPatch::tags(release.tag(pool.name.as_str(), Some(release.id())));
    let done = hub.client().patch_twin(member.as_str(), None, &patch, None, &iot::routine_call()).await;
    done.map(drop).map_err(|error| DeployError::of(&error))
}

/// Notes how far the release is, whoever else writes to it.
pub(super) async fn note(hub: &IotHub, id: &str, phase: &Phase, before: Option<&str>) -> Result<(), DeployError> {
    let noted = rewrite(hub, id, |configuration| labels::note(configuration, phase, before)).await;
    noted.map_err(|error| DeployError::of(&error))
}

/// Has the hub look at the tags that a deployment asks for. One that is gone asks for none.
///
/// # Errors
/// If it cannot be written.
pub async fn evaluate(hub: &IotHub, id: &str) -> Result<(), Error> {
    match rewrite(hub, id, |_| {}).await {
        Ok(()) | Err(ha_iothub::Error::NotFound(_)) => Ok(()),
        Err(error) => Err(iot::error(&error)),
    }
}

async fn rewrite(hub: &IotHub, id: &str, change: impl Fn(&mut Configuration)) -> Result<(), ha_iothub::Error> {
    let mut last = None;
    for _ in 0..TRIES {
        let mut configuration = hub.client().configuration(id, &iot::routine_call()).await?;
        change(&mut configuration);
        match update(hub, &configuration).await {
            Ok(()) => return Ok(()),
            Err(error @ ha_iothub::Error::PreconditionFailed(_)) => last = Some(error),
            Err(error) if error.outcome_unknown() => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    last.map_or(Ok(()), Err)
}

async fn update(hub: &IotHub, configuration: &Configuration) -> Result<(), ha_iothub::Error> {
    let condition = configuration.etag.clone().map_or(IfMatch::Any, IfMatch::Is);
    hub.client().update_configuration(configuration, &condition, &iot::routine_call()).await.map(drop)
}

/// Deletes the pool's deployments that no member is to run any more; gives their ids. What is gone already is as good as deleted.
///
/// # Errors
/// With the first that cannot be deleted.
pub async fn prune(hub: &IotHub, survey: &Survey, release: &Release) -> Result<Vec<String>, DeployError> {
    let mut deleted = Vec::new();
    for configuration in survey.superseded(&release.part, release.id()) {
        match hub.client().delete_configuration(&configuration.id, &IfMatch::Any, &iot::routine_call()).await {
            Ok(()) | Err(ha_iothub::Error::NotFound(_)) => deleted.push(configuration.id.clone()),
            Err(error) => return Err(DeployError::of(&error)),
        }
    }
    Ok(deleted)
}

impl Step {
    /// The call, for people.
    pub fn shown<'a>(&'a self, pool: &'a PoolConfig, release: &'a Release) -> impl fmt::Display + 'a {
        Shown { step: self, pool, release }
    }
}

struct Shown<'a> {
    step: &'a Step,
    pool: &'a PoolConfig,
    release: &'a Release,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, pool) = (self.release.id(), &self.pool.name);
        match self.step {
            Step::Create => {
                let configuration = &self.release.configuration;
                let condition = configuration.target_condition.as_deref().unwrap_or_default();
                write!(f, "PUT /configurations/{id}: make it, priority {}, for {condition}", configuration.priority)
            }
            Step::Tag(member) => {
                write!(f, "PATCH /twins/{member}: tags.ha.{pool}.{} = '{id}'", self.release.part.tag())
            }
            Step::Note(..) => write!(f, "PUT /configurations/{id}: labels, so that the hub evaluates it"),
            Step::Switchover(to) => write!(f, "PATCH the pool's record: request a switchover to {to}"),
        }
    }
}
