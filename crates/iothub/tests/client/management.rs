//! The client for Azure Resource Manager against a manager that follows a script.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ha_wire::Secret;
use iotedge_ha_iothub::management::{Bearer, Error, Hub, Management, Options, Progress, Resource, Route, TokenFuture};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::stub::{Reply, Stub};

struct Fixed;

impl Bearer for Fixed {
    fn token<'a>(&'a self, scope: &'a str) -> TokenFuture<'a> {
        assert!(scope.starts_with("http://127.0.0.1:") && scope.ends_with("/.default"), "{scope}");
        Box::pin(async { Ok(Secret::new("a-token")) })
    }
}

struct Bench {
    stub: Stub,
    management: Management,
    told: Mutex<Vec<Progress>>,
}

impl Bench {
    async fn open(script: impl IntoIterator<Item = Reply>) -> Self {
        let stub = Stub::start(script).await;
        let resource = Resource { subscription: "s".into(), group: "g".into(), name: "h".into() };
        let poll = Duration::from_millis(1);
        let options = Options { endpoint: format!("http://{}", stub.address()), poll, ..Options::default() };
        let management = Management::new(resource, Arc::new(Fixed), &options).unwrap();
        Self { stub, management, told: Mutex::default() }
    }

    /// Turns the route `r` on.
    async fn change(&self, patience: Duration) -> Result<bool, Error> {
        let edit = |hub: &mut Hub| {
            hub.set_route(&route());
            Ok(())
        };
        let told = |progress| self.told.lock().unwrap().push(progress);
        let changed = self.management.change::<Error>(Instant::now() + patience, edit, &told).await?;
        assert_eq!(changed.hub.route("r"), Some(route()));
        Ok(changed.written)
    }

    fn told(&self) -> Vec<Progress> {
        self.told.lock().unwrap().clone()
    }

