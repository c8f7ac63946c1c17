use std::io;
use std::net::SocketAddr;

use ha_core::ids::Term;
use ha_core::time::Time;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::combine::{self, Combined, Part};
use super::exec::ExecFact;
use super::notice::{self, Notices};
use super::{GateFact, GateOrder, GateSettings, Notice, Outlet, exec, file, http};
use crate::clock::{BootSleep, boot_now};

/// The agent's end of a gate that works in tasks of its own. Dropping it ends the workload at once.
#[derive(Debug)]
pub struct GateHandle {
    orders: mpsc::UnboundedSender<GateOrder>,
    http: Option<SocketAddr>,
    tasks: JoinSet<()>,
}

impl GateHandle {
    /// Passes an order on. Never waits.
    pub fn order(&self, order: GateOrder) {
        let _ = self.orders.send(order);
    }

    /// Where HTTP is served.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http
    }

    /// Ends the workload and all tasks.
    pub async fn shut(self) {
        let Self { orders, mut tasks, .. } = self;
        drop(orders);
        while tasks.join_next().await.is_some() {}
    }
}

/// Starts the gate, closed. `state` is what `/v1/state` shows; messages leave by `outlet`, if they are taken.
pub async fn start(
    settings: &GateSettings,
    facts: mpsc::UnboundedSender<GateFact>,
    state: watch::Receiver<serde_json::Value>,
    outlet: Outlet,
) -> io::Result<GateHandle> {
    let mut tasks = JoinSet::new();
    let (orders_tx, orders) = mpsc::unbounded_channel();
    let (acks_tx, acks) = mpsc::unbounded_channel();
    let (written_tx, written) = mpsc::unbounded_channel();
    let (exec_facts_tx, exec_facts) = mpsc::unbounded_channel();
    let (notice_tx, notice_rx) = watch::channel(Notice::default());
    let exec = settings.exec.clone().map(|exec| {
        let (tx, rx) = mpsc::unbounded_channel();
        tasks.spawn(exec::keep(exec, settings.stop, rx, exec_facts_tx));
        tx
    });
    let mut ends = Ends::default();
    if let Some(path) = settings.file.clone() {
        ends.abort.push(tokio::spawn(file::keep(path, notice_rx.clone(), written_tx)).abort_handle());
    }
    let mut http = None;
    if let Some(settings) = &settings.http {
        let listener = tokio::net::TcpListener::bind(settings.listen).await?;
        http = Some(listener.local_addr()?);
        let outlet = settings.messages.then_some(outlet);
        ends.abort.push(tokio::spawn(http::serve(listener, notice_rx, state, acks_tx, outlet)).abort_handle());
    }
    let has_notice = settings.http.is_some() || settings.file.is_some();
    let parts = [has_notice.then_some(Part::Notice), exec.is_some().then_some(Part::Exec)];
    let work = Work {
        combined: Combined::new(parts.into_iter().flatten().collect()),
        notices: Notices::new(settings.settle, settings.file.is_some()),
        notice: notice_tx,
        settled_at: has_notice.then(|| boot_now() + settings.settle),
        exec_ready: exec.is_none(),
        exec,
        facts,
        predecessor_told: false,
        _ends: ends,
    };
    tasks.spawn(work.run(Inputs { orders, exec: exec_facts, written, acks }, BootSleep::new()?));
    Ok(GateHandle { orders: orders_tx, http, tasks })
}

/// Tasks that end with the gate.
#[derive(Debug, Default)]
struct Ends {
    abort: Vec<tokio::task::AbortHandle>,
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.abort.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

struct Inputs {
    orders: mpsc::UnboundedReceiver<GateOrder>,
    exec: mpsc::UnboundedReceiver<ExecFact>,
    written: mpsc::UnboundedReceiver<Notice>,
    acks: mpsc::UnboundedReceiver<Term>,
}

struct Work {
    combined: Combined,
    notices: Notices,
    notice: watch::Sender<Notice>,
    /// When readers of an earlier run's notices have surely stopped; `None` once that has passed.
    settled_at: Option<Time>,
    exec_ready: bool,
    exec: Option<mpsc::UnboundedSender<GateOrder>>,
    facts: mpsc::UnboundedSender<GateFact>,
    predecessor_told: bool,
    _ends: Ends,
}

impl Work {
    async fn run(mut self, mut inputs: Inputs, sleep: BootSleep) {
        loop {
            self.predecessor();
            let wake = self.notices.next_wake().into_iter().chain(self.settled_at).min();
            tokio::select! {
                order = inputs.orders.recv() => {
                    let Some(order) = order else { break };
                    let acts = self.combined.order(order);
                    self.combined_acts(acts);
                }
                Some(fact) = inputs.exec.recv() => self.exec_fact(fact),
                Some(notice) = inputs.written.recv() => {
                    let acts = self.notices.written(boot_now(), notice);
                    self.notice_acts(acts);
                }
                Some(term) = inputs.acks.recv() => {
                    let acts = self.notices.acknowledged(term);
                    self.notice_acts(acts);
                }
                () = sleep.until(wake) => {
                    let now = boot_now();
                    self.settled_at = self.settled_at.filter(|at| now < *at);
                    let acts = self.notices.time_passed(now);
                    self.notice_acts(acts);
                }
            }
        }
    }

    fn predecessor(&mut self) {
        if !self.predecessor_told && self.exec_ready && self.settled_at.is_none() {
            self.predecessor_told = true;
            self.tell(GateFact::PredecessorGone);
        }
    }

    fn exec_fact(&mut self, fact: ExecFact) {
        match fact {
            ExecFact::Ready => self.exec_ready = true,
            ExecFact::Armed(term, until) => {
                let acts = self.combined.armed(Part::Exec, term, until);
                self.combined_acts(acts);
            }
            ExecFact::Closed(term) => {
                let acts = self.combined.closed(Part::Exec, term);
                self.combined_acts(acts);
            }
            ExecFact::Started(term) => self.tell(GateFact::Started { term }),
            ExecFact::Ended(term, how) => self.tell(GateFact::Ended { term, how }),
        }
    }

    fn combined_acts(&mut self, acts: Vec<combine::Act>) {
        for act in acts {
            match act {
                combine::Act::Order(Part::Notice, order) => {
                    let acts = self.notices.order(boot_now(), order);
                    self.notice_acts(acts);
                }
                combine::Act::Order(Part::Exec, order) => {
                    let _ = self.exec.as_ref().map(|exec| exec.send(order));
                }
                combine::Act::Armed(term, until) => self.tell(GateFact::Armed { term, until }),
                combine::Act::Closed(term) => self.tell(GateFact::Closed { term }),
            }
        }
    }

    fn notice_acts(&mut self, acts: Vec<notice::Act>) {
        for act in acts {
            match act {
                notice::Act::Publish(notice) => {
                    self.notice.send_replace(notice);
                }
                notice::Act::Armed(term, until) => {
                    let acts = self.combined.armed(Part::Notice, term, until);
                    self.combined_acts(acts);
                }
                notice::Act::Closed(term) => {
                    let acts = self.combined.closed(Part::Notice, term);
                    self.combined_acts(acts);
                }
            }
        }
    }

    fn tell(&self, fact: GateFact) {
        let _ = self.facts.send(fact);
    }
}
