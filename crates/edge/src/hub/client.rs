//! One identity that speaks through edgeHub: its connection here, its connection to the cloud, its twin.

use std::collections::HashSet;
use std::time::Instant;

use bytes::Bytes;
use ha_wire::Map;
use ha_wire::topics::{Filter, FromDevice, RequestId, ToDevice};
use serde_json::Value;

use super::messages::Queue;
use super::{ClientOrder, EdgeHub, Now, Session, UpstreamOrder};
use crate::id::Id;
use crate::patch::read_patch;
use crate::timings::Timings;
use crate::twin::TwinCopy;

/// What edgeHub knows of one identity.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) session: Option<Session>,
    clean: bool,
    pub(super) filters: HashSet<Filter>,
    pub(super) twin: TwinCopy,
    gets: Vec<Get>,
    pub(super) link: Link,
    /// When something last went to the cloud or came from it.
    pub(super) used_at: Instant,
    pub(super) upstream_queue: Queue,
    pub(super) input_queue: Queue,
}

/// The connection to the cloud, as far as it is known here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Link {
    /// Nobody wants one.
    Closed,
    /// It is being made.
    Opening,
    Up,
}

/// A twin that is being read.
#[derive(Debug)]
struct Get {
    /// Who asked: the client, or nobody but ourselves.
    asked: Option<RequestId>,
    /// Under which id the cloud was asked.
    sent: Option<RequestId>,
    until: Instant,
    /// Whether the client is told what has changed.
    tell: bool,
}

impl Client {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            session: None,
            clean: true,
            filters: HashSet::new(),
            twin: TwinCopy::default(),
            gets: Vec::new(),
            link: Link::Closed,
            used_at: now,
            upstream_queue: Queue::default(),
            input_queue: Queue::default(),
        }
    }

    pub(super) fn next_wake(&self, timings: &Timings) -> Option<Instant> {
        let gets = self.gets.iter().map(|get| get.until);
        let up = self.link == Link::Up;
        let idle = (self.link != Link::Closed).then(|| self.used_at + timings.idle);
        gets.chain(self.twin.next_wake(up)).chain(idle).min()
    }

    /// Whether there is reason to be connected to the cloud.
    /// Whether the cloud can be spoken to on its behalf.
    pub(super) fn is_linked(&self) -> bool {
        self.link == Link::Up
    }

    fn wants_link(&self) -> bool {
        let subscribed = self.session.is_some() && self.filters.iter().any(goes_upstream);
        let pending = !self.upstream_queue.is_empty() || self.twin.has_unsent();
        subscribed || pending || !self.gets.is_empty()
    }
}

/// Subscriptions that only the cloud can serve.
fn goes_upstream(filter: &Filter) -> bool {
    matches!(filter, Filter::DesiredChanges | Filter::MethodCalls | Filter::Messages { .. })
}

impl EdgeHub {
    pub(super) fn client(&mut self, now: Instant, id: &Id) -> &mut Client {
        self.clients.entry(id.clone()).or_insert_with(|| Client::new(now))
    }

    pub(super) fn attach(&mut self, now: Now, id: Id, session: Session, clean: bool) {
        self.say(&id, ClientOrder::Close);
        let client = self.client(now.at, &id);
        client.session = Some(session);
        client.clean = clean;
        client.input_queue.unsend();
        if clean {
            client.filters.clear();
        }
        self.note_connected(now, &id);
        let kept: Vec<Filter> = self.client(now.at, &id).filters.iter().cloned().collect();
        for filter in kept {
            self.subscribe(now.at, &id, session, filter);
        }
    }

    pub(super) fn detach(&mut self, now: Now, id: &Id, session: Session) {
        let Some(client) = self.clients.get_mut(id).filter(|client| client.session == Some(session)) else {
            return;
        };
        client.session = None;
        client.input_queue.unsend();
        client.gets.retain(|get| get.asked.is_none());
        let filters: Vec<Filter> = client.filters.iter().filter(|filter| goes_upstream(filter)).cloned().collect();
        if client.clean {
            client.filters.clear();
        }
        for filter in filters {
            self.upstream(id, UpstreamOrder::Unsubscribe(filter));
        }
        self.note_disconnected(now, id);
        let closes = self.clients.get(id).is_some_and(|client| client.link != Link::Closed && !client.wants_link());
        if closes {
            self.close_link(id);
        }
    }

