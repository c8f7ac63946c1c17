//! The life of an accepted connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use ha_wire::topics::FromDevice;
use jiff::Timestamp;
use mqtt_protocol_core::mqtt::packet::v3_1_1;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::flow::Flow;
use super::machine::{End, Machine, from_device, pairs};
use super::{FAREWELL, INBOX_BYTES_MAX, SILENCE_MAX_MS};
use crate::faults::{DeviceFault, Watch};
use crate::hub::{Id, Session};
use crate::meters::Meter;
use crate::shell::{Message, Parcel, Shell};

/// Bytes that may wait for a client that does not read.
const OUTBOX_BYTES_MAX: usize = 2 * 1024 * 1024;

/// A frozen connection wakes when it thaws; this only keeps its timer quiet.
const FROZEN_FOR_LONG: Duration = Duration::from_secs(3600);

/// What ties a connection to the hub.
pub(super) struct Link {
    pub(super) shell: Arc<Shell>,
    pub(super) watch: Watch,
    pub(super) id: Id,
    pub(super) parcels: mpsc::Receiver<Parcel>,
    pub(super) cut: CancellationToken,
    pub(super) stop: CancellationToken,
}

/// What ends a connection by itself.
pub(super) struct Limits {
    pub(super) keep_alive_s: u16,
    pub(super) expires_unix_s: u64,
}

/// Moves bytes between the socket and the machine, through whatever faults there are.
pub(super) struct Pump {
    link: Link,
    machine: Machine,
    inbox: Flow,
    outbox: Flow,
    fault: DeviceFault,
    dice: StdRng,
    silence: Duration,
    silent_from: Instant,
    expires_unix_s: u64,
    expires: Instant,
}

impl Pump {
    /// A connection that was just accepted; `early` came in behind its CONNECT.
    pub(super) fn new(link: Link, machine: Machine, limits: &Limits, early: Vec<u8>) -> Self {
        let silence = silence_allowed(limits.keep_alive_s);
        let now = link.shell.clock.now();
        let mut pump = Self {
            link,
            machine,
            inbox: Flow::default(),
            outbox: Flow::default(),
            fault: DeviceFault::default(),
            dice: StdRng::seed_from_u64(0),
            silence,
            silent_from: Instant::now() + silence,
            expires_unix_s: limits.expires_unix_s,
            expires: expiry(limits.expires_unix_s, now),
        };
        pump.refresh_fault();
        pump.inbox.push(early.into(), pump.delay());
        pump
    }

