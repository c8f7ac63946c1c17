//! One connection from its first byte to its last.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use ha_wire::topics::FromDevice;
use jiff::Timestamp;
use mqtt_protocol_core::mqtt::packet::v3_1_1;
use mqtt_protocol_core::mqtt::result_code::ConnectReturnCode;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::claim::Claim;
use super::flow::Flow;
use super::machine::{self, Codec, End, Machine, from_device, pairs};
use super::opening::read_first;
use super::{CONNECT_WITHIN, SILENCE_MAX_MS};
use crate::access::Granted;
use crate::faults::{DeviceFault, Watch};
use crate::hub::{Id, Session};
use crate::meters::Meter;
use crate::shell::{self, Line, Message, Parcel, Shell};

/// Bytes that a delay may hold back on the way in before reading stops.
const INBOX_BYTES_MAX: usize = 512 * 1024;
/// Bytes that may wait for a client that does not read.
const OUTBOX_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How long the last bytes may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves one connection until it ends.
pub(crate) async fn serve<S>(shell: Arc<Shell>, stream: S, transport: &'static str, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (mut reader, writer) = tokio::io::split(stream);
    let first = tokio::select! {
        () = stop.cancelled() => return,
        first = tokio::time::timeout(CONNECT_WITHIN, read_first(&mut reader)) => first,
    };
    let bytes = match first {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(e)) => return tracing::debug!(transport, error = %e, "no CONNECT"),
        Err(_) => return tracing::debug!(transport, "no CONNECT in time"),
    };
    let mut codec = machine::codec();
    let (connect, taken) = match machine::open(&mut codec, &bytes) {
        Ok(opened) => opened,
        Err(e) => return tracing::info!(transport, error = ?e, "CONNECT cannot be read"),
    };
    let claim = match Claim::read(connect.client_id(), connect.user_name()) {
        Ok(claim) => claim,
        Err(e) => {
            tracing::info!(transport, error = %e, "connection refused");
            shell.meters.count(Meter::ConnectsRefused);
            return refuse(codec, writer, ConnectReturnCode::IdentifierRejected).await;
        }
    };
    let opening = Opening {
        watch: shell.faults.watch(),
        shell,
        id: claim.id,
        connect,
        codec,
        early: bytes[taken..].to_vec(),
        transport,
        stop,
    };
    opening.go_on(reader, writer).await;
}

/// A connection whose CONNECT was read but not judged.
struct Opening {
    shell: Arc<Shell>,
    watch: Watch,
    id: Id,
    connect: v3_1_1::Connect,
    codec: Codec,
    early: Vec<u8>,
    transport: &'static str,
    stop: CancellationToken,
}

impl Opening {
    async fn go_on<S>(mut self, mut reader: ReadHalf<S>, mut writer: WriteHalf<S>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        if !self.arrives(&mut reader).await {
            return;
        }
        let granted = match self.judge() {
            Ok(granted) => granted,
            Err(reason) => {
                tracing::warn!(id = %self.id, transport = self.transport, reason, "connection refused");
                self.shell.meters.count(Meter::ConnectsRefused);
                return self.turn_away(writer).await;
            }
        };
        let (outbox, parcels) = shell::outbox();
        let cut = CancellationToken::new();
        let line = Line { outbox, cut: cut.clone(), transport: self.transport, since: Timestamp::now() };
        let clean = self.connect.clean_session();
        let attached = self.shell.attach(&self.id, granted.proof, clean, line);
        let Some((session, present)) = attached else {
            return self.turn_away(writer).await;
        };
        let attachment = Attachment { shell: Arc::clone(&self.shell), id: self.id.clone(), session };
        tracing::info!(id = %self.id, session = session.0, transport = self.transport, "connected");
        let will = Will::read(&self.id, &self.connect);
        let machine = Machine::accept(Arc::clone(&self.shell), self.codec, self.id.clone(), session, present);
        let silence = silence_allowed(self.connect.keep_alive());
        let mut pump = Pump {
            shell: self.shell,
            watch: self.watch,
            id: self.id,
            machine,
            inbox: Flow::default(),
            outbox: Flow::default(),
            parcels,
            cut,
            stop: self.stop,
            fault: DeviceFault::default(),
            dice: StdRng::seed_from_u64(0),
            silence,
            silent_from: Instant::now() + silence,
            expires: expiry(granted.expires),
        };
        pump.refresh_fault();
        pump.inbox.push(self.early.into(), pump.delay());
        let end = pump.run(&mut reader, &mut writer).await;
        pump.note(&end, session, will);
        drop(attachment);
        pump.farewell(&end, &mut writer).await;
    }

