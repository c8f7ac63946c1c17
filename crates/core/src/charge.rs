//! The control lease: which controller may act.
//!
//! The record is renewed by compare-and-swap. Its owner counts from the instant *before* it sent the
//! last write that succeeded; everybody else counts from the instant it first saw the record as it is.
//! So the owner knows that it is out of charge before anybody can be in charge after it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::ids::{ControllerId, Epoch, NUMBER_MAX};
use crate::policy::{TTL_MAX, ttl_waited_for};
use crate::time::{Millis, RateBound, Time};

/// The shortest time between two renewals that can be configured.
const RENEW_MIN: Millis = Millis(100);

/// The control record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ControlRecord {
    /// Who is in charge.
    pub owner: ControllerId,
    /// The number of this charge.
    pub epoch: Epoch,
    /// How long the record holds after each change.
    pub ttl: Millis,
    /// Grows with each write of the same owner.
    pub beat: u64,
    /// The owner has given the charge back.
    pub given_back: bool,
}

/// What tells one state of a record in the hub from another: its etag.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub String);

/// The timings of a control lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChargeTimings {
    /// How long a charge holds without renewal.
    pub ttl: Millis,
    /// How often it is renewed, and how often others look at it.
    pub renew: Millis,
    /// The most by which clock rates differ.
    pub rate: RateBound,
}

impl Default for ChargeTimings {
    fn default() -> Self {
        Self { ttl: Millis(5_000), renew: Millis(1_500), rate: RateBound(1_000) }
    }
}

impl ChargeTimings {
    /// How long to wait after a failed write.
    fn retry(&self) -> Millis {
        Millis(self.renew.0 / 4)
    }

    /// Why these timings cannot be used, if so.
    pub fn check(&self) -> Option<String> {
        let needed = self.renew.times(2);
        if self.renew < RENEW_MIN {
            Some(format!("control_renew_ms = {} is below {}", self.renew.0, RENEW_MIN.0))
        } else if self.ttl < needed || self.ttl > TTL_MAX {
            Some(format!(
                "control_ttl_ms = {} is outside {}..={}: one renewal may be lost, two are a dead controller",
                self.ttl.0, needed.0, TTL_MAX.0
            ))
        } else {
            None
        }
    }
}

/// Something the controller learnt about the control record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChargeFact {
    /// The record as it is; `None`: there is none.
    Read(Option<(ControlRecord, Version)>),
    /// The record could not be read, or makes no sense.
    ReadFailed,
    /// Our write succeeded.
    Written(Version),
    /// Somebody else wrote first; nothing of ours was written.
    Conflict,
    /// Our write surely failed.
    WriteFailed,
    /// Our write may or may not have succeeded.
    Unsure,
    /// An agent or a record knows a higher epoch than ours.
    EpochSeen(Epoch),
    /// Stop being in charge.
    GiveBack,
    /// Time has passed.
    Tick,
}

/// Something the controller must do about the control record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChargeEffect {
    /// Read the record.
    Read,
    /// Write the record if it still has this version; `None`: if there is none.
    Write {
        /// What to write.
        record: ControlRecord,
        /// The version it must still have.
        basis: Option<Version>,
    },
    /// We are in charge until then, by our own clock.
    InCharge {
        /// The number of our charge.
        epoch: Epoch,
        /// Until when this is proven.
        valid_until: Time,
    },
    /// We are not in charge; `owner` is, if anybody.
    NotInCharge {
        /// Who is.
        owner: Option<ControllerId>,
    },
    /// The charge has been given back.
    GivenBack,
}

/// One controller's view of the control lease.
#[derive(Clone, Debug)]
pub struct Charge {
    me: ControllerId,
    timings: ChargeTimings,
    known: Option<Known>,
    /// Since when there has been no record, and how long the last one known holds.
    absent: Option<(Time, Millis)>,
    /// A read has succeeded since the last doubt: `known` is what the hub holds, as far as we can tell.
    certain: bool,
    open: Open,
    next: Time,
    mine: Option<Mine>,
    epoch_floor: Epoch,
    /// What we have written last, and what we may have written since: any other record that names us is somebody's edit.
    written: Vec<ControlRecord>,
    /// How many writes have been tried. No two are equal, so a record that is found proves when it was sent.
    writes: u64,
    giving_back: bool,
    told: Option<Told>,
    effects: VecDeque<ChargeEffect>,
}

#[derive(Clone, Debug)]
struct Known {
    record: ControlRecord,
    version: Version,
    /// When this version was first seen by us.
    since: Time,
}

#[derive(Clone, Debug)]
struct Mine {
    epoch: Epoch,
    valid_until: Time,
}

