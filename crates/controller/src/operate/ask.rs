//! Requests to the controller in charge, written into the pool's record.

use std::time::Duration;

use ha_core::anchor::{Anchor, OperatorRequest, Settled, Verb};
use ha_core::ids::{PoolName, RequestId};
use ha_core::time::WallTime;

use super::error::AskError;
use crate::hub::{Error, Hub, NotWritten};

/// How often a request is written anew because somebody else wrote first.
const TRIES: u32 = 8;

/// Writes a request into the record of `pool`; gives its id.
pub async fn ask<H: Hub>(hub: &H, pool: &PoolName, verb: Verb, by: &str, at: WallTime) -> Result<RequestId, AskError> {
    // Requests are carried out in the order of their names.
    let id = RequestId::new(format!("{:013}{:08x}", at.0, rand::random::<u32>()));
    let request = OperatorRequest { verb, by: by.to_owned(), at };
    for _ in 0..TRIES {
        let Some((mut anchor, version)) = hub.read_anchor(pool).await? else {
            return Err(AskError::NoRecord { pool: pool.clone() });
        };
        if stands_in(&anchor, &id) {
            // An earlier try succeeded although its answer was lost.
            return Ok(id);
        }
        let waiting = anchor.requests.len();
        if waiting >= ha_protocol::anchor::REQUESTS_MAX {
            let why = format!("{waiting} requests wait already, and no more are taken: is a controller running?");
            return Err(Error::Refused(why).into());
        }
        anchor.requests.insert(id.clone(), request.clone());
        match hub.write_anchor(&anchor, Some(&version)).await {
            Ok(_) => return Ok(id),
            Err(NotWritten::Conflict | NotWritten::Unsure(_)) => {}
            Err(NotWritten::Failed(error)) => return Err(error.into()),
        }
    }
    Err(AskError::Contended)
}

fn stands_in(anchor: &Anchor, id: &RequestId) -> bool {
    anchor.requests.contains_key(id) || anchor.settled.iter().any(|settled| settled.request == *id)
}

/// Waits until the request has been settled; `seen` is shown every state of the record on the way.
pub async fn wait_settled<H: Hub>(
    hub: &H,
    pool: &PoolName,
    id: &RequestId,
    timeout: Duration,
    mut seen: impl FnMut(&Anchor),
) -> Result<(Settled, Anchor), AskError> {
    let look = async {
        loop {
            match hub.read_anchor(pool).await {
                Ok(Some((anchor, _))) => {
                    seen(&anchor);
                    if let Some(settled) = anchor.settled.iter().find(|settled| settled.request == *id) {
                        return Ok((settled.clone(), anchor));
                    }
                }
                Ok(None) => {}
                Err(error) if error.is_transient() => {}
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(timeout, look).await.unwrap_or(Err(AskError::TimedOut))
}

const LOOK_EVERY: Duration = Duration::from_millis(500);
