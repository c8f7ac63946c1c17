//! The agent's end of the keeper: starts it, passes orders on, and starts another one when it dies.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::Stdio;
use std::time::Duration;

use ha_core::ids::Term;
use ha_core::time::{Millis, Time};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{ExecSettings, GateOrder};
use crate::keeper::{Lease, LineBuffer, Order, Report, own_executable};

/// What the keeper side tells the gate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum ExecFact {
    /// Nothing of an earlier keeper is left.
    Ready,
    Armed(Term, Time),
    Started(Term),
    Ended(Term, String),
    Closed(Term),
}

/// Serves the gate until its orders end.
pub(super) async fn keep(
    settings: ExecSettings,
    stop: Millis,
    mut orders: mpsc::UnboundedReceiver<GateOrder>,
    facts: mpsc::UnboundedSender<ExecFact>,
) {
    let mut open: Option<Term> = None;
    loop {
        match start(&settings) {
            Ok((mut process, mut socket)) => {
                let left = open.take();
                let mut link = Link { settings: &settings, stop, facts: &facts, left, ready: false, open: &mut open };
                let served = link.serve(&mut socket, &mut orders).await;
                let still_left = link.left;
                open = open.or(still_left);
                drop(socket);
                let status = process.wait().await;
                if served.is_ok() {
                    return;
                }
                let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                tracing::error!(%status, "the keeper died; the workload ends with it, and another keeper is started");
            }
            Err(error) => tracing::error!(%error, "the keeper cannot be started"),
        }
        if orders.is_closed() {
            return;
        }
        tokio::time::sleep(RESTART_PAUSE).await;
    }
}

const REMIND_EVERY: Duration = Duration::from_secs(10);
const RESTART_PAUSE: Duration = Duration::from_millis(200);

fn start(settings: &ExecSettings) -> std::io::Result<(Child, UnixStream)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut command = Command::new(own_executable());
    command.args(settings.keeper.to_args()).envs(settings.env.iter().map(|(k, v)| (k, v)));
    for secret in &settings.env_remove {
        command.env_remove(secret);
    }
    // A group of its own: a Ctrl-C in the terminal is for the agent, which then stops in good order.
    let process = command.process_group(0).stdin(Stdio::from(OwnedFd::from(theirs))).spawn()?;
    Ok((process, UnixStream::from_std(ours)?))
}

/// The keeper is gone, or speaks nonsense.
struct Lost;

struct Link<'a> {
    settings: &'a ExecSettings,
    stop: Millis,
    facts: &'a mpsc::UnboundedSender<ExecFact>,
    /// The term that an earlier keeper ran and that may still be running.
    left: Option<Term>,
    /// The keeper holds the lock.
    ready: bool,
    /// The term that this keeper was asked to run.
    open: &'a mut Option<Term>,
}

impl Link<'_> {
    async fn serve(
        &mut self,
        socket: &mut UnixStream,
        orders: &mut mpsc::UnboundedReceiver<GateOrder>,
    ) -> Result<(), Lost> {
        let mut lines = LineBuffer::default();
        let mut buffer = [0; 1_024];
        let mut reminder = tokio::time::interval_at(Instant::now() + REMIND_EVERY, REMIND_EVERY);
        loop {
            tokio::select! {
                _ = reminder.tick(), if !self.ready => {
                    let lock = self.settings.keeper.lock.display();
                    tracing::warn!(%lock, "processes of an earlier workload still hold the lock: the gate stays closed");
                }
                order = orders.recv() => {
                    let Some(order) = order else { return Ok(()) };
                    if let Some(order) = self.translate(order) {
                        socket.write_all(format!("{order}\n").as_bytes()).await.map_err(|_| Lost)?;
                    }
                }
                read = socket.read(&mut buffer) => {
                    let n = read.ok().filter(|n| *n > 0).ok_or(Lost)?;
                    for line in lines.feed(&buffer[..n]).ok_or(Lost)? {
                        self.heard(line.parse().map_err(|_| Lost)?);
                    }
                }
            }
        }
    }

    /// What an earlier keeper ran is closed once this one is ready, without any order.
    fn translate(&mut self, order: GateOrder) -> Option<Order> {
        if self.left.is_some() {
            return None;
        }
        Some(match order {
            GateOrder::Open { term, until } => {
                *self.open = Some(term);
                Order::Open { term, lease: self.lease(until) }
            }
            GateOrder::Extend { term, until } => Order::Extend { term, lease: self.lease(until) },
            GateOrder::Close { term, by } => Order::Close { term, kill_at: by - self.settings.kill_margin },
        })
    }

    fn lease(&self, until: Time) -> Lease {
        let kill_at = until - self.settings.kill_margin;
        Lease { stop_at: (until - self.stop).min(kill_at), kill_at, end: until }
    }

    fn heard(&mut self, report: Report) {
        match report {
            Report::Ready => {
                self.ready = true;
                self.tell(ExecFact::Ready);
                if let Some(term) = self.left.take() {
                    self.tell(ExecFact::Closed(term));
                }
            }
            Report::Armed { term, end } => self.tell(ExecFact::Armed(term, end)),
            Report::Running { term } => self.tell(ExecFact::Started(term)),
            Report::Exited { term, how } => self.tell(ExecFact::Ended(term, how)),
            Report::Closed { term } => {
                self.open.take_if(|open| *open == term);
                self.tell(ExecFact::Closed(term));
            }
            Report::Refused { term, why } => tracing::warn!(%term, why, "the keeper refused an order"),
        }
    }

    fn tell(&self, fact: ExecFact) {
        let _ = self.facts.send(fact);
    }
}