/// The one operation under way.
#[derive(Clone, Debug)]
enum Open {
    Nothing,
    Reading,
    Writing {
        record: ControlRecord,
        sent: Time,
    },
    /// The fate of this write is open; the next read tells.
    Doubting {
        record: ControlRecord,
        sent: Time,
    },
    /// Reading to end the doubt.
    Checking {
        record: ControlRecord,
        sent: Time,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Told {
    In(Epoch, Time),
    Out(Option<ControllerId>),
    Back,
}

/// Each is followed by a read, so more than a few in doubt are a hub that answers nothing at all.
const WRITES_KEPT: usize = 8;

impl Charge {
    /// A controller that has just started. `me` must differ from every earlier run's.
    pub fn new(me: ControllerId, timings: ChargeTimings) -> Self {
        Self {
            me,
            timings,
            known: None,
            absent: None,
            certain: false,
            open: Open::Nothing,
            next: Time::default(),
            mine: None,
            epoch_floor: Epoch(0),
            written: Vec::new(),
            writes: 0,
            giving_back: false,
            told: None,
            effects: VecDeque::new(),
        }
    }

    /// Takes in one fact; afterwards drain [`Charge::next_effect`].
    pub fn observe(&mut self, now: Time, fact: ChargeFact) {
        match fact {
            ChargeFact::Read(read) => self.read(now, read),
            ChargeFact::ReadFailed => self.read_failed(now),
            ChargeFact::Written(version) => self.written(now, version),
            ChargeFact::Conflict => self.write_failed(now),
            ChargeFact::WriteFailed => self.write_failed(now + self.timings.retry()),
            ChargeFact::Unsure => self.unsure(now),
            ChargeFact::EpochSeen(epoch) => self.epoch_seen(now, epoch),
            ChargeFact::GiveBack => {
                self.giving_back = true;
                self.next = now;
            }
            ChargeFact::Tick => {}
        }
        if self.mine.as_ref().is_some_and(|mine| now >= mine.valid_until) {
            self.mine = None;
        }
        self.step(now);
        self.tell();
    }

    /// What to do next.
    pub fn next_effect(&mut self) -> Option<ChargeEffect> {
        self.effects.pop_front()
    }

    /// When to come back at the latest.
    pub fn next_wake(&self) -> Option<Time> {
        let step = matches!(self.open, Open::Nothing | Open::Doubting { .. }).then_some(self.next);
        let end = self.mine.as_ref().map(|mine| mine.valid_until);
        [step, end].into_iter().flatten().min()
    }

    /// The record as last seen.
    pub fn record(&self) -> Option<&ControlRecord> {
        self.known.as_ref().map(|known| &known.record)
    }

    fn read(&mut self, now: Time, read: Option<(ControlRecord, Version)>) {
        let open = std::mem::replace(&mut self.open, Open::Nothing);
        if let (Open::Checking { record, sent }, Some((found, _))) = (&open, &read)
            && record == found
        {
            self.proven(record.clone(), *sent);
        }
        self.certain = true;
        self.next = now + self.timings.renew;
        let before = self.known.take();
        if let Some(before) = &before {
            // Should the record be deleted, the next one has to start above it.
            self.epoch_seen(now, before.record.epoch);
        }
        let ttl = before.as_ref().map_or(self.timings.ttl, |known| ttl_of(&known.record).max(self.timings.ttl));
        self.absent = if read.is_some() { None } else { self.absent.or(Some((now, ttl))) };
        self.known = read.map(|(record, version)| match before {
            // A hub that has lost writes gives their versions to others.
            Some(known) if known.version == version && known.record == record => known,
            _ => Known { record, version, since: now },
        });
        if !self.is_ours() {
            self.mine = None;
        }
        self.act_on_record(now);
    }

    fn read_failed(&mut self, now: Time) {
        self.open = match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Checking { record, sent } => Open::Doubting { record, sent },
            _ => Open::Nothing,
        };
        self.certain = false;
        // While nobody looked there may have been a record.
        self.absent = None;
        self.next = now + self.timings.renew;
    }

    fn written(&mut self, now: Time, version: Version) {
        if let Open::Writing { record, sent } = std::mem::replace(&mut self.open, Open::Nothing) {
            self.proven(record.clone(), sent);
            self.known = Some(Known { record, version, since: now });
            self.next = if self.is_behind() { now } else { sent + self.timings.renew };
        }
    }

    fn write_failed(&mut self, next: Time) {
        self.open = Open::Nothing;
        self.certain = false;
        self.next = next;
    }

    fn unsure(&mut self, now: Time) {
        if let Open::Writing { record, sent } = std::mem::replace(&mut self.open, Open::Nothing) {
            if self.written.len() >= WRITES_KEPT {
                self.written.remove(0);
            }
            self.written.push(record.clone());
            self.open = Open::Doubting { record, sent };
            self.next = now;
        }
    }

    fn epoch_seen(&mut self, now: Time, epoch: Epoch) {
        // No controller writes such a number, and there would be none left above it.
        if epoch.0 >= NUMBER_MAX {
            return;
        }
        self.epoch_floor = self.epoch_floor.max(epoch);
        if self.mine.as_ref().is_some_and(|mine| mine.epoch < epoch) {
            self.next = now;
        }
    }

    /// A record of ours stood in the hub at some instant after `sent`.
    fn proven(&mut self, record: ControlRecord, sent: Time) {
        self.epoch_floor = self.epoch_floor.max(record.epoch);
        self.written = vec![record.clone()];
        if record.given_back {
            self.mine = None;
        } else {
            let valid_until = sent + self.timings.rate.shrink(record.ttl);
            self.mine = Some(Mine { epoch: record.epoch, valid_until });
        }
    }

    /// Begins the next read or write, if it is time.
    fn step(&mut self, now: Time) {
        if now < self.next {
            return;
        }
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Doubting { record, sent } => {
                self.open = Open::Checking { record, sent };
                self.effects.push_back(ChargeEffect::Read);
            }
            // Whoever has overslept its charge looks first: by now the version it knows may be another record's.
            Open::Nothing if self.certain && self.mine.is_some() && self.owns() => self.write(now, self.renewal()),
            Open::Nothing => {
                self.open = Open::Reading;
                self.effects.push_back(ChargeEffect::Read);
            }
            busy => self.open = busy,
        }
    }

