//! When configurations are evaluated: shortly after one was written, and every so often.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::hub::{Evaluated, Hub};
use crate::shell::Shell;

/// Writes that follow each other within this are evaluated once.
const AFTER_A_WRITE: Duration = Duration::from_millis(200);

/// Evaluates until told to stop.
pub(crate) async fn keep(shell: Arc<Shell>, every: Duration, stop: CancellationToken) {
    let mut revisions = shell.revisions();
    let mut round = tokio::time::interval(every);
    round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = round.tick() => {}
            changed = due(&shell, &mut revisions) => {
                if !changed {
                    return;
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(AFTER_A_WRITE) => {}
                }
            }
        }
        now(&shell);
    }
}

/// Evaluates at once.
pub(crate) fn now(shell: &Shell) -> Evaluated {
    let done = shell.act(Hub::evaluate);
    tracing::debug!(?done, "configurations evaluated");
    done
}

/// Waits for a written configuration; `false` when the hub has gone.
async fn due(shell: &Shell, revisions: &mut tokio::sync::watch::Receiver<u64>) -> bool {
    while !shell.act(|hub, _| hub.evaluation_due()) {
        if revisions.changed().await.is_err() {
            return false;
        }
    }
    true
}
