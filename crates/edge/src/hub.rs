//! edgeHub, as a state machine: what modules and the cloud say goes in, what is to be said to them comes out.
//!
//! No clock and no socket: instants are handed in. [`EdgeHub::observe`] never waits and never fails; afterwards the
//! caller drains [`EdgeHub::take_effects`] and calls again at [`EdgeHub::next_wake`] at the latest.

mod calls;
mod client;
mod messages;
mod own;
mod route;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use ha_wire::topics::{Filter, FromDevice, RequestId, ToDevice};
use serde_json::Value;

use self::calls::Calls;
use self::client::Client;
use self::own::Own;
pub(crate) use self::own::version;
use crate::id::Id;
use crate::timings::Timings;
use crate::twin::Kept;

/// The module under which edgeHub itself speaks to the cloud.
pub(crate) const EDGE_HUB: &str = "$edgeHub";

/// An instant, on both clocks: one to measure with, one to write down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) at: Instant,
    pub(crate) wall: jiff::Timestamp,
}

/// Counts connections: what comes from an earlier one is void.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Session(pub(crate) u64);

/// What happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// A client has logged in; an older connection of the same identity ends.
    Attached {
        id: Id,
        session: Session,
        clean: bool,
    },
    Detached {
        id: Id,
        session: Session,
    },
    Subscribed {
        id: Id,
        session: Session,
        filter: Filter,
    },
    Unsubscribed {
        id: Id,
        session: Session,
        filter: Filter,
    },
    Published {
        id: Id,
        session: Session,
        topic: FromDevice,
        payload: Bytes,
    },
    /// A message on an input has been acknowledged.
    Delivered {
        id: Id,
        message: u64,
    },
    /// A message that came over HTTPS.
    Posted {
        id: Id,
        topic: FromDevice,
        payload: Bytes,
    },
    /// Somebody on this device calls a method of a module.
    Called {
        call: LocalCall,
        to: Id,
        method: String,
        payload: Value,
        connect_s: u32,
        response_s: u32,
    },
    Upstream {
        id: Id,
        news: News,
    },
    /// Nothing but time has passed.
    Tick,
}

/// What the connection of one identity to the cloud tells.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum News {
    Up,
    /// It could not be made, or is lost; it is tried again.
    Down,
    Heard {
        topic: ToDevice,
        payload: Vec<u8>,
    },
    /// The cloud has this message.
    Sent {
        message: u64,
    },
}

/// A call from this device, for its answer to find its way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct LocalCall(pub(crate) u64);

/// What is to be done.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Effect {
    Client {
        id: Id,
        session: Session,
        order: ClientOrder,
    },
    Upstream {
        id: Id,
        order: UpstreamOrder,
    },
    Answered {
        call: LocalCall,
        answer: Answer,
    },
    /// This twin is to outlive the process; what relies on it comes later.
    Keep {
        id: Id,
        twin: Kept,
    },
    /// The identities of these devices are to be read anew.
    RefreshScope(Vec<String>),
}

/// What is to be said to a client.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum ClientOrder {
    Publish {
        topic: ToDevice,
        payload: Vec<u8>,
    },
    /// Surely: it comes back as [`Input::Delivered`].
    Deliver {
        topic: ToDevice,
        payload: Bytes,
        message: u64,
    },
    Close,
}

/// What is to be done on the connection of one identity to the cloud.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum UpstreamOrder {
    /// Have a connection; try at once if it is down.
    Open,
    Close,
    Subscribe(Filter),
    Unsubscribe(Filter),
    Publish {
        topic: FromDevice,
        payload: Vec<u8>,
    },
    /// Surely: it comes back as [`News::Sent`].
    Send {
        topic: FromDevice,
        payload: Bytes,
        message: u64,
    },
}

/// The outcome of a method called from this device.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Answer {
    Given { status: i32, payload: Vec<u8> },
    NotConnected,
    TimedOut,
}

/// edgeHub of one device.
#[derive(Debug)]
pub(crate) struct EdgeHub {
    device: String,
    timings: Timings,
    clients: BTreeMap<Id, Client>,
    calls: Calls,
    own: Own,
    rids: u64,
    effects: Vec<Effect>,
}

impl EdgeHub {
    pub(crate) fn new(device: &str, timings: Timings, now: Now) -> Self {
        let own = Own::new(&timings, now.at);
        let clients = BTreeMap::new();
        let mut hub = Self {
            device: device.to_owned(),
            timings,
            clients,
            calls: Calls::default(),
            own,
            rids: 0,
            effects: Vec::new(),
        };
        hub.open_own(now.at);
        hub
    }

