//! edgeAgent: runs what its twin says, tells what runs, and answers to methods.

mod desired;
mod methods;
mod process;
mod report;
mod supervisor;

use std::sync::Arc;
use std::time::Instant;

use ha_wire::Map;
use ha_wire::topics::{Filter, FromDevice, RequestId, ToDevice};
use ha_wire::workload::ModuleList;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use self::desired::{Deployment, Refused};
use self::process::{Exit, Processes};
use self::supervisor::{Step, Supervisor};
use crate::error::Error;
use crate::hub::{News, Now, UpstreamOrder};
use crate::id::Id;
use crate::options::Options;
use crate::patch::difference;
use crate::registry::Registry;
use crate::shell::now;
use crate::store::Store;
use crate::timings::Timings;
use crate::twin::TwinCopy;
use crate::upstream::Lines;
use crate::workload::Workload;

const EDGE_AGENT: &str = "$edgeAgent";
/// The desired properties that were last taken over.
const DEPLOYMENT: &str = "deployment.json";

/// edgeAgent of one device. It speaks with the cloud by itself, not through edgeHub.
pub(crate) struct Agent {
    id: Id,
    timings: Timings,
    lines: Lines,
    news: mpsc::Receiver<(Id, News)>,
    exits: mpsc::UnboundedReceiver<Exit>,
    registry: Arc<Registry>,
    workload: Arc<Workload>,
    list: watch::Sender<ModuleList>,
    twin: TwinCopy,
    up: bool,
    rids: u64,
    reading: Option<RequestId>,
    read_at: Instant,
    deployment: Deployment,
    store: Store,
    /// The desired properties that were last looked at.
    applied: Option<Map>,
    desired_version: Option<u64>,
    status: Refused,
    supervisor: Supervisor,
    processes: Processes,
    reported: Option<Map>,
    started: jiff::Timestamp,
}

/// What edgeAgent is given.
pub(crate) struct Parts {
    pub(crate) lines: Lines,
    pub(crate) news: mpsc::Receiver<(Id, News)>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) workload: Arc<Workload>,
    pub(crate) list: watch::Sender<ModuleList>,
    pub(crate) store: Store,
}

impl Agent {
    pub(crate) fn new(options: &Options, parts: Parts) -> Result<Self, Error> {
        let Parts { lines, news, registry, workload, list, store } = parts;
        let (exits_sender, exits) = mpsc::unbounded_channel();
        let logs = options.state_dir.join("logs");
        let grace = options.timings.stop_grace;
        let processes = Processes::new(options.images.clone(), logs.clone(), grace, exits_sender);
        let now = now();
        Ok(Self {
            id: Id::module(&options.device, EDGE_AGENT),
            timings: options.timings.clone(),
            lines,
            news,
            exits,
            registry,
            workload,
            list,
            twin: TwinCopy::default(),
            up: false,
            rids: 0,
            reading: None,
            read_at: now.at,
            deployment: Deployment::default(),
            store,
            applied: None,
            desired_version: None,
            status: (406, "the edge agent has not run yet".to_owned()),
            supervisor: Supervisor::new(&options.timings),
            processes: processes.map_err(Error::file(&logs))?,
            reported: None,
            started: now.wall,
        })
    }

