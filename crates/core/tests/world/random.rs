use ha_core::anchor::Verb;
use ha_core::charge::ChargeTimings;
use ha_core::holder::Flag;
use ha_core::ids::{MemberId, NUMBER_MAX, Term};
use ha_core::policy::{FlapGuard, Policy, TTL_MAX, Timings};
use ha_core::time::{Millis, RateBound};

use super::clock::{Clock, Instant, MS, S};
use super::dice::Dice;
use super::event::{Cut, Edit, Fault, Weather};
use super::moves::Move;
use super::trace::Trace;
use super::world::{Setup, Violation, World};

/// What a run of a random world has come to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub worlds: u64,
    pub events: u64,
    pub virtual_s: u64,
    pub starts: u64,
    pub transitions: u64,
    pub woken_past_end: u64,
    pub forgotten: u64,
    pub mended_ms_max: u64,
}

impl Figures {
    pub fn add(&mut self, other: Self) {
        self.worlds += other.worlds;
        self.events += other.events;
        self.virtual_s += other.virtual_s;
        self.starts += other.starts;
        self.transitions += other.transitions;
        self.woken_past_end += other.woken_past_end;
        self.forgotten += other.forgotten;
        self.mended_ms_max = self.mended_ms_max.max(other.mended_ms_max);
    }
}

/// How long the trouble lasts.
const TROUBLE: Instant = 90 * S;
/// How long a pool that is left alone is looked at.
const CALM: Instant = 40 * S;

pub fn quick() -> Timings {
    Timings {
        ttl: Millis(3_000),
        renew: Millis(600),
        call_timeout: Millis(600),
        retry: Millis(150),
        stop: Millis(500),
        standby_hold: Millis(5_000),
        anchor_read: Millis(1_000),
        evidence: Millis(20_000),
        rate: RateBound(1_000),
    }
}

pub fn quick_charge() -> ChargeTimings {
    ChargeTimings { ttl: Millis(2_000), renew: Millis(600), rate: RateBound(1_000) }
}

/// The world of this seed.
pub fn setup(seed: u64) -> Setup {
    let mut dice = Dice::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let quick = dice.chance(850);
    let timings = if quick { quick_timings(&mut dice) } else { Timings::default() };
    let charge = if quick { quick_charge() } else { ChargeTimings::default() };
    let rate = timings.rate;
    let charge = ChargeTimings { rate, ..charge };
    let (agents, controllers) = (2 + dice.below(3), 1 + dice.below(3));
    let long = Millis(timings.ttl.0 * 3 / 2);
    let ttls = if dice.chance(700) { vec![timings.ttl] } else { vec![timings.ttl, long] };
    let agents: Vec<Clock> = (0..agents).map(|_| clock(&mut dice, rate)).collect();
    let controllers: Vec<Clock> = (0..controllers).map(|_| clock(&mut dice, rate)).collect();
    let mut setup = Setup {
        seed,
        agents,
        controllers,
        ttls,
        charge,
        policy: Policy {
            flap_guard: FlapGuard { max: 12, window: Millis(1_000) },
            consults: seed.is_multiple_of(3),
            ..Policy::default()
        },
        weather: weather(&mut dice, &timings),
        open_us: *dice.pick(&[2 * MS, 50 * MS, 700 * MS]),
        word_us: *dice.pick(&[MS, 20 * MS]),
        timer_late_us: *dice.pick(&[0, 2 * MS, 100 * MS]),
        quick_stop_permille: *dice.pick(&[0, 500, 1_000]),
        offline_is_known: dice.chance(500),
        faults: Vec::new(),
        timings,
    };
    setup.faults = faults(&mut dice, &setup);
    setup
}

fn quick_timings(dice: &mut Dice) -> Timings {
    let mut timings = quick();
    if dice.chance(300) {
        timings.ttl = timings.ttl_needed();
    }
    // Wider bounds make mistakes in the stretching visible.
    timings.rate = *dice.pick(&[RateBound(1_000), RateBound(1_000), RateBound(20), RateBound(50_000)]);
    timings
}

