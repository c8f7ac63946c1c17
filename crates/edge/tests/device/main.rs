//! A device between modules and the emulated hub, from outside: TLS, MQTT, HTTPS, the workload sockets.

mod agent;
mod https;
mod module;
mod outage;
mod plain;
mod restart;
mod workload;

use std::time::Duration;

use ha_emulator::{Emulator, Seed};
use ha_iothub::{Call, Client};
use ha_wire::ConnectionString;
use ha_wire::method::MethodRequest;
use ha_wire::twin::TwinPatch;
use iotedge_ha_edge::{Cut, Options, Timings};
use serde_json::Value;

use self::module::{Module, PATIENCE};

/// A hub, the service's side of it, and one device with two modules.
struct Site {
    hub: ha_emulator::Running,
    service: Client,
    edge: iotedge_ha_edge::Running,
    options: Options,
    _dir: tempfile::TempDir,
}

const DEVICE: &str = "edge-1";

/// The waits that are there for the cloud's sake are short, and patience is long: nothing here is true only because of them.
fn timings() -> Timings {
    let ms = Duration::from_millis;
    Timings {
        cloud_operation: PATIENCE,
        reported_sync: ms(20),
        upstream_connect: PATIENCE,
        upstream_retry_max: ms(200),
        method_delay: ms(0),
        last_words: PATIENCE,
        ..Timings::default()
    }
}

/// Commands for the images of the tests.
fn images() -> iotedge_ha_edge::Images {
    let shell = |script: &str| ["sh", "-c", script].map(str::to_owned).to_vec();
    let speaker = "echo $IOTEDGE_DEVICEID/$IOTEDGE_MODULEID says $GREETING; exec sleep 600";
    iotedge_ha_edge::Images::from([
        ("registry.example/speaker".to_owned(), shell(speaker)),
        ("registry.example/failing".to_owned(), shell("exit 3")),
    ])
}

impl Site {
    async fn open(timings: Timings) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let seed = vec![Seed::parse("edge-1:edge:alpha,beta").expect("a seed")];
        let options = ha_emulator::Options { seed, ..ha_emulator::Options::default() };
        let hub = Emulator::start(options).await.expect("a hub");
        let connection: ConnectionString = hub.connection_string().parse().expect("a connection string");
        let ca_pem = Some(hub.ca_pem.clone().into_bytes());
        let service_options = ha_iothub::Options { ca_pem: ca_pem.clone(), ..ha_iothub::Options::default() };
        let service = Client::new(&connection, &service_options).expect("a client");
        let options = Options {
            hub_ca_pem: ca_pem,
            hub_mqtt_port: hub.mqtt_addr.port(),
            images: images(),
            timings,
            ..Options::new(DEVICE, hub.connection_string(), dir.path())
        };
        let edge = iotedge_ha_edge::start(options.clone()).await.expect("a device");
        Self { hub, service, edge, options, _dir: dir }
    }

    /// Ends the device and starts it again over the same folder.
    async fn restart(self, cut: Cut) -> Self {
        self.edge.shutdown().await;
        let options = Options { cut, ..self.options };
        let edge = iotedge_ha_edge::start(options.clone()).await.expect("a device");
        Self { edge, options, ..self }
    }

    /// A module that has logged in with its own key and subscribed to everything of a twin.
    async fn module(&self, name: &str) -> Module {
        let mut module = Module::connect(self, name, &self.token(name, 600)).await.expect("a connection");
        module.subscribe(&["$iothub/twin/res/#", "$iothub/twin/PATCH/properties/desired/#"]).await;
        module
    }

    fn token(&self, module: &str, seconds: u64) -> String {
        let text = self.hub.module_connection_string(DEVICE, module).expect("a module");
        let connection: ConnectionString = text.parse().expect("a connection string");
        let expiry = u64::try_from(jiff::Timestamp::now().as_second()).expect("after 1970") + seconds;
        ha_wire::sas::Unsigned::module("localhost", DEVICE, module, expiry).sign(connection.key().expect("a key"))
    }

    async fn patch(&self, module: &str, desired: Value) {
        let patch = TwinPatch::desired(desired.as_object().expect("an object").clone());
        let call = Call::within(PATIENCE);
        self.service.patch_twin(DEVICE, Some(module), &patch, None, &call).await.expect("a patch");
    }

    async fn reported(&self, module: &str) -> Value {
        let twin = self.service.twin(DEVICE, Some(module), &Call::within(PATIENCE)).await.expect("a twin");
        Value::Object(twin.properties.reported.without_system_fields())
    }

    async fn call(&self, module: &str, method: &str, payload: Value) -> Result<(i32, Value), ha_iothub::Error> {
        self.call_within(60, module, method, payload).await
    }

    async fn call_within(
        &self,
        seconds: u32,
        module: &str,
        method: &str,
        payload: Value,
    ) -> Result<(i32, Value), ha_iothub::Error> {
        let request = MethodRequest::new(method, payload).response_timeout_s(seconds);
        let answer = self.service.call_method(DEVICE, Some(module), &request, &Call::within(PATIENCE)).await?;
        Ok((answer.status, answer.payload))
    }
}

/// Applies a deployment as the hub does it: the system modules' twins take no patch from a service.
async fn apply(site: &Site, modules: &Value) {
    let url = format!("{}/devices/{DEVICE}/applyConfigurationContent?api-version=2021-04-12", site.hub.https_url());
    let token = service_token(&site.hub.connection_string());
    let client = https_client(site.hub.ca_pem.as_bytes());
    let request = client.post(url).header("Authorization", token);
    let answer = request.json(&serde_json::json!({ "modulesContent": modules })).send().await.expect("an answer");
    answer.error_for_status().expect("applied");
}

/// Waits until edgeHub has taken over what was last applied to it.
async fn edge_hub_follows(site: &Site) {
    eventually("edgeHub follows its twin", async || {
        let reported = site.reported("$edgeHub").await;
        reported["lastDesiredVersion"].as_i64() >= Some(2) && reported["lastDesiredStatus"]["code"] == 200
    })
    .await;
}

/// Waits for a condition, never for a time.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "never happened: {what}");
}

fn https_client(ca_pem: &[u8]) -> reqwest::Client {
    let ca = reqwest::Certificate::from_pem(ca_pem).expect("a certificate");
    reqwest::Client::builder().tls_certs_only([ca]).build().expect("a client")
}

fn service_token(connection_string: &str) -> String {
    let connection: ConnectionString = connection_string.parse().expect("a connection string");
    let expiry = u64::try_from(jiff::Timestamp::now().as_second()).expect("after 1970") + 600;
    let policy = connection.policy().expect("a policy");
    ha_wire::sas::Unsigned::service(connection.host(), policy, expiry).sign(connection.key().expect("a key"))
}
