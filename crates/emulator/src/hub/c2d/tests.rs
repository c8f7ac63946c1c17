//! Stories of single messages, and random ones against a plain model.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::hub::{Channel, DeviceBody, Dice, Expect, Proof, Settings};

const DEVICE: &str = "d";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).expect("a time")
}

fn hub() -> Hub {
    let mut hub = Hub::new(Dice::new([5; 32]), SignedDuration::ZERO);
    hub.put_device(DEVICE, &DeviceBody::default(), &Expect::Nothing, at(0)).expect("made");
    hub
}

fn text(body: &str) -> CloudMessage {
    CloudMessage { body: body.as_bytes().to_vec(), ..CloudMessage::default() }
}

fn connect(hub: &mut Hub, session: u64, clean: bool) -> Session {
    let session = Session(session);
    hub.attach(&Id::device(DEVICE), session, Proof::OwnKey, clean, at(0));
    session
}

fn listen(hub: &mut Hub, session: Session, qos: u8) {
    hub.subscribe(&Id::device(DEVICE), session, Channel::Messages, Some(qos), at(0));
}

/// What went out, as `session:body`, `session:body!` when no acknowledgement is awaited; and what got lost.
fn told(hub: &mut Hub) -> Vec<String> {
    let tell = |effect| match effect {
        Effect::Message { session, payload, receipt, .. } => {
            let mark = if receipt.is_some() { "" } else { "!" };
            Some(format!("{}:{}{mark}", session.0, String::from_utf8_lossy(&payload)))
        }
        Effect::MessageLost { reason, .. } => Some(reason.to_owned()),
        _ => None,
    };
    hub.take_effects().into_iter().filter_map(tell).collect()
}

fn count(hub: &Hub) -> u64 {
    let shown = hub.device(DEVICE).expect("there").body;
    assert_eq!(
        shown["cloudToDeviceMessageCount"],
        hub.twin(&Id::device(DEVICE)).expect("there")["cloudToDeviceMessageCount"]
    );
    shown["cloudToDeviceMessageCount"].as_u64().expect("a number")
}

#[test]
fn a_message_waits_for_a_subscription_and_is_completed_once() {
    let mut hub = hub();
    let first = hub.send_message(DEVICE, text("a"), at(0)).expect("queued");
    let session = connect(&mut hub, 1, true);
    assert_eq!(told(&mut hub), [""; 0]);
    listen(&mut hub, session, 1);
    hub.send_message(DEVICE, text("b"), at(1)).expect("queued");
    assert_eq!(told(&mut hub), ["1:a", "1:b"]);
    assert_eq!(count(&hub), 2);
    hub.complete_message(DEVICE, Session(9), first, at(1));
    assert_eq!(count(&hub), 2);
    hub.complete_message(DEVICE, session, first, at(1));
    hub.complete_message(DEVICE, session, first, at(1));
    assert_eq!(count(&hub), 1);
}

#[test]
fn what_was_not_acknowledged_comes_again() {
    let mut hub = hub();
    let old = connect(&mut hub, 1, false);
    listen(&mut hub, old, 1);
    hub.send_message(DEVICE, text("a"), at(0)).expect("queued");
    hub.detach(&Id::device(DEVICE), old, at(1));
    let new = connect(&mut hub, 2, false);
    // A take-over puts back what the older connection had.
    connect(&mut hub, 3, false);
    assert_eq!(told(&mut hub), ["1:a", "2:a", "3:a"]);
    hub.complete_message(DEVICE, new, 1, at(2));
    assert_eq!(count(&hub), 1);
    for session in 4..=10 {
        connect(&mut hub, session, false);
    }
    assert_eq!(told(&mut hub).last().expect("told"), "10:a");
    hub.detach(&Id::device(DEVICE), Session(10), at(3));
    assert_eq!(told(&mut hub), ["delivered too often"]);
    assert_eq!(count(&hub), 0);
}

#[test]
fn at_quality_of_service_zero_sending_is_all() {
    let mut hub = hub();
    let session = connect(&mut hub, 1, true);
    listen(&mut hub, session, 0);
    hub.send_message(DEVICE, text("a"), at(0)).expect("queued");
    assert_eq!((told(&mut hub), count(&hub)), (vec!["1:a!".to_owned()], 0));
}

