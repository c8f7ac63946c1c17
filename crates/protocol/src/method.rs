//! The three direct methods of an agent.
//!
//! A request is a JSON object that carries, under `auth`, the base64 of an HMAC-SHA256 with the member's
//! key. The HMAC is taken over values, not over JSON text, so that whoever carries the request may
//! reformat it. What goes in, in this order, each item preceded by its length in bytes as a big-endian
//! `u32`:
//!
//! 1. the text `iotedge-ha method v1`, which keeps these HMACs apart from any other use of the key
//! 2. the name of the method
//! 3. the device id of the member asked
//! 4. the pool
//! 5. the grantor
//! 6. the epoch
//! 7. `hold_ms`
//! 8. `haHello`: `wants_nonce` as one byte, 0 or 1 ·
//!    `haGrant`: the term, the random part of the nonce, the count of the nonce, `ttl_ms` ·
//!    `haRevoke`: the term
//!
//! Texts are UTF-8; the random part of a nonce is 16 bytes, every other number 8 bytes, both big-endian.
//! Every item has its length before it and the method fixes how many there are, so no two requests are
//! written the same way.
//!
//! A repeated request is as harmless as the protocol makes it: a grant counts from its nonce, a revoked
//! term stays revoked, and epochs only grow.

use ha_core::ids::PoolName;
use ha_core::messages::Answer;
use ha_core::time::Millis;
use serde_json::{Value, json};

use crate::error::Error;
use crate::text;

mod answer;
mod auth;
mod request;

pub use self::answer::{decode_reply, encode_reply};
pub use self::request::{decode, encode};

/// Asks for the agent's state.
pub const HELLO: &str = "haHello";
/// Lets the agent run.
pub const GRANT: &str = "haGrant";
/// Takes a term back.
pub const REVOKE: &str = "haRevoke";

/// The longest time that an answer may be kept back: IoT Hub ends a direct method after that.
pub const HOLD_MAX: Millis = Millis(300_000);

/// The method status of an answer to a request that was read, granted or not.
pub const STATUS_OK: u16 = 200;

/// What an agent answers to a request that it could read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The pool it serves.
    pub pool: PoolName,
    /// The version of the agent.
    pub agent: String,
    /// The answer itself.
    pub answer: Answer,
}

/// The status and the body with which an agent answers a request that it could not read.
pub fn encode_error(error: &Error) -> (u16, Value) {
    let status = match error {
        Error::BadAuth => 401,
        Error::OtherPool { .. } | Error::UnknownMethod => 404,
        Error::NoKey => 503,
        _ => 400,
    };
    (status, json!({ "error": text::bounded(&error.to_string(), 1_000) }))
}

#[cfg(test)]
mod tests;
