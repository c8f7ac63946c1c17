//! The emulator from outside: TLS, MQTT, REST, faults.

mod arm;
mod backend;
mod c2d;
mod connect;
mod deployments;
mod device;
mod digital_twins;
mod entra;
mod event_grid;
mod faults;
mod fleet;
mod jobs;
mod kept;
mod logs;
mod methods;
mod record;
mod recordings;
mod rest;
mod restart;
mod rights;
mod robust;
mod routes;
mod state;
mod throttle;
mod transfers;
mod twins;
mod uploads;
mod webhook;
mod websocket;
mod x509;

use iotedge_ha_emulator::{Emulator, Options, Running, Seed};

/// An empty hub on free ports with one edge device and one module.
async fn hub() -> Running {
    let seed = Seed::parse("edge-a:edge:ha-agent").expect("a seed");
    let options = Options { seed: vec![seed, Seed::parse("leaf").expect("a seed")], ..Options::default() };
    Emulator::start(options).await.expect("a hub")
}

/// Waits for a condition, never for a time.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(device::PATIENCE, wait).await;
    assert!(waited.is_ok(), "never happened: {what}");
}
