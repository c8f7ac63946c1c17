//! Messages: through the routes, into queues, and on when there is a way.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ha_wire::topics::{FromDevice, ToDevice};

use super::route::{Passing, Sink};
use super::{ClientOrder, EdgeHub, UpstreamOrder};
use crate::id::Id;

/// Messages that wait for one receiver; the lowest priority number first, then the oldest.
#[derive(Debug, Default)]
pub(super) struct Queue {
    messages: Vec<Stored>,
    bytes: usize,
}

#[derive(Debug)]
struct Stored {
    number: u64,
    priority: u8,
    expires: Instant,
    onward: Onward,
    payload: Bytes,
    under_way: bool,
}

/// Under which topic a message goes on.
#[derive(Clone, Debug)]
enum Onward {
    Upstream(FromDevice),
    Input(ToDevice),
}

/// A device with a disk keeps more; here a queue must not eat the machine.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
const QUEUE_MESSAGES_MAX: usize = 100_000;
/// So many messages go to one receiver without being acknowledged.
const UNDER_WAY_MAX: usize = 50;

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The receiver has it.
    pub(super) fn done(&mut self, number: u64) {
        self.remove(|message| message.number == number);
    }

    /// Whatever was under way may be lost: it goes again.
    pub(super) fn unsend(&mut self) {
        for message in &mut self.messages {
            message.under_way = false;
        }
    }

    fn clean_up(&mut self, now: Instant) -> usize {
        self.remove(|message| message.expires <= now && !message.under_way)
    }

    fn remove(&mut self, which: impl Fn(&Stored) -> bool) -> usize {
        let before = self.messages.len();
        self.messages.retain(|message| !which(message));
        self.bytes = self.messages.iter().map(|message| message.payload.len()).sum();
        before - self.messages.len()
    }

    fn push(&mut self, message: Stored) -> bool {
        if self.messages.len() >= QUEUE_MESSAGES_MAX || self.bytes + message.payload.len() > QUEUE_BYTES_MAX {
            return false;
        }
        self.bytes += message.payload.len();
        let at = self.messages.partition_point(|other| other.priority <= message.priority);
        self.messages.insert(at, message);
        true
    }

    fn take_next(&mut self) -> Vec<(u64, Onward, Bytes)> {
        let free = UNDER_WAY_MAX.saturating_sub(self.messages.iter().filter(|message| message.under_way).count());
        let next = self.messages.iter_mut().filter(|message| !message.under_way).take(free);
        next.map(|message| {
            message.under_way = true;
            (message.number, message.onward.clone(), message.payload.clone())
        })
        .collect()
    }
}

impl EdgeHub {
    /// Stores a message for each receiver that a route names. It counts as taken from here on.
    pub(super) fn route_message(&mut self, now: Instant, id: &Id, topic: FromDevice, payload: Bytes) {
        let FromDevice::Event { properties, .. } = &topic else { return };
        let passing = Passing::new(id, properties, &payload);
        let ways = self.own.ways(&passing);
        if ways.is_empty() {
            tracing::debug!(%id, "no route takes a message; it is dropped");
        }
        for (sink, priority, ttl) in ways {
            let (receiver, onward) = match sink {
                Sink::Upstream => (id.clone(), Onward::Upstream(topic.clone())),
                Sink::Input { module, input } => {
                    let mut properties = properties.clone();
                    properties.set_system("cdid", id.device.clone());
                    if let Some(from) = &id.module {
                        properties.set_system("cmid", from.clone());
                    }
                    let receiver = Id::module(&self.device, &module);
                    let device = self.device.clone();
                    (receiver, Onward::Input(ToDevice::Input { device, module, input, properties }))
                }
            };
            self.store(now, &receiver, onward, priority, ttl, payload.clone());
        }
    }

    fn store(&mut self, now: Instant, receiver: &Id, onward: Onward, priority: u8, ttl: Duration, payload: Bytes) {
        let number = self.own.next_message();
        let client = self.client(now, receiver);
        let queue = match onward {
            Onward::Upstream(_) => &mut client.upstream_queue,
            Onward::Input(_) => &mut client.input_queue,
        };
        let message = Stored { number, priority, expires: now + ttl, onward, payload, under_way: false };
        if !queue.push(message) {
            tracing::warn!(%receiver, "a queue is full; a message is dropped");
        }
    }

    pub(super) fn send_messages(&mut self, now: Instant, id: &Id) {
        let Some(client) = self.clients.get_mut(id).filter(|client| client.is_linked()) else { return };
        let next = client.upstream_queue.take_next();
        if !next.is_empty() {
            client.used_at = now;
        }
        for (message, onward, payload) in next {
            if let Onward::Upstream(topic) = onward {
                self.upstream(id, UpstreamOrder::Send { topic, payload, message });
            }
        }
    }

    pub(super) fn deliver_inputs(&mut self, id: &Id) {
        let Some(module) = id.module.clone() else { return };
        let inputs = ha_wire::topics::Filter::Inputs { device: id.device.clone(), module };
        let listens = |client: &super::Client| client.session.is_some() && client.filters.contains(&inputs);
        let Some(client) = self.clients.get_mut(id).filter(|client| listens(client)) else { return };
        for (message, onward, payload) in client.input_queue.take_next() {
            if let Onward::Input(topic) = onward {
                self.say(id, ClientOrder::Deliver { topic, payload, message });
            }
        }
    }

    pub(super) fn delivered(&mut self, now: Instant, id: &Id, message: u64) {
        self.client(now, id).input_queue.done(message);
    }

    /// Expired messages go only when the clean-up comes round.
    pub(super) fn clean_up(&mut self, now: Instant) {
        if now < self.own.cleanup_at {
            return;
        }
        self.own.cleanup_at = now + self.timings.message_cleanup;
        for (id, client) in &mut self.clients {
            let dropped = client.upstream_queue.clean_up(now) + client.input_queue.clean_up(now);
            if dropped > 0 {
                tracing::info!(%id, dropped, "messages have expired");
            }
        }
    }
}
