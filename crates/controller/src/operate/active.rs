//! Whether what was asked for has come about: the holder by the record says itself that it is active.

use std::time::Duration;

use ha_core::anchor::Anchor;
use ha_core::ids::{MemberId, Term};
use ha_core::messages::{Answer, HolderState, Workload};
use ha_core::seen::CallFailure;
use serde::Serialize;

use super::error::{AskError, NotActive};
use super::report::seat;
use crate::config::PoolConfig;
use crate::hub::Hub;
use crate::hub::iot::IotHub;

/// How often the record and the holder are asked.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Who is active.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Active {
    /// Who.
    pub holder: MemberId,
    /// In which term.
    pub term: Term,
}

/// Waits until the holder says that it is active in the recorded term; `relieved`, if given, must not be it any more.
/// What is still missing is told to `seen` whenever it changes.
pub async fn wait_active(
    hub: &IotHub,
    pool: &PoolConfig,
    relieved: Option<&MemberId>,
    timeout: Duration,
    mut seen: impl FnMut(&NotActive),
) -> Result<Active, AskError> {
    let mut missing = NotActive::Unread;
    let look = async {
        loop {
            match look(hub, pool, relieved).await? {
                Ok(active) => return Ok(active),
                Err(news) if news != missing => {
                    seen(&news);
                    missing = news;
                }
                Err(_) => {}
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    match tokio::time::timeout(timeout, look).await {
        Ok(ended) => ended,
        Err(_) => Err(AskError::NotActive(missing)),
    }
}

async fn look(
    hub: &IotHub,
    pool: &PoolConfig,
    relieved: Option<&MemberId>,
) -> Result<Result<Active, NotActive>, AskError> {
    let anchor = match hub.read_anchor(&pool.name).await {
        Ok(anchor) => anchor.map(|(anchor, _)| anchor),
        Err(error) if error.is_transient() => return Ok(Err(NotActive::Unread)),
        Err(error) => return Err(error.into()),
    };
    let Some(anchor) = anchor else { return Ok(Err(NotActive::Vacant { status: None })) };
    Ok(match (&anchor.holder, relieved) {
        (None, _) => Err(NotActive::Vacant { status: anchor.status }),
        (Some(holder), Some(relieved)) if holder == relieved => {
            Err(NotActive::StillHeld { holder: holder.clone(), term: anchor.term, status: anchor.status })
        }
        (Some(holder), _) => {
            let seat = seat(pool, holder);
            let answer = hub.peek(&seat, pool.policy.timings.call_timeout).await;
            // A flag says nothing of terms.
            let answer = answer.map(|answer| match seat.told_by_flag() {
                Some(_) => Answer { term: anchor.term, ..answer },
                None => answer,
            });
            judge(&anchor, holder, answer)
        }
    })
}

fn judge(anchor: &Anchor, holder: &MemberId, answer: Result<Answer, CallFailure>) -> Result<Active, NotActive> {
    let (holder, term) = (holder.clone(), anchor.term);
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => return Err(NotActive::Silent { holder, term, failure }),
    };
    if answer.state == HolderState::Active && answer.term == term {
        return Ok(Active { holder, term });
    }
    Err(match (answer.workload, answer.refused) {
        (Workload::Failing(said) | Workload::Unready(said), _) => NotActive::WorkloadFails { holder, term, said },
        (_, Some(refusal)) => NotActive::Refuses { holder, term, refusal },
        _ => NotActive::NotYet { holder, term, state: answer.state },
    })
}

#[cfg(test)]
mod tests {
    use ha_core::ids::{BootId, ControlId, Epoch};
    use ha_core::messages::Refusal;
    use ha_core::time::{Millis, WallTime};

    use super::*;

    fn judged(answer: Result<Answer, CallFailure>) -> String {
        let name = "press_1".parse().expect("a pool name");
        let anchor = Anchor::vacant(name, ControlId::new("c"), Term(6), Millis(15_000), Epoch(1), WallTime(0));
        match judge(&anchor, &MemberId::new("edge-2"), answer) {
            Ok(active) => format!("{} is active in term {}", active.holder, active.term),
            Err(missing) => missing.to_string(),
        }
    }

    fn answer(
        state: HolderState,
        term: u64,
        workload: Workload,
        refused: Option<Refusal>,
    ) -> Result<Answer, CallFailure> {
        let (boot, term) = (BootId::new("boot"), Term(term));
        Ok(Answer {
            boot,
            state,
            term,
            lease_left: None,
            workload,
            leaving: false,
            refused,
            released: None,
            nonce: None,
        })
    }

    #[test]
    fn only_the_holder_that_runs_the_recorded_term_is_active() {
        use HolderState::{Active, Opening, Standby};
        for (given, said) in [
            (answer(Active, 6, Workload::Running, None), "edge-2 is active in term 6"),
            (answer(Active, 5, Workload::Running, None), "edge-2 holds term 6 and is active"),
            (answer(Opening, 6, Workload::Ready, None), "edge-2 holds term 6 and is opening"),
            (
                answer(Standby, 0, Workload::Unready("no image".to_owned()), None),
                "edge-2 holds term 6, but its workload does not work: no image",
            ),
            (
                answer(Standby, 0, Workload::Ready, Some(Refusal::FlagInactive { term: Term(6) })),
                "edge-2 holds term 6, but its agent refuses: the flag in the twin says inactive for term 6",
            ),
            (Err(CallFailure::Offline), "edge-2 holds term 6, but its agent does not answer: not connected to IoT Hub"),
        ] {
            assert_eq!(judged(given), said);
        }
    }
}
