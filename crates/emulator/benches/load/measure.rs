//! What is measured, and how it is shown.

use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use serde::Serialize;
use serde_json::{Value, json};

use crate::client::{Broker, Device, connector};
use crate::emulator::{Hub, device};
use crate::server::Server;

/// How much.
pub(crate) struct Load {
    pub(crate) devices: usize,
    pub(crate) working: usize,
    pub(crate) operations: usize,
}

/// One figure, or a few that belong together.
#[derive(Serialize)]
pub(crate) struct Row {
    server: &'static str,
    what: String,
    count: usize,
    per_second: f64,
    /// Processor time of the server for each.
    server_us_each: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_ms: Option<f64>,
    /// Resident memory of the server for each, over what it had before.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_each: Option<u64>,
}

/// Devices that open their connections at the same time.
const OPENING: usize = 32;
const TELEMETRY: &[u8] = br#"{"temperature":21.5,"pressure":1013,"advice":42,"unit":"press-1"}"#;

/// Connects all devices and holds them: the rate, and the memory of an idle connection.
pub(crate) async fn connections(name: &'static str, server: &Server, broker: &impl Broker, load: &Load) -> Vec<Row> {
    let tls = connector(broker);
    let before = server.resident();
    let watch = Watch::start(server);
    let held: Vec<(Device, f64)> = stream::iter(0..load.devices)
        .map(|number| {
            let (tls, login) = (&tls, broker.login(number));
            async move {
                let start = Instant::now();
                let device = Device::connect(broker.address(), tls, &login).await;
                (device, ms(start.elapsed()))
            }
        })
        .buffer_unordered(OPENING)
        .collect()
        .await;
    let mut row = watch.row(name, format!("connections, TLS and log-in, {OPENING} at a time"), held.len());
    row.latencies(held.iter().map(|(_, ms)| *ms).collect());
    row.bytes_each = Some(server.resident().saturating_sub(before) / held.len().max(1) as u64);
    vec![row]
}

/// Telemetry at QoS 1, each awaited.
pub(crate) async fn publishes(name: &'static str, server: &Server, broker: &impl Broker, load: &Load) -> Row {
    let mut devices = working(broker, load, &[]).await;
    let watch = Watch::start(server);
    let work = devices.iter_mut().enumerate().map(async |(number, device)| {
        let topic = broker.event_topic(number);
        let mut latencies = Vec::new();
        for _ in 0..load.operations {
            let start = Instant::now();
            device.deliver(&topic, TELEMETRY).await;
            latencies.push(ms(start.elapsed()));
        }
        latencies
    });
    let latencies = futures_util::future::join_all(work).await.concat();
    let what = format!("messages at QoS 1, {} devices, each awaited", load.working);
    watch.row(name, what, latencies.len()).with(latencies)
}

/// Reported properties, each awaited.
pub(crate) async fn reports(hub: &Hub, load: &Load) -> Row {
    let mut devices = working(hub, load, &["$iothub/twin/res/#"]).await;
    let watch = Watch::start(&hub.server);
    let work = devices.iter_mut().map(async |device| {
        let mut latencies = Vec::new();
        for rid in 0..load.operations {
            let start = Instant::now();
            let topic = format!("$iothub/twin/PATCH/properties/reported/?$rid={rid}");
            device.publish(&topic, json!({ "count": rid }).to_string().as_bytes()).await;
            let answer = device.receive().await;
            assert!(answer.starts_with("$iothub/twin/res/204/"), "{answer}");
            latencies.push(ms(start.elapsed()));
        }
        latencies
    });
    let latencies = futures_util::future::join_all(work).await.concat();
    let what = format!("reported patches, {} devices, each awaited", load.working);
    watch.row("emulator", what, latencies.len()).with(latencies)
}

/// Desired properties by the back end, with the notice to a connected device.
pub(crate) async fn patches(hub: &Hub, load: &Load) -> Row {
    let mut devices = working(hub, load, &["$iothub/twin/PATCH/properties/desired/#"]).await;
    let watch = Watch::start(&hub.server);
    let work = devices.iter_mut().enumerate().map(async |(number, listening)| {
        let mut latencies = Vec::new();
        for count in 0..load.operations / 4 {
            let start = Instant::now();
            let body = json!({"properties": {"desired": {"count": count}}});
            let url = format!("{}/twins/{}?api-version=2021-04-12", hub.url, device(number));
            send(hub, hub.rest.patch(url), &body).await;
            listening.receive().await;
            latencies.push(ms(start.elapsed()));
        }
        latencies
    });
    let latencies = futures_util::future::join_all(work).await.concat();
    let what = format!("desired patches over REST until the device has the notice, {} devices", load.working);
    watch.row("emulator", what, latencies.len()).with(latencies)
}

