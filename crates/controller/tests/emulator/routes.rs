//! Routes of a hub's resource, by the emulator's Resource Manager.

use std::time::Duration;

use ha_core::ids::{MemberId, PoolName};
use ha_iothub::management::{Error as ArmError, Fallback, Hub as Resource, Management};
use iotedge_ha_controller::config::Config;
use iotedge_ha_controller::hub::iot::IotHub;
use iotedge_ha_controller::hub::{Hub as _, Rule};
use iotedge_ha_controller::operate::{Look, RouteError, Setting, apply, compile, look, try_members};
use iotedge_ha_controller::routing::Problem;
use serde_json::json;
use tokio::time::Instant;

use crate::bench::Bench;

/// A bench whose pool has routes, and the way to them.
struct Site {
    _bench: Bench,
    config: Config,
    hub: IotHub,
}

impl Site {
    async fn open(routing: &str) -> Self {
        let bench = Bench::open().await;
        let config = bench.routed_config(routing);
        let hub = IotHub::new(&config.hub).expect("a hub");
        Self { _bench: bench, config, hub }
    }

    fn management(&self) -> &Management {
        self.hub.management().expect("the resource is configured")
    }

    async fn look(&self) -> Look {
        look(&self.hub, self.management(), &self.config.pools[0], soon()).await.expect("it can be read")
    }

    async fn apply(&self, setting: Setting) -> Result<bool, RouteError> {
        let look = self.look().await;
        let changed = apply(self.management(), &self.config.pools[0], &look, setting, soon(), &|_| {}).await?;
        Ok(changed.written)
    }

    /// Somebody else's edit.
    async fn edit(&self, edit: impl Fn(&mut Resource)) {
        let edit = |resource: &mut Resource| {
            edit(resource);
            Ok::<(), ArmError>(())
        };
        self.management().change(soon(), edit, &|_| {}).await.expect("it can be written");
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

const STANDING: &str = "route = [{ endpoint = \"events\", condition = \"level = 'high'\" }]";

#[tokio::test(flavor = "multi_thread")]
async fn standing_routes_are_set_once_and_nothing_else_is_touched() {
    let site = Site::open(STANDING).await;
    let before = site.look().await;
    assert!(!before.in_force(&site.config.pools[0]));
    assert!(site.apply(Setting::default()).await.expect("it is set"));
    let after = site.look().await;
    assert!(after.in_force(&site.config.pools[0]));
    let (mut old, mut new) = (before.resource.as_json().clone(), after.resource.as_json().clone());
    for resource in [&mut old, &mut new] {
        resource["etag"] = json!(null);
        resource["properties"]["routing"]["routes"] = json!(null);
    }
    assert_eq!(old, new);
    assert!(!site.apply(Setting::default()).await.expect("it is looked at"), "a second time there is nothing to do");
    assert!(site.apply(Setting { fallback: Some(Fallback::Off), ..Setting::default() }).await.expect("it is set"));
    assert_eq!(site.look().await.resource.fallback(), Fallback::Off);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_a_message_is_tried_with_the_senders_own_twin() {
    let site = Site::open(STANDING).await;
    site.apply(Setting::default()).await.expect("it is set");
    let tags = json!({"ha": {"press_1": {"role": "active", "term": 1}}});
    let patch = ha_wire::twin::TwinPatch::tags(tags.as_object().expect("an object").clone());
    let call = ha_iothub::Call::within(Duration::from_secs(60));
    site.hub.client().patch_twin("edge-b", Some("press"), &patch, None, &call).await.expect("it is written");
    let pool = &site.config.pools[0];
    let taken = async |level: &str| -> Vec<String> {
        let sample = json!({"body": "", "appProperties": {"level": level}});
        let look = site.look().await;
        let trials =
            try_members(&site.hub, site.management(), pool, &look, &sample, soon()).await.expect("it is tried");
        trials.into_iter().filter(|trial| !trial.taken_by.is_empty()).map(|trial| trial.member.to_string()).collect()
    };
    assert_eq!(taken("high").await, ["edge-b"]);
    assert_eq!(taken("low").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_somebody_elses_or_wrong_is_refused() {
    let site = Site::open(STANDING).await;
    let theirs = json!({"name": "ha-press_1-events", "source": "DeviceMessages", "condition": "true", "endpointNames": ["events"],
        "isEnabled": true});
    let theirs = serde_json::from_value(theirs).expect("a route");
    site.edit(|resource| resource.set_route(&theirs)).await;
    let refused = site.apply(Setting::default()).await.expect_err("it is theirs");
    assert!(matches!(refused, RouteError::Problem(Problem::Taken { .. })), "{refused}");
    assert!(site.apply(Setting { adopt: true, ..Setting::default() }).await.expect("it is taken over"));

    let broken = Site::open("route = [{ endpoint = \"events\", condition = \"level = \" }]").await;
    let plan = broken.look().await.plan(&broken.config.pools[0], false).expect("it can be planned");
    let refused = compile(broken.management(), &plan, soon()).await.expect_err("it does not compile");
    assert!(
        refused.to_string().starts_with("the condition of the route ha-press_1-events does not compile: "),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_many_pools_go_into_one_write_and_one_bad_pool_stops_no_other() {
    let site = Site::open("mode = \"rules\"\nroute = [{ endpoint = \"events\" }]").await;
    let routing = site.config.pools[0].routing.clone().expect("it is configured");
    let rule = |pool: &str, holder: &str, endpoint: &str| {
        let (pool, holder): (PoolName, _) = (pool.parse().expect("a name"), MemberId::new(holder));
        let mut routing = routing.clone();
        routing.routes[0].name = format!("ha-{pool}");
        routing.routes[0].endpoint = endpoint.to_owned();
        let routes = routing.wanted(&pool, Some(&holder)).expect("somebody holds");
        Rule { pool, holder, routes }
    };
    let before = site.management().get(soon()).await.expect("it can be read");
    let (one, two, bad) = tokio::join!(
        site.hub.steer(rule("one", "edge-a", "events")),
        site.hub.steer(rule("two", "edge-b", "events")),
        site.hub.steer(rule("bad", "edge-c", "nowhere")),
    );
    assert!(one.expect("it is written").written && two.expect("it is written").written);
    let bad = bad.expect_err("there is no such endpoint");
    assert!(bad.lasting && bad.why.contains("the hub has no endpoint nowhere"), "{bad}");
    let after = site.management().get(soon()).await.expect("it can be read");
    let writes = ["one", "two"].map(|pool| after.route(&format!("ha-{pool}")).expect("it is there").condition);
    assert_eq!(writes, ["$connectionDeviceId = 'edge-a'", "$connectionDeviceId = 'edge-b'"]);
    assert_ne!(before.etag(), after.etag());
    assert!(!site.hub.steer(rule("one", "edge-a", "events")).await.expect("it is looked at").written);
}
