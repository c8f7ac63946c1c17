//! Direct methods: from the cloud and from modules of this device. None is stored for an absent module.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ha_wire::topics::{Filter, FromDevice, RequestId, ToDevice};
use serde_json::{Value, json};

use super::{Answer, ClientOrder, EdgeHub, Effect, LocalCall, UpstreamOrder};
use crate::id::Id;

/// The calls under way.
#[derive(Debug, Default)]
pub(super) struct Calls {
    open: BTreeMap<u64, Open>,
    numbers: u64,
}

#[derive(Debug)]
struct Open {
    to: Id,
    method: String,
    payload: Vec<u8>,
    origin: Origin,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Origin {
    Cloud { rid: RequestId },
    Local { call: LocalCall, response: Duration },
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// The module is not there yet.
    Absent { until: Instant },
    /// It has just subscribed and is given a moment.
    Settling { at: Instant },
    /// It has the call.
    Delivered { until: Instant },
}

/// The longest that the cloud may wait for an answer.
const CLOUD_PATIENCE: Duration = Duration::from_secs(300);

impl Calls {
    pub(super) fn next_wake(&self) -> Option<Instant> {
        let wake = |open: &Open| match open.stage {
            Stage::Absent { until } | Stage::Delivered { until } => until,
            Stage::Settling { at } => at,
        };
        self.open.values().map(wake).min()
    }
}

impl EdgeHub {
    pub(super) fn call_from_cloud(&mut self, now: Instant, id: &Id, method: String, rid: RequestId, payload: Vec<u8>) {
        let stage = Stage::Absent { until: now };
        self.open_call(now, Open { to: id.clone(), method, payload, origin: Origin::Cloud { rid }, stage });
    }

    #[expect(clippy::too_many_arguments, reason = "they are the fields of the request")]
    pub(super) fn call_locally(
        &mut self,
        now: Instant,
        call: LocalCall,
        to: Id,
        method: &str,
        payload: &Value,
        connect_s: u32,
        response_s: u32,
    ) {
        let stage = Stage::Absent { until: now + Duration::from_secs(connect_s.into()) };
        let origin = Origin::Local { call, response: Duration::from_secs(response_s.into()) };
        let payload = payload.to_string().into_bytes();
        self.open_call(now, Open { to, method: method.to_owned(), payload, origin, stage });
    }

    fn open_call(&mut self, now: Instant, open: Open) {
        self.calls.numbers += 1;
        let number = self.calls.numbers;
        let listens = self.listens_to_methods(&open.to);
        self.calls.open.insert(number, open);
        if listens {
            self.deliver_call(now, number);
        }
    }

    fn listens_to_methods(&self, id: &Id) -> bool {
        let client = self.clients.get(id).filter(|client| client.session.is_some());
        client.is_some_and(|client| client.filters.contains(&Filter::MethodCalls))
    }

    fn deliver_call(&mut self, now: Instant, number: u64) {
        let Some(open) = self.calls.open.get_mut(&number) else { return };
        let patience = match open.origin {
            Origin::Cloud { .. } => CLOUD_PATIENCE,
            Origin::Local { response, .. } => response,
        };
        open.stage = Stage::Delivered { until: now + patience };
        let (id, payload, name) = (open.to.clone(), open.payload.clone(), open.method.clone());
        if let Ok(rid) = RequestId::new(format!("{number:x}")) {
            self.say(&id, ClientOrder::Publish { topic: ToDevice::MethodCall { name, rid }, payload });
        }
    }

    /// Calls that waited for this are delivered, a moment later: the client may not be ready for them yet.
    pub(super) fn subscribed_to_methods(&mut self, now: Instant, id: &Id) {
        let at = now + self.timings.method_delay;
        for open in self.calls.open.values_mut().filter(|open| open.to == *id) {
            if let Stage::Absent { .. } = open.stage {
                open.stage = Stage::Settling { at };
            }
        }
    }

    pub(super) fn method_answered(&mut self, id: &Id, status: i32, rid: &RequestId, payload: Vec<u8>) {
        let Ok(number) = u64::from_str_radix(rid.as_str(), 16) else { return };
        if self.calls.open.get(&number).is_some_and(|open| open.to == *id) {
            self.close_call(number, Answer::Given { status, payload });
        }
    }

    pub(super) fn expire_calls(&mut self, now: Instant) {
        let due = |stage: Stage| match stage {
            Stage::Absent { until } => (now >= until).then_some(Some(Answer::NotConnected)),
            Stage::Delivered { until } => (now >= until).then_some(Some(Answer::TimedOut)),
            Stage::Settling { at } => (now >= at).then_some(None),
        };
        let over: Vec<_> =
            self.calls.open.iter().filter_map(|(number, open)| Some((*number, due(open.stage)?))).collect();
        for (number, answer) in over {
            match answer {
                Some(answer) => self.close_call(number, answer),
                None => self.deliver_call(now, number),
            }
        }
    }

    fn close_call(&mut self, number: u64, answer: Answer) {
        let Some(open) = self.calls.open.remove(&number) else { return };
        match (open.origin, answer) {
            (Origin::Local { call, .. }, answer) => self.effects.push(Effect::Answered { call, answer }),
            (Origin::Cloud { rid }, Answer::Given { status, payload }) => {
                self.upstream(
                    &open.to,
                    UpstreamOrder::Publish { topic: FromDevice::MethodAnswer { status, rid }, payload },
                );
            }
            (Origin::Cloud { rid }, Answer::NotConnected) => {
                let payload = json!({"message": format!("{} is not connected to edgeHub", open.to)}).to_string();
                let topic = FromDevice::MethodAnswer { status: 404, rid };
                self.upstream(&open.to, UpstreamOrder::Publish { topic, payload: payload.into_bytes() });
            }
            // The cloud has told its caller by itself.
            (Origin::Cloud { .. }, Answer::TimedOut) => {}
        }
    }
}
