//! Tokens of Entra ID: each source against an authority, and what happens while that is in trouble.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ha_emulator::{Emulator, Entra as Tokens, Principal, Running, Seed};
use ha_wire::Secret;
use iotedge_ha_iothub::entra::{Entra, Settings, Source};
use iotedge_ha_iothub::{Call, Client, Cloud, Error, Options};
use serde_json::json;

use crate::stub::{Nobody, Reply, Stub};

const HOUR: u64 = 3600;
const HUB_SCOPE: &str = Cloud::Public.hub_scope();
const MANAGEMENT_SCOPE: &str = "https://management.azure.com/.default";

fn client_secret(secret: &str) -> Source {
    let secret = Secret::new(secret);
    let read = Arc::new(move || Ok(secret.clone()));
    Source::ClientSecret { tenant: "a-tenant".to_owned(), client_id: "an-app".to_owned(), secret: read }
}

fn at_stub(stub: &Stub, source: Source) -> Entra {
    Entra::new(Settings { source, authority: Some(stub.url()), ca_pem: None }).unwrap()
}

fn granted(token: &str, life_s: u64) -> Reply {
    Reply::json(200, &json!({"token_type": "Bearer", "expires_in": life_s, "access_token": token}))
}

async fn hub(tokens: Tokens) -> Running {
    let seed = vec![Seed::parse("leaf").unwrap()];
    Emulator::start(ha_emulator::Options { seed, entra: tokens, ..Default::default() }).await.unwrap()
}

fn at_hub(hub: &Running, path: &str, source: Source) -> Entra {
    let authority = Some(format!("{}{path}", hub.https_url()));
    Entra::new(Settings { source, authority, ca_pem: Some(hub.ca_pem.clone().into()) }).unwrap()
}

fn client(hub: &Running, entra: Entra) -> Client {
    let options = Options { ca_pem: Some(hub.ca_pem.clone().into()), ..Options::default() };
    Client::with_entra(hub.https_url().trim_start_matches("https://"), entra, &options).unwrap()
}

/// Long enough never to matter.
fn call() -> Call {
    Call::within(Duration::from_secs(60))
}

#[tokio::test]
async fn an_application_with_a_secret_reads_a_twin() {
    let hub = hub(Tokens::default()).await;
    let entra = at_hub(&hub, "/_emulator/entra", client_secret(hub.control_token()));
    let twin = client(&hub, entra.clone()).twin("leaf", None, &call()).await.unwrap();
    assert_eq!(twin.device_id, "leaf");
    assert!(!entra.token(MANAGEMENT_SCOPE).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_machine_with_an_identity_reads_a_twin() {
    let principals = vec![Principal::parse("mine=IoT Hub Data Reader").unwrap()];
    let hub = hub(Tokens { instance_metadata: true, principals, ..Tokens::default() }).await;
    let managed = |client_id: Option<&str>| {
        client(&hub, at_hub(&hub, "", Source::Managed { client_id: client_id.map(str::to_owned) }))
    };
    assert_eq!(managed(Some("mine")).twin("leaf", None, &call()).await.unwrap().device_id, "leaf");
    let refused = managed(None).twin("leaf", None, &call()).await.unwrap_err();
    assert!(matches!(refused, Error::Unauthorised(_)), "{refused}");
}

#[tokio::test]
async fn a_wrong_secret_is_refused_and_not_repeated() {
    let hub = hub(Tokens::default()).await;
    let entra = at_hub(&hub, "/_emulator/entra", client_secret("a-guess"));
    let error = client(&hub, entra).twin("leaf", None, &call()).await.unwrap_err();
    let Error::NoToken { source, .. } = &error else { panic!("{error}") };
    assert!(!source.is_retryable() && !error.outcome_unknown());
    assert!(source.to_string().contains("AADSTS7000215"), "{source}");
    assert!(source.hint().contains("expired"));
    assert!(!format!("{error:?}{source:?}{source}").contains("a-guess"));
}

#[tokio::test]
async fn a_service_account_shows_its_token() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "an-assertion").unwrap();
    let stub = Stub::start([granted("t1", HOUR)]).await;
    let workload = |file: PathBuf| Source::Workload {
        tenant: Some("a-tenant".to_owned()),
        client_id: Some("an-app".to_owned()),
        token_file: Some(file),
    };
    assert_eq!(at_stub(&stub, workload(token_file)).token(HUB_SCOPE).await.unwrap(), Secret::new("t1"));
    let request = &stub.requests()[0];
    assert_eq!(request.line, "POST /a-tenant/oauth2/v2.0/token HTTP/1.1");
    assert!(request.body.contains("client_assertion=an-assertion"), "{}", request.body);
    let missing = at_stub(&stub, workload("/nowhere/token".into())).token(HUB_SCOPE).await.unwrap_err();
    assert!(missing.to_string().contains("/nowhere/token"), "{missing}");
}