    pub(super) fn subscribe(&mut self, now: Instant, id: &Id, session: Session, filter: Filter) {
        let Some(client) = self.clients.get_mut(id).filter(|client| client.session == Some(session)) else {
            return;
        };
        client.filters.insert(filter.clone());
        if goes_upstream(&filter) {
            client.used_at = now;
            self.open_link(id);
            self.upstream(id, UpstreamOrder::Subscribe(filter.clone()));
        }
        if filter == Filter::MethodCalls {
            self.subscribed_to_methods(now, id);
        }
    }

    pub(super) fn unsubscribe(&mut self, id: &Id, session: Session, filter: &Filter) {
        let Some(client) = self.clients.get_mut(id).filter(|client| client.session == Some(session)) else {
            return;
        };
        if client.filters.remove(filter) && goes_upstream(filter) {
            self.upstream(id, UpstreamOrder::Unsubscribe(filter.clone()));
        }
    }

    pub(super) fn publish(&mut self, now: Now, id: &Id, session: Session, topic: FromDevice, payload: Bytes) {
        if self.clients.get(id).is_none_or(|client| client.session != Some(session)) {
            return;
        }
        match topic {
            FromDevice::GetTwin { rid } => self.get_twin(now.at, id, Some(rid), false),
            FromDevice::PatchReported { rid } => self.report(now.at, id, rid, &payload),
            FromDevice::MethodAnswer { status, rid } => self.method_answered(id, status, &rid, payload.to_vec()),
            topic @ FromDevice::Event { .. } => self.route_message(now.at, id, topic, payload),
        }
    }

    /// Reads a twin: from the cloud while it answers, else from the copy, with nothing to tell one from the other.
    pub(super) fn get_twin(&mut self, now: Instant, id: &Id, asked: Option<RequestId>, tell: bool) {
        let until = now + self.timings.cloud_operation;
        let client = self.client(now, id);
        client.used_at = now;
        client.gets.push(Get { asked, sent: None, until, tell });
        if client.link == Link::Up {
            self.ask_cloud(id);
        } else {
            self.upstream(id, UpstreamOrder::Open);
            self.client(now, id).link = Link::Opening;
        }
    }

    fn ask_cloud(&mut self, id: &Id) {
        let waiting =
            self.clients.get(id).map_or(0, |client| client.gets.iter().filter(|get| get.sent.is_none()).count());
        let rids: Vec<RequestId> = (0..waiting).filter_map(|_| self.rid()).collect();
        let Some(client) = self.clients.get_mut(id) else { return };
        for (get, rid) in client.gets.iter_mut().filter(|get| get.sent.is_none()).zip(&rids) {
            get.sent = Some(rid.clone());
        }
        for rid in rids {
            self.upstream(id, UpstreamOrder::Publish { topic: FromDevice::GetTwin { rid }, payload: Vec::new() });
        }
    }

    pub(super) fn twin_answered(&mut self, now: Now, id: &Id, rid: &RequestId, status: u16, payload: &[u8]) {
        let retry = self.timings.reported_sync;
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.twin.sent(now.at, rid.as_str(), status, retry) {
            return;
        }
        let Some(at) = client.gets.iter().position(|get| get.sent.as_ref() == Some(rid)) else { return };
        let get = client.gets.remove(at);
        let patch = if status == 200 { client.twin.read(now.at, payload) } else { None };
        self.answer_get(id, get.asked);
        if let Some(patch) = patch.filter(|_| get.tell) {
            let version = patch.get("$version").and_then(Value::as_u64);
            self.tell_desired(id, version.unwrap_or(0), Value::Object(patch).to_string().into_bytes());
        }
        if status == 200 && *id == self.own_id() {
            self.forget_clients_of_an_earlier_life(now);
            self.apply_own_desired(now);
        }
    }

    fn answer_get(&mut self, id: &Id, asked: Option<RequestId>) {
        let body = self.clients.get(id).map(|client| client.twin.body().to_string().into_bytes());
        if let Some((rid, payload)) = asked.zip(body) {
            let topic = ToDevice::TwinAnswer { status: 200, rid, version: None };
            self.say(id, ClientOrder::Publish { topic, payload });
        }
    }

    pub(super) fn expire_gets(&mut self, now: Instant, id: &Id) {
        self.answer_gets(id, |get| get.until <= now);
    }

