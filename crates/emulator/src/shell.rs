//! The hub with a clock, connections and waiting callers around it.

mod settings;

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use ha_wire::topics::ToDevice;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::clock::Clock;
use crate::doors::Restart;
use crate::error::Error;
use crate::events::Events;
use crate::faults::Faults;
use crate::hub::{CloudMessage, Code, Dirty, Effect, Hub, Id, LinkView, Proof, Refusal, Saved, Session};
use crate::journal::Journal;
use crate::management::InForce;
use crate::meters::{Bill, Meter, Meters};
use crate::mqtt::StormGuard;
use crate::options::ConnectRate;
use crate::script::Progress;
use crate::throttle::{Gate, Spent};
use crate::transfers::Transfers;
use crate::uploads::Uploads;

/// Packets that may wait for one connection.
const OUTBOX_MAX: usize = 256;
/// Messages that a slow listener may fall behind.
const TAIL_MAX: usize = 1024;

/// Everything the listeners share.
#[derive(Debug)]
pub(crate) struct Shell {
    core: Mutex<Core>,
    next: AtomicU64,
    revisions: watch::Sender<u64>,
    links: watch::Sender<u64>,
    messages: broadcast::Sender<Arc<Message>>,
    /// Jobs were made or cancelled.
    pub(crate) jobs_changed: Notify,
    restarts: OnceLock<mpsc::Sender<Restart>>,
    access: Access,
    pub(crate) faults: Faults,
    pub(crate) meters: Meters,
    pub(crate) gate: Gate,
    pub(crate) script: Progress,
    pub(crate) clock: Arc<Clock>,
    pub(crate) storms: StormGuard,
    pub(crate) events: Events,
    pub(crate) transfers: Transfers,
    pub(crate) uploads: Uploads,
}

#[derive(Debug)]
struct Core {
    hub: Hub,
    lines: HashMap<Session, Line>,
    calls: HashMap<u64, Call>,
    journal: Option<Journal>,
    /// What hub, throttles and credentials go by.
    obeyed: Option<Arc<InForce>>,
}

/// The way to a connection.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) outbox: mpsc::Sender<Parcel>,
    pub(crate) cut: CancellationToken,
    pub(crate) transport: &'static str,
    pub(crate) since: Timestamp,
}

/// Something to publish to a device.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) meter: Meter,
    /// What an acknowledgement completes; sent at quality of service 0 without one.
    pub(crate) receipt: Option<u64>,
}

#[derive(Debug)]
struct Call {
    id: Id,
    answer: oneshot::Sender<MethodAnswer>,
}

/// What a device answered to a direct method.
#[derive(Debug)]
pub(crate) struct MethodAnswer {
    pub(crate) status: i32,
    pub(crate) payload: Bytes,
}

/// A device-to-cloud message as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Device or module that sent it.
    pub from: Id,
    /// When it arrived.
    pub at: Timestamp,
    /// Application and system properties, decoded.
    pub properties: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// A live MQTT connection.
#[derive(Debug, Clone, Serialize)]
pub struct Connection {
    /// Whose, and what it listens to.
    #[serde(flatten)]
    pub link: LinkView,
    /// `tls` or `websocket`.
    pub transport: &'static str,
    /// When it was accepted.
    pub since: String,
}

/// Forgets a waiting method call however its caller ends.
pub(crate) struct CallGuard<'a> {
    shell: &'a Shell,
    rid: u64,
}

impl Shell {
    pub(crate) fn new(hub: Hub, access: Access, events: Events) -> Self {
        let revision = hub.revision();
        let faults = Faults::default();
        let clock = faults.clock();
        Self {
            core: Mutex::new(Core { hub, lines: HashMap::new(), calls: HashMap::new(), journal: None, obeyed: None }),
            next: AtomicU64::new(1),
            revisions: watch::Sender::new(revision),
            links: watch::Sender::new(0),
            messages: broadcast::Sender::new(TAIL_MAX),
            jobs_changed: Notify::new(),
            restarts: OnceLock::new(),
            access,
            faults,
            meters: Meters::default(),
            gate: Gate::open(),
            script: Progress::default(),
            clock,
            storms: StormGuard::default(),
            events,
            transfers: Transfers::default(),
            uploads: Uploads::default(),
        }
    }

    /// Takes import and export jobs, and files of devices, with the folders in this folder for containers.
    pub(crate) fn with_blobs(self, folder: Option<&Path>) -> Result<Self, Error> {
        Ok(Self { transfers: Transfers::open(folder)?, uploads: Uploads::open(folder)?, ..self })
    }

