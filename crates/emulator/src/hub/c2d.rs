//! Cloud-to-device messages: a queue per device, emptied over MQTT or over HTTPS.
//!
//! A message waits, is locked while it is delivered, and is completed, or comes back: when its lock runs out, when it is
//! abandoned, when its connection ends. One that came back too often, or is too old, is dropped. A lock of an HTTPS
//! receiver lasts a minute; one of an MQTT connection as long as the connection, for it cannot be sent a message twice.

mod feedback;
mod message;
mod queue;

use ha_wire::topics::ToDevice;
use jiff::{SignedDuration, Timestamp};

pub use feedback::FEEDBACK;
pub(super) use feedback::Feedback;
pub use message::{Ack, CloudMessage};
pub(super) use queue::Queue;
use queue::{Fate, Gone, Locked};

use super::refusal::{Code, Refusal};
use super::{Effect, Hub, Id, Session};

/// Messages that may wait for a device, those under way included.
pub(super) const QUEUE_MAX: usize = 50;
/// How long an HTTPS receiver has to settle a message.
pub(super) const LOCK: SignedDuration = SignedDuration::from_mins(1);
/// The longest body.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;

/// A message that an HTTPS receiver was given.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// What it has to settle it with.
    pub lock_token: String,
    /// Numbers of a device's messages only grow.
    pub sequence: u64,
    /// How often it has been delivered, this time included.
    pub deliveries: u32,
    /// When the hub got it.
    pub enqueued: Timestamp,
    /// When it is dropped.
    pub expires: Timestamp,
    /// What was sent.
    pub message: CloudMessage,
}

/// What an HTTPS receiver does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// It is done with.
    Complete,
    /// It is to be dropped.
    Reject,
    /// It goes back to its place.
    Abandon,
}

impl Hub {
    /// Takes in a message; answers with its sequence number.
    pub fn send_message(&mut self, device: &str, message: CloudMessage, now: Timestamp) -> Result<u64, Refusal> {
        if message.body.len() > BODY_BYTES_MAX {
            return Err(Refusal::new(Code::MessageTooLarge, format!("a message has at most {BODY_BYTES_MAX} bytes")));
        }
        let ttl = self.settings.message_ttl;
        let queue = self.queue_of(device)?;
        if queue.len() >= QUEUE_MAX {
            let text = format!("{QUEUE_MAX} messages wait for the device already");
            return Err(Refusal::new(Code::DeviceMaximumQueueDepthExceeded, text));
        }
        let sequence = queue.push(message, ttl, now);
        self.mail_moved(device, now);
        Ok(sequence)
    }

    /// The next message for an HTTPS receiver, locked for a minute.
    pub fn receive_message(&mut self, device: &str, now: Timestamp) -> Result<Option<Received>, Refusal> {
        let lock_token = uuid_from(&mut self.dice);
        let received = self.queue_of(device)?.lock_next(lock_token, now);
        if received.is_some() {
            self.mail_moved(device, now);
        }
        Ok(received)
    }

    /// Settles a message by the token of its lock; refused when that has run out.
    pub fn settle_message(
        &mut self,
        device: &str,
        lock_token: &str,
        settlement: Settlement,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let sequence = self.queue_of(device)?.locked_by(lock_token).ok_or_else(lock_lost)?;
        let most = self.settings.message_deliveries_max;
        let queue = self.queue_of(device)?;
        let gone = match settlement {
            Settlement::Complete => queue.take(sequence, Fate::Success),
            Settlement::Reject => queue.take(sequence, Fate::Rejected),
            Settlement::Abandon => queue.release(sequence, most),
        };
        self.note_gone(device, gone, now);
        self.mail_moved(device, now);
        Ok(())
    }

    /// An MQTT client has acknowledged a message of this connection.
    pub fn complete_message(&mut self, device: &str, session: Session, sequence: u64, now: Timestamp) {
        let Ok(queue) = self.queue_of(device) else {
            return;
        };
        if queue.is_locked_for(sequence, session) {
            let gone = queue.take(sequence, Fate::Success);
            self.note_gone(device, gone, now);
            self.mail_moved(device, now);
        }
    }

