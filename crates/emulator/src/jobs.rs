//! Carries out jobs: wakes when one is due, calls the direct methods and updates the twins it wants.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::hub::{Errand, Id};
use crate::rest;
use crate::shell::Shell;
use crate::throttle::{Lane, Turn};

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
    wait_for_turn(&shell).await;
    let Some(request) = &errand.method else {
        return shell.act(|hub, now| hub.update_twin_for(&errand, now));
    };
    let answer = rest::carry(&shell, &Id::device(&errand.device), request).await;
    shell.act(|hub, now| hub.settle_errand(&errand, answer, now));
}

/// Whoever calls from outside would be refused; a job has nobody to tell and waits on.
async fn wait_for_turn(shell: &Shell) {
    loop {
        match shell.gate.take(Lane::JobOperations, 1) {
            Turn::Now => return,
            Turn::After(wait) => return tokio::time::sleep(wait).await,
            Turn::Refused => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}
