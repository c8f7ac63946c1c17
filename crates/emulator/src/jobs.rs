//! Carries out jobs: wakes when one is due, calls the direct methods it wants called.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::hub::{Errand, Id};
use crate::rest;
use crate::shell::Shell;

/// Works on the hub's jobs until told to stop.
pub(crate) async fn run(shell: Arc<Shell>, stop: CancellationToken) {
    let mut calls = JoinSet::new();
    loop {
        let (errands, rest) = shell.act(|hub, now| (hub.advance_jobs(now), hub.jobs_rest(now)));
        for errand in errands {
            calls.spawn(carry_out(Arc::clone(&shell), errand));
        }
        let rest = rest.map(|rest| Duration::try_from(rest).unwrap_or_default());
        tokio::select! {
            () = stop.cancelled() => return,
            () = shell.jobs_changed.notified() => {}
            Some(_) = calls.join_next() => {}
            () = tokio::time::sleep(rest.unwrap_or_default()), if rest.is_some() => {}
        }
    }
}

async fn carry_out(shell: Arc<Shell>, errand: Errand) {
    let answer = rest::carry(&shell, &Id::device(&errand.device), &errand.request).await;
    shell.act(|hub, now| hub.settle_errand(&errand, answer, now));
}