/// Direct methods, there and back.
pub(crate) async fn methods(hub: &Hub, callers: usize, operations: usize) -> Row {
    let load = Load { devices: callers, working: callers, operations };
    let devices = working(hub, &load, &["$iothub/methods/POST/#"]).await;
    let answering: Vec<_> = devices.into_iter().map(|device| tokio::spawn(answer(device))).collect();
    let watch = Watch::start(&hub.server);
    let work = (0..callers).map(async |number| {
        let mut latencies = Vec::new();
        for _ in 0..operations {
            let start = Instant::now();
            let body = json!({"methodName": "ping", "payload": {"n": 1}, "responseTimeoutInSeconds": 30});
            let url = format!("{}/twins/{}/methods?api-version=2021-04-12", hub.url, device(number));
            send(hub, hub.rest.post(url), &body).await;
            latencies.push(ms(start.elapsed()));
        }
        latencies
    });
    let latencies = futures_util::future::join_all(work).await.concat();
    answering.iter().for_each(tokio::task::JoinHandle::abort);
    watch.row("emulator", format!("method round trips, {callers} at a time"), latencies.len()).with(latencies)
}

async fn answer(mut device: Device) {
    loop {
        let topic = device.receive().await;
        let rid = topic.rsplit("$rid=").next().expect("a request id");
        device.publish(&format!("$iothub/methods/res/200/?$rid={rid}"), b"{}").await;
    }
}

async fn send(hub: &Hub, request: reqwest::RequestBuilder, body: &Value) {
    let answer = request.header("authorization", &hub.token).json(body).send().await.expect("an answer");
    answer.error_for_status().expect("success").bytes().await.expect("a body");
}

async fn working(broker: &impl Broker, load: &Load, filters: &[&str]) -> Vec<Device> {
    let tls = connector(broker);
    let mut devices = Vec::new();
    for number in 0..load.working {
        let mut device = Device::connect(broker.address(), &tls, &broker.login(number)).await;
        for filter in filters {
            device.subscribe(filter).await;
        }
        devices.push(device);
    }
    devices
}

/// From the start of the work to its end.
struct Watch<'a> {
    server: &'a Server,
    start: Instant,
    cpu: Duration,
}

impl<'a> Watch<'a> {
    fn start(server: &'a Server) -> Self {
        Self { server, start: Instant::now(), cpu: server.cpu() }
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of operations")]
    fn row(&self, server: &'static str, what: String, count: usize) -> Row {
        let (elapsed, cpu) = (self.start.elapsed(), self.server.cpu() - self.cpu);
        Row {
            server,
            what,
            count,
            per_second: count as f64 / elapsed.as_secs_f64(),
            server_us_each: cpu.as_secs_f64() * 1e6 / count as f64,
            p50_ms: None,
            p99_ms: None,
            bytes_each: None,
        }
    }
}

impl Row {
    fn with(mut self, latencies: Vec<f64>) -> Self {
        self.latencies(latencies);
        self
    }

    fn latencies(&mut self, mut latencies: Vec<f64>) {
        latencies.sort_by(f64::total_cmp);
        let at = |percent: usize| latencies.get((latencies.len() * percent / 100).min(latencies.len() - 1)).copied();
        (self.p50_ms, self.p99_ms) = (at(50), at(99));
    }
}

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

/// A table of what was measured.
pub(crate) fn print(rows: &[Row]) {
    println!("| server | what | count | per second | server µs each | p50 ms | p99 ms | bytes each |");
    println!("|---|---|---|---|---|---|---|---|");
    for row in rows {
        let span = |ms: Option<f64>| ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.2}"));
        println!(
            "| {} | {} | {} | {:.0} | {:.0} | {} | {} | {} |",
            row.server,
            row.what,
            row.count,
            row.per_second,
            row.server_us_each,
            span(row.p50_ms),
            span(row.p99_ms),
            row.bytes_each.map_or_else(|| "–".to_owned(), |bytes| bytes.to_string()),
        );
    }
}
