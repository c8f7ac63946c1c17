//! The messages of one device, in the order they came.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{CloudMessage, LOCK, Received};
use crate::hub::Session;

/// What waits for a device. Locks end with the process, messages do not.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::hub) struct Queue {
    last: u64,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    sequence: u64,
    enqueued: Timestamp,
    expires: Timestamp,
    deliveries: u32,
    message: CloudMessage,
    #[serde(skip)]
    lock: Option<Lock>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Lock {
    Connection(Session),
    Receiver { token: String, until: Timestamp },
}

/// A message on its way to a connection.
pub(super) struct Locked {
    pub(super) sequence: u64,
    pub(super) message: CloudMessage,
    pub(super) expires: Timestamp,
}

/// A message that waits no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) sequence: u64,
    pub(super) message: CloudMessage,
    pub(super) fate: Fate,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Success,
    Rejected,
    Expired,
    DeliveredTooOften,
    Purged,
}

impl Fate {
    /// As feedback calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::Rejected => "Rejected",
            Self::Expired => "Expired",
            Self::DeliveredTooOften => "DeliveryCountExceeded",
            Self::Purged => "Purged",
        }
    }
}

impl Queue {
    pub(in crate::hub) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(in crate::hub) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether there was never a message.
    pub(in crate::hub) fn is_untouched(&self) -> bool {
        self.last == 0
    }

    /// When time alone next changes something.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let due = |entry: &Entry| match &entry.lock {
            None => Some(entry.expires),
            Some(Lock::Receiver { until, .. }) => Some(*until),
            Some(Lock::Connection(_)) => None,
        };
        self.entries.iter().filter_map(due).min()
    }

    /// Takes in a message that waits for `ttl` unless it says otherwise.
    pub(super) fn push(&mut self, message: CloudMessage, ttl: SignedDuration, now: Timestamp) -> u64 {
        self.last += 1;
        let default = now.checked_add(ttl).unwrap_or(now);
        let expires = message.expiry.unwrap_or(default);
        self.entries.push(Entry { sequence: self.last, enqueued: now, expires, deliveries: 0, message, lock: None });
        self.last
    }

    /// Locks everything that waits for a connection.
    pub(super) fn lock_all(&mut self, session: Session, now: Timestamp) -> Vec<Locked> {
        let waiting = self.entries.iter_mut().filter(|entry| entry.waits(now));
        let lock = |entry: &mut Entry| {
            entry.deliveries += 1;
            entry.lock = Some(Lock::Connection(session));
            Locked { sequence: entry.sequence, message: entry.message.clone(), expires: entry.expires }
        };
        waiting.map(lock).collect()
    }

    /// Locks the first that waits for an HTTPS receiver.
    pub(super) fn lock_next(&mut self, token: String, now: Timestamp) -> Option<Received> {
        let entry = self.entries.iter_mut().find(|entry| entry.waits(now))?;
        entry.deliveries += 1;
        let until = now.checked_add(LOCK).unwrap_or(now);
        entry.lock = Some(Lock::Receiver { token: token.clone(), until });
        Some(Received {
            lock_token: token,
            sequence: entry.sequence,
            deliveries: entry.deliveries,
            enqueued: entry.enqueued,
            expires: entry.expires,
            message: entry.message.clone(),
        })
    }

    /// The message that an HTTPS receiver's token locks.
    pub(super) fn locked_by(&self, given: &str) -> Option<u64> {
        let holds = |entry: &&Entry| matches!(&entry.lock, Some(Lock::Receiver { token, .. }) if token == given);
        self.entries.iter().find(holds).map(|entry| entry.sequence)
    }

    pub(super) fn is_locked_for(&self, sequence: u64, session: Session) -> bool {
        let locked = Some(Lock::Connection(session));
        self.entries.iter().any(|entry| entry.sequence == sequence && entry.lock == locked)
    }

    /// Whether there is something to lock.
    pub(super) fn has_waiting(&self, now: Timestamp) -> bool {
        self.entries.iter().any(|entry| entry.waits(now))
    }

    pub(super) fn take(&mut self, sequence: u64, fate: Fate) -> Option<Gone> {
        let at = self.entries.iter().position(|entry| entry.sequence == sequence)?;
        Some(self.entries.remove(at).gone(fate))
    }

    /// Puts one back to its place, unless it has been delivered `most` times.
    pub(super) fn release(&mut self, sequence: u64, most: u32) -> Option<Gone> {
        let entry = self.entries.iter_mut().find(|entry| entry.sequence == sequence)?;
        entry.lock = None;
        if entry.deliveries < most {
            return None;
        }
        self.take(sequence, Fate::DeliveredTooOften)
    }

    /// Puts everything back that a connection had locked.
    pub(super) fn release_all(&mut self, session: Session, most: u32) -> Vec<Gone> {
        self.release_where(most, |lock| *lock == Lock::Connection(session))
    }

    /// Ends locks whose time is over, then drops what is too old.
    pub(super) fn pass_time(&mut self, most: u32, now: Timestamp) -> Vec<Gone> {
        let mut gone = self.release_where(most, |lock| matches!(lock, Lock::Receiver { until, .. } if *until <= now));
        let expired = self.entries.extract_if(.., |entry| entry.lock.is_none() && entry.expires <= now);
        gone.extend(expired.map(|entry| entry.gone(Fate::Expired)));
        gone
    }

    /// Takes out everything, delivered or not.
    pub(super) fn clear(&mut self) -> Vec<Gone> {
        self.entries.drain(..).map(|entry| entry.gone(Fate::Purged)).collect()
    }

    fn release_where(&mut self, most: u32, which: impl Fn(&Lock) -> bool) -> Vec<Gone> {
        let due = self.entries.iter().filter(|entry| entry.lock.as_ref().is_some_and(&which));
        let due: Vec<u64> = due.map(|entry| entry.sequence).collect();
        due.into_iter().filter_map(|sequence| self.release(sequence, most)).collect()
    }
}

impl Entry {
    fn gone(self, fate: Fate) -> Gone {
        Gone { sequence: self.sequence, message: self.message, fate }
    }

    fn waits(&self, now: Timestamp) -> bool {
        self.lock.is_none() && now < self.expires
    }
}
