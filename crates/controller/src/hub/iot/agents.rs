//! Calls agents by direct methods.

use std::time::Duration;

use ha_core::messages::{Answer, Request};
use ha_core::seen::CallFailure;
use ha_core::time::Millis;
use ha_iothub::Call;
use ha_protocol::method;
use ha_wire::method::{MethodRequest, RESPONSE_TIMEOUT_S_MAX, RESPONSE_TIMEOUT_S_MIN};

use super::IotHub;
use super::errors::call_failure;
use super::keys::Missing;
use crate::hub::{Seat, chain};

impl IotHub {
    pub(super) async fn call_with_key(
        &self,
        seat: &Seat,
        request: &Request,
        hold: Millis,
        timeout: Millis,
        missing: Missing,
    ) -> Result<Answer, CallFailure> {
        let began = tokio::time::Instant::now();
        let key = self.keys.of(&self.client, seat, missing).await?;
        let time = Duration::from_millis(timeout.0).saturating_sub(began.elapsed());
        let (name, body) = method::encode(&seat.member, &key, &seat.pool, request, hold);
        let asked = MethodRequest::new(name, body).response_timeout_s(response_timeout_s(timeout));
        let mut call = Call::within(time).attempt(time).once();
        // A hello that is held back is the only call that no lease waits for.
        if !matches!(request, Request::Hello(_)) || hold == Millis::ZERO {
            call = call.renewal();
        }
        let (device, module) = (seat.member.as_str(), Some(seat.agent_module.as_str()));
        let answer = self.client.call_method(device, module, &asked, &call).await.map_err(|e| call_failure(&e))?;
        let reply = method::decode_reply(answer.status.into(), &answer.payload).map_err(|e| {
            // The key in the twin may have been changed, or be gone together with the rest of the twin.
            if matches!(e, ha_protocol::Error::Status { status: 401 | 503, .. }) {
                self.keys.forget(seat);
            }
            not_understood(&e)
        })?;
        if reply.pool == seat.pool {
            Ok(reply.answer)
        } else {
            self.keys.forget(seat);
            Err(CallFailure::Rejected(format!("it serves the pool {}", reply.pool)))
        }
    }
}

/// The hub must not give up before we do.
fn response_timeout_s(timeout: Millis) -> u32 {
    let seconds = u32::try_from(timeout.0.div_ceil(1_000) + 1).unwrap_or(RESPONSE_TIMEOUT_S_MAX);
    seconds.clamp(RESPONSE_TIMEOUT_S_MIN, RESPONSE_TIMEOUT_S_MAX)
}

fn not_understood(e: &ha_protocol::Error) -> CallFailure {
    match e {
        ha_protocol::Error::Status { .. } => CallFailure::Rejected(chain(e)),
        e => CallFailure::BadAnswer(chain(e)),
    }
}