#[test]
fn a_receiver_settles_by_its_lock() {
    let mut hub = hub();
    for body in ["a", "b", "c"] {
        hub.send_message(DEVICE, text(body), at(0)).expect("queued");
    }
    let receive = |hub: &mut Hub| hub.receive_message(DEVICE, at(1)).expect("a device").expect("a message");
    let (a, b, c) = (receive(&mut hub), receive(&mut hub), receive(&mut hub));
    assert_eq!([&a, &b, &c].map(|r| r.message.body.as_slice()), [b"a", b"b", b"c"]);
    assert_eq!(hub.receive_message(DEVICE, at(1)), Ok(None));
    let settle = |hub: &mut Hub, r: &Received, how| hub.settle_message(DEVICE, &r.lock_token, how, at(2));
    settle(&mut hub, &a, Settlement::Abandon).expect("back");
    settle(&mut hub, &b, Settlement::Complete).expect("done");
    settle(&mut hub, &c, Settlement::Reject).expect("dropped");
    assert_eq!(told(&mut hub), ["rejected"]);
    let again = receive(&mut hub);
    assert_eq!((again.message.body.as_slice(), again.deliveries), (&b"a"[..], 2));
    let stale = settle(&mut hub, &a, Settlement::Complete).expect_err("refused");
    assert_eq!(stale.code, Code::DeviceMessageLockLost);
    hub.wake(at(60));
    assert!(hub.settle_message(DEVICE, &again.lock_token, Settlement::Abandon, at(60)).is_ok());
}

/// `id: status` of each record of the next feedback message, and its lock.
fn feedback(hub: &mut Hub, now: Timestamp) -> Option<(Vec<String>, String)> {
    let received = hub.receive_feedback(now)?;
    let records: Vec<serde_json::Value> = serde_json::from_slice(&received.message.body).expect("JSON");
    let text = |record: &serde_json::Value, name: &str| record[name].as_str().expect("text").to_owned();
    let line = |record| format!("{}: {}", text(record, "originalMessageId"), text(record, "statusCode"));
    Some((records.iter().map(line).collect(), received.lock_token))
}

#[test]
fn whoever_asks_learns_what_became_of_a_message() {
    let mut hub = hub();
    for (id, ack) in
        [("n", Ack::Negative), ("p", Ack::Positive), ("f", Ack::Full), ("0", Ack::None), ("q", Ack::Positive)]
    {
        let message = CloudMessage { message_id: Some(id.into()), ack: Some(ack), ..text("x") };
        hub.send_message(DEVICE, message, at(0)).expect("queued");
    }
    assert_eq!(feedback(&mut hub, at(0)), None);
    for settlement in [Settlement::Reject, Settlement::Complete, Settlement::Reject, Settlement::Complete] {
        let received = hub.receive_message(DEVICE, at(1)).expect("a device").expect("a message");
        hub.settle_message(DEVICE, &received.lock_token, settlement, at(1)).expect("settled");
    }
    let (told, lock) = feedback(&mut hub, at(2)).expect("feedback");
    assert_eq!(told, ["n: Rejected", "p: Success", "f: Rejected"]);
    assert_eq!(feedback(&mut hub, at(2)), None, "it is locked");
    hub.settle_feedback(&lock, Settlement::Abandon, at(3)).expect("back");
    let (again, _) = feedback(&mut hub, at(3)).expect("feedback");
    assert_eq!(again, told);
    // The lock lasts a minute.
    let (again, lock) = feedback(&mut hub, at(63)).expect("feedback");
    assert_eq!(again, told);
    hub.settle_feedback(&lock, Settlement::Complete, at(64)).expect("done");
    assert_eq!(
        hub.settle_feedback(&lock, Settlement::Complete, at(64)).expect_err("gone").code,
        Code::DeviceMessageLockLost
    );
    let full = |id: &str| CloudMessage { message_id: Some(id.into()), ack: Some(Ack::Full), ..text("x") };
    hub.send_message(DEVICE, full("old"), at(100)).expect("queued");
    hub.wake(at(3700));
    hub.send_message(DEVICE, full("purged"), at(3700)).expect("queued");
    hub.purge_messages(DEVICE, at(3700)).expect("purged");
    assert_eq!(feedback(&mut hub, at(3700)).expect("feedback").0, ["old: Expired", "purged: Purged"]);
}

#[test]
fn time_ends_locks_and_messages() {
    let mut hub = hub();
    let expiry = Some(at(600));
    hub.send_message(DEVICE, CloudMessage { expiry, ..text("short") }, at(0)).expect("queued");
    hub.send_message(DEVICE, text("long"), at(0)).expect("queued");
    let lock = hub.receive_message(DEVICE, at(0)).expect("a device").expect("a message").lock_token;
    hub.wake(at(59));
    assert_eq!(hub.queue_of(DEVICE).expect("there").locked_by(&lock), Some(1));
    hub.wake(at(60));
    assert_eq!(hub.queue_of(DEVICE).expect("there").locked_by(&lock), None);
    hub.wake(at(600));
    assert_eq!((told(&mut hub), count(&hub)), (vec!["expired".to_owned()], 1));
    hub.wake(at(3599));
    assert_eq!(count(&hub), 1);
    hub.wake(at(3600));
    assert_eq!((told(&mut hub), count(&hub)), (vec!["expired".to_owned()], 0));
    assert_eq!(hub.mail_due, None);
}

