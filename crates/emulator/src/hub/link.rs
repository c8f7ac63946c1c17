//! Who is connected, what they subscribed to, and what the registry shows of it.

use jiff::Timestamp;
use serde::Serialize;

use super::{Effect, Hub, Id};

/// Names one MQTT connection for as long as the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Session(pub u64);

/// What a client asked to hear, with the granted quality of service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscriptions {
    /// `$iothub/methods/POST/#`
    pub methods: Option<u8>,
    /// `$iothub/twin/res/#`
    pub twin_answers: Option<u8>,
    /// `$iothub/twin/PATCH/properties/desired/#`
    pub desired: Option<u8>,
    /// `devices/{d}/messages/devicebound/#`
    pub messages: Option<u8>,
    /// `devices/{d}/modules/{m}/inputs/#`
    pub inputs: Option<u8>,
}

/// One thing a client can subscribe to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Direct methods.
    Methods,
    /// Answers to twin requests.
    TwinAnswers,
    /// Changes of desired properties.
    Desired,
    /// Cloud-to-device messages.
    Messages,
    /// Module inputs.
    Inputs,
}

impl Channel {
    /// Messaging paths make an identity count as connected; twins and methods do not.
    pub fn is_messaging(self) -> bool {
        matches!(self, Self::Messages | Self::Inputs)
    }
}

impl Subscriptions {
    fn slot(&mut self, channel: Channel) -> &mut Option<u8> {
        match channel {
            Channel::Methods => &mut self.methods,
            Channel::TwinAnswers => &mut self.twin_answers,
            Channel::Desired => &mut self.desired,
            Channel::Messages => &mut self.messages,
            Channel::Inputs => &mut self.inputs,
        }
    }
}

/// How a connection proved who it is; decides whether a change of keys ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Signed with a key of the identity.
    OwnKey,
    /// With a certificate.
    Certificate,
    /// Signed with a shared access policy of the hub.
    Policy,
}

/// A live connection of an identity.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) session: Session,
    pub(super) subscriptions: Subscriptions,
    pub(super) proof: Proof,
    messaging: bool,
    keep: bool,
}

/// What a new connection finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Subscriptions of an earlier session were kept.
    pub session_present: bool,
    /// The older connection, which is to be closed.
    pub replaced: Option<Session>,
}

/// What a connection looks like from outside.
#[derive(Debug, Clone, Serialize)]
pub struct LinkView {
    /// The identity.
    pub device_id: String,
    /// The module, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
    /// The session.
    pub session: Session,
    /// Whether the registry counts it as connected.
    pub messaging: bool,
    /// Whether methods can reach it.
    pub methods: bool,
    /// Whether it hears of desired properties.
    pub desired: bool,
}

impl Hub {
    /// Takes in a connection whose credentials were checked; an older one of the same identity is replaced.
    pub fn attach(&mut self, id: &Id, session: Session, proof: Proof, clean: bool, now: Timestamp) -> Attached {
        let live = self.links.get(id).filter(|link| link.keep).map(|link| link.subscriptions.clone());
        let kept = live.or(self.kept.remove(id)).filter(|_| !clean);
        let session_present = kept.is_some();
        let connection =
            Connection { session, subscriptions: kept.unwrap_or_default(), proof, messaging: false, keep: !clean };
        let replaced = self.links.insert(id.clone(), connection);
        if let Some(old) = &replaced {
            self.effects
                .push(Effect::Cut { session: old.session, reason: "a newer connection of the same identity (400027)" });
            self.release_messages(id, old.session, now);
        }
        if id.module.is_none() {
            self.deliver_messages(&id.device, now);
        }
        Attached { session_present, replaced: replaced.map(|old| old.session) }
    }

