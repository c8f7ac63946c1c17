//! The client against a scripted hub on loopback: what is repeated, what is not, and what each refusal becomes.

#[path = "client/entra.rs"]
mod entra;
#[path = "client/keys.rs"]
mod keys;
#[path = "client/management.rs"]
mod management;
#[path = "client/stub.rs"]
mod stub;

use std::time::Duration;

use ha_wire::method::MethodRequest;
use ha_wire::sas::Token;
use ha_wire::twin::TwinPatch;
use ha_wire::{Device, ETag, ErrorCode, IfMatch, Map, Module};
use iotedge_ha_iothub::{Backoff, Call, Client, Error, Limits, Options};
use serde_json::json;
use stub::{Nobody, Reply, Stub};

fn options() -> Options {
    let ms = Duration::from_millis;
    let backoff = Backoff { base: ms(2), throttled_base: ms(4), cap: ms(10) };
    Options { limits: Limits::unlimited(), backoff, seed: Some(7), ..Options::default() }
}

fn client(stub: &Stub) -> Client {
    Client::insecure_for_tests(&stub.connection_string(), &options()).unwrap()
}

/// Long enough never to matter.
fn call() -> Call {
    Call::within(Duration::from_secs(60))
}

fn twin(etag: &str) -> Reply {
    Reply::json(200, &json!({"deviceId": "d", "etag": etag, "properties": {"desired": {}, "reported": {}}}))
}

fn refusal(code: ErrorCode) -> Reply {
    let body = ha_wire::error::form_a(code, "text", "0123-G:1");
    Reply::json(code.http_status(), &body).header("iothub-errorcode", code.name())
}

fn tags() -> TwinPatch {
    TwinPatch::tags(Map::from_iter([("ha".to_owned(), json!(1))]))
}

fn is(etag: &str) -> Option<IfMatch> {
    Some(IfMatch::Is(ETag::new(etag)))
}

#[tokio::test]
async fn a_read_says_who_it_is_and_what_it_wants() {
    let stub = Stub::start([Reply::json(200, &json!({"deviceId": "a b", "moduleId": "$edgeAgent"}))]).await;
    let module = client(&stub).module("a b", "$edgeAgent", &call()).await.unwrap();
    assert_eq!(module.module_id, "$edgeAgent");
    let request = &stub.requests()[0];
    assert_eq!(request.line, "GET /devices/a%20b/modules/%24edgeAgent?api-version=2021-04-12 HTTP/1.1");
    let token = Token::parse(request.header("authorization").unwrap()).unwrap();
    let connection = stub.connection_string();
    assert!(token.verify(connection.key().unwrap()) && token.scope().unwrap().covers_hub());
    assert_eq!(token.scope().unwrap().host(), connection.host_and_port());
}

#[tokio::test]
async fn reads_are_repeated_through_every_kind_of_trouble() {
    let script = [
        Reply::Close,
        Reply::json(503, &json!({})),
        refusal(ErrorCode::ThrottlingException),
        Reply::Close,
        twin("AAE="),
    ];
    let stub = Stub::start(script).await;
    let twin = client(&stub).twin("d", None, &call()).await.unwrap();
    assert_eq!((twin.etag, stub.requests().len()), (Some(ETag::new("AAE=")), 5));
}