    /// Bounds how often one identity may connect.
    pub(crate) fn with_connect_rate(self, rate: Option<ConnectRate>) -> Self {
        Self { storms: StormGuard::new(rate), ..self }
    }

    /// Asks or tells the hub something; what it wants told to connections goes out before anyone else has a turn.
    pub(crate) fn act<T>(&self, deed: impl FnOnce(&mut Hub, Timestamp) -> T) -> T {
        let mut core = self.lock();
        let before = core.hub.revision();
        let now = self.clock.now();
        self.obey(&mut core, now);
        core.hub.wake(now);
        let out = deed(&mut core.hub, now);
        write_down(&mut core);
        for effect in core.hub.take_effects() {
            self.carry_out(&core, effect);
        }
        let after = core.hub.revision();
        drop(core);
        if after != before {
            self.revisions.send_replace(after);
        }
        out
    }

    /// Takes in a proved connection; `None` if the identity has been barred since it was judged.
    pub(crate) fn attach(&self, id: &Id, proof: Proof, clean: bool, line: Line) -> Option<(Session, bool)> {
        let session = Session(self.next.fetch_add(1, Ordering::Relaxed));
        self.lock().lines.insert(session, line);
        let attached = self.act(|hub, now| hub.admit(id).map(|_| hub.attach(id, session, proof, clean, now)));
        let Ok(attached) = attached else {
            self.lock().lines.remove(&session);
            return None;
        };
        self.meters.count_for(Meter::Connects, id);
        if attached.replaced.is_some() {
            self.meters.count(Meter::TakeOvers);
        }
        self.links_changed();
        Some((session, attached.session_present))
    }

    pub(crate) fn detach(&self, id: &Id, session: Session) {
        self.lock().lines.remove(&session);
        self.act(|hub, now| hub.detach(id, session, now));
        self.meters.count_for(Meter::Disconnects, id);
        self.links_changed();
    }

    /// Where restarts are asked for.
    pub(crate) fn set_restarts(&self, restarts: mpsc::Sender<Restart>) {
        // A shell has one set of doors.
        let _ = self.restarts.set(restarts);
    }

    /// Asks for a restart; refused while another one is under way.
    pub(crate) fn restart(&self, restart: Restart) -> Result<(), String> {
        restart.check()?;
        let asked = self.restarts.get().map(|restarts| restarts.try_send(restart));
        match asked {
            Some(Ok(())) => Ok(()),
            _ => Err("a restart is under way".into()),
        }
    }

    /// Wakes callers that wait for a device to connect.
    pub(crate) fn links_changed(&self) {
        self.links.send_modify(|n| *n += 1);
    }

    pub(crate) fn links(&self) -> watch::Receiver<u64> {
        self.links.subscribe()
    }

    /// Moves with every change worth keeping.
    pub(crate) fn revisions(&self) -> watch::Receiver<u64> {
        self.revisions.subscribe()
    }

    /// Writes every change down from here on; answers with the log that is to be forced to disk.
    pub(crate) fn keep(&self, mut journal: Journal) -> Result<Arc<File>, Error> {
        let mut core = self.lock();
        core.hub.take_dirty();
        journal.begin(&core.hub)?;
        let log = journal.log();
        core.journal = Some(journal);
        Ok(log)
    }

    /// Writes everything a last time and lets go of the folder.
    pub(crate) fn close_journal(&self) {
        let mut core = self.lock();
        if let Some(mut journal) = core.journal.take() {
            journal.note(&core.hub, Dirty::Whole);
        }
    }

    pub(crate) fn save(&self) -> Saved {
        self.lock().hub.save()
    }

    pub(crate) fn connections(&self) -> Vec<Connection> {
        let core = self.lock();
        let with_line = |link: LinkView| {
            let line = core.lines.get(&link.session)?;
            Some(Connection { transport: line.transport, since: line.since.to_string(), link })
        };
        core.hub.link_views().into_iter().filter_map(with_line).collect()
    }

    pub(crate) fn publish_message(&self, message: Message) {
        let Message { from, properties, body, .. } = &message;
        self.meters.count_for(Meter::Telemetry, from);
        let named: usize = properties.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.bill(Bill::Telemetry, Some(&from.device), named + body.len());
        self.act(|hub, _| hub.receive(from, properties.clone(), body.clone(), message.at));
        // Nobody listening is no error.
        let _ = self.messages.send(Arc::new(message));
    }

    pub(crate) fn send_message(&self, device: &str, message: CloudMessage) -> Result<u64, Refusal> {
        self.check_quota().map_err(|spent| Refusal::new(Code::IotHubQuotaExceeded, spent.to_string()))?;
        let bytes = message.body.len();
        let sent = self.act(|hub, now| hub.send_message(device, message, now))?;
        self.meters.count_for(Meter::CloudMessages, &Id::device(device));
        self.bill(Bill::CloudToDevice, Some(device), bytes);
        Ok(sent)
    }