    /// Method and path of each request.
    fn lines(&self) -> Vec<String> {
        let requests = self.stub.requests();
        requests.iter().map(|request| request.line.trim_end_matches(" HTTP/1.1").to_owned()).collect()
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
const HUB: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/IotHubs/h?api-version=2023-06-30";

fn route() -> Route {
    Route {
        name: "r".into(),
        source: "DeviceMessages".into(),
        condition: "true".into(),
        endpoint_names: vec!["events".into()],
        is_enabled: true,
    }
}

fn hub(etag: &str, routes: &[&str]) -> Value {
    let routes: Vec<Value> = routes
        .iter()
        .map(|name| {
            json!({"name": name, "source": "DeviceMessages", "condition": "true", "endpointNames": ["events"], "isEnabled": true})
        })
        .collect();
    json!({"etag": etag, "unknown": {"kept": [1]}, "properties": {"state": "Active", "provisioningState": "Succeeded",
        "routing": {"routes": routes}}})
}

fn is(hub: &Value) -> Reply {
    Reply::json(200, hub)
}

fn refused(status: u16, code: &str, message: &str) -> Reply {
    Reply::json(status, &json!({"error": {"code": code, "message": message}})).header("retry-after", "0")
}

/// Reads the hub, edits it, and has the write answered by `reply`.
async fn after_write(reply: impl Fn(&str) -> Reply, rest: impl IntoIterator<Item = Reply>) -> Bench {
    let bench = Bench::open([is(&hub("1", &[]))]).await;
    let origin = format!("http://{}", bench.stub.address());
    bench.stub.go_on([reply(&origin)].into_iter().chain(rest));
    bench
}

fn accepted(header: &'static str) -> impl Fn(&str) -> Reply {
    move |origin| {
        Reply::json(201, &json!({})).header(header, &format!("{origin}/operation?x=1")).header("retry-after", "0")
    }
}

fn status(body: &Value) -> Reply {
    Reply::json(200, body).header("retry-after", "0")
}

#[tokio::test]
async fn a_write_is_followed_to_its_end() {
    let end =
        [status(&json!({"status": "InProgress"})), status(&json!({"status": "Succeeded"})), is(&hub("2", &["r"]))];
    let bench = after_write(accepted("azure-asyncoperation"), end.into_iter().chain([is(&hub("2", &["r"]))])).await;
    assert!(bench.change(PATIENCE).await.unwrap());
    assert_eq!(bench.told(), [Progress::Accepted, Progress::Running("InProgress".into())]);
    let (get, put, ask) = (format!("GET {HUB}"), format!("PUT {HUB}"), "GET /operation?x=1".to_owned());
    assert_eq!(bench.lines(), [get.clone(), put, ask.clone(), ask, get.clone(), get]);
    let put = &bench.stub.requests()[1];
    assert_eq!((put.header("if-match"), put.header("authorization")), (Some("1"), Some("Bearer a-token")));
    assert_eq!(serde_json::from_str::<Value>(&put.body).unwrap(), hub("1", &["r"]), "the rest goes back as it came");
}

#[tokio::test]
async fn a_location_is_followed_too() {
    let end = [Reply::empty(202).header("retry-after", "0"), Reply::json(200, &json!({}))];
    let end = end.into_iter().chain([is(&hub("2", &["r"])), is(&hub("2", &["r"]))]);
    let bench = after_write(accepted("location"), end).await;
    assert!(bench.change(PATIENCE).await.unwrap());
}

#[tokio::test]
async fn what_is_as_wanted_is_not_written() {
    let bench = Bench::open([is(&hub("1", &["r"]))]).await;
    assert!(!bench.change(PATIENCE).await.unwrap());
    assert_eq!(bench.lines(), [format!("GET {HUB}")]);
}

#[tokio::test]
async fn whoever_was_faster_is_not_overwritten() {
    let reply = |_: &str| refused(412, "PreconditionFailed", "etag");
    let end = [is(&hub("2", &["theirs"])), Reply::json(200, &json!({})), is(&hub("3", &["theirs", "r"]))];
    let bench = after_write(reply, end.into_iter().chain([is(&hub("3", &["theirs", "r"]))])).await;
    assert!(bench.change(PATIENCE).await.unwrap());
    let second = &bench.stub.requests()[3];
    assert_eq!(second.header("if-match"), Some("2"));
    assert_eq!(serde_json::from_str::<Value>(&second.body).unwrap(), hub("2", &["theirs", "r"]));
    assert_eq!(bench.told(), [Progress::Raced, Progress::Accepted]);
}

#[tokio::test]
async fn another_write_is_waited_for() {
    let mut going_on = hub("2", &[]);
    going_on["properties"]["state"] = json!("Transitioning");
    let reply = |_: &str| refused(409, "409002", "h is not currently in Active state");
    let end = [is(&going_on), is(&hub("3", &[])), Reply::json(200, &json!({}))];
    let bench = after_write(reply, end.into_iter().chain([is(&hub("4", &["r"])), is(&hub("4", &["r"]))])).await;
    assert!(bench.change(PATIENCE).await.unwrap());
    let busy = |state: &str| Progress::Busy(state.into());
    assert_eq!(bench.told(), [busy("h is not currently in Active state"), busy("Transitioning"), Progress::Accepted]);
}

#[tokio::test]
async fn a_lost_answer_is_made_up_for_by_reading() {
    let bench = after_write(|_| Reply::Close, [is(&hub("2", &["r"]))]).await;
    assert!(bench.change(PATIENCE).await.unwrap());
    assert_eq!(bench.lines().iter().filter(|line| line.starts_with("PUT")).count(), 1, "nothing is written twice");
}

#[tokio::test]
async fn an_operation_that_fails_says_why() {
    let body = json!({"status": "Failed", "error": {"code": "ServerError", "message": "no storage"}});
    let bench = after_write(accepted("azure-asyncoperation"), [status(&body)]).await;
    let error = bench.change(PATIENCE).await.unwrap_err();
    assert_eq!(error.to_string(), "the write was accepted and then ended as Failed ServerError (no storage)");
}

#[tokio::test]
async fn an_operation_that_never_ends_is_given_up() {
    let running = |retry_after| Reply::json(200, &json!({"status": "InProgress"})).header("retry-after", retry_after);
    // The last wait would go beyond the end, so it is not begun.
    let bench = after_write(accepted("azure-asyncoperation"), [running("0"), running("0"), running("600")]).await;
    let error = bench.change(PATIENCE).await.unwrap_err();
    assert!(error.is_transient() && !error.outcome_unknown());
    assert_eq!(error.to_string(), "the write on the hub has not ended in time; its last word was \"InProgress\"");
}

#[tokio::test]
async fn the_token_is_shown_to_nobody_else() {
    let reply = |_: &str| Reply::json(201, &json!({})).header("location", "https://elsewhere.example/operation");
    let bench = after_write(reply, []).await;
    assert!(matches!(bench.change(PATIENCE).await, Err(Error::BadAnswer { .. })));
    let resource = bench.management.resource().clone();
    let plain = Options { endpoint: "http://management.azure.com".into(), ..Options::default() };
    let error = Management::new(resource, Arc::new(Fixed), &plain).unwrap_err();
    assert!(error.to_string().contains("https is expected"), "{error}");
    assert!(!format!("{:?}", bench.management).contains("a-token"));
}

#[tokio::test]
async fn refusals_are_told_apart_and_passing_trouble_passes() {
    let bench = Bench::open([refused(403, "AuthorizationFailed", "The client 'x' may not")]).await;
    assert!(matches!(bench.change(PATIENCE).await, Err(Error::Forbidden(_))));
    let bench = Bench::open([refused(404, "ResourceNotFound", "no h")]).await;
    assert!(matches!(bench.change(PATIENCE).await, Err(Error::NotFound(_))));
    let script =
        [refused(503, "ServerBusy", ""), refused(429, "TooManyRequests", ""), Reply::Close, is(&hub("1", &["r"]))];
    let bench = Bench::open(script).await;
    assert!(!bench.change(PATIENCE).await.unwrap());
    let bench = Bench::open([Reply::text(200, "{\"etag\": 1}")]).await;
    let error = bench.change(PATIENCE).await.unwrap_err().to_string();
    assert!(error.contains("the answer is not understood: it has no etag"), "{error}");
}

#[tokio::test]
async fn routes_are_tried() {
    let answer = json!({"routes": [{"properties": {"name": "one"}}, {"properties": {"name": "two"}}]});
    let broken = json!({"result": "false", "details": {"compilationErrors": [{"message": "a value is expected"}]}});
    let bench = Bench::open([Reply::json(200, &answer), Reply::json(200, &broken)]).await;
    let until = Instant::now() + PATIENCE;
    let (message, twin) = (json!({"body": ""}), json!({"tags": {"a": 1}}));
    assert_eq!(bench.management.matching("DeviceMessages", &message, &twin, until).await.unwrap(), ["one", "two"]);
    let trial = bench.management.try_route(&route(), &message, &twin, until).await.unwrap();
    assert_eq!((trial.takes, trial.problems), (false, vec!["a value is expected".to_owned()]));
    let asked: Value = serde_json::from_str(&bench.stub.requests()[0].body).unwrap();
    assert_eq!(asked, json!({"routingSource": "DeviceMessages", "message": message, "twin": twin}));
    assert!(bench.lines()[0].contains("/IotHubs/h/routing/routes/$testall?"), "{:?}", bench.lines());
}