#[tokio::test]
async fn a_conditional_write_with_a_lost_answer_is_left_to_the_caller() {
    for lost in [Reply::Close, Reply::json(503, &json!({})), Reply::json(500, &json!({})), Reply::text(200, "not json")]
    {
        let stub = Stub::start([lost.clone(), twin("AAI=")]).await;
        let error = client(&stub).patch_twin("d", None, &tags(), is("AAE=").as_ref(), &call()).await.unwrap_err();
        assert!(error.outcome_unknown(), "{lost:?}: {error}");
        assert_eq!(stub.requests().len(), 1, "{lost:?}");
        assert_eq!(stub.requests()[0].header("if-match"), Some("\"AAE=\""));
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_leaves_the_outcome_unknown() {
    let stub = Stub::start([Reply::Silence]).await;
    let short = call().attempt(Duration::from_millis(50));
    let error = client(&stub).patch_twin("d", None, &tags(), is("AAE=").as_ref(), &short).await.unwrap_err();
    assert!(matches!(error, Error::NoAnswer { .. }) && error.outcome_unknown() && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_write_that_was_surely_refused_is_repeated_when_throttled() {
    let stub = Stub::start([refusal(ErrorCode::ThrottlingBacklogTimeout), twin("AAI=")]).await;
    client(&stub).patch_twin("d", Some("m"), &tags(), is("AAE=").as_ref(), &call()).await.unwrap();
    let requests = stub.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].line, "PATCH /twins/d/modules/m?api-version=2021-04-12 HTTP/1.1");
    assert_eq!(requests[1].body, r#"{"tags":{"ha":1}}"#);
}

#[tokio::test]
async fn an_unconditional_merge_is_repeated_and_keeps_its_doubt() {
    let stub = Stub::start([Reply::Close, twin("AAI=")]).await;
    client(&stub).patch_twin("d", None, &tags(), None, &call()).await.unwrap();
    assert_eq!(stub.requests().len(), 2);

    let stub = Stub::start([Reply::Close, refusal(ErrorCode::DeviceNotFound)]).await;
    let error = client(&stub).patch_twin("d", None, &tags(), None, &call()).await.unwrap_err();
    assert!(matches!(error, Error::NotFound(_)) && error.outcome_unknown(), "the first one may have been written");
}

#[tokio::test]
async fn nothing_is_in_doubt_when_no_connection_came_up() {
    let nobody = Nobody::new();
    let client = Client::insecure_for_tests(&nobody.connection_string(), &options()).unwrap();
    let error = client.patch_twin("d", None, &tags(), is("AAE=").as_ref(), &call().once()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && !error.outcome_unknown(), "{error}");
    assert!(!format!("{error:?}").contains("sig="));
}

#[tokio::test]
async fn each_refusal_becomes_its_kind_and_is_asked_once() {
    use ErrorCode as Code;
    type IsKind = fn(&Error) -> bool;
    let cases: [(ErrorCode, IsKind); 8] = [
        (Code::DeviceNotFound, |error| matches!(error, Error::NotFound(_))),
        (Code::PreconditionFailed, |error| matches!(error, Error::PreconditionFailed(_))),
        (Code::DeviceAlreadyExists, |error| matches!(error, Error::Conflict(_))),
        (Code::IotHubUnauthorizedAccess, |error| matches!(error, Error::Unauthorised(_))),
        (Code::IotHubQuotaExceeded, |error| matches!(error, Error::QuotaExceeded(_))),
        (Code::ArgumentInvalid, |error| matches!(error, Error::Refused(_))),
        (Code::MessageTooLarge, |error| matches!(error, Error::Refused(_))),
        (Code::DeviceNotOnline, |error| matches!(error, Error::DeviceNotOnline(_))),
    ];
    for (code, expected) in cases {
        let stub = Stub::start([refusal(code)]).await;
        let error = client(&stub).patch_twin("d", None, &tags(), is("AAE=").as_ref(), &call()).await.unwrap_err();
        assert!(expected(&error), "{code}: {error:?}");
        assert_eq!(
            (error.code(), error.status(), error.tracking_id()),
            (Some(code), Some(code.http_status()), Some("0123-G:1"))
        );
        assert!(!error.outcome_unknown(), "{code}");
        assert_eq!(stub.requests().len(), 1, "{code}");
    }
}

#[tokio::test]
async fn a_method_is_never_called_twice() {
    let timed_out =
        ha_wire::error::form_b(ErrorCode::GatewayTimeout, "Timed out", "id", &json!({}), ha_wire::Timestamp::NEVER);
    for lost in [Reply::Close, Reply::json(504, &timed_out), Reply::json(500, &json!({}))] {
        let stub = Stub::start([lost.clone(), Reply::json(200, &json!({"status": 200}))]).await;
        let method = MethodRequest::new("haGrant", json!({"term": 7})).response_timeout_s(5);
        let error = client(&stub).call_method("d", Some("ha-agent"), &method, &call()).await.unwrap_err();
        assert!(error.outcome_unknown(), "{lost:?}: {error}");
        assert_eq!(stub.requests().len(), 1, "{lost:?}");
    }
}

#[tokio::test]
async fn a_method_answers_with_the_devices_own_status() {
    let offline =
        ha_wire::error::form_b(ErrorCode::DeviceNotOnline, "Timed out", "id", &json!({}), ha_wire::Timestamp::NEVER);
    let stub =
        Stub::start([Reply::json(404, &offline), Reply::json(200, &json!({"status": -3, "payload": {"a": 1}}))]).await;
    let client = client(&stub);
    let method = MethodRequest::new("ping", json!(null));
    let error = client.call_method("d", Some("$edgeAgent"), &method, &call()).await.unwrap_err();
    assert!(matches!(error, Error::DeviceNotOnline(_)) && !error.outcome_unknown());
    let answer = client.call_method("d", Some("$edgeAgent"), &method, &call()).await.unwrap();
    assert_eq!((answer.status, answer.payload), (-3, json!({"a": 1})));
    assert_eq!(stub.requests()[0].line, "POST /twins/d/modules/%24edgeAgent/methods?api-version=2021-04-12 HTTP/1.1");
    let error = client.call_method("d", None, &method.response_timeout_s(1), &call()).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }));
    assert_eq!(stub.requests().len(), 2);
}

