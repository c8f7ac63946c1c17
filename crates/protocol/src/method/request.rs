//! Requests as JSON.

use ha_core::ids::{Epoch, GrantorId, MemberId, PoolName, Term};
use ha_core::messages::{Grant, Hello, Request, Revoke};
use ha_core::time::Millis;
use serde_json::{Value, json};

use super::auth::Signed;
use super::{GRANT, HELLO, HOLD_MAX, REVOKE};
use crate::VERSION;
use crate::error::Error;
use crate::key::{KeyRing, MemberKey};
use crate::read::{Fields, Kind, NAME_MAX, Reader, flag, name, number, pool as pool_name, version, whole};
use crate::text;

const HINT: &str = "check that controller and agent are of matching versions";

/// The name and the body of a direct method. A `hold` above [`HOLD_MAX`] is shortened to it.
pub fn encode(
    member: &MemberId,
    key: &MemberKey,
    pool: &PoolName,
    request: &Request,
    hold: Millis,
) -> (&'static str, Value) {
    let hold = hold.min(HOLD_MAX);
    let mut body = json!({
        "v": VERSION,
        "pool": pool.as_str(),
        "grantor": request.grantor().as_str(),
        "epoch": request.epoch().0,
        "hold_ms": hold.0,
        "auth": Signed { member, pool, request, hold }.sign(key),
    });
    match request {
        Request::Hello(hello) => body["wants_nonce"] = json!(hello.wants_nonce),
        Request::Grant(grant) => {
            body["term"] = json!(grant.term.0);
            body["nonce"] = json!(text::from_nonce(grant.nonce));
            body["ttl_ms"] = json!(grant.ttl.0);
        }
        Request::Revoke(revoke) => body["term"] = json!(revoke.term.0),
    }
    (method_of(request), body)
}

/// The request in a direct method, and how long its answer may be kept back.
///
/// Nothing is believed before the HMAC has been verified with one of `keys`; what fails before that tells the caller about
/// his own request alone. Answer an error with [`super::encode_error`].
pub fn decode(
    member: &MemberId,
    keys: &KeyRing,
    pool: &PoolName,
    method: &str,
    payload: &Value,
) -> Result<(Request, Millis), Error> {
    let read: fn(Common, &Fields<'_>) -> Option<Request> = match method {
        HELLO => hello,
        GRANT => grant,
        REVOKE => revoke,
        _ => return Err(Error::UnknownMethod),
    };
    if keys.taken().next().is_none() {
        return Err(Error::NoKey);
    }
    let reader = Reader::new(HINT);
    let body = reader.root(method, payload).and_then(|fields| {
        let request = common(&fields).and_then(|common| read(common, &fields));
        let hold = fields.need("hold_ms", &whole(HOLD_MAX.0)).map(Millis);
        let auth = fields.need("auth", &name(64).secret());
        let asked = fields.need("pool", &pool_name());
        fields.need("v", &version());
        Some((request?, hold?, auth?, asked?))
    });
    let (request, hold, auth, asked) = reader.finish(body)?;
    if asked != *pool {
        return Err(Error::OtherPool { ours: pool.clone() });
    }
    let signed = Signed { member, pool, request: &request, hold };
    // Every key is tried, so that the time taken does not tell which one it was.
    let good = keys.taken().fold(false, |good, key| good | signed.verify(key, &auth));
    if good { Ok((request, hold)) } else { Err(Error::BadAuth) }
}

pub(super) fn method_of(request: &Request) -> &'static str {
    match request {
        Request::Hello(_) => HELLO,
        Request::Grant(_) => GRANT,
        Request::Revoke(_) => REVOKE,
    }
}

pub(super) fn nonce() -> Kind<ha_core::ids::Nonce> {
    Kind::of_text("a nonce (32 hexadecimal digits, a dash, a count)", text::to_nonce)
}

struct Common {
    grantor: GrantorId,
    epoch: Epoch,
}

fn common(fields: &Fields<'_>) -> Option<Common> {
    let grantor = match fields.value("grantor") {
        None => GrantorId::controller(),
        Some(_) => GrantorId::new(fields.take("grantor", &name(NAME_MAX))?),
    };
    Some(Common { grantor, epoch: Epoch(fields.need("epoch", &number())?) })
}

fn hello(Common { grantor, epoch }: Common, fields: &Fields<'_>) -> Option<Request> {
    let wants_nonce = fields.need("wants_nonce", &flag())?;
    Some(Request::Hello(Hello { grantor, epoch, wants_nonce }))
}

fn grant(Common { grantor, epoch }: Common, fields: &Fields<'_>) -> Option<Request> {
    let term = fields.need("term", &number()).map(Term);
    let nonce = fields.need("nonce", &nonce());
    let ttl = fields.need("ttl_ms", &number()).map(Millis);
    Some(Request::Grant(Grant { grantor, epoch, term: term?, nonce: nonce?, ttl: ttl? }))
}

fn revoke(Common { grantor, epoch }: Common, fields: &Fields<'_>) -> Option<Request> {
    let term = Term(fields.need("term", &number())?);
    Some(Request::Revoke(Revoke { grantor, epoch, term }))
}
