//! The ports of a hub, which close and open again when it is restarted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::listen::{self, Door};
use crate::mqtt;
use crate::rest::{self, App};
use crate::seeds::Seeds;

/// Callers that may wait to be let in, as tokio has it.
const BACKLOG: u32 = 1024;
const DOWN_MS_MAX: u64 = 24 * 3600 * 1000;

/// How a hub is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// For so long nobody can connect.
    #[serde(default)]
    pub down_ms: u64,
    /// Whether identities, twins, configurations and what was written to the hub as a resource survive. Otherwise the hub is as after a start on an empty disk.
    #[serde(default = "survives")]
    pub keep_state: bool,
}

fn survives() -> bool {
    true
}

impl Restart {
    /// Why it cannot be done.
    pub fn check(&self) -> Result<(), String> {
        if self.down_ms > DOWN_MS_MAX {
            return Err(format!("down_ms is at most {DOWN_MS_MAX}"));
        }
        Ok(())
    }
}

/// The open ports.
pub(crate) struct Doors {
    pub(crate) https: TcpListener,
    pub(crate) mqtt: TcpListener,
    pub(crate) app: App,
    pub(crate) door: Door,
    pub(crate) seeds: Seeds,
    pub(crate) restarts: mpsc::Receiver<Restart>,
}

impl Doors {
    /// Keeps the ports open until the hub stops, but for restarts.
    pub(crate) async fn keep_open(mut self) {
        loop {
            let (https_at, mqtt_at) = (self.https.local_addr(), self.mqtt.local_addr());
            let (life, tasks) = (self.door.stop.child_token(), TaskTracker::new());
            open(&self.app, self.https, self.mqtt, &self.door, &life, &tasks);
            let restart = tokio::select! {
                () = self.door.stop.cancelled() => None,
                restart = self.restarts.recv() => restart,
            };
            life.cancel();
            tasks.close();
            tasks.wait().await;
            let (Some(restart), Ok(https_at), Ok(mqtt_at)) = (restart, https_at, mqtt_at) else {
                return;
            };
            let reopened = self.app.down(restart, https_at, mqtt_at, &self.seeds).await;
            match reopened {
                Some((https, mqtt)) => (self.https, self.mqtt) = (https, mqtt),
                None => return,
            }
        }
    }
}

impl App {
    /// The time between two lives; `None` when the hub stops meanwhile, or its ports are lost.
    async fn down(
        &self,
        restart: Restart,
        https: SocketAddr,
        mqtt: SocketAddr,
        seeds: &Seeds,
    ) -> Option<(TcpListener, TcpListener)> {
        tracing::info!(?restart, "the hub goes down");
        let held = (hold(https).await, hold(mqtt).await);
        if !restart.keep_state {
            self.shell.act(|hub, now| {
                hub.forget();
                self.shell.events.begin_again(now);
                if let Err(e) = seeds.plant(hub, now) {
                    tracing::error!(error = %e, "the hub was not filled as at its start");
                }
            });
            if let Err(e) = self.shell.trust_registered() {
                tracing::error!(error = e, "authorities of devices that were forgotten still count");
            }
        }
        tokio::select! {
            () = self.stop.cancelled() => return None,
            () = tokio::time::sleep(Duration::from_millis(restart.down_ms)) => {}
        }
        match (held.0.listen(BACKLOG), held.1.listen(BACKLOG)) {
            (Ok(https), Ok(mqtt)) => {
                tracing::info!("the hub is up again");
                Some((https, mqtt))
            }
            (https, mqtt) => {
                let reason = https.err().or(mqtt.err());
                tracing::error!(?reason, "the hub cannot open its ports again");
                None
            }
        }
    }
}

fn open(app: &App, https: TcpListener, mqtt: TcpListener, door: &Door, life: &CancellationToken, tasks: &TaskTracker) {
    let app = App { stop: life.clone(), ..app.clone() };
    let shell = Arc::clone(&app.shell);
    let door = Door { tasks: tasks.clone(), stop: life.clone(), ..door.clone() };
    tasks.spawn(listen::accept(https, door.clone(), move |stream, peer| rest::accept(app.clone(), stream, peer)));
    let door = Door { name: listen::MQTT, ..door };
    let stop = life.clone();
    tasks.spawn(listen::accept(mqtt, door, move |stream, peer| {
        let caller = mqtt::Caller { transport: "tls", peer };
        mqtt::serve(Arc::clone(&shell), stream, caller, stop.clone())
    }));
}

/// Keeps a port for us while nobody listens on it: callers are refused, and no other program takes it.
async fn hold(address: SocketAddr) -> TcpSocket {
    loop {
        match bind(address) {
            Ok(socket) => return socket,
            Err(e) => {
                tracing::warn!(%address, error = %e, "the port is not free yet");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
