use ha_core::messages::Workload;
use ha_core::seen::CallFailure;
use ha_core::time::Millis;

use super::{Check, Outcome};
use crate::config::PoolConfig;
use crate::hub::Seat;
use crate::hub::iot::IotHub;

pub(super) const CHECK: Check = Check { id: "agent", description: "the agent answers, and its workload is well" };

pub(super) async fn check(hub: &IotHub, seat: &Seat, pool: &PoolConfig) -> Outcome {
    let timeout = pool.policy.timings.call_timeout + Millis(2_000);
    let answer = match hub.peek(seat, timeout).await {
        Ok(answer) => answer,
        Err(failure) => return Outcome::error(failure.to_string(), hint(&failure)),
    };
    let state = answer.state.as_str();
    match &answer.workload {
        Workload::Failing(why) | Workload::Unready(why) => {
            Outcome::warning(format!("{state}; its workload: {why}"), "look at the workload's logs on the device")
        }
        _ if answer.leaving => Outcome::warning(format!("{state}, and being stopped"), "wait until it is back"),
        _ => Outcome::ok(format!("{state}, term {}", answer.term)),
    }
}

fn hint(failure: &CallFailure) -> &'static str {
    match failure {
        CallFailure::Offline => "start the agent on the device; look at its logs and the device's way to the hub",
        CallFailure::TimedOut => "the agent or edgeHub hangs, or the way to it is slow: look at their logs",
        CallFailure::Rejected(_) => {
            "see the reason; a key that does not fit is installed anew by removing it from the twin"
        }
        CallFailure::BadAnswer(_) => "bring controller and agent to the same version",
        _ => "try again",
    }
}