    /// `DELETE /devices/{id}/commands`: drops everything that waits; answers with how many.
    pub fn purge_messages(&mut self, device: &str, now: Timestamp) -> Result<usize, Refusal> {
        let gone = self.queue_of(device)?.clear();
        let purged = gone.len();
        if purged > 0 {
            self.note_gone(device, gone, now);
            self.mail_moved(device, now);
        }
        Ok(purged)
    }

    /// Lets time pass: locks run out, messages grow too old. Call it before anything is asked of the hub.
    pub fn wake(&mut self, now: Timestamp) {
        if self.mail_due.is_none_or(|due| now < due) {
            return;
        }
        let late = |(id, device): (&String, &super::Device)| {
            device.mail.due().is_some_and(|due| due <= now).then(|| id.clone())
        };
        let late: Vec<String> = self.devices.iter().filter_map(late).collect();
        let most = self.settings.message_deliveries_max;
        for device in late {
            let gone = self.queue_of(&device).map(|queue| queue.pass_time(most, now)).unwrap_or_default();
            self.note_gone(&device, gone, now);
            self.mail_moved(&device, now);
        }
        self.mail_due = self.devices.values().filter_map(|device| device.mail.due()).min();
    }

    /// Sends what waits to the connection of the device, if that listens.
    pub(super) fn deliver_messages(&mut self, device: &str, now: Timestamp) {
        let Some((session, qos)) = self.mail_session(&Id::device(device)) else {
            return;
        };
        let Some(found) = self.devices.get_mut(device) else {
            return;
        };
        let mut gone = Vec::new();
        for Locked { sequence, message, expires } in found.mail.lock_all(session, now) {
            let properties = message.bag(device, expires);
            let topic = ToDevice::Message { device: device.to_owned(), properties }.to_string();
            let receipt = (qos > 0).then_some(sequence);
            self.effects.push(Effect::Message { session, topic, payload: message.body, receipt });
            if receipt.is_none() {
                gone.extend(found.mail.take(sequence, Fate::Success));
            }
        }
        self.note_gone(device, gone, now);
    }

    /// Puts back what a connection that has ended had not acknowledged.
    pub(super) fn release_messages(&mut self, id: &Id, session: Session, now: Timestamp) {
        if id.module.is_some() {
            return;
        }
        let most = self.settings.message_deliveries_max;
        let Ok(queue) = self.queue_of(&id.device) else {
            return;
        };
        if !queue.is_empty() {
            let gone = queue.release_all(session, most);
            self.note_gone(&id.device, gone, now);
            self.mail_moved(&id.device, now);
        }
    }

    /// After a load: when the first message grows too old.
    pub(super) fn find_mail_due(&mut self) {
        self.mail_due = self.devices.values().filter_map(|device| device.mail.due()).min();
    }

    fn queue_of(&mut self, device: &str) -> Result<&mut Queue, Refusal> {
        let found = self.devices.get_mut(device);
        found.map(|device| &mut device.mail).ok_or_else(|| Refusal::device_not_found(device))
    }

    fn mail_moved(&mut self, device: &str, now: Timestamp) {
        self.deliver_messages(device, now);
        let due = self.devices.get(device).and_then(|device| device.mail.due());
        self.mail_due = [self.mail_due, due].into_iter().flatten().min();
        self.changed(&Id::device(device), now);
    }

    fn note_gone(&mut self, device: &str, gone: impl IntoIterator<Item = Gone>, now: Timestamp) {
        let id = Id::device(device);
        for gone in gone {
            self.note_feedback(device, &gone, now);
            let lost = |reason| Effect::MessageLost { id: id.clone(), sequence: gone.sequence, reason };
            self.effects.extend(match gone.fate {
                Fate::Success => Some(Effect::MessageCompleted { id: id.clone() }),
                Fate::Rejected => Some(lost("rejected")),
                Fate::Expired => Some(lost("expired")),
                Fate::DeliveredTooOften => Some(lost("delivered too often")),
                // Whoever purged has been told how many there were.
                Fate::Purged => None,
            });
        }
    }
}

fn lock_lost() -> Refusal {
    Refusal::new(Code::DeviceMessageLockLost, "the lock has run out or was never there")
}

fn uuid_from(dice: &mut super::Dice) -> String {
    let digits = dice.token();
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default().to_owned();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

#[cfg(test)]
mod tests;
