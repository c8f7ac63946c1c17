//! Leaf devices follow the holder: the hub is told that the holder is their parent, and the holder's edgeHub that they come.
//!
//! Nothing is remembered: each time what is asked for is compared with what the hub says, and mended. So a run that was
//! cut off is finished by the next, and a run with nothing to do does no harm. The children are moved first and told to
//! the gateway then, since the gateway asks the hub who its children are. The former gateway is not fenced by any of this:
//! it goes on accepting a child that it knows until it asks the hub again, which may take an hour.

mod follower;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use ha_core::ids::MemberId;
use serde::Serialize;

pub(crate) use self::follower::{Moving, id as follower_id};
use crate::config::{CHILDREN_MAX, ParentsConfig};
use crate::hub::{Error, Hub, Placed, chain};

/// So many children are looked after at once; the hub's limits are the client's business.
const AT_ONCE: usize = 4;

/// So many children are told to a gateway in one call.
const TOLD_AT_ONCE: usize = 25;

/// How often a gateway is told, and how long to wait in between.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(2);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// Which devices.
    pub children: &'a ParentsConfig,
    /// The members of the pool.
    pub members: &'a [MemberId],
    /// Whose children they are to be.
    pub holder: &'a MemberId,
    /// Listed children are taken from parents outside the pool, too.
    pub take: bool,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Outcome {
    /// Whose children they are to be.
    pub holder: MemberId,
    /// Each child, by its device id.
    pub children: Vec<Child>,
    /// Why the holder's edgeHub could not be told of them; `None`: it was, or nothing was to be done.
    pub untold: Option<String>,
}

/// One child.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Child {
    /// Its device id.
    pub child: String,
    /// Its parent when it was looked at: a member, or the scope of another gateway; `None`: it had none.
    pub parent: Option<String>,
    /// What is the matter with it.
    #[serde(flatten)]
    pub fate: Fate,
}

/// What is the matter with a child.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "fate")]
pub enum Fate {
    /// The holder is its parent.
    #[error("is where it belongs")]
    There,
    /// It is to be moved to the holder.
    #[error("is to be moved")]
    Moves,
    /// It was moved to the holder.
    #[error("was moved")]
    Moved,
    /// There is no such device.
    #[error("does not exist in IoT Hub: create it, or take it off the list")]
    Absent,
    /// A gateway outside the pool is its parent.
    #[error("has a parent outside the pool and is left there: `parents apply --take` moves it")]
    Elsewhere,
    /// The hub did not do it.
    #[error("could not be looked after: {why}")]
    Failed {
        /// Why.
        why: String,
        /// Whether the same may succeed later without anybody mending anything.
        passing: bool,
    },
}

/// Why nothing could be done for any child.
#[derive(Debug, thiserror::Error)]
pub enum Impossible {
    /// The hub does not work.
    #[error("the pool's gateways cannot be looked up")]
    Hub(#[from] Error),
    /// The holder cannot have children.
    #[error("{0} is no IoT Edge device, so it can be nobody's parent")]
    NoGateway(MemberId),
    /// More children than one gateway can have.
    #[error(
        "the members have {found} children together; IoT Hub lets a gateway have {CHILDREN_MAX}, so nothing was moved"
    )]
    TooMany {
        /// How many.
        found: usize,
    },
}

impl Outcome {
    /// The children of which somebody has to hear.
    pub fn amiss(&self) -> impl Iterator<Item = &Child> {
        self.children.iter().filter(|child| !matches!(child.fate, Fate::There | Fate::Moved))
    }
}

impl Impossible {
    /// Whether the same may succeed later without anybody mending anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Hub(error) if error.is_transient())
    }
}

/// Looks what would be done; changes nothing.
pub async fn plan<H: Hub>(hub: &H, order: &Order<'_>) -> Result<Outcome, Impossible> {
    let family = Family::read(hub, order).await?;
    let children = family.look_after(hub, false, |_, _, _| {}).await?;
    Ok(Outcome { holder: order.holder.clone(), children, untold: None })
}

/// Moves what is not where it belongs, then tells the holder's edgeHub. Each child is also told to `told` as it is done,
/// with how many are done of how many.
pub async fn apply<H: Hub>(
    hub: &H,
    order: &Order<'_>,
    told: impl FnMut(&Child, usize, usize),
) -> Result<Outcome, Impossible> {
    let family = Family::read(hub, order).await?;
    let children = family.look_after(hub, true, told).await?;
    let arrived = children.iter().filter(|child| matches!(child.fate, Fate::There | Fate::Moved));
    let arrived: Vec<String> = arrived.map(|child| child.child.clone()).collect();
    // Those that were there already may have been moved by a run that was cut off before it told the gateway.
    let untold = tell(hub, order.holder, &arrived).await;
    Ok(Outcome { holder: order.holder.clone(), children, untold })
}

