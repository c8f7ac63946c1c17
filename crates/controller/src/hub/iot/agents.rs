//! Calls agents by direct methods.

use std::time::Duration;

use ha_core::messages::{Answer, Request};
use ha_core::seen::CallFailure;
use ha_core::time::Millis;
use ha_iothub::Call;
use ha_protocol::key::MemberKey;
use ha_protocol::method;
use ha_wire::method::{MethodRequest, RESPONSE_TIMEOUT_S_MAX, RESPONSE_TIMEOUT_S_MIN};

use tokio::time::Instant;

use super::IotHub;
use super::errors::call_failure;
use super::keys::Missing;
use crate::hub::{Seat, chain};

impl IotHub {
    /// Calls an agent with its key. A refusal may mean that the key has been changed: it is read anew, and another one tried at once.
    pub(super) async fn call_with_key(
        &self,
        seat: &Seat,
        request: &Request,
        hold: Millis,
        timeout: Millis,
        missing: Missing,
    ) -> Result<Answer, CallFailure> {
        let deadline = Instant::now() + Duration::from_millis(timeout.0);
        let key = self.keys.of(&self.client, seat, missing).await?;
        let refused = match self.call_once(seat, &key, request, hold, deadline).await {
            Err(Unanswered::BadKey(refused)) => refused,
            answered => return answered.map_err(Into::into),
        };
        self.keys.forget(seat);
        let again = self.keys.of(&self.client, seat, missing).await?;
        if again == key || Instant::now() >= deadline {
            return Err(refused);
        }
        self.call_once(seat, &again, request, hold, deadline).await.map_err(Into::into)
    }

    /// Calls an agent with this very key.
    pub(super) async fn call_once(
        &self,
        seat: &Seat,
        key: &MemberKey,
        request: &Request,
        hold: Millis,
        deadline: Instant,
    ) -> Result<Answer, Unanswered> {
        let time = deadline.saturating_duration_since(Instant::now());
        let (name, body) = method::encode(&seat.member, key, &seat.pool, request, hold);
        let asked = MethodRequest::new(name, body).response_timeout_s(response_timeout_s(time));
        let mut call = Call::within(time).attempt(time).once();
        // A hello that is held back is the only call that no lease waits for.
        if !matches!(request, Request::Hello(_)) || hold == Millis::ZERO {
            call = call.renewal();
        }
        let (device, module) = (seat.member.as_str(), Some(seat.agent_module.as_str()));
        let answer = self.client.call_method(device, module, &asked, &call).await;
        let answer = answer.map_err(|e| Unanswered::Failed(call_failure(&e)))?;
        let reply = method::decode_reply(answer.status.into(), &answer.payload).map_err(|e| not_understood(&e))?;
        if reply.pool == seat.pool {
            Ok(reply.answer)
        } else {
            let why = format!("it serves the pool {}", reply.pool);
            Err(Unanswered::BadKey(CallFailure::Rejected(why)))
        }
    }
}

/// Why a call with a key brought no answer.
pub(super) enum Unanswered {
    /// The key in the twin may have been changed, or be gone together with the rest of the twin.
    BadKey(CallFailure),
    /// It has nothing to do with the key.
    Failed(CallFailure),
}

impl From<Unanswered> for CallFailure {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::BadKey(failure) | Unanswered::Failed(failure) => failure,
        }
    }
}

/// The hub must not give up before we do.
fn response_timeout_s(time: Duration) -> u32 {
    let seconds = u32::try_from(time.as_millis().div_ceil(1_000) + 1).unwrap_or(RESPONSE_TIMEOUT_S_MAX);
    seconds.clamp(RESPONSE_TIMEOUT_S_MIN, RESPONSE_TIMEOUT_S_MAX)
}

fn not_understood(e: &ha_protocol::Error) -> Unanswered {
    match e {
        ha_protocol::Error::Status { status: 401 | 503, .. } => Unanswered::BadKey(CallFailure::Rejected(chain(e))),
        ha_protocol::Error::Status { .. } => Unanswered::Failed(CallFailure::Rejected(chain(e))),
        e => Unanswered::Failed(CallFailure::BadAnswer(chain(e))),
    }
}