#[test]
fn a_queue_is_bounded_purged_and_saved() {
    let mut hub = hub();
    for _ in 0..QUEUE_MAX {
        hub.send_message(DEVICE, text("x"), at(0)).expect("queued");
    }
    let refused = hub.send_message(DEVICE, text("x"), at(0)).expect_err("full");
    assert_eq!(refused.code, Code::DeviceMaximumQueueDepthExceeded);
    let long = CloudMessage { body: vec![0; BODY_BYTES_MAX + 1], ..CloudMessage::default() };
    assert_eq!(hub.send_message(DEVICE, long, at(0)).expect_err("long").code, Code::MessageTooLarge);
    assert_eq!(hub.send_message("x", text("x"), at(0)).expect_err("unknown").code, Code::DeviceNotFound);
    let saved = serde_json::to_string(&hub.save()).expect("JSON");
    let mut loaded = Hub::new(Dice::new([6; 32]), SignedDuration::ZERO);
    loaded.load(serde_json::from_str(&saved).expect("read"), at(1)).expect("loaded");
    assert_eq!(count(&loaded), 50);
    loaded.wake(at(3600));
    assert_eq!(count(&loaded), 0);
    assert_eq!((hub.purge_messages(DEVICE, at(1)), count(&hub)), (Ok(QUEUE_MAX), 0));
    assert_eq!(hub.purge_messages(DEVICE, at(1)), Ok(0));
}

#[test]
fn the_bag_carries_everything() {
    let message = CloudMessage {
        message_id: Some("m/1".into()),
        correlation_id: Some("c".into()),
        content_type: Some("application/json".into()),
        ack: Some(Ack::Full),
        expiry: Some(at(0)),
        properties: vec![("level".into(), "3 %".into())],
        ..CloudMessage::default()
    };
    assert_eq!(
        message.bag("d", at(0)).to_string(),
        "%24.mid=m%2F1&%24.cid=c&%24.ct=application%2Fjson&%24.to=%2Fdevices%2Fd%2Fmessages%2Fdevicebound\
         &%24.exp=1970-01-12T13%3A46%3A40Z&iothub-ack=full&level=3%20%25"
    );
}

/// One thing that may happen.
#[derive(Debug, Clone)]
enum Deed {
    Send(Option<i64>),
    Receive,
    Settle(usize, Settlement),
    Connect { clean: bool },
    Subscribe,
    Disconnect,
    Acknowledge(usize),
    Purge,
    Wait(i64),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => proptest::option::of(0..200i64).prop_map(Deed::Send),
        3 => Just(Deed::Receive),
        2 => (0..4usize, prop_oneof![Just(Settlement::Complete), Just(Settlement::Reject), Just(Settlement::Abandon)])
            .prop_map(|(which, how)| Deed::Settle(which, how)),
        2 => any::<bool>().prop_map(|clean| Deed::Connect { clean }),
        2 => Just(Deed::Subscribe),
        1 => Just(Deed::Disconnect),
        3 => (0..4usize).prop_map(Deed::Acknowledge),
        1 => Just(Deed::Purge),
        2 => (0..100i64).prop_map(Deed::Wait),
    ]
}

/// The plain model: who has each message, how often it went out, until when it lives.
#[derive(Debug, Clone, PartialEq)]
enum Holder {
    Nobody,
    Connection(u64),
    Receiver { token: String, until: i64 },
}

#[derive(Debug, Default)]
struct Model {
    now: i64,
    sent: u64,
    messages: Vec<(u64, i64, u32, Holder)>,
    session: Option<u64>,
    listens: bool,
    keeps: bool,
    kept: bool,
}

impl Model {
    fn pass(&mut self) {
        let now = self.now;
        for message in &mut self.messages {
            if matches!(&message.3, Holder::Receiver { until, .. } if *until <= now) {
                message.3 = Holder::Nobody;
            }
        }
        self.prune();
        self.messages.retain(|m| m.3 != Holder::Nobody || now < m.1);
        self.deliver();
    }

    fn prune(&mut self) {
        self.messages.retain(|m| m.3 != Holder::Nobody || m.2 < Settings::default().message_deliveries_max);
    }