    /// Takes in what happened.
    pub(crate) fn observe(&mut self, now: Now, input: Input) {
        match input {
            Input::Attached { id, session, clean } => self.attach(now, id, session, clean),
            Input::Detached { id, session } => self.detach(now, &id, session),
            Input::Subscribed { id, session, filter } => self.subscribe(now.at, &id, session, filter),
            Input::Unsubscribed { id, session, filter } => self.unsubscribe(&id, session, &filter),
            Input::Published { id, session, topic, payload } => self.publish(now, &id, session, topic, payload),
            Input::Delivered { id, message } => self.delivered(now.at, &id, message),
            Input::Posted { id, topic, payload } => self.route_message(now.at, &id, topic, payload),
            Input::Called { call, to, method, payload, connect_s, response_s } => {
                self.call_locally(now.at, call, to, &method, &payload, connect_s, response_s);
            }
            Input::Upstream { id, news } => self.upstream_news(now, &id, news),
            Input::Tick => {}
        }
        self.time_passed(now);
    }

    /// Takes in a twin of an earlier life. The routes of edgeHub's own are in force at once.
    pub(crate) fn restore(&mut self, now: Now, id: &Id, twin: Kept) {
        let delay = self.timings.reported_sync;
        self.client(now.at, id).twin.restore(twin, now.at, delay);
        if *id == self.own_id() {
            self.apply_own_desired(now);
        }
    }

    /// What is to be done since the last call, in this order.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        let twins = self.clients.iter_mut().filter_map(|(id, client)| Some((id, client.twin.take_unkept()?)));
        let mut effects: Vec<Effect> = twins.map(|(id, twin)| Effect::Keep { id: id.clone(), twin }).collect();
        effects.append(&mut self.effects);
        effects
    }

    /// When to call [`EdgeHub::observe`] with a [`Input::Tick`] at the latest.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let clients = self.clients.values().filter_map(|client| client.next_wake(&self.timings));
        clients.chain(self.calls.next_wake()).chain([self.own.cleanup_at]).min()
    }

    /// Whether this client has a session from before.
    pub(crate) fn has_kept_session(&self, id: &Id) -> bool {
        self.clients.get(id).is_some_and(|client| !client.filters.is_empty())
    }

    fn upstream_news(&mut self, now: Now, id: &Id, news: News) {
        match news {
            News::Up => self.upstream_up(now, id),
            News::Down => self.upstream_down(now.at, id),
            News::Sent { message } => {
                if let Some(client) = self.clients.get_mut(id) {
                    client.upstream_queue.done(message);
                    client.used_at = now.at;
                }
            }
            News::Heard { topic, payload } => self.upstream_heard(now, id, topic, payload),
        }
    }

    fn upstream_heard(&mut self, now: Now, id: &Id, topic: ToDevice, payload: Vec<u8>) {
        if let Some(client) = self.clients.get_mut(id) {
            client.used_at = now.at;
        }
        match topic {
            ToDevice::TwinAnswer { status, rid, .. } => self.twin_answered(now, id, &rid, status, &payload),
            ToDevice::DesiredChanged { version } => self.desired_changed(now, id, version, payload),
            ToDevice::MethodCall { name, rid } if *id == self.own_id() => self.own_method(id, &name, rid, &payload),
            ToDevice::MethodCall { name, rid } => self.call_from_cloud(now.at, id, name, rid, payload),
            topic @ ToDevice::Message { .. } => {
                self.say(id, ClientOrder::Publish { topic, payload });
            }
            ToDevice::Input { .. } => {}
        }
    }

    fn time_passed(&mut self, now: Now) {
        self.expire_calls(now.at);
        self.clean_up(now.at);
        let ids: Vec<Id> = self.clients.keys().cloned().collect();
        for id in ids {
            self.expire_gets(now.at, &id);
            self.send_reports(now.at, &id);
            self.send_messages(now.at, &id);
            self.deliver_inputs(&id);
            self.tend_link(now.at, &id);
        }
    }

    /// Says something to a client, if it is there and listens to such things. Answers whether it is.
    fn say(&mut self, id: &Id, order: ClientOrder) -> bool {
        let Some(client) = self.clients.get(id) else { return false };
        let listens = match &order {
            ClientOrder::Publish { topic, .. } | ClientOrder::Deliver { topic, .. } => {
                client.filters.contains(&topic.filter())
            }
            ClientOrder::Close => true,
        };
        let Some(session) = client.session.filter(|_| listens) else { return false };
        self.effects.push(Effect::Client { id: id.clone(), session, order });
        true
    }

    fn upstream(&mut self, id: &Id, order: UpstreamOrder) {
        self.effects.push(Effect::Upstream { id: id.clone(), order });
    }

    fn rid(&mut self) -> Option<RequestId> {
        self.rids += 1;
        RequestId::new(format!("{:x}", self.rids)).ok()
    }

    fn own_id(&self) -> Id {
        Id::module(&self.device, EDGE_HUB)
    }
}