    /// Runs until the connection ends, and says why it did.
    pub(super) async fn run<S>(&mut self, reader: &mut ReadHalf<S>, writer: &mut WriteHalf<S>) -> End
    where
        S: AsyncRead + AsyncWrite,
    {
        match self.pump(reader, writer).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn pump<S>(
        &mut self,
        reader: &mut ReadHalf<S>,
        writer: &mut WriteHalf<S>,
    ) -> Result<std::convert::Infallible, End>
    where
        S: AsyncRead + AsyncWrite,
    {
        let mut chunk = vec![0; 8 * 1024];
        loop {
            self.collect_out()?;
            self.keep_up();
            let now = Instant::now();
            let reads = !self.fault.cuts_from_device() && self.inbox.bytes() < INBOX_BYTES_MAX;
            let writes = !self.fault.cuts_to_device() && self.outbox.is_due(now);
            let wake = self.wake();
            tokio::select! {
                () = self.link.cut.cancelled() => return Err(End::ByHub),
                () = self.link.stop.cancelled() => return Err(End::Stop),
                () = self.link.watch.changed() => self.refresh_fault(),
                read = reader.read(&mut chunk), if reads => self.hear(read, &chunk)?,
                written = self.outbox.write_some(writer), if writes => {
                    written.map_err(|e| End::Broken(e.to_string()))?;
                }
                parcel = self.link.parcels.recv() => match parcel {
                    Some(parcel) => self.deliver(parcel),
                    None => return Err(End::ByHub),
                },
                () = tokio::time::sleep_until(wake) => {}
            }
            self.keep_up();
            self.take_in()?;
            if reads && self.is_silent() {
                // A machine that stood still has heard nothing, though something has come.
                if let Some(read) = reader.read(&mut chunk).now_or_never() {
                    self.hear(read, &chunk)?;
                    self.take_in()?;
                }
            }
            self.check_time()?;
        }
    }

    fn hear(&mut self, read: std::io::Result<usize>, chunk: &[u8]) -> Result<(), End> {
        let read = read.map_err(|e| End::Broken(e.to_string()))?;
        if read == 0 {
            return Err(End::Closed);
        }
        self.inbox.push(Bytes::copy_from_slice(&chunk[..read]), self.delay());
        Ok(())
    }

    /// Hands due bytes to the machine, unless a black hole has opened before they arrived, or a throttle holds it.
    fn take_in(&mut self) -> Result<(), End> {
        let held = self.machine.held_until();
        if held.is_some_and(|until| until <= Instant::now()) && !self.fault.frozen {
            let (dice, drop) = (&mut self.dice, self.fault.drop);
            self.machine.go_on(&mut || drop > 0.0 && dice.random::<f64>() < drop)?;
            self.silent_from = Instant::now() + self.silence;
        }
        while !self.fault.cuts_from_device() && self.machine.held_until().is_none() {
            let Some(mut bytes) = self.inbox.pop_due(Instant::now()) else {
                break;
            };
            let (dice, drop) = (&mut self.dice, self.fault.drop);
            let taken = self.machine.take_in(&bytes, &mut || drop > 0.0 && dice.random::<f64>() < drop)?;
            self.inbox.put_back(bytes.split_off(taken));
            if self.machine.take_heard() {
                self.silent_from = Instant::now() + self.silence;
            }
        }
        Ok(())
    }

    fn deliver(&mut self, parcel: Parcel) {
        self.keep_up();
        let drop = self.fault.drop;
        // What is acknowledged does not vanish: TCP would send it again.
        if drop > 0.0 && parcel.receipt.is_none() && self.dice.random::<f64>() < drop {
            self.link.shell.meters.count(Meter::Dropped);
            return;
        }
        self.machine.publish(parcel);
    }

    fn collect_out(&mut self) -> Result<(), End> {
        let bytes = self.machine.take_out();
        self.outbox.push(bytes, self.delay());
        if self.outbox.bytes() > OUTBOX_BYTES_MAX {
            return Err(End::TooSlow);
        }
        Ok(())
    }

    fn check_time(&self) -> Result<(), End> {
        let now = Instant::now();
        if self.fault.frozen {
            return Ok(());
        }
        if self.is_silent() {
            return Err(End::Silence);
        }
        if now >= self.expires {
            return Err(End::Expired);
        }
        Ok(())
    }

    fn is_silent(&self) -> bool {
        !self.fault.frozen && Instant::now() >= self.silent_from && self.machine.held_until().is_none()
    }

    fn wake(&self) -> Instant {
        let held = self.machine.held_until();
        let mut wake = held.unwrap_or(self.silent_from).min(self.expires);
        if self.fault.frozen {
            wake = Instant::now() + FROZEN_FOR_LONG;
        }
        let arrivals = self.inbox.next_due().filter(|_| !self.fault.cuts_from_device() && held.is_none());
        let departures = self.outbox.next_due().filter(|_| !self.fault.cuts_to_device());
        for due in [arrivals, departures].into_iter().flatten() {
            wake = wake.min(due);
        }
        wake
    }

    /// A fault is in force once it was set: nothing that comes later slips past because something else was ready first.
    fn keep_up(&mut self) {
        if self.link.watch.has_changed() {
            self.refresh_fault();
        }
    }

    fn refresh_fault(&mut self) {
        let fault = self.link.watch.fault(&self.link.id.device);
        self.expires = expiry(self.expires_unix_s, self.link.shell.clock.now());
        if self.fault.frozen && !fault.frozen {
            // A hub that stood still does not blame its clients for the silence.
            self.silent_from = Instant::now() + self.silence;
        }
        if fault != self.fault {
            self.dice = StdRng::seed_from_u64(fault.seed);
            self.fault = fault;
        }
    }

    fn delay(&self) -> Duration {
        Duration::from_millis(self.fault.delay_ms)
    }

    pub(super) fn note(&self, end: &End, session: Session, will: Option<Will>) {
        tracing::info!(id = %self.link.id, session = session.0, end = %end, "connection ended");
        if *end == End::Silence {
            self.link.shell.meters.count_for(Meter::KeepAliveExpiries, &self.link.id);
        }
        if let Some(will) = will.filter(|_| !matches!(end, End::Disconnect | End::Spent)) {
            self.link.shell.publish_message(Message {
                from: self.link.id.clone(),
                at: self.link.shell.clock.now(),
                properties: will.properties,
                body: will.body,
            });
        }
    }

    /// Sends what is left and closes. Through a black hole not even the end gets out before it heals.
    pub(super) async fn farewell<S>(&mut self, end: &End, writer: &mut WriteHalf<S>)
    where
        S: AsyncRead + AsyncWrite,
    {
        if matches!(end, End::Closed | End::Broken(_) | End::Stop) {
            return;
        }
        // What the machine said last goes out as well; a full outbox is no reason to stay.
        let _ = self.collect_out();
        let stop = self.link.stop.clone();
        let patience = FAREWELL + self.delay();
        let goodbye = async {
            let held = self.link.shell.faults.hold(&self.link.id.device);
            if held.is_some() {
                self.link.watch.until(&self.link.id.device, DeviceFault::cuts_to_device).await;
            }
            let last = async {
                self.outbox.drain(writer).await?;
                writer.shutdown().await
            };
            let _ = tokio::time::timeout(patience, last).await;
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = goodbye => {}
        }
    }
}

fn silence_allowed(keep_alive_s: u16) -> Duration {
    let asked_ms = match keep_alive_s {
        0 => SILENCE_MAX_MS,
        seconds => u64::from(seconds) * 1500,
    };
    Duration::from_millis(asked_ms.min(SILENCE_MAX_MS))
}

fn expiry(unix_s: u64, now: Timestamp) -> Instant {
    const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    let now = u64::try_from(now.as_second()).unwrap_or(0);
    let left = Duration::from_secs(unix_s.saturating_sub(now));
    Instant::now() + left.min(FOREVER)
}

/// What is to be said if the client dies.
pub(super) struct Will {
    properties: Vec<(String, String)>,
    body: Bytes,
}

impl Will {
    pub(super) fn read(id: &Id, connect: &v3_1_1::Connect) -> Option<Self> {
        let topic = connect.will_topic()?;
        let Some(FromDevice::Event { properties, .. }) = from_device(id, topic) else {
            tracing::warn!(%id, topic, "the will is for a topic that is not the client's own; it will not be sent");
            return None;
        };
        let mut properties = pairs(&properties);
        properties.push(("iothub-MessageType".into(), "Will".into()));
        let body = Bytes::copy_from_slice(connect.will_payload().unwrap_or_default());
        Some(Self { properties, body })
    }
}