    fn answer_gets(&mut self, id: &Id, over: impl Fn(&Get) -> bool) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let (expired, waiting) = std::mem::take(&mut client.gets).into_iter().partition(over);
        client.gets = waiting;
        for get in expired {
            self.answer_get(id, get.asked);
        }
    }

    fn report(&mut self, now: Instant, id: &Id, rid: RequestId, payload: &[u8]) {
        let delay = self.timings.reported_sync;
        let status = match read_patch(payload) {
            Ok(patch) => {
                self.client(now, id).twin.report(now, patch, delay);
                204
            }
            Err(reason) => {
                tracing::info!(%id, reason, "a reported patch was refused");
                400
            }
        };
        let topic = ToDevice::TwinAnswer { status, rid, version: None };
        self.say(id, ClientOrder::Publish { topic, payload: Vec::new() });
    }

    pub(super) fn send_reports(&mut self, now: Instant, id: &Id) {
        let (retry, patience) = (self.timings.reported_sync, self.timings.cloud_operation);
        let Some(rid) = self.rid() else { return };
        let Some(client) = self.clients.get_mut(id) else { return };
        client.twin.time_passed(now, retry);
        if client.link != Link::Up {
            return;
        }
        if let Some(patch) = client.twin.send(now, rid.as_str(), patience) {
            client.used_at = now;
            let topic = FromDevice::PatchReported { rid };
            self.upstream(id, UpstreamOrder::Publish { topic, payload: Value::Object(patch).to_string().into_bytes() });
        }
    }

    pub(super) fn desired_changed(&mut self, now: Now, id: &Id, version: u64, payload: Vec<u8>) {
        let patch: Map = match serde_json::from_slice(&payload) {
            Ok(patch) => patch,
            Err(error) => return tracing::warn!(%id, %error, "a change of desired properties cannot be read"),
        };
        let own = *id == self.own_id();
        let client = self.client(now.at, id);
        let known = client.twin.desired().and_then(|desired| desired.get("$version")).and_then(Value::as_u64);
        if !own && known.is_some_and(|known| version > known + 1) {
            // What was missed comes with it, as one difference.
            return self.get_twin(now.at, id, None, true);
        }
        if !client.twin.changed(&patch) {
            return;
        }
        self.tell_desired(id, version, payload);
        // A deployment replaces edgeHub's whole section, which a notice without nulls does not show.
        if own {
            self.get_twin(now.at, id, None, false);
        }
    }

    fn tell_desired(&mut self, id: &Id, version: u64, payload: Vec<u8>) {
        self.say(id, ClientOrder::Publish { topic: ToDevice::DesiredChanged { version }, payload });
    }

    pub(super) fn upstream_up(&mut self, now: Now, id: &Id) {
        let (age, until) = (self.timings.min_twin_sync, now.at + self.timings.cloud_operation);
        let own = *id == self.own_id();
        let client = self.client(now.at, id);
        if client.link == Link::Closed {
            return;
        }
        client.link = Link::Up;
        client.used_at = now.at;
        if own || client.session.is_some() && client.twin.is_stale(now.at, age) {
            client.gets.push(Get { asked: None, sent: None, until, tell: true });
        }
        self.ask_cloud(id);
    }

    pub(super) fn upstream_down(&mut self, now: Instant, id: &Id) {
        let retry = self.timings.reported_sync;
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.link != Link::Closed {
            client.link = Link::Opening;
        }
        client.twin.lost(now, retry);
        client.upstream_queue.unsend();
        self.answer_gets(id, |_| true);
    }

    pub(super) fn open_link(&mut self, id: &Id) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.link == Link::Closed {
            client.link = Link::Opening;
            self.upstream(id, UpstreamOrder::Open);
        }
    }

    fn close_link(&mut self, id: &Id) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.link = Link::Closed;
        client.upstream_queue.unsend();
        self.upstream(id, UpstreamOrder::Close);
    }

    /// Opens a connection to the cloud for what waits, and closes one that nobody has used for long.
    pub(super) fn tend_link(&mut self, now: Instant, id: &Id) {
        let own = *id == self.own_id();
        let Some(client) = self.clients.get(id) else { return };
        let pending = !client.upstream_queue.is_empty() || client.twin.has_unsent();
        let idle = now >= client.used_at + self.timings.idle;
        match client.link {
            Link::Closed if pending => self.open_link(id),
            Link::Up | Link::Opening if !own && client.session.is_none() && !client.wants_link() => self.close_link(id),
            Link::Up | Link::Opening if !own && idle && !pending && !client.wants_link() => self.close_link(id),
            _ if idle => self.client(now, id).used_at = now,
            _ => {}
        }
    }
}