/// The faster of two clocks goes at most `1 + rate` times as fast as the slower one.
fn clock(dice: &mut Dice, rate: RateBound) -> Clock {
    let half = i64::from(rate.0) * 1_000 / 2;
    let half = half - half * half / 2_000_000_000;
    let fast_ppb = *dice.pick(&[-half, -half, 0, half, half]);
    let zero = i64::try_from(dice.between(0, 5_000 * S)).unwrap_or(0);
    Clock { zero: -zero, fast_ppb }
}

fn weather(dice: &mut Dice, timings: &Timings) -> Weather {
    let timeout = timings.call_timeout.0;
    Weather {
        delay_ms: *dice.pick(&[(0, 2), (5, 60), (20, timeout / 4)]),
        lost_permille: *dice.pick(&[0, 0, 20, 100, 300]),
        slow_permille: *dice.pick(&[0, 20, 100]),
        slow_ms_max: *dice.pick(&[timeout, timings.ttl.0 * 2, 20_000]),
        twice_permille: *dice.pick(&[0, 50, 300]),
        refused_permille: *dice.pick(&[0, 20, 100]),
    }
}

/// Who can be hit.
struct Targets<'a> {
    dice: &'a mut Dice,
    agents: usize,
    controllers: usize,
    timings: &'a Timings,
    /// Whether somebody edits the hub by hand, and whether somebody vouches: never both, for a
    /// vouch is about the member that the record names. So it is when the hub loses writes.
    edits: bool,
    vouches: bool,
}

fn faults(dice: &mut Dice, setup: &Setup) -> Vec<(Instant, Fault)> {
    let mut faults: Vec<(Instant, Fault)> = Vec::new();
    for agent in 0..setup.agents.len() {
        faults.push((dice.between(0, S), Fault::StartAgent(agent)));
    }
    for controller in 0..setup.controllers.len() {
        faults.push((dice.between(0, 3 * S), Fault::StartController(controller)));
    }
    let (many, edits, vouches) = (dice.below(25), dice.chance(300), dice.chance(500));
    let (agents, controllers) = (setup.agents.len(), setup.controllers.len());
    let moves = setup.seed % 3 == 1;
    for _ in 0..many {
        let at = dice.between(S, TROUBLE);
        let mut targets =
            Targets { dice, agents, controllers, timings: &setup.timings, edits, vouches: vouches && !edits && !moves };
        targets.some_fault(at, &mut faults);
    }
    if moves {
        for from in [5 * S, 50 * S] {
            faults.push((dice.between(from, from + 25 * S), Fault::HubMoves(hub_move(dice, setup))));
        }
    }
    faults.push((TROUBLE, Fault::Mend));
    faults.sort_by_key(|(at, _)| *at);
    faults
}

/// The hub is gone for as long as a charge can last at least.
fn hub_move(dice: &mut Dice, setup: &Setup) -> Move {
    let (charge, lease) = (setup.charge.ttl.0 * MS, setup.timings.ttl.0 * MS);
    let mut lost = || if dice.chance(300) { 0 } else { dice.between(0, 20 * S) };
    let (anchor, control) = (lost(), lost());
    let least = charge * 11 / 10;
    Move { down: dice.between(least, least.max(lease) * 2), anchor, control }
}