    /// Bytes that a black hole holds back have not arrived. False when the client has gone meanwhile.
    async fn arrives<S: AsyncRead + AsyncWrite>(&mut self, reader: &mut ReadHalf<S>) -> bool {
        let fault = self.watch.fault(&self.id.device);
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
        if !self.watch.fault(&self.id.device).cuts_from_device() {
            return true;
        }
        let Some(_held) = self.shell.faults.hold(&self.id.device) else {
            return false;
        };
        let healed = self.watch.until(&self.id.device, DeviceFault::cuts_from_device);
        tokio::select! {
            () = self.stop.cancelled() => return false,
            () = healed => {}
        }
        let mut chunk = [0; 4096];
        while self.early.len() < INBOX_BYTES_MAX {
            match reader.read(&mut chunk).now_or_never() {
                None => return true,
                Some(Ok(read)) if read > 0 => self.early.extend_from_slice(&chunk[..read]),
                Some(_) => return false,
            }
        }
        true
    }

    fn judge(&self) -> Result<Granted, String> {
        let admission = self.shell.act(|hub, _| hub.admit(&self.id)).map_err(|barred| barred.to_string())?;
        let password = self.connect.password().unwrap_or_default();
        let token = std::str::from_utf8(password).unwrap_or_default();
        self.shell
            .access
            .check_device(token, &self.id, &admission.keys, Timestamp::now())
            .map_err(|denied| denied.to_string())
    }

    async fn turn_away<S: AsyncRead + AsyncWrite>(mut self, writer: WriteHalf<S>) {
        let held = self.shell.faults.hold(&self.id.device);
        if self.watch.fault(&self.id.device).cuts_to_device() && held.is_some() {
            let healed = self.watch.until(&self.id.device, DeviceFault::cuts_to_device);
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = healed => {}
            }
        }
        refuse(self.codec, writer, ConnectReturnCode::NotAuthorized).await;
    }
}

async fn refuse<S: AsyncRead + AsyncWrite>(mut codec: Codec, mut writer: WriteHalf<S>, code: ConnectReturnCode) {
    let bytes = machine::refusal(&mut codec, code);
    let farewell = async {
        writer.write_all(&bytes).await?;
        writer.shutdown().await
    };
    // The client may have gone; nobody is left to tell.
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}

/// Takes the connection out of the hub however its task ends, panics included.
struct Attachment {
    shell: Arc<Shell>,
    id: Id,
    session: Session,
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.shell.detach(&self.id, self.session);
    }
}

/// What is to be said if the client dies.
struct Will {
    properties: Vec<(String, String)>,
    body: Bytes,
}

impl Will {
    fn read(id: &Id, connect: &v3_1_1::Connect) -> Option<Self> {
        let topic = connect.will_topic().and_then(|topic| from_device(id, topic));
        let Some(FromDevice::Event { properties, .. }) = topic else {
            return None;
        };
        let mut properties = pairs(&properties);
        properties.push(("iothub-MessageType".into(), "Will".into()));
        let body = Bytes::copy_from_slice(connect.will_payload().unwrap_or_default());
        Some(Self { properties, body })
    }
}

/// Moves bytes between the socket and the machine, through whatever faults there are.
struct Pump {
    shell: Arc<Shell>,
    watch: Watch,
    id: Id,
    machine: Machine,
    inbox: Flow,
    outbox: Flow,
    parcels: mpsc::Receiver<Parcel>,
    cut: CancellationToken,
    stop: CancellationToken,
    fault: DeviceFault,
    dice: StdRng,
    silence: Duration,
    silent_from: Instant,
    expires: Instant,
}

