//! Messages on their way to the hub: sent at QoS 1, and waited for until the hub has acknowledged them.

use std::collections::BTreeMap;

use ha_wire::Properties;
use tokio::sync::{mpsc, oneshot};

/// How many messages may wait to be sent, and how many may be sent and not acknowledged.
pub const MESSAGES_MAX: usize = 32;

/// A message for the hub.
#[derive(Debug)]
pub struct Message {
    /// Its properties, those of the system included.
    pub properties: Properties,
    /// Its body.
    pub payload: Vec<u8>,
    /// Told once the hub has it, or that it was not sent. Dropped when nobody knows.
    pub outcome: oneshot::Sender<Outcome>,
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The hub has acknowledged it.
    Acknowledged,
    /// It was not sent: there is no connection.
    NotSent,
}

/// A place for messages; the link takes them from the other end.
pub fn channel() -> (mpsc::Sender<Message>, mpsc::Receiver<Message>) {
    mpsc::channel(MESSAGES_MAX)
}

/// What was sent on one connection and not acknowledged. When it is dropped, so is everybody's hope.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    waiting: BTreeMap<u16, oneshot::Sender<Outcome>>,
}

impl InFlight {
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < MESSAGES_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn sent(&mut self, packet_id: u16, outcome: oneshot::Sender<Outcome>) {
        self.waiting.insert(packet_id, outcome);
    }

    pub(super) fn acknowledged(&mut self, packet_id: u16) {
        if let Some(outcome) = self.waiting.remove(&packet_id) {
            // Whoever asked may have gone.
            let _ = outcome.send(Outcome::Acknowledged);
        }
    }
}