impl Targets<'_> {
    /// One trouble, and mostly its end.
    fn some_fault(&mut self, at: Instant, faults: &mut Vec<(Instant, Fault)>) {
        let (agent, controller) = (self.dice.below(self.agents), self.dice.below(self.controllers));
        let cut = Cut { inward: self.dice.chance(600), outward: self.dice.chance(600) };
        let both = if cut == Cut::NONE { Cut::BOTH } else { cut };
        let (first, then) = match self.dice.below(if self.edits { 18 } else { 16 }) {
            0 => (Fault::KillAgent(agent), Some(Fault::StartAgent(agent))),
            1 => (Fault::PowerOff(agent), Some(Fault::StartAgent(agent))),
            2 => (Fault::FreezeAgent(agent), Some(Fault::ThawAgent(agent))),
            3 => (Fault::FreezeHost(agent), Some(Fault::WakeHost(agent))),
            4 | 5 => (Fault::CutAgent { agent, cut: both }, Some(Fault::CutAgent { agent, cut: Cut::NONE })),
            6 => (
                Fault::Leave { agent, grace: Millis(self.dice.between(0, self.timings.ttl.0)) },
                Some(Fault::StartAgent(agent)),
            ),
            7 => (Fault::Fails { agent, fails: true }, Some(Fault::Fails { agent, fails: false })),
            8 => self.flag_or_jump(agent),
            9 => (Fault::KillController(controller), Some(Fault::StartController(controller))),
            10 => (Fault::PauseController(controller), Some(Fault::ResumeController(controller))),
            11 => (Fault::GiveBack(controller), Some(Fault::StartController(controller))),
            12 => (
                Fault::CutController { controller, cut: both },
                Some(Fault::CutController { controller, cut: Cut::NONE }),
            ),
            13 => (Fault::Weather(weather(self.dice, self.timings)), None),
            14 | 15 => (self.ask(), None),
            _ => (Fault::Edit(self.edit()), None),
        };
        faults.push((at, first));
        if let Some(then) = then {
            let short = self.dice.between(50, self.timings.ttl.0 * 3);
            faults.push((at + short * MS, then));
        }
    }

    fn flag_or_jump(&mut self, agent: usize) -> (Fault, Option<Fault>) {
        let flag = Flag { active: self.dice.chance(500), term: Term(self.dice.between(0, 12)) };
        if self.dice.chance(500) { (Fault::Flag { agent, flag }, None) } else { (Fault::ClockJump(agent), None) }
    }

    fn member(&mut self) -> Option<MemberId> {
        let name = ["a", "b", "c", "d", "nobody"][self.dice.below(self.agents + 1)];
        self.dice.chance(600).then(|| MemberId::new(name))
    }

    fn ask(&mut self) -> Fault {
        let to = self.member();
        match self.dice.below(8) {
            0 | 1 => Fault::Ask(Verb::Switchover { to }),
            2 => Fault::Ask(Verb::Failover { to, fenced: false }),
            3 if self.vouches => Fault::AskFenced { to },
            4 => Fault::Ask(Verb::Pause),
            5 => Fault::Ask(Verb::Resume),
            _ => Fault::Ask(Verb::Maintenance {
                member: to.unwrap_or_else(|| MemberId::new("a")),
                on: self.dice.chance(500),
            }),
        }
    }

    fn nonsense_ttl(&mut self) -> Millis {
        Millis(*self.dice.pick(&[0, 1, TTL_MAX.0 + 1, NUMBER_MAX]))
    }

    fn edit(&mut self) -> Edit {
        match self.dice.below(10) {
            0 => Edit::Holder(self.member()),
            1 => Edit::TermUp(self.dice.between(1, 5)),
            2 => Edit::TermDown(self.dice.between(1, 3)),
            3 => Edit::EpochTo(self.dice.between(0, 10)),
            4 | 5 => Edit::DeleteAnchor,
            6 => Edit::DeleteControl,
            7 => Edit::AnchorTtl(self.nonsense_ttl()),
            8 => Edit::ControlTtl(self.nonsense_ttl()),
            _ => Edit::ControlOwner(self.dice.below(self.controllers)),
        }
    }
}

