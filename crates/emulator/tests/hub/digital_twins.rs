//! Digital twins: the device twin seen through the conventions of IoT Plug and Play, and commands.

use iotedge_ha_emulator::Running;
use mqtt_protocol_core::mqtt::packet::Qos;
use reqwest::Method;
use serde_json::{Value, json};

use crate::backend::{Answer, Backend};
use crate::device::{Device, Login};
use crate::hub;

const TWIN: &str = "/digitaltwins/leaf";
const MODEL: &str = "dtmi:com:example:TemperatureController;1";

async fn leaf(hub: &Running) -> Device {
    let login = Login::of(hub, "leaf", None).model(MODEL);
    Device::connect(hub, &login).await.expect("connected")
}

async fn patch(backend: &Backend, etag: Option<&str>, operations: Value) -> Answer {
    backend.call(Method::PATCH, TWIN, etag, Some(operations)).await
}

#[tokio::test]
async fn the_model_is_known_once_the_device_has_connected_and_stays() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    assert_eq!(backend.get(TWIN).await.body, json!({"$dtId": "leaf", "$metadata": {}}));
    drop(leaf(&hub).await);
    let expected = json!({"$dtId": "leaf", "$metadata": {"$model": MODEL}});
    assert_eq!(backend.get(TWIN).await.body, expected);
    assert_eq!(backend.get("/twins/leaf").await.body["modelId"], MODEL);
    // A client that names none takes nothing away.
    let _again = Device::connect(&hub, &Login::of(&hub, "leaf", None)).await.expect("connected");
    assert_eq!(backend.get(TWIN).await.body, expected);
}

#[tokio::test]
async fn a_patch_is_desired_of_the_device_and_shows_once_reported() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let mut device = leaf(&hub).await;
    device.subscribe("$iothub/twin/PATCH/properties/desired/#", Qos::AtMostOnce).await;
    device.subscribe("$iothub/twin/res/#", Qos::AtMostOnce).await;
    let operations = json!([{"op": "add", "path": "/thermostat1/targetTemperature", "value": 42}]);
    let answer = patch(&backend, None, operations).await;
    assert_eq!((answer.status.as_u16(), &answer.body), (202, &Value::Null));
    assert_eq!(answer.header("location"), Some(TWIN));
    assert_eq!(answer.header("etag"), Some("W/\"AAAAAAAAAAI=\""));
    let notice = device.receive().await.expect("a notice").json();
    assert_eq!(notice, json!({"thermostat1": {"__t": "c", "targetTemperature": 42}, "$version": 2}));

    let report =
        json!({"thermostat1": {"__t": "c", "targetTemperature": {"value": 42, "ac": 200, "av": 2, "ad": "done"}}});
    device.request("$iothub/twin/PATCH/properties/reported/?$rid=1", report.to_string().as_bytes()).await;
    let shown = backend.get(TWIN).await;
    assert_eq!(shown.header("etag"), Some("W/\"AAAAAAAAAAI=\""));
    let component = &shown.body["thermostat1"];
    assert_eq!(component["targetTemperature"], 42);
    let mut known = component["$metadata"]["targetTemperature"].clone();
    let updated = known.as_object_mut().and_then(|known| known.remove("lastUpdateTime"));
    assert!(updated.is_some_and(|at| at.is_string()));
    let expected =
        json!({"desiredValue": 42, "desiredVersion": 2, "ackVersion": 2, "ackCode": 200, "ackDescription": "done"});
    assert_eq!(known, expected);
}

#[tokio::test]
async fn patches_by_etag() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let set = |n: u32| json!([{"op": "add", "path": "/n", "value": n}]);
    let first = patch(&backend, None, set(0)).await;
    let etag = first.header("etag").expect("an etag").to_owned();
    for (n, if_match, status) in [
        (1, "W/\"AAAAAAAAAAE=\"", 412),
        (2, "\"AAAAAAAAAAE=\"", 412),
        (3, etag.as_str(), 202),
        (4, "\"AAAAAAAAAAM=\"", 202),
        (5, "AAAAAAAAAAQ=", 202),
        (6, "*", 202),
    ] {
        let answer = patch(&backend, Some(if_match), set(n)).await;
        assert_eq!(answer.status, status, "{if_match}");
        let written = backend.get("/twins/leaf").await.body["properties"]["desired"]["n"] == n;
        assert_eq!(written, status == 202, "{if_match}");
    }
}