    /// Works until told to stop; then the modules are stopped, too.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        for order in [
            UpstreamOrder::Open,
            UpstreamOrder::Subscribe(Filter::DesiredChanges),
            UpstreamOrder::Subscribe(Filter::MethodCalls),
        ] {
            self.order(order);
        }
        if let Some(desired) = self.store.read(DEPLOYMENT) {
            tracing::info!("the last deployment is run until the cloud tells of another");
            self.deploy(desired);
        }
        let mut rounds = tokio::time::interval(self.timings.reconcile);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wake = self.next_wake();
            tokio::select! {
                () = stop.cancelled() => break,
                Some((_, news)) = self.news.recv() => self.hear(now(), news),
                Some(exit) = self.exits.recv() => self.supervisor.exited(now(), &exit.name, exit.run, exit.code),
                _ = rounds.tick() => {}
                () = sleep_until(wake.into()) => {}
            }
            self.round(now()).await;
        }
        self.shut_down().await;
    }

    fn next_wake(&self) -> Instant {
        let (now, twin) = (Instant::now(), self.twin.next_wake(self.up));
        let reading = Some(self.read_at).filter(|_| self.up);
        let wake = self.supervisor.next_wake().into_iter().chain(twin).chain(reading).min();
        wake.unwrap_or(now + self.timings.reconcile).max(now + BREATH)
    }

    /// Compares what runs with what should run, and tells the cloud what has changed.
    async fn round(&mut self, now: Now) {
        for step in self.supervisor.reconcile(now) {
            match step {
                Step::Stop { run, .. } => self.processes.stop(run),
                Step::Start { name, spec, run } => {
                    let environment = self.environment(&name).await;
                    self.processes.start(&name, &spec, run, environment);
                }
            }
        }
        self.list.send_replace(report::listed(&self.supervisor, self.started));
        self.report(now);
        self.speak(now);
    }

    /// As IoT Edge gives it; without the hub a module that it does not know yet gets none, fails, and is tried again.
    async fn environment(&self, name: &str) -> Vec<(String, String)> {
        if let Err(error) = self.registry.ensure_module(name).await {
            tracing::warn!(module = name, %error, "the hub does not give the module's identity");
        }
        let environment = self.workload.environment(name);
        environment.unwrap_or_else(|error| {
            tracing::warn!(module = name, %error, "the module gets no environment");
            Vec::new()
        })
    }

    fn report(&mut self, now: Now) {
        // Before the twin was read nobody knows what is to be changed in it.
        let Some(before) = &self.reported else { return };
        let status = self.apply_status();
        let whole = report::reported(&self.supervisor, &self.deployment, self.desired_version, &status, self.started);
        let patch = difference(before, &whole);
        if !patch.is_empty() {
            self.twin.report(now.at, patch, std::time::Duration::ZERO);
            self.reported = Some(whole);
        }
    }

    /// A deployment whose images nobody stands in for is not applied.
    fn apply_status(&self) -> Refused {
        let mut modules = self.deployment.modules.iter();
        let missing = modules.find(|(_, spec)| self.processes.command_of(&spec.image).is_none());
        match missing.filter(|_| self.status.0 == 200) {
            Some((name, spec)) => (500, format!("module {name}: no command stands in for the image {}", spec.image)),
            None => self.status.clone(),
        }
    }

    /// Sends what is due.
    fn speak(&mut self, now: Now) {
        if !self.up {
            return;
        }
        if now.at >= self.read_at {
            self.read_at = now.at + self.timings.agent_twin_pull;
            if let Some(rid) = self.rid() {
                self.reading = Some(rid.clone());
                self.order(UpstreamOrder::Publish { topic: FromDevice::GetTwin { rid }, payload: Vec::new() });
            }
        }
        self.twin.time_passed(now.at, self.timings.reported_sync);
        let Some(rid) = self.rid() else { return };
        if let Some(patch) = self.twin.send(now.at, rid.as_str(), self.timings.cloud_operation) {
            let payload = Value::Object(patch).to_string().into_bytes();
            self.order(UpstreamOrder::Publish { topic: FromDevice::PatchReported { rid }, payload });
        }
    }

    fn hear(&mut self, now: Now, news: News) {
        match news {
            News::Up => {
                self.up = true;
                self.read_at = now.at;
            }
            News::Down => {
                self.up = false;
                self.reading = None;
                self.twin.lost(now.at, self.timings.reported_sync);
            }
            News::Heard { topic: ToDevice::TwinAnswer { status, rid, .. }, payload } => {
                self.twin_answered(now, status, &rid, &payload);
            }
            // A deployment replaces the whole section, which a notice without nulls does not show: it is read anew.
            News::Heard { topic: ToDevice::DesiredChanged { .. }, .. } => self.read_at = now.at,
            News::Heard { topic: ToDevice::MethodCall { name, rid }, payload } => {
                let (status, body) = methods::call(now, &name, &payload, &mut self.supervisor, &self.processes);
                let topic = FromDevice::MethodAnswer { status, rid };
                self.order(UpstreamOrder::Publish { topic, payload: body.to_string().into_bytes() });
            }
            News::Heard { .. } | News::Sent { .. } => {}
        }
    }

    fn twin_answered(&mut self, now: Now, status: u16, rid: &RequestId, payload: &[u8]) {
        if self.twin.sent(now.at, rid.as_str(), status, self.timings.reported_sync) {
            return;
        }
        if self.reading.take_if(|reading| *reading == *rid).is_none() {
            return;
        }
        if status != 200 {
            self.read_at = now.at + self.timings.reported_sync;
            return;
        }
        self.twin.read(now.at, payload);
        if self.reported.is_none() {
            let mut reported = self.twin.reported().cloned().unwrap_or_default();
            reported.retain(|name, _| !name.starts_with('$'));
            self.reported = Some(reported);
        }
        if let Some(desired) = self.twin.desired().cloned() {
            self.deploy(desired);
        }
    }

    /// Takes over the desired properties. A deployment that cannot be read changes nothing but the status.
    fn deploy(&mut self, desired: Map) {
        if self.applied.as_ref() == Some(&desired) {
            return;
        }
        self.desired_version = desired.get("$version").and_then(Value::as_u64);
        match Deployment::read(&desired) {
            Ok(deployment) => {
                self.store.write(DEPLOYMENT, &desired);
                self.supervisor.deploy(&deployment.modules);
                self.deployment = deployment;
                self.status = (200, String::new());
            }
            Err(refused) => {
                tracing::warn!(code = refused.0, reason = refused.1, "a deployment is refused; the last one stays");
                self.status = refused;
            }
        }
        self.applied = Some(desired);
    }

    /// Stops the modules and, while there is a way, tells that nobody knows any more.
    async fn shut_down(mut self) {
        self.processes.stop_all().await;
        let Some(reported) = self.reported.take().filter(|_| self.up) else { return };
        let Some(rid) = self.rid() else { return };
        let payload = Value::Object(report::shut_down(&reported)).to_string().into_bytes();
        self.order(UpstreamOrder::Publish { topic: FromDevice::PatchReported { rid: rid.clone() }, payload });
        let arrived = async {
            while let Some((_, news)) = self.news.recv().await {
                match news {
                    News::Heard { topic: ToDevice::TwinAnswer { rid: answered, .. }, .. } if answered == rid => return,
                    // What was under way is lost with the connection.
                    News::Down => return,
                    _ => {}
                }
            }
        };
        let _ = tokio::time::timeout(self.timings.last_words, arrived).await;
    }

    fn order(&mut self, order: UpstreamOrder) {
        let id = self.id.clone();
        self.lines.order(&id, order);
    }

    fn rid(&mut self) -> Option<RequestId> {
        self.rids += 1;
        RequestId::new(format!("{:x}", self.rids)).ok()
    }
}

/// The shortest time between two rounds.
const BREATH: std::time::Duration = std::time::Duration::from_millis(10);
