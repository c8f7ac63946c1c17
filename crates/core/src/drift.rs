//! Whether a member would run something else than the holder does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::MemberId;
use crate::seen::{Deployed, MemberSeen};

/// How a member differs from what the pool runs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Drift {
    /// It is told to run something else than the holder.
    #[error("it is told to run something else than {than}")]
    ToldOtherwise {
        /// The holder.
        than: MemberId,
    },
    /// It runs something else than it is told.
    #[error("it does not run what it is told: {said}")]
    Astray {
        /// In what.
        said: String,
    },
    /// It has another release of the pool than the holder: a rollout is under way, or was left half done.
    #[error("it has the release {release}, and {than} has {}", other.as_deref().unwrap_or("none"))]
    Releasing {
        /// The holder.
        than: MemberId,
        /// Its release.
        release: String,
        /// The holder's.
        other: Option<String>,
    },
}

impl Drift {
    /// Whether somebody meant it: a release that goes from member to member makes them differ for a while.
    pub fn is_meant(&self) -> bool {
        matches!(self, Self::Releasing { .. })
    }
}

/// How `member` differs from the holder and from what it is told. What is not known is no drift, and what the holder is told is
/// right: it is at work.
pub fn drift(member: &MemberId, holder: Option<&MemberId>, seen: &BTreeMap<MemberId, MemberSeen>) -> Option<Drift> {
    let mine = deployed(member, seen)?;
    if let Some(said) = &mine.astray {
        return Some(Drift::Astray { said: said.clone() });
    }
    let than = holder.filter(|holder| *holder != member)?;
    let theirs = deployed(than, seen)?;
    if mine.told == theirs.told && are_equal_where_both_are(&mine.apart, &theirs.apart) {
        return None;
    }
    let than = than.clone();
    Some(match (&mine.release, &theirs.release) {
        (Some(release), other) if other.as_ref() != Some(release) => {
            Drift::Releasing { than, release: release.clone(), other: other.clone() }
        }
        _ => Drift::ToldOtherwise { than },
    })
}

fn are_equal_where_both_are(mine: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>) -> bool {
    mine.iter().all(|(place, digest)| theirs.get(place).is_none_or(|other| other == digest))
}

fn deployed<'a>(member: &MemberId, seen: &'a BTreeMap<MemberId, MemberSeen>) -> Option<&'a Deployed> {
    seen.get(member)?.evidence.deployed.as_ref()?.value.as_ref()
}