    /// Whether our own record has to change at once.
    fn is_behind(&self) -> bool {
        let behind = |record: &ControlRecord| self.giving_back || record.epoch < self.epoch_floor;
        self.owns() && self.known.as_ref().is_some_and(|known| behind(&known.record))
    }

    fn owns(&self) -> bool {
        self.is_ours() && self.record().is_some_and(|record| !record.given_back)
    }

    fn is_ours(&self) -> bool {
        self.record().is_some_and(|record| self.written.contains(record))
    }

    /// What a fresh look at the record allows: to take over, to renew at once, or nothing.
    fn act_on_record(&mut self, now: Time) {
        let Some(known) = &self.known else {
            self.act_on_absence(now);
            return;
        };
        let expired = now.since(known.since) >= self.timings.rate.stretch(ttl_of(&known.record));
        if self.owns() {
            self.write(now, self.renewal());
        } else if !self.giving_back && (known.record.given_back || expired) {
            let claim = self.claim(known.record.epoch);
            self.write(now, claim);
        } else if !self.giving_back {
            let end = known.since + self.timings.rate.stretch(ttl_of(&known.record));
            self.next = self.next.min(end.max(now + Millis(1)));
        }
    }

    /// A record that somebody deleted may have been another's charge a moment ago: its ttl is waited for as well.
    fn act_on_absence(&mut self, now: Time) {
        let (since, ttl) = self.absent.unwrap_or((now, self.timings.ttl));
        let end = since + self.timings.rate.stretch(ttl);
        if self.giving_back {
            return;
        }
        if now >= end {
            self.write(now, self.claim(Epoch(0)));
        } else {
            self.next = self.next.min(end);
        }
    }

    fn claim(&self, before: Epoch) -> ControlRecord {
        ControlRecord {
            owner: self.me.clone(),
            epoch: before.max(self.epoch_floor).next(),
            ttl: self.timings.ttl,
            beat: self.writes,
            given_back: false,
        }
    }

    /// The next state of our own record. An epoch that others have overtaken is raised.
    fn renewal(&self) -> ControlRecord {
        let Some(known) = &self.known else { return self.claim(Epoch(0)) };
        if known.record.epoch < self.epoch_floor && !self.giving_back {
            return self.claim(known.record.epoch);
        }
        ControlRecord { beat: self.writes, given_back: self.giving_back, ttl: self.timings.ttl, ..known.record.clone() }
    }

    fn write(&mut self, now: Time, record: ControlRecord) {
        self.writes = self.writes.saturating_add(1);
        let basis = self.known.as_ref().map(|known| known.version.clone());
        if record.given_back {
            // From here on nothing may be done in our name.
            self.mine = None;
        }
        self.open = Open::Writing { record: record.clone(), sent: now };
        self.effects.push_back(ChargeEffect::Write { record, basis });
    }

    fn tell(&mut self) {
        let back =
            self.giving_back && self.certain && matches!(self.open, Open::Nothing | Open::Reading) && !self.owns();
        let told = match &self.mine {
            Some(mine) => Told::In(mine.epoch, mine.valid_until),
            None if back => Told::Back,
            None => Told::Out(self.known.as_ref().filter(|k| !k.record.given_back).map(|k| k.record.owner.clone())),
        };
        if self.told.as_ref() == Some(&told) {
            return;
        }
        self.effects.push_back(match told.clone() {
            Told::In(epoch, valid_until) => ChargeEffect::InCharge { epoch, valid_until },
            Told::Out(owner) => ChargeEffect::NotInCharge { owner },
            Told::Back => ChargeEffect::GivenBack,
        });
        self.told = Some(told);
    }
}

/// For how long another's record is respected.
fn ttl_of(record: &ControlRecord) -> Millis {
    ttl_waited_for(record.ttl, RENEW_MIN.times(2))
}

#[cfg(test)]
mod tests;