    fn deliver(&mut self) {
        let (Some(session), true, now) = (self.session, self.listens, self.now) else {
            return;
        };
        for message in self.messages.iter_mut().filter(|m| m.3 == Holder::Nobody && now < m.1) {
            message.2 += 1;
            message.3 = Holder::Connection(session);
        }
    }

    fn leave(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        for message in &mut self.messages {
            if message.3 == Holder::Connection(session) {
                message.3 = Holder::Nobody;
            }
        }
        self.prune();
        self.listens = false;
    }
}

proptest! {
    #[test]
    fn the_queue_agrees_with_a_plain_model(deeds in proptest::collection::vec(deed(), 1..60)) {
        let (mut hub, mut model, mut sessions) = (hub(), Model::default(), 0);
        let id = Id::device(DEVICE);
        for deed in deeds {
            let now = at(model.now);
            match deed {
                Deed::Send(lives) => {
                    let expiry = lives.map(|lives| at(model.now + lives));
                    let sent = hub.send_message(DEVICE, CloudMessage { expiry, ..text("x") }, now);
                    prop_assert_eq!(sent.is_ok(), model.messages.len() < QUEUE_MAX);
                    if sent.is_ok() {
                        model.sent += 1;
                        model.messages.push((model.sent, model.now + lives.unwrap_or(3600), 0, Holder::Nobody));
                    }
                    model.deliver();
                }
                Deed::Receive => {
                    let received = hub.receive_message(DEVICE, now).expect("a device");
                    let clock = model.now;
                    let next = model.messages.iter_mut().find(|m| m.3 == Holder::Nobody && clock < m.1);
                    prop_assert_eq!(received.as_ref().map(|r| r.sequence), next.as_ref().map(|m| m.0));
                    if let (Some(received), Some(next)) = (received, next) {
                        next.2 += 1;
                        prop_assert_eq!(received.deliveries, next.2);
                        next.3 = Holder::Receiver { token: received.lock_token, until: clock + 60 };
                    }
                }
                Deed::Settle(which, how) => {
                    let locked = |m: &(u64, i64, u32, Holder)| match &m.3 {
                        Holder::Receiver { token, .. } => Some((m.0, token.clone())),
                        _ => None,
                    };
                    let Some((sequence, token)) = model.messages.iter().filter_map(locked).nth(which) else {
                        prop_assert!(hub.settle_message(DEVICE, "no-such-lock", how, now).is_err());
                        continue;
                    };
                    prop_assert!(hub.settle_message(DEVICE, &token, how, now).is_ok());
                    match how {
                        Settlement::Abandon => {
                            let found = model.messages.iter_mut().find(|m| m.0 == sequence).expect("there");
                            found.3 = Holder::Nobody;
                            model.prune();
                        }
                        _ => model.messages.retain(|m| m.0 != sequence),
                    }
                    model.deliver();
                }
                Deed::Connect { clean } => {
                    sessions += 1;
                    let kept = if model.session.is_some() { model.keeps && model.listens } else { model.kept };
                    model.leave();
                    hub.attach(&id, Session(sessions), Proof::OwnKey, clean, now);
                    model.session = Some(sessions);
                    model.listens = !clean && kept;
                    (model.keeps, model.kept) = (!clean, false);
                    model.deliver();
                }
                Deed::Subscribe => {
                    if let Some(session) = model.session {
                        hub.subscribe(&id, Session(session), Channel::Messages, Some(1), now);
                        model.listens = true;
                        model.deliver();
                    }
                }
                Deed::Disconnect => {
                    if let Some(session) = model.session {
                        hub.detach(&id, Session(session), now);
                        model.kept = model.keeps && model.listens;
                        model.leave();
                    }
                }
                Deed::Acknowledge(which) => {
                    let held = |m: &&(u64, i64, u32, Holder)| matches!(m.3, Holder::Connection(_));
                    if let (Some(session), Some(found)) = (model.session, model.messages.iter().filter(held).nth(which)) {
                        let sequence = found.0;
                        hub.complete_message(DEVICE, Session(session), sequence, now);
                        model.messages.retain(|m| m.0 != sequence);
                    }
                }
                Deed::Purge => {
                    prop_assert_eq!(hub.purge_messages(DEVICE, now), Ok(model.messages.len()));
                    model.messages.clear();
                }
                Deed::Wait(seconds) => {
                    model.now += seconds;
                    hub.wake(at(model.now));
                    model.pass();
                }
            }
            prop_assert_eq!(count(&hub), model.messages.len() as u64);
        }
    }
}