impl Pump {
    async fn run<S>(&mut self, reader: &mut ReadHalf<S>, writer: &mut WriteHalf<S>) -> End
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
            let now = Instant::now();
            let reads = !self.fault.cuts_from_device() && self.inbox.bytes() < INBOX_BYTES_MAX;
            let writes = !self.fault.cuts_to_device() && self.outbox.is_due(now);
            let wake = self.wake();
            tokio::select! {
                () = self.cut.cancelled() => return Err(End::ByHub),
                () = self.stop.cancelled() => return Err(End::Stop),
                () = self.watch.changed() => self.refresh_fault(),
                read = reader.read(&mut chunk), if reads => {
                    let read = read.map_err(|e| End::Broken(e.to_string()))?;
                    if read == 0 {
                        return Err(End::Closed);
                    }
                    let delay = self.delay();
                    self.inbox.push(Bytes::copy_from_slice(&chunk[..read]), delay);
                }
                written = self.outbox.write_some(writer), if writes => {
                    written.map_err(|e| End::Broken(e.to_string()))?;
                }
                parcel = self.parcels.recv() => match parcel {
                    Some(parcel) => self.deliver(parcel),
                    None => return Err(End::ByHub),
                },
                () = tokio::time::sleep_until(wake) => {}
            }
            self.take_in()?;
            self.check_time()?;
        }
    }

    /// Hands due bytes to the machine, unless a black hole has opened before they arrived.
    fn take_in(&mut self) -> Result<(), End> {
        while !self.fault.cuts_from_device() {
            let Some(bytes) = self.inbox.pop_due(Instant::now()) else {
                break;
            };
            let (dice, drop) = (&mut self.dice, self.fault.drop);
            self.machine.take_in(&bytes, &mut || drop > 0.0 && dice.random::<f64>() < drop)?;
            if self.machine.take_heard() {
                self.silent_from = Instant::now() + self.silence;
            }
        }
        Ok(())
    }

    fn deliver(&mut self, parcel: Parcel) {
        let drop = self.fault.drop;
        if drop > 0.0 && self.dice.random::<f64>() < drop {
            self.shell.meters.count(Meter::Dropped);
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
        if now >= self.silent_from {
            return Err(End::Silence);
        }
        if now >= self.expires {
            return Err(End::Expired);
        }
        Ok(())
    }

    fn wake(&self) -> Instant {
        let mut wake = self.silent_from.min(self.expires);
        let arrivals = self.inbox.next_due().filter(|_| !self.fault.cuts_from_device());
        let departures = self.outbox.next_due().filter(|_| !self.fault.cuts_to_device());
        for due in [arrivals, departures].into_iter().flatten() {
            wake = wake.min(due);
        }
        wake
    }

    fn refresh_fault(&mut self) {
        let fault = self.watch.fault(&self.id.device);
        if fault != self.fault {
            self.dice = StdRng::seed_from_u64(fault.seed);
            self.fault = fault;
        }
    }

    fn delay(&self) -> Duration {
        Duration::from_millis(self.fault.delay_ms)
    }

    fn note(&self, end: &End, session: Session, will: Option<Will>) {
        tracing::info!(id = %self.id, session = session.0, end = %end, "connection ended");
        if *end == End::Silence {
            self.shell.meters.count(Meter::KeepAliveExpiries);
        }
        if let Some(will) = will.filter(|_| *end != End::Disconnect) {
            self.shell.publish_message(Message {
                from: self.id.clone(),
                at: Timestamp::now(),
                properties: will.properties,
                body: will.body,
            });
        }
    }

    /// Sends what is left and closes. Through a black hole not even the end gets out before it heals.
    async fn farewell<S>(&mut self, end: &End, writer: &mut WriteHalf<S>)
    where
        S: AsyncRead + AsyncWrite,
    {
        if matches!(end, End::Closed | End::Broken(_) | End::Stop) {
            return;
        }
        // What the machine said last goes out as well; a full outbox is no reason to stay.
        let _ = self.collect_out();
        let stop = self.stop.clone();
        let patience = FAREWELL + self.delay();
        let goodbye = async {
            let held = self.shell.faults.hold(&self.id.device);
            if held.is_some() {
                self.watch.until(&self.id.device, DeviceFault::cuts_to_device).await;
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

fn expiry(unix_s: u64) -> Instant {
    const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    let now = u64::try_from(Timestamp::now().as_second()).unwrap_or(0);
    let left = Duration::from_secs(unix_s.saturating_sub(now));
    Instant::now() + left.min(FOREVER)
}