    /// Forgets a connection that has ended; one that was replaced already changes nothing.
    pub fn detach(&mut self, id: &Id, session: Session, now: Timestamp) {
        let Some(link) = self.links.get(id).filter(|link| link.session == session) else {
            return;
        };
        let (keep, subscriptions) = (link.keep, link.subscriptions.clone());
        self.links.remove(id);
        if keep && self.exists(id) {
            self.kept.insert(id.clone(), subscriptions);
        }
        self.release_messages(id, session, now);
        self.show_link(id, false, now);
    }

    /// Notes a granted subscription, or with `None` its end.
    pub fn subscribe(&mut self, id: &Id, session: Session, channel: Channel, qos: Option<u8>, now: Timestamp) {
        let Some(link) = self.link_of(id, session) else {
            return;
        };
        *link.subscriptions.slot(channel) = qos;
        if channel.is_messaging() && qos.is_some() {
            self.note_messaging(id, session, now);
        }
        if channel == Channel::Messages && qos.is_some() {
            self.deliver_messages(&id.device, now);
        }
    }

    /// Notes traffic on a messaging path: from here on the identity counts as connected.
    pub fn note_messaging(&mut self, id: &Id, session: Session, now: Timestamp) {
        let Some(link) = self.link_of(id, session) else {
            return;
        };
        link.messaging = true;
        self.show_link(id, true, now);
    }

    /// What the connection is subscribed to; `None` if it was replaced.
    pub fn subscriptions(&self, id: &Id, session: Session) -> Option<&Subscriptions> {
        let link = self.links.get(id).filter(|link| link.session == session)?;
        Some(&link.subscriptions)
    }

    /// The connection that a direct method would reach.
    pub fn method_session(&self, id: &Id) -> Option<(Session, u8)> {
        let link = self.links.get(id)?;
        Some((link.session, link.subscriptions.methods?))
    }

    /// The connection that wants to hear of desired properties.
    pub fn desired_session(&self, id: &Id) -> Option<Session> {
        let link = self.links.get(id)?;
        link.subscriptions.desired.map(|_| link.session)
    }

    /// The connection that listens for messages, and its quality of service.
    pub(super) fn mail_session(&self, id: &Id) -> Option<(Session, u8)> {
        let link = self.links.get(id)?;
        Some((link.session, link.subscriptions.messages?))
    }

    /// All live connections.
    pub fn link_views(&self) -> Vec<LinkView> {
        let view = |(id, link): (&Id, &Connection)| LinkView {
            device_id: id.device.clone(),
            module_id: id.module.clone(),
            session: link.session,
            messaging: link.messaging,
            methods: link.subscriptions.methods.is_some(),
            desired: link.subscriptions.desired.is_some(),
        };
        self.links.iter().map(view).collect()
    }

    /// Cuts connections of `device` and its modules for which `which` holds.
    pub(super) fn cut_links(&mut self, device: &str, reason: &'static str, which: impl Fn(&Id, &Connection) -> bool) {
        for (id, link) in &self.links {
            if id.device == device && which(id, link) {
                self.effects.push(Effect::Cut { session: link.session, reason });
            }
        }
    }

    fn link_of(&mut self, id: &Id, session: Session) -> Option<&mut Connection> {
        self.links.get_mut(id).filter(|link| link.session == session)
    }

    /// An edge device's own identity and `$edgeAgent` never show as connected.
    pub(super) fn show_link(&mut self, id: &Id, connected: bool, now: Timestamp) {
        let Some(device) = self.devices.get_mut(&id.device) else {
            return;
        };
        let (shown, hidden) = match &id.module {
            None => (Some(&mut device.presence), device.iot_edge),
            Some(module) => (device.modules.get_mut(module).map(|m| &mut m.presence), module == "$edgeAgent"),
        };
        let Some(presence) = shown.filter(|_| !hidden) else {
            return;
        };
        if connected {
            presence.last_activity = Some(now);
        }
        let turned = presence.connected != connected;
        if turned {
            presence.connected = connected;
            presence.updated = Some(now);
        }
        self.seen(id, now);
        if turned {
            self.tell_connection(id, connected, now);
        }
    }
}