    pub(crate) fn tail(&self) -> broadcast::Receiver<Arc<Message>> {
        self.messages.subscribe()
    }

    /// Registers a method call that waits for the device's answer; `None` when too many wait already.
    pub(crate) fn open_call(
        &self,
        id: &Id,
        in_flight_max: usize,
    ) -> Option<(CallGuard<'_>, oneshot::Receiver<MethodAnswer>)> {
        let mut core = self.lock();
        if core.calls.values().filter(|call| call.id == *id).count() >= in_flight_max {
            return None;
        }
        let rid = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, receiver) = oneshot::channel();
        let id = id.clone();
        core.calls.insert(rid, Call { id, answer });
        Some((CallGuard { shell: self, rid }, receiver))
    }

    /// Hands a device's answer to whoever waits; only the identity that was asked may answer.
    pub(crate) fn answer_call(&self, id: &Id, rid: u64, answer: MethodAnswer) {
        self.meters.count_for(Meter::MethodsAnswered, id);
        let mut core = self.lock();
        if core.calls.get(&rid).is_none_or(|call| call.id != *id) {
            tracing::debug!(%id, rid, "an answer that nobody waits for");
            return;
        }
        if let Some(call) = core.calls.remove(&rid) {
            let _ = call.answer.send(answer);
        }
    }

    /// Puts a parcel on a line; a line that is full is cut rather than waited for.
    pub(crate) fn post(&self, session: Session, parcel: Parcel) -> bool {
        let core = self.lock();
        post(&core, session, parcel)
    }

    /// Writes so many bytes on the bill.
    pub(crate) fn bill(&self, bill: Bill, device: Option<&str>, bytes: usize) {
        let messages = self.gate.charge(self.clock.now(), bytes);
        self.meters.bill(bill, device, messages);
    }

    /// Whether the day has messages left.
    pub(crate) fn check_quota(&self) -> Result<(), Spent> {
        let checked = self.gate.check_quota(self.clock.now());
        checked.inspect_err(|_| self.meters.count(Meter::QuotaExceeded))
    }

    fn carry_out(&self, core: &Core, effect: Effect) {
        match effect {
            Effect::Message { session, topic, payload, receipt } => {
                post(core, session, Parcel { topic, payload, meter: Meter::CloudMessagesDelivered, receipt });
            }
            Effect::MessageCompleted { id } => self.meters.count_for(Meter::CloudMessagesCompleted, &id),
            Effect::MessageLost { id, sequence, reason } => {
                tracing::warn!(%id, sequence, reason, "a cloud-to-device message was dropped");
                self.meters.count_for(Meter::CloudMessagesLost, &id);
            }
            Effect::Event(event) => self.events.take_in(&core.hub, &event),
            Effect::Cut { session, reason } => {
                if let Some(line) = core.lines.get(&session) {
                    tracing::info!(session = session.0, reason, "connection closed by the hub");
                    line.cut.cancel();
                }
            }
            Effect::Desired { id, version, body } => {
                if let Some(session) = core.hub.desired_session(&id) {
                    let parcel = Parcel {
                        topic: ToDevice::DesiredChanged { version }.to_string(),
                        payload: body.to_string().into_bytes(),
                        meter: Meter::DesiredNotices,
                        receipt: None,
                    };
                    let bytes = parcel.payload.len();
                    if post(core, session, parcel) {
                        self.bill(Bill::DesiredNotices, Some(&id.device), bytes);
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change is written before anybody hears of it.
fn write_down(core: &mut Core) {
    let dirty = core.hub.take_dirty();
    if let Some(journal) = &mut core.journal {
        journal.note(&core.hub, dirty);
    }
}

fn post(core: &Core, session: Session, parcel: Parcel) -> bool {
    let Some(line) = core.lines.get(&session) else {
        return false;
    };
    let posted = line.outbox.try_send(parcel).is_ok();
    if !posted {
        tracing::warn!(session = session.0, "connection cut: it reads too slowly");
        line.cut.cancel();
    }
    posted
}

pub(crate) fn outbox() -> (mpsc::Sender<Parcel>, mpsc::Receiver<Parcel>) {
    mpsc::channel(OUTBOX_MAX)
}

impl CallGuard<'_> {
    pub(crate) fn rid(&self) -> u64 {
        self.rid
    }
}

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        self.shell.lock().calls.remove(&self.rid);
    }
}
