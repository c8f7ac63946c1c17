//! One connection from its first byte to its last.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use ha_mqtt::read_first;
use mqtt_protocol_core::mqtt::packet::v3_1_1;
use mqtt_protocol_core::mqtt::result_code::ConnectReturnCode;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio_util::sync::CancellationToken;

use super::claim::Claim;
use super::machine::{self, Codec, Machine};
use super::pump::{Limits, Link, Pump, Will};
use super::{FAREWELL, INBOX_BYTES_MAX};
use crate::access::{Credentials, Granted};
use crate::faults::{DeviceFault, Watch};
use crate::hub::{Id, Session};
use crate::listen::Peer;
use crate::meters::Meter;
use crate::shell::{self, Line, Shell};
use crate::throttle::{Lane, Turn};

/// Where a connection comes from.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// `tls` or `websocket`.
    pub(crate) transport: &'static str,
    pub(crate) peer: Arc<Peer>,
}

/// Serves one connection until it ends.
pub(crate) async fn serve<S>(shell: Arc<Shell>, stream: S, caller: Caller, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let transport = caller.transport;
    let (mut reader, writer) = tokio::io::split(stream);
    let first = tokio::select! {
        () = stop.cancelled() => return,
        () = caller.peer.must_leave() => return,
        first = tokio::time::timeout(caller.peer.login_within, read_first(&mut reader)) => first,
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
        claim,
        connect,
        codec,
        early: bytes[taken..].to_vec(),
        caller,
        stop,
    };
    opening.go_on(reader, writer).await;
}

/// A connection whose CONNECT was read but not judged.
struct Opening {
    shell: Arc<Shell>,
    watch: Watch,
    claim: Claim,
    connect: v3_1_1::Connect,
    codec: Codec,
    early: Vec<u8>,
    caller: Caller,
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
                let (transport, address) = (self.caller.transport, self.caller.peer.address);
                tracing::warn!(id = %self.claim.id, transport, %address, reason, "connection refused");
                self.shell.meters.count(Meter::ConnectsRefused);
                return self.turn_away(writer, ConnectReturnCode::NotAuthorized).await;
            }
        };
        if !self.shell.storms.admits(&self.claim.id, std::time::Instant::now()) {
            tracing::warn!(id = %self.claim.id, "connection refused: the identity connects too often (two clients with one name?)");
            self.shell.meters.count_for(Meter::ConnectsThrottled, &self.claim.id);
            return self.turn_away(writer, ConnectReturnCode::ServerUnavailable).await;
        }
        match self.shell.gate.take(Lane::Connects, 1) {
            Turn::Now => {}
            Turn::After(wait) => {
                self.shell.meters.count_for(Meter::Queued, &self.claim.id);
                tokio::time::sleep(wait).await;
            }
            Turn::Refused => {
                tracing::info!(id = %self.claim.id, "connection refused: too many new ones");
                self.shell.meters.count_for(Meter::Throttled, &self.claim.id);
                return self.turn_away(writer, ConnectReturnCode::ServerUnavailable).await;
            }
        }
        let (outbox, parcels) = shell::outbox();
        let cut = CancellationToken::new();
        let transport = self.caller.transport;
        let line = Line { outbox, cut: cut.clone(), transport, since: self.shell.clock.now() };
        let id = self.claim.id.clone();
        let clean = self.connect.clean_session();
        let attached = self.shell.attach(&id, granted.proof, clean, line);
        let Some((session, present)) = attached else {
            return self.turn_away(writer, ConnectReturnCode::NotAuthorized).await;
        };
        if let Some(model) = &self.claim.model {
            self.shell.act(|hub, now| hub.announce_model(&id, model, now));
        }
        let attachment = Attachment { shell: Arc::clone(&self.shell), id: id.clone(), session };
        self.caller.peer.proved();
        tracing::info!(%id, session = session.0, transport, "connected");
        let will = Will::read(&id, &self.connect);
        let machine = Machine::accept(Arc::clone(&self.shell), self.codec, id.clone(), session, present);
        let link = Link { shell: self.shell, watch: self.watch, id, parcels, cut, stop: self.stop };
        let limits = Limits { keep_alive_s: self.connect.keep_alive(), expires_unix_s: granted.expires };
        let mut pump = Pump::new(link, machine, &limits, self.early);
        let end = pump.run(&mut reader, &mut writer).await;
        pump.note(&end, session, will);
        drop(attachment);
        pump.farewell(&end, &mut writer).await;
    }

    /// Bytes that a black hole holds back have not arrived. False when the client has gone meanwhile.
    async fn arrives<S: AsyncRead + AsyncWrite>(&mut self, reader: &mut ReadHalf<S>) -> bool {
        let fault = self.watch.fault(&self.claim.id.device);
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
        if !self.watch.fault(&self.claim.id.device).cuts_from_device() {
            return true;
        }
        let Some(_held) = self.shell.faults.hold(&self.claim.id.device) else {
            return false;
        };
        let healed = self.watch.until(&self.claim.id.device, DeviceFault::cuts_from_device);
        tokio::select! {
            () = self.stop.cancelled() => return false,
            () = healed => {}
        }
        // Lets the runtime look at its sockets, so that an end that has come is seen below.
        tokio::task::yield_now().await;
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
        let (shell, id) = (&self.shell, &self.claim.id);
        let admission = shell.act(|hub, _| hub.admit(id)).map_err(|barred| barred.to_string())?;
        let password = self.connect.password().unwrap_or_default();
        // What is no text is a bad token, not an absent one.
        let token = std::str::from_utf8(password).unwrap_or("?");
        let shown = Credentials { token, certificates: &self.caller.peer.certificates };
        let access = shell.access();
        access
            .check_host(&self.claim.hub)
            .and_then(|()| access.check_device(id, &admission.authentication, shown, shell.clock.now()))
            .map_err(|denied| denied.to_string())
    }

    async fn turn_away<S: AsyncRead + AsyncWrite>(mut self, writer: WriteHalf<S>, code: ConnectReturnCode) {
        let held = self.shell.faults.hold(&self.claim.id.device);
        if self.watch.fault(&self.claim.id.device).cuts_to_device() && held.is_some() {
            let healed = self.watch.until(&self.claim.id.device, DeviceFault::cuts_to_device);
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = healed => {}
            }
        }
        refuse(self.codec, writer, code).await;
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