/// Tells a gateway of its children; why that failed.
async fn tell<H: Hub>(hub: &H, gateway: &MemberId, children: &[String]) -> Option<String> {
    for chunk in children.chunks(TOLD_AT_ONCE) {
        let mut tries = 0;
        while let Err(failure) = hub.tell_of_children(gateway, chunk).await {
            tries += 1;
            if tries == TRIES {
                return Some(failure.to_string());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    None
}

/// What the hub is asked when leaf devices are moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Calls {
    /// Reads and writes of identities.
    pub registry: u64,
    /// Pages of queries.
    pub queries: u64,
    /// Calls to edgeHub.
    pub methods: u64,
}

/// What [`apply`] asks of the hub, if all of so many children have to move.
pub fn calls(config: &ParentsConfig, children: u64, members: u64) -> Calls {
    let queries = if *config == ParentsConfig::Discovered { members } else { 0 };
    Calls { registry: members + 1 + 2 * children, queries, methods: children.div_ceil(TOLD_AT_ONCE as u64) }
}

async fn place_of<H: Hub>(hub: &H, gateway: &MemberId) -> Result<Option<Placed>, Error> {
    hub.adopt(gateway.as_str(), "", |_| false).await
}

/// Who is who.
struct Family<'a> {
    order: &'a Order<'a>,
    /// The holder's scope: what makes a device its child.
    scope: String,
    /// The scopes of all members.
    members: BTreeMap<String, MemberId>,
}

impl<'a> Family<'a> {
    async fn read<H: Hub>(hub: &H, order: &'a Order<'a>) -> Result<Self, Impossible> {
        let mut members = BTreeMap::new();
        for member in order.members.iter().chain([order.holder]) {
            let placed = place_of(hub, member).await?;
            members.extend(placed.and_then(|placed| placed.scope).map(|scope| (scope, member.clone())));
        }
        let own = members.iter().find(|(_, member)| *member == order.holder).map(|(scope, _)| scope.clone());
        let scope = own.ok_or_else(|| Impossible::NoGateway(order.holder.clone()))?;
        Ok(Self { order, scope, members })
    }

    async fn look_after<H: Hub>(
        &self,
        hub: &H,
        act: bool,
        mut told: impl FnMut(&Child, usize, usize),
    ) -> Result<Vec<Child>, Impossible> {
        let candidates = self.candidates(hub).await?;
        let count = candidates.len();
        let mut done = stream::iter(candidates).map(|child| self.one(hub, child, act)).buffer_unordered(AT_ONCE);
        let mut children = Vec::new();
        let mut finished = 0;
        while let Some(child) = done.next().await {
            finished += 1;
            if let Some(child) = child {
                told(&child, finished, count);
                children.push(child);
            }
        }
        children.sort_by(|a, b| a.child.cmp(&b.child));
        Ok(children)
    }

    /// The list; or everybody who may be a child of a member, for the hub's index may lag behind.
    async fn candidates<H: Hub>(&self, hub: &H) -> Result<Vec<String>, Impossible> {
        if let ParentsConfig::Listed(children) = self.order.children {
            return Ok(children.clone());
        }
        let mut found = Vec::new();
        for scope in self.members.keys() {
            found.extend(hub.children_of(scope).await?);
        }
        found.retain(|child| self.members.values().all(|member| member.as_str() != child));
        found.sort();
        found.dedup();
        if found.len() > CHILDREN_MAX {
            return Err(Impossible::TooMany { found: found.len() });
        }
        Ok(found)
    }

    /// Looks after one child; `None`: it is nobody's business, since it was only thought to be a child of a member.
    async fn one<H: Hub>(&self, hub: &H, child: String, act: bool) -> Option<Child> {
        let moves = |placed: &Placed| act && self.judge(placed) == Some(Fate::Moves);
        let placed = match hub.adopt(&child, &self.scope, moves).await {
            Ok(Some(placed)) => placed,
            Ok(None) if *self.order.children == ParentsConfig::Discovered => return None,
            Ok(None) => return Some(Child { child, parent: None, fate: Fate::Absent }),
            Err(error) => {
                let fate = Fate::Failed { why: chain(&error), passing: error.is_transient() };
                return Some(Child { child, parent: None, fate });
            }
        };
        let fate = match self.judge(&placed)? {
            Fate::Moves if act => Fate::Moved,
            fate => fate,
        };
        let name = |scope: &String| self.members.get(scope).map_or_else(|| scope.clone(), ToString::to_string);
        Some(Child { child, parent: placed.parents.first().map(name), fate })
    }

    fn judge(&self, placed: &Placed) -> Option<Fate> {
        let discovered = *self.order.children == ParentsConfig::Discovered;
        if placed.parents.contains(&self.scope) {
            Some(Fate::There)
        } else if placed.parents.iter().any(|scope| self.members.contains_key(scope)) {
            Some(Fate::Moves)
        } else if discovered {
            None
        } else if placed.parents.is_empty() || self.order.take {
            Some(Fate::Moves)
        } else {
            Some(Fate::Elsewhere)
        }
    }
}

#[cfg(test)]
mod tests;