#[tokio::test]
async fn one_request_serves_all_who_wait_and_later_callers() {
    let stub = Stub::start([granted("t1", HOUR)]).await;
    let entra = at_stub(&stub, client_secret("s"));
    let all = futures_util::future::join_all((0..20).map(|_| entra.token(HUB_SCOPE))).await;
    assert!(all.into_iter().all(|token| token.unwrap() == Secret::new("t1")));
    assert_eq!(entra.token(HUB_SCOPE).await.unwrap(), Secret::new("t1"));
    assert_eq!(stub.requests().len(), 1);
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_stop_the_request() {
    let stub = Stub::start([granted("t1", HOUR)]).await;
    let entra = at_stub(&stub, client_secret("s"));
    // Polled once: the request is under way, and nobody waits for it.
    assert!(futures_util::FutureExt::now_or_never(entra.token(HUB_SCOPE)).is_none());
    assert_eq!(entra.token(HUB_SCOPE).await.unwrap(), Secret::new("t1"));
    assert_eq!(stub.requests().len(), 1);
}

#[tokio::test]
async fn an_authority_in_trouble_is_no_refusal_and_concerns_one_scope() {
    let stub = Stub::start([Reply::json(503, &json!({"error_description": "busy"})), granted("t1", HOUR)]).await;
    let entra = at_stub(&stub, client_secret("s"));
    let first = entra.token(HUB_SCOPE).await.unwrap_err();
    assert!(first.is_retryable(), "{first}");
    assert_eq!(entra.token(MANAGEMENT_SCOPE).await.unwrap(), Secret::new("t1"), "each scope for itself");
}

#[tokio::test]
async fn an_authority_out_of_reach_is_no_refusal() {
    let nobody = Nobody::new();
    let authority = Some(nobody.url());
    let entra = Entra::new(Settings { source: client_secret("s"), authority, ca_pem: None }).unwrap();
    let error = entra.token(HUB_SCOPE).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_changed_secret_needs_no_restart() {
    let stub = Stub::start([granted("t1", 5), granted("t2", HOUR)]).await;
    let times = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&times);
    let secret = Arc::new(move || Ok(Secret::new(format!("secret-{}", counted.fetch_add(1, Ordering::SeqCst)))));
    let source = Source::ClientSecret { tenant: "t".to_owned(), client_id: "c".to_owned(), secret };
    let entra = at_stub(&stub, source);
    // Five seconds of life are too few to begin a call with.
    for (token, secret) in [("t1", "client_secret=secret-0"), ("t2", "client_secret=secret-1")] {
        assert_eq!(entra.token(HUB_SCOPE).await.unwrap(), Secret::new(token));
        assert!(stub.requests().last().unwrap().body.contains(secret));
    }
}

#[test]
fn authorities_off_this_machine_are_asked_over_https() {
    for (authority, taken) in [
        ("https://login.chinacloudapi.cn", true),
        ("http://127.0.0.1:8080", true),
        ("http://login.example", false),
        ("login.example", false),
    ] {
        let authority = Some(authority.to_owned());
        let made = Entra::new(Settings { source: client_secret("s"), authority: authority.clone(), ca_pem: None });
        assert_eq!(made.is_ok(), taken, "{authority:?}");
    }
}

#[tokio::test]
async fn a_token_is_asked_for_in_the_name_that_the_hubs_cloud_has_for_hubs() {
    for (cloud, name) in [
        (Cloud::Public, "iothubs.azure.net"),
        (Cloud::China, "iothubs.azure.net"),
        (Cloud::UsGovernment, "iothubs.azure.us"),
    ] {
        // The authority refuses, so nobody looks for the hub.
        let stub = Stub::start([Reply::json(400, &json!({"error": "invalid_client"}))]).await;
        let host = format!("my-hub{}", cloud.hub_suffix());
        let options = Options { cloud, ..Options::default() };
        let client = Client::with_entra(&host, at_stub(&stub, client_secret("s")), &options).unwrap();
        let error = client.twin("leaf", None, &call()).await.unwrap_err();
        assert!(matches!(error, Error::NoToken { .. }), "{error}");
        let asked = &stub.requests()[0].body;
        assert!(asked.contains(&format!("scope=https%3A%2F%2F{name}%2F.default")), "{asked}");
    }
}