#[tokio::test]
async fn refusals_by_table() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let desired = json!({"properties": {"desired": {"n": 1}}});
    assert_eq!(backend.patch("/twins/leaf", desired).await.status, 200);
    let add = |path: &str, value: Value| json!([{"op": "add", "path": path, "value": value}]);
    for (method, path, body, status, code) in [
        (Method::GET, "/digitaltwins/nobody", None, 404, "DeviceNotFound"),
        (Method::PATCH, "/digitaltwins/nobody", Some(json!([])), 404, "DeviceNotFound"),
        (Method::PUT, TWIN, Some(json!([])), 405, "GenericMethodNotAllowed"),
        (Method::PATCH, TWIN, Some(json!({})), 400, "ArgumentInvalid"),
        (Method::PATCH, TWIN, Some(add("/n/x", json!(1))), 400, "ArgumentInvalid"),
        (Method::PATCH, TWIN, Some(add("/m", json!([1]))), 400, "ArgumentInvalid"),
        // What the device twin does not hold, the digital twin does not either.
        (Method::PATCH, TWIN, Some(add("/m", json!("x".repeat(5000)))), 400, "ArgumentInvalid"),
        (Method::PATCH, TWIN, Some(add("/m", json!(u64::MAX))), 400, "ArgumentInvalid"),
        (Method::GET, "/digitaltwins/leaf/commands/c", None, 405, "GenericMethodNotAllowed"),
        (Method::POST, "/digitaltwins/nobody/commands/c", Some(json!(1)), 404, "DeviceNotFound"),
        (Method::POST, "/digitaltwins/leaf/commands/c", Some(json!(1)), 404, "DeviceNotOnline"),
        (Method::POST, "/digitaltwins/leaf/commands/a b", Some(json!(1)), 400, "ArgumentInvalid"),
        (
            Method::POST,
            "/digitaltwins/leaf/commands/c?responseTimeoutInSeconds=301",
            Some(json!(1)),
            400,
            "ArgumentInvalid",
        ),
        (
            Method::POST,
            "/digitaltwins/leaf/commands/c?connectTimeoutInSeconds=-1",
            Some(json!(1)),
            400,
            "ArgumentInvalid",
        ),
    ] {
        let what = format!("{method} {path} {body:?}");
        let answer = backend.call(method, path, None, body).await;
        assert_eq!((answer.status.as_u16(), answer.error_code()), (status, code), "{what}");
    }
    assert_eq!(backend.get("/twins/leaf").await.body["properties"]["desired"]["$version"], 2);
}

#[tokio::test]
async fn commands_are_methods_of_the_device() {
    let hub = hub().await;
    let backend = Backend::new(&hub);
    let mut device = leaf(&hub).await;
    device.subscribe("$iothub/methods/POST/#", Qos::AtLeastOnce).await;
    for (path, method, payload, status, answered) in [
        ("commands/reboot", "reboot", json!(3), 200, json!({"ok": true})),
        (
            "components/thermostat1/commands/getMaxMinReport",
            "thermostat1*getMaxMinReport",
            json!({"since": "x"}),
            404,
            Value::Null,
        ),
        (
            "commands/reboot?connectTimeoutInSeconds=5&responseTimeoutInSeconds=10",
            "reboot",
            Value::Null,
            202,
            json!("later"),
        ),
    ] {
        let path = format!("{TWIN}/{path}");
        let answer = async {
            let request = device.receive().await.expect("a method");
            let rid = request.topic.rsplit("$rid=").next().expect("a rid");
            let topic = format!("$iothub/methods/res/{status}/?$rid={rid}");
            device.publish(&topic, Qos::AtLeastOnce, answered.to_string().as_bytes()).await;
            request
        };
        let (answer, request) = tokio::join!(backend.post(&path, payload.clone()), answer);
        assert!(request.topic.starts_with(&format!("$iothub/methods/POST/{method}/")), "{}", request.topic);
        assert_eq!(request.json(), payload, "{path}");
        assert_eq!((answer.status.as_u16(), &answer.body), (200, &answered), "{path}");
        assert_eq!(answer.header("x-ms-command-statuscode"), Some(status.to_string().as_str()), "{path}");
        assert!(answer.header("x-ms-request-id").is_some_and(|id| !id.is_empty()));
    }
}
