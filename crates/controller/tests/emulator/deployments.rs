//! Drift and deployments against a hub: what it refuses, and what becomes of members on the way.

use std::time::Duration;

use ha_deployment::release::Part;
use ha_deployment::{Ignore, Manifest};
use ha_iothub::Call;
use ha_wire::configuration::Configuration;
use ha_wire::twin::TwinPatch;
use ha_wire::{IfMatch, Twin};
use iotedge_ha_controller::config::{Config, PoolConfig};
use iotedge_ha_controller::hub::iot::IotHub;
use iotedge_ha_controller::operate::deploy::{self, DeployError, Order, Progress, Release, Survey};
use iotedge_ha_controller::operate::{DriftKind, Drifted, drift};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::bench::{Bench, MEMBERS};

const SOON: Duration = Duration::from_secs(120);

fn call() -> Call {
    Call::within(SOON)
}

fn content(image: &str) -> Value {
    let module = |image: &str| json!({"type": "docker", "status": "running", "restartPolicy": "always", "settings": {"image": image}});
    json!({"modulesContent": {
        "$edgeAgent": {"properties.desired": {
            "schemaVersion": "1.1",
            "runtime": {"type": "docker", "settings": {}},
            "systemModules": {
                "edgeAgent": {"type": "docker", "settings": {"image": "agent:1"}}, "edgeHub": module("hub:1")},
            "modules": {"press": module(image)}}},
        "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {"up": "FROM /* INTO $upstream"}}}}})
}

fn order(image: &str, name: &str) -> Order {
    let manifest = Manifest::from_content(&content(image)).expect("a manifest");
    Order { manifest, part: Part::Base, name: Some(name.to_owned()), priority: deploy::PRIORITY }
}

fn foreign(id: &str, priority: i64, condition: &str) -> Configuration {
    let configuration =
        json!({"id": id, "priority": priority, "targetCondition": condition, "content": content("other:1")});
    serde_json::from_value(configuration).expect("a configuration")
}

struct Site {
    bench: Bench,
    config: Config,
    hub: IotHub,
}

impl Site {
    async fn open() -> Self {
        let bench = Bench::open().await;
        let config = bench.config();
        // What the service would ration would only make the test wait.
        let hub = bench.hub();
        Self { bench, config, hub }
    }

    async fn survey(&self) -> Survey {
        deploy::survey(&self.hub, &self.config.pools[0]).await.expect("a survey")
    }

    async fn prepare(&self, order: Order) -> Result<Release, DeployError> {
        deploy::prepare(order, &self.survey().await, &self.config.pools[0])
    }

    async fn carry_out(&self, release: &Release) -> Result<(), DeployError> {
        let steps = deploy::steps(release, &self.survey().await);
        deploy::carry_out(&self.hub, &self.config.pools[0], release, &steps, &mut |_| {}).await
    }

    async fn twin(&self, member: &str, module: Option<&str>) -> Twin {
        self.hub.client().twin(member, module, &call()).await.expect("a twin")
    }

    async fn until_applied(&self, id: &str) {
        let deadline = Instant::now() + SOON;
        for member in MEMBERS {
            loop {
                let twin = self.twin(member, Some("$edgeAgent")).await;
                let status = twin.configurations.and_then(|all| all.get(id).cloned());
                if status.is_some_and(|status| status["status"] == "Applied") {
                    break;
                }
                assert!(Instant::now() < deadline, "{id} was never applied to {member}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

#[tokio::test]
async fn a_release_is_applied_by_its_tag_and_replaces_the_one_before() {
    let site = Site::open().await;
    let first = site.prepare(order("press:1", "v1")).await.expect("it can be deployed");
    site.carry_out(&first).await.expect("it is deployed");
    site.until_applied("ha-press_1-v1").await;
    let second = site.prepare(order("press:2", "v2")).await.expect("it can be deployed");
    site.carry_out(&second).await.expect("it is deployed");
    site.until_applied("ha-press_1-v2").await;
    let twin = site.twin("edge-a", Some("$edgeAgent")).await;
    assert_eq!(twin.properties.desired.get("modules").expect("modules")["press"]["settings"]["image"], "press:2");
    assert_eq!(site.twin("edge-a", None).await.tags["ha"]["press_1"]["release"], "ha-press_1-v2");

    // Twice is like once.
    assert_eq!(deploy::steps(&site.prepare(order("press:2", "v2")).await.expect("again"), &site.survey().await), []);
    let deleted = deploy::prune(&site.hub, &site.survey().await, &second).await.expect("it prunes");
    assert_eq!(deleted, ["ha-press_1-v1"]);
    assert_eq!(deploy::prune(&site.hub, &site.survey().await, &second).await.expect("again"), [""; 0]);
}

#[tokio::test]
async fn what_the_hub_or_others_stand_against_is_said() {
    let site = Site::open().await;
    site.hub.client().create_configuration(&foreign("fleet", 50, "deviceId = 'edge-b'"), &call()).await.expect("made");
    let deadline = Instant::now() + SOON;
    let overruled = loop {
        match site.prepare(order("press:1", "v1")).await {
            Err(error) => break error,
            Ok(_) => assert!(Instant::now() < deadline, "nobody noticed"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(overruled.to_string(), "fleet (priority 50) applies to edge-b and would win");
    let above = Order { priority: 60, ..order("press:1", "v1") };
    let release = site.prepare(above).await.expect("a larger one wins");

    for n in 0..99 {
        let other = foreign(&format!("other-{n}"), 0, "");
        site.hub.client().create_configuration(&other, &call()).await.expect("room");
    }
    let full = site.carry_out(&release).await.expect_err("no room");
    assert!(matches!(full, DeployError::Full), "{full}");
    assert!(full.hint().expect("a hint").contains("--prune"));
    assert_eq!(site.twin("edge-a", None).await.tags.get("ha"), None, "nothing else was done");
}

#[tokio::test]
async fn a_member_that_is_deleted_on_the_way_is_named() {
    let site = Site::open().await;
    let release = site.prepare(order("press:1", "v1")).await.expect("it can be deployed");
    site.carry_out(&release).await.expect("it is deployed");
    site.hub.client().delete_device("edge-b", &IfMatch::Any, &call()).await.expect("deleted");
    let members = site.survey().await.members;
    let soon = Instant::now() + Duration::from_millis(10);
    let known = deploy::follow(&site.hub, &release, &members, soon, &mut |_| {}).await;
    let said: Vec<String> = known.iter().map(|(member, progress)| format!("{member}: {progress:?}")).collect();
    assert!(said[1].contains("does not exist in IoT Hub any more"), "{said:?}");
    assert!(matches!(known.values().next(), Some(Progress::Waiting(_))), "{said:?}");
    let missing = site.prepare(order("press:2", "v2")).await.expect_err("a member is missing").to_string();
    assert!(missing.contains("a member cannot be deployed to: edge-b: "), "{missing}");
}

/// What members are told otherwise than the one they are compared with.
fn shown(drifted: &[Drifted]) -> Vec<String> {
    let told = drifted.iter().filter(|drifted| drifted.kind == DriftKind::Told);
    let line = |d: &Drifted| {
        format!("{} {}: {} | {} [{}]", d.module, d.key, d.here, d.there, d.set_by.as_deref().unwrap_or("?"))
    };
    told.map(line).collect()
}

#[tokio::test]
async fn drift_names_what_differs_and_who_set_it() {
    let site = Site::open().await;
    let pool = &site.config.pools[0];
    let release = site.prepare(order("press:1", "v1")).await.expect("it can be deployed");
    site.carry_out(&release).await.expect("it is deployed");
    site.until_applied("ha-press_1-v1").await;
    let layer = json!({"id": "extra", "priority": 20, "targetCondition": "deviceId = 'edge-b'", "content": {"modulesContent": {
        "$edgeAgent": {}, "$edgeHub": {"properties.desired.routes.down": "FROM /* INTO $upstream"}}}});
    let layer: Configuration = serde_json::from_value(layer).expect("a configuration");
    site.hub.client().create_configuration(&layer, &call()).await.expect("made");
    let speed = json!({"speed": 3}).as_object().cloned().expect("an object");
    let by_hand = TwinPatch::desired(speed);
    site.hub.client().patch_twin("edge-c", Some("press"), &by_hand, None, &call()).await.expect("written");

    let deadline = Instant::now() + SOON;
    let report = loop {
        let report = drift(&site.hub, pool).await.expect("a report");
        if report.members[1].deployments.contains_key("extra") {
            break report;
        }
        assert!(Instant::now() < deadline, "the layer was never applied");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(report.compared_with.as_ref().map(ha_core::ids::MemberId::as_str), Some("edge-a"));
    let route = "$edgeHub routes.down: \"FROM /* INTO $upstream\" | (none) [extra]";
    let speed = "press desired.speed: 3 | (none) [set for this device alone]";
    let differences = report.members.iter().map(|member| shown(&member.differences));
    assert_eq!(differences.collect::<Vec<_>>(), [vec![], vec![route], vec![speed]]);
    assert!(report.has_drift());

    // What is meant to differ is told apart, and is not in the digest.
    let place = |text: &str| text.parse().expect("a place");
    let of_member = [("edge-b".to_owned(), vec![place("$edgeHub routes.down")])].into();
    let meant = PoolConfig { ignore: Ignore { of_all: vec![place("press desired.speed")], of_member }, ..pool.clone() };
    let report = drift(&site.hub, &meant).await.expect("a report");
    assert!(report.members.iter().all(|member| shown(&member.differences).is_empty()), "{report:?}");
    let found = report.members.iter().map(|member| shown(&member.meant));
    assert_eq!(found.collect::<Vec<_>>(), [vec![], vec![route], vec![speed]]);
    assert!(report.members.iter().all(|member| member.told == report.members[0].told), "{report:?}");
    drop(site.bench);
}
