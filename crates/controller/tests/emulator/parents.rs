use std::time::Duration;

use ha_core::ids::MemberId;
use ha_iothub::Call;
use ha_wire::identity::Capabilities;
use ha_wire::{Device, IfMatch};
use iotedge_ha_controller::config::ParentsConfig;
use iotedge_ha_controller::hub::iot::IotHub;
use iotedge_ha_controller::parents::{Fate, Order, Outcome, apply};

use crate::bench::{Bench, MEMBERS};

fn call() -> Call {
    Call::within(Duration::from_secs(60))
}

async fn device(hub: &IotHub, name: &str) -> Device {
    hub.client().device(name, &call()).await.expect("it is there")
}

async fn create(hub: &IotHub, name: &str, edge: bool, parent: Option<&str>) {
    let mut device = Device::new(name);
    device.capabilities = edge.then_some(Capabilities { iot_edge: true, ..Capabilities::default() });
    if let Some(parent) = parent {
        device.device_scope = self::device(hub, parent).await.device_scope;
    }
    hub.client().create_device(&device, &call()).await.expect("it is made");
}

async fn applied(hub: &IotHub, children: &ParentsConfig, holder: &str) -> Outcome {
    let (members, holder) = (MEMBERS.map(MemberId::new), MemberId::new(holder));
    let order = Order { children, members: &members, holder: &holder, take: false };
    apply(hub, &order, |_, _, _| {}).await.expect("it is possible")
}

fn fates(outcome: &Outcome) -> Vec<(&str, &Fate)> {
    outcome.children.iter().map(|child| (child.child.as_str(), &child.fate)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn children_get_another_parent_and_keep_everything_else() {
    let bench = Bench::open().await;
    let hub = bench.hub();
    create(&hub, "gw-x", true, None).await;
    create(&hub, "leaf-1", false, None).await;
    create(&hub, "leaf-x", false, Some("gw-x")).await;
    create(&hub, "nested", true, None).await;
    let (before, nested_before) = (device(&hub, "leaf-1").await, device(&hub, "nested").await);
    let listed = ["leaf-1", "leaf-x", "nested", "absent"].map(str::to_owned).to_vec();
    let outcome = applied(&hub, &ParentsConfig::Listed(listed), "edge-a").await;
    let expected =
        [("absent", &Fate::Absent), ("leaf-1", &Fate::Moved), ("leaf-x", &Fate::Elsewhere), ("nested", &Fate::Moved)];
    assert_eq!(fates(&outcome), expected);
    assert!(outcome.untold.is_some_and(|why| why.contains("not connected")), "there is no edgeHub to be told");

    let scope = device(&hub, "edge-a").await.device_scope.expect("a gateway's scope");
    let after = device(&hub, "leaf-1").await;
    assert_eq!((after.device_scope.as_ref(), after.parent_scopes), (Some(&scope), Some(vec![scope.clone()])));
    assert_eq!((after.authentication, after.status), (before.authentication, before.status));
    let nested = device(&hub, "nested").await;
    assert_eq!((nested.device_scope, nested.parent_scopes), (nested_before.device_scope, Some(vec![scope])));

    // Whoever is a child of any member is found, whether leaf or gateway, and nobody else.
    let outcome = applied(&hub, &ParentsConfig::Discovered, "edge-b").await;
    assert_eq!(fates(&outcome), [("leaf-1", &Fate::Moved), ("nested", &Fate::Moved)]);
    hub.client().delete_device("leaf-1", &IfMatch::Any, &call()).await.expect("it goes");
    let outcome = applied(&hub, &ParentsConfig::Discovered, "edge-a").await;
    assert_eq!(fates(&outcome), [("nested", &Fate::Moved)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_write_each_child_says_so() {
    let bench = Bench::open().await;
    create(&bench.hub(), "leaf-1", false, None).await;
    let narrow = bench.emulator.policy_connection_string("registryRead").expect("it has that policy");
    let outcome =
        applied(&bench.hub_with_key(&narrow), &ParentsConfig::Listed(vec!["leaf-1".to_owned()]), "edge-a").await;
    let Fate::Failed { why, passing: false } = &outcome.children[0].fate else { panic!("{outcome:?}") };
    assert!(why.contains("grants them too little"), "{why}");
}