/// How long it may take after everything was mended until somebody is active.
fn mended_within(setup: &Setup) -> Instant {
    let ttl = setup.ttls.iter().max().map_or(0, |ttl| ttl.0);
    let (t, charge) = (&setup.timings, &setup.charge);
    let delayed = 2 * 20_000;
    let take_over = charge.ttl.0 * 2 + charge.renew.0 * 2;
    // Without a record and with a member that stays silent any lease is waited for.
    let founding = TTL_MAX.0 * 21 / 20;
    let calls = 20 * (t.call_timeout.0 + t.retry.0) + t.standby_hold.0 + t.stop.0 * 2;
    let nonsense = |fault: &Fault| matches!(fault, Fault::Edit(Edit::AnchorTtl(_) | Edit::ControlTtl(_)));
    // Each of the two records may have to be waited for as long as any can last.
    let unknown = if setup.faults.iter().any(|(_, fault)| nonsense(fault)) { 2 * founding } else { 0 };
    (delayed + take_over + founding + unknown + ttl * 3 + calls) * MS
}

/// Runs the world of `setup` to its end.
pub fn run(setup: Setup, trace: Trace) -> (World, Result<Figures, Violation>) {
    let within = mended_within(&setup);
    let mut world = World::new(setup, trace);
    let result = live(&mut world, within);
    (world, result)
}

fn live(world: &mut World, within: Instant) -> Result<Figures, Violation> {
    world.run_until(TROUBLE)?;
    let mut mended_ms = 0;
    // Late messages may still cause a change; a short break after the first success is no failure.
    let mut steady_from = None;
    while world.now < TROUBLE + within {
        world.run_until(world.now + S)?;
        if world.active().is_some() {
            mended_ms = if steady_from.is_none() { (world.now - TROUBLE) / MS } else { mended_ms };
            steady_from = steady_from.or(Some(world.now));
        }
        if steady_from.is_some_and(|from| world.now > from + 45 * S) {
            break;
        }
    }
    if world.active().is_none() {
        return Err(world.broken("everything was mended and nobody is active in time"));
    }
    let (starts, transitions) = (world.checks.starts, world.checks.transitions);
    let calm_from = world.now;
    while world.now < calm_from + CALM {
        world.run_until(world.now + S)?;
        if world.active().is_none() || world.checks.starts != starts || world.checks.transitions != transitions {
            return Err(world.broken("a healthy pool that nobody disturbed has changed"));
        }
    }
    Ok(Figures {
        worlds: 1,
        events: world.events,
        virtual_s: world.now / S,
        starts: world.checks.starts,
        transitions: world.checks.transitions,
        woken_past_end: world.checks.woken_past_end,
        forgotten: world.checks.forgotten,
        mended_ms_max: mended_ms,
    })
}

/// Runs the world of a seed; a failure is told with its last events and the fewest faults that still bring it about.
pub fn check_seed(seed: u64) -> Result<Figures, String> {
    let (_, result) = run(setup(seed), Trace::silent());
    let Err(violation) = result else { return result.map_err(|v| v.what) };
    let fewest = fewer_faults(setup(seed), &violation);
    let (world, again) = run(fewest.clone(), Trace::last(40));
    let what = again.err().unwrap_or(violation);
    let faults: String = fewest.faults.iter().map(|(at, f)| format!("{:>9.3} s  {f:?}\n", *at as f64 / 1e6)).collect();
    Err(format!(
        "seed {seed}: {} at {:.3} s\nfaults:\n{faults}last events:\n{}",
        what.what,
        what.at as f64 / 1e6,
        world.trace.render()
    ))
}

/// Leaves out one fault after the other as long as the same thing goes wrong.
fn fewer_faults(mut setup: Setup, violation: &Violation) -> Setup {
    let kind = |what: &str| what.split_whitespace().filter(|w| w.len() > 3).take(2).last().map(str::to_owned);
    let mut n = 0;
    while n < setup.faults.len() {
        let mut fewer = setup.clone();
        if fewer.faults.remove(n).1 == Fault::Mend {
            n += 1;
            continue;
        }
        let (_, result) = run(fewer.clone(), Trace::silent());
        match result {
            Err(other) if kind(&other.what) == kind(&violation.what) => setup = fewer,
            _ => n += 1,
        }
    }
    setup
}