#[tokio::test]
async fn the_deadline_bounds_every_repetition() {
    let slow = refusal(ErrorCode::ThrottlingException).header("retry-after", "120");
    let stub = Stub::start([slow, twin("AAE=")]).await;
    let error = client(&stub).twin("d", None, &call()).await.unwrap_err();
    assert!(matches!(&error, Error::Throttled(_)), "{error}");
    assert_eq!(error.refusal().unwrap().retry_after, Some(Duration::from_secs(120)));
    assert_eq!(stub.requests().len(), 1, "a wait beyond the deadline is not begun");
}

#[tokio::test]
async fn creating_sends_no_condition_and_updating_does() {
    let device = json!({"deviceId": "d", "statusReason": null, "etag": "MQ=="});
    let stub = Stub::start([
        Reply::json(200, &device),
        Reply::json(200, &device),
        Reply::json(200, &device),
        Reply::empty(204),
    ])
    .await;
    let client = client(&stub);
    client.create_device(&Device::new("d"), &call()).await.unwrap();
    client.update_device(&Device::new("d"), &IfMatch::Is(ETag::new("MQ==")), &call()).await.unwrap();
    client.update_device(&Device::new("d"), &IfMatch::Any, &call()).await.unwrap();
    client.delete_module("d", "m", &IfMatch::Any, &call()).await.unwrap();
    let sent: Vec<_> = stub.requests().iter().map(|request| request.header("if-match").map(str::to_owned)).collect();
    assert_eq!(sent, [None, Some("\"MQ==\"".to_owned()), Some("*".to_owned()), Some("*".to_owned())]);
}

#[tokio::test]
async fn creating_is_not_repeated_after_a_lost_answer() {
    let stub = Stub::start([Reply::Close, refusal(ErrorCode::ModuleAlreadyExistsOnDevice)]).await;
    let error = client(&stub).create_module(&Module::new("d", "m"), &call()).await.unwrap_err();
    assert!(error.outcome_unknown() && stub.requests().len() == 1, "{error}");
}

#[tokio::test]
async fn a_query_goes_on_page_by_page() {
    let page = |id: &str| Reply::json(200, &json!([{"deviceId": id}])).header("x-ms-item-type", "Twin");
    let stub = Stub::start([
        page("a").header("x-ms-continuation", "t1"),
        page("b").header("x-ms-continuation", "t2"),
        page("c"),
    ])
    .await;
    let twins = client(&stub).query_twins("SELECT * FROM devices", &call()).await.unwrap();
    let ids: Vec<_> = twins.into_iter().map(|twin| twin.device_id).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    let tokens: Vec<_> =
        stub.requests().iter().map(|request| request.header("x-ms-continuation").map(str::to_owned)).collect();
    assert_eq!(tokens, [None, Some("t1".to_owned()), Some("t2".to_owned())]);
    assert_eq!(stub.requests()[0].body, r#"{"query":"SELECT * FROM devices"}"#);
}

#[tokio::test]
async fn a_query_that_goes_round_in_circles_ends() {
    let page = || Reply::json(200, &json!([])).header("x-ms-continuation", "again");
    let stub = Stub::start([page(), page(), page()]).await;
    let error = client(&stub).query_twins("SELECT * FROM devices", &call()).await.unwrap_err();
    assert!(matches!(error, Error::BadAnswer { .. }), "{error}");
}

#[tokio::test]
async fn an_answer_of_nonsense_is_said_to_be_one() {
    for nonsense in
        [Reply::text(200, "<html>"), Reply::json(200, &json!({"deviceId": 7})), Reply::json(200, &json!([]))]
    {
        let stub = Stub::start([nonsense]).await;
        let error = client(&stub).device("d", &call()).await.unwrap_err();
        assert!(
            matches!(error, Error::BadAnswer { .. }) && !error.outcome_unknown() && !error.is_retryable(),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_spent_budget_sends_nothing() {
    let stub = Stub::start([]).await;
    let options = Options { limits: iotedge_ha_iothub::Sku::S1.limits(1).share(0.001), ..options() };
    let client = Client::insecure_for_tests(&stub.connection_string(), &options).unwrap();
    let soon = || Call::within(Duration::from_millis(20)).once();
    let _ = client.query("SELECT * FROM devices").next_page(&soon()).await;
    let error = client.query("SELECT * FROM devices").next_page(&soon()).await.unwrap_err();
    assert!(matches!(error, Error::OutOfTime { .. }) && error.is_retryable() && !error.outcome_unknown(), "{error}");
}
