use ha_core::anchor::{Anchor, Verb};
use ha_core::charge::{ControlRecord, Version};
use ha_core::holder::{Flag, HolderFact};
use ha_core::ids::{CallId, MemberId, Term};
use ha_core::messages::{Answer, Request};
use ha_core::pool::Fact;
use ha_core::time::{Millis, Time};
use serde::{Deserialize, Serialize};

use super::clock::Instant;
use super::moves::Move;

/// Anything that happens. Plain data: a world is its setup and what happens in it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Event {
    /// An agent's timer, set for this instant.
    AgentWake { agent: usize, set: Instant },
    /// Something inside a device reaches this run of the agent.
    AgentHears { agent: usize, boot: u32, fact: HolderFact },
    /// Nothing is left of an earlier run, if it is so.
    LookForPredecessor { agent: usize, boot: u32 },
    /// The agent's own keeper is told something.
    ToKeeper { agent: usize, boot: u32, word: ToKeeper },
    /// The keeper does something by itself.
    Keeper { agent: usize, open: u64, act: KeeperAct },
    /// The flag in the twin reaches an agent.
    FlagArrives { agent: usize, flag: Flag },
    /// A request reaches a device.
    Request { agent: usize, from: Caller, request: Request, hold: Millis },
    /// The transport tells the agent that this caller has gone.
    CallerGone { agent: usize, from: Caller },
    /// An answer reaches a controller.
    Answer { to: Caller, agent: usize, answer: Answer },
    /// A controller's timer, set for this instant.
    ControllerWake { controller: usize, set: Instant },
    /// Something reaches a controller: a failed call, evidence, an acknowledged mirror.
    ControllerHears { controller: usize, run: u32, fact: Box<Fact> },
    /// An operation reaches the hub and takes effect.
    HubDoes { by: Asker, op: Op },
    /// The hub's answer reaches a controller.
    HubSays { to: Asker, said: Said },
    /// A controller gives up waiting for the hub.
    HubSilent { to: Asker },
    /// Somebody or something interferes.
    Fault(Fault),
}

/// Who called, and by which of its calls.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Caller {
    pub controller: usize,
    pub run: u32,
    pub call: CallId,
}

/// Who asked the hub, and by which of its operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Asker {
    pub controller: usize,
    pub run: u32,
    pub op: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ToKeeper {
    Open { term: Term, until: Time },
    Extend { term: Term, until: Time },
    Close { term: Term, by: Time },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum KeeperAct {
    /// Its timer for the beginning of the stop.
    Timer,
    /// The workload has stopped.
    Stopped,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Op {
    ReadAnchor,
    WriteAnchor { anchor: Box<Anchor>, basis: Option<Version> },
    ReadControl,
    WriteControl { record: ControlRecord, basis: Option<Version> },
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Said {
    Anchor(Option<(Box<Anchor>, Version)>),
    Control(Option<(ControlRecord, Version)>),
    Written(Version),
    Conflict,
    /// Surely not done.
    Failed,
}

/// Which ways of a link are cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Cut {
    /// Towards its owner.
    pub inward: bool,
    /// Away from its owner.
    pub outward: bool,
}

impl Cut {
    pub const NONE: Self = Self { inward: false, outward: false };
    pub const BOTH: Self = Self { inward: true, outward: true };
}

/// What the network does to everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Weather {
    /// One way, in milliseconds, from and to.
    pub delay_ms: (u64, u64),
    pub lost_permille: u64,
    pub slow_permille: u64,
    /// How late a slow message is, at most.
    pub slow_ms_max: u64,
    pub twice_permille: u64,
    /// The hub refuses an operation.
    pub refused_permille: u64,
}

impl Weather {
    /// Every way takes 20 ms and nothing is lost.
    pub const FAIR: Self = Self {
        delay_ms: (20, 20),
        lost_permille: 0,
        slow_permille: 0,
        slow_ms_max: 0,
        twice_permille: 0,
        refused_permille: 0,
    };
}

/// Interference.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fault {
    KillAgent(usize),
    StartAgent(usize),
    /// The agent alone stands still; its keeper goes on.
    FreezeAgent(usize),
    ThawAgent(usize),
    /// The whole device is suspended; its clock counts on.
    FreezeHost(usize),
    WakeHost(usize),
    /// The device loses power; its clock begins anew.
    PowerOff(usize),
    ClockJump(usize),
    Leave {
        agent: usize,
        grace: Millis,
    },
    /// The workload fails, or works again.
    Fails {
        agent: usize,
        fails: bool,
    },
    /// Somebody writes a flag by hand.
    Flag {
        agent: usize,
        flag: Flag,
    },
    CutAgent {
        agent: usize,
        cut: Cut,
    },
    KillController(usize),
    StartController(usize),
    PauseController(usize),
    ResumeController(usize),
    GiveBack(usize),
    CutController {
        controller: usize,
        cut: Cut,
    },
    Weather(Weather),
    /// An operator writes a request into the record.
    Ask(Verb),
    /// An operator switches the holder off, leaves it off, and says so.
    AskFenced {
        to: Option<MemberId>,
    },
    Edit(Edit),
    /// The hub fails over to another region.
    HubMoves(Move),
    HubIsBack,
    /// Everything that can be mended is mended.
    Mend,
}

/// Somebody edits the hub by hand.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Edit {
    Holder(Option<MemberId>),
    TermUp(u64),
    TermDown(u64),
    EpochTo(u64),
    /// A ttl that no controller writes.
    AnchorTtl(Millis),
    ControlTtl(Millis),
    DeleteAnchor,
    DeleteControl,
    /// Names another controller in the control record.
    ControlOwner(usize),
}
