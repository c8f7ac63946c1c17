//! Evaluation against a plain reference: what each leaf of a twin should be, found by looking from the top.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::configuration::{Claim, Content};
use super::super::{DeviceBody, Dice, Expect, Hub, Id};
use super::Evaluated;

#[derive(Debug, Clone)]
struct Deployment {
    site: Option<u8>,
    priority: i64,
    is_base: bool,
    /// By module (`$edgeAgent` and `m`): places and values.
    claims: Vec<(bool, Vec<String>, Value)>,
}

const DEVICES: [&str; 3] = ["d0", "d1", "d2"];

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0..5i64).prop_map(Value::from),
        prop::collection::btree_map("[a-c]", 0..5i64, 0..3).prop_map(|map| json!(map)),
    ]
}

fn claim() -> impl Strategy<Value = (bool, Vec<String>, Value)> {
    (any::<bool>(), prop::collection::vec("[a-c]", 1..4), value())
}

fn deployment() -> impl Strategy<Value = Deployment> {
    let claims = prop::collection::vec(claim(), 0..4);
    (prop::option::of(0..2u8), 0..4i64, any::<bool>(), claims)
        .prop_map(|(site, priority, is_base, claims)| Deployment { site, priority, is_base, claims })
}

impl Deployment {
    /// As JSON; a base says what the whole of both modules is, so its own places go into that.
    fn content(&self) -> Value {
        let mut modules = json!({"$edgeAgent": {}, "m": {}});
        for (of_agent, path, value) in &self.claims {
            let module = if *of_agent { "$edgeAgent" } else { "m" };
            if self.is_base {
                let wrapped = path.iter().rev().fold(value.clone(), |inner, name| json!({ name: inner }));
                modules[module]["properties.desired"][&path[0]] = wrapped[&path[0]].clone();
            } else {
                modules[module][format!("properties.desired.{}", path.join("."))] = value.clone();
            }
        }
        if self.is_base && modules["$edgeAgent"].get("properties.desired").is_none() {
            modules["$edgeAgent"]["properties.desired"] = json!({});
        }
        json!({ "modulesContent": modules })
    }

    fn condition(&self) -> String {
        self.site.map_or_else(|| "*".to_owned(), |site| format!("tags.site = {site}"))
    }

    fn targets(&self, device: usize) -> bool {
        self.site.is_none_or(|site| usize::from(site) == device)
    }
}

fn name(index: usize) -> String {
    format!("dep{index}")
}

fn at(second: usize) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second as i64).expect("a time")
}

fn hub(deployments: &[Deployment]) -> Hub {
    let mut hub = Hub::new(Dice::new([6; 32]), SignedDuration::ZERO);
    for (site, device) in DEVICES.iter().enumerate() {
        let body = DeviceBody::read(json!({"capabilities": {"iotEdge": true}})).expect("a body");
        hub.put_device(device, &body, &Expect::Nothing, at(0)).expect("made");
        let tags = json!({"tags": {"site": site}});
        hub.patch_twin(&Id::device(*device), &tags, &Expect::Nothing, at(0)).expect("tagged");
    }
    for (index, deployment) in deployments.iter().enumerate() {
        let body = json!({"content": deployment.content(), "priority": deployment.priority,
            "targetCondition": deployment.condition()});
        hub.put_configuration(&name(index), body, &Expect::Nothing, at(index)).expect("stored");
    }
    hub
}

/// Which deployments are in force: the first base from the top, and every layer of a higher priority.
fn in_force(deployments: &[Deployment], device: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..deployments.len()).filter(|i| deployments[*i].targets(device)).collect();
    order.sort_by(|a, b| (deployments[*b].priority, *b).cmp(&(deployments[*a].priority, *a)));
    let Some(base) = order.iter().copied().find(|i| deployments[*i].is_base) else {
        return Vec::new();
    };
    let stays =
        |i: &usize| *i == base || (!deployments[*i].is_base && deployments[*i].priority > deployments[base].priority);
    order.into_iter().filter(stays).collect()
}

type Leaves = BTreeMap<Vec<String>, Value>;

fn leaves(at: &[String], value: &Value, out: &mut Leaves) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                leaves(&[at, std::slice::from_ref(key)].concat(), value, out);
            }
        }
        other => {
            out.insert(at.to_vec(), other.clone());
        }
    }
}

/// From the top: a leaf shows unless a place above covers it or needs an object where it stands.
fn expected(claims_from_top: &[Claim]) -> Leaves {
    let mut shown = Leaves::new();
    let mut places: Vec<&[String]> = Vec::new();
    for claim in claims_from_top {
        let (place, value) = claim.parts();
        let mut own = Leaves::new();
        leaves(place, value, &mut own);
        let hidden = |leaf: &[String]| places.iter().any(|above| leaf.starts_with(above) || above.starts_with(leaf));
        shown.extend(own.into_iter().filter(|(leaf, _)| !hidden(leaf)));
        places.push(place);
    }
    shown
}

fn claims_of(content: &Value, module: &str) -> Vec<Claim> {
    match Content::read(content.as_object().expect("an object")).expect("content") {
        Content::Edge(modules) => modules.get(module).cloned().unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn actual(hub: &Hub, device: &str, module: &str) -> Leaves {
    let mut out = Leaves::new();
    if let Ok(twin) = hub.twin(&Id::module(device, module)) {
        let mut desired: Map<String, Value> = twin["properties"]["desired"].as_object().expect("an object").clone();
        desired.retain(|key, _| !key.starts_with('$'));
        leaves(&[], &Value::Object(desired), &mut out);
    }
    out
}

fn etags(hub: &Hub) -> Vec<Value> {
    let mut rows = hub.all_rows(false);
    rows.extend(hub.all_rows(true));
    rows.into_iter().map(|(_, row)| json!([row["etag"], row["deviceEtag"], row["version"]])).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn twins_hold_what_the_reference_says(deployments in prop::collection::vec(deployment(), 0..6)) {
        let mut hub = hub(&deployments);
        hub.evaluate(at(100));
        for (number, device) in DEVICES.iter().enumerate() {
            let force = in_force(&deployments, number);
            for module in ["$edgeAgent", "m"] {
                let from_top = |i: &usize| claims_of(&deployments[*i].content(), module).into_iter().rev();
                let claims: Vec<Claim> = force.iter().flat_map(from_top).collect();
                prop_assert_eq!(actual(&hub, device, module), expected(&claims), "{} {}", device, module);
            }
            let agent = hub.twin(&Id::module(*device, "$edgeAgent")).expect("a twin");
            let applied: BTreeSet<String> = force.iter().map(|i| name(*i)).collect();
            for (index, deployment) in deployments.iter().enumerate() {
                let shown = &agent["configurations"][name(index)]["status"];
                match (applied.contains(&name(index)), deployment.targets(number)) {
                    (true, _) => prop_assert_eq!(shown, "Applied"),
                    (false, true) => prop_assert_eq!(shown, "Targeted"),
                    (false, false) => prop_assert_eq!(shown, &Value::Null),
                }
            }
        }
    }

    #[test]
    fn a_second_evaluation_changes_nothing(deployments in prop::collection::vec(deployment(), 0..6)) {
        let mut hub = hub(&deployments);
        hub.evaluate(at(100));
        let (before, revision) = (etags(&hub), hub.revision());
        hub.take_effects();
        prop_assert_eq!(hub.evaluate(at(200)), Evaluated::default());
        prop_assert_eq!(etags(&hub), before);
        prop_assert_eq!(hub.revision(), revision);
        prop_assert!(hub.take_effects().is_empty());
    }
}
