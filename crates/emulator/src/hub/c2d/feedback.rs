//! What became of messages, for whoever sent them and asked for it.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::queue::{Fate, Gone, Queue};
use super::{CloudMessage, Received, Settlement, lock_lost, uuid_from};
use crate::hub::refusal::Refusal;
use crate::hub::{Hub, time};

/// What one feedback message tells at most.
const BATCH_MAX: usize = 64;
/// What may wait to be told; the oldest goes first.
const WAITING_MAX: usize = 10_000;
/// How long a feedback message waits, and how often it is delivered.
const TTL: SignedDuration = SignedDuration::from_hours(1);
const DELIVERIES_MAX: u32 = 10;
/// The content type of feedback messages.
pub const FEEDBACK: &str = "application/vnd.microsoft.iothub.feedback.json";

/// What is to be told, and the feedback messages that tell it.
#[derive(Debug, Clone, Default)]
pub(in crate::hub) struct Feedback {
    told: Queue,
    waiting: VecDeque<Value>,
}

impl Feedback {
    fn note(&mut self, record: Value) {
        self.waiting.push_back(record);
        if self.waiting.len() > WAITING_MAX {
            self.waiting.pop_front();
        }
    }

    /// Makes a message of what waits, unless one is there already.
    fn gather(&mut self, now: Timestamp) {
        self.told.pass_time(DELIVERIES_MAX, now);
        if self.told.has_waiting(now) || self.waiting.is_empty() {
            return;
        }
        let records: Vec<_> = self.waiting.drain(..self.waiting.len().min(BATCH_MAX)).collect();
        let body = Value::Array(records).to_string().into_bytes();
        let content_type = Some(FEEDBACK.to_owned());
        self.told.push(CloudMessage { content_type, body, ..CloudMessage::default() }, TTL, now);
    }
}

impl Hub {
    /// The next feedback message, locked for a minute.
    pub fn receive_feedback(&mut self, now: Timestamp) -> Option<Received> {
        self.feedback.gather(now);
        let lock_token = uuid_from(&mut self.dice);
        self.feedback.told.lock_next(lock_token, now)
    }

    /// Settles a feedback message by the token of its lock; refused when that has run out.
    pub fn settle_feedback(&mut self, lock_token: &str, settlement: Settlement, now: Timestamp) -> Result<(), Refusal> {
        let told = &mut self.feedback.told;
        told.pass_time(DELIVERIES_MAX, now);
        let sequence = told.locked_by(lock_token).ok_or_else(lock_lost)?;
        match settlement {
            Settlement::Abandon => _ = told.release(sequence, DELIVERIES_MAX),
            Settlement::Complete | Settlement::Reject => _ = told.take(sequence, Fate::Success),
        }
        Ok(())
    }

    /// Notes what became of a message, if its sender wants to know.
    pub(super) fn note_feedback(&mut self, device: &str, gone: &Gone, now: Timestamp) {
        let Gone { message, fate, .. } = gone;
        if !message.ack.is_some_and(|ack| ack.asks_for(*fate == Fate::Success)) {
            return;
        }
        let mut record = Map::new();
        if let Some(id) = &message.message_id {
            record.insert("originalMessageId".into(), id.as_str().into());
        }
        record.insert("description".into(), fate.name().into());
        record.insert("deviceGenerationId".into(), self.generation_of(device).into());
        record.insert("deviceId".into(), device.into());
        record.insert("enqueuedTimeUtc".into(), time::print(now).into());
        record.insert("statusCode".into(), fate.name().into());
        self.feedback.note(record.into());
    }

    fn generation_of(&self, device: &str) -> String {
        self.devices.get(device).map(|device| device.generation_id.clone()).unwrap_or_default()
    }
}
