//! Answers as JSON.

use ha_core::ids::{BootId, Epoch, Term};
use ha_core::messages::{Answer, Refusal};
use ha_core::time::Millis;
use serde_json::{Map, Value, json};

use super::request::nonce;
use super::{Reply, STATUS_OK};
use crate::VERSION;
use crate::error::Error;
use crate::read::{Fields, NAME_MAX, Reader, flag, name, number, pool, version, word};
use crate::state::{encode_workload, read_workload, state_word};
use crate::text;

const HINT: &str = "check that controller and agent are of matching versions";

/// The body of an answer; its method status is [`STATUS_OK`].
pub fn encode_reply(reply: &Reply) -> Value {
    let answer = &reply.answer;
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    put("v", json!(VERSION));
    put("pool", json!(reply.pool.as_str()));
    put("agent", json!(text::bounded(&reply.agent, NAME_MAX)));
    put("boot", json!(answer.boot.as_str()));
    put("state", json!(answer.state.as_str()));
    put("term", json!(answer.term.0));
    put("workload", encode_workload(&answer.workload));
    put("leaving", json!(answer.leaving));
    if let Some(left) = answer.lease_left {
        put("lease_left_ms", json!(left.0));
    }
    if let Some(refusal) = &answer.refused {
        put("refused", encode_refusal(refusal));
    }
    if let Some(term) = answer.released {
        put("released", json!(term.0));
    }
    if let Some(nonce) = answer.nonce {
        put("nonce", json!(text::from_nonce(nonce)));
    }
    Value::Object(body)
}

/// What an agent answered, given the status and the payload of its direct method.
pub fn decode_reply(status: i64, payload: &Value) -> Result<Reply, Error> {
    if status != i64::from(STATUS_OK) {
        let said = payload.get("error").and_then(Value::as_str).unwrap_or("it did not say why");
        return Err(Error::Status { status, said: text::bounded(said, 500) });
    }
    let reader = Reader::new(HINT);
    let reply = reader.root("answer", payload).and_then(|fields| {
        let version = fields.need("v", &version());
        let pool = fields.need("pool", &pool());
        let agent = fields.need("agent", &name(NAME_MAX));
        let answer = read_answer(&fields);
        version?;
        Some(Reply { pool: pool?, agent: agent?, answer: answer? })
    });
    reader.finish(reply)
}

fn read_answer(fields: &Fields<'_>) -> Option<Answer> {
    let boot = fields.need("boot", &name(NAME_MAX)).map(BootId::new);
    let state = fields.need("state", &state_word());
    let term = fields.need("term", &number()).map(Term);
    let workload = fields.need_inner("workload").and_then(|inner| read_workload(&inner));
    let leaving = fields.need("leaving", &flag());
    let lease_left = fields.take("lease_left_ms", &number()).map(Millis);
    let refused = fields.inner("refused").and_then(|inner| read_refusal(&inner));
    let released = fields.take("released", &number()).map(Term);
    let nonce = fields.take("nonce", &nonce());
    let (boot, state, term) = (boot?, state?, term?);
    Some(Answer { boot, state, term, lease_left, workload: workload?, leaving: leaving?, refused, released, nonce })
}

fn encode_refusal(refusal: &Refusal) -> Value {
    match refusal {
        Refusal::UnknownGrantor => json!({ "code": "unknown_grantor" }),
        Refusal::StaleEpoch { seen } => json!({ "code": "stale_epoch", "seen": seen.0 }),
        Refusal::StaleTerm { seen } => json!({ "code": "stale_term", "seen": seen.0 }),
        Refusal::Released { through } => json!({ "code": "released", "through": through.0 }),
        Refusal::UnknownNonce => json!({ "code": "unknown_nonce" }),
        Refusal::TooLate => json!({ "code": "too_late" }),
        Refusal::TtlTooLong { max } => json!({ "code": "ttl_too_long", "max_ms": max.0 }),
        Refusal::Leaving => json!({ "code": "leaving" }),
        Refusal::FlagInactive { term } => json!({ "code": "flag_inactive", "term": term.0 }),
        Refusal::Starting => json!({ "code": "starting" }),
    }
}

fn read_refusal(fields: &Fields<'_>) -> Option<Refusal> {
    type Read = fn(&Fields<'_>) -> Option<Refusal>;
    let codes: [(&'static str, Read); 10] = [
        ("unknown_grantor", |_| Some(Refusal::UnknownGrantor)),
        ("stale_epoch", |f| f.need("seen", &number()).map(|n| Refusal::StaleEpoch { seen: Epoch(n) })),
        ("stale_term", |f| f.need("seen", &number()).map(|n| Refusal::StaleTerm { seen: Term(n) })),
        ("released", |f| f.need("through", &number()).map(|n| Refusal::Released { through: Term(n) })),
        ("unknown_nonce", |_| Some(Refusal::UnknownNonce)),
        ("too_late", |_| Some(Refusal::TooLate)),
        ("ttl_too_long", |f| f.need("max_ms", &number()).map(|n| Refusal::TtlTooLong { max: Millis(n) })),
        ("leaving", |_| Some(Refusal::Leaving)),
        ("flag_inactive", |f| f.need("term", &number()).map(|n| Refusal::FlagInactive { term: Term(n) })),
        ("starting", |_| Some(Refusal::Starting)),
    ];
    fields.need("code", &word(&codes)).and_then(|read| read(fields))
}
