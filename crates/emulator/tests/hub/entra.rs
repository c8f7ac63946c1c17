//! Bearer tokens: the emulator's own authority, roles, and what a token may not do.

use iotedge_ha_emulator::{Emulator, Entra, Options, Principal, Running, Seed};
use reqwest::Method;
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::hub;

const HUB: &str = "https://iothubs.azure.net";

fn bearer(hub: &Running, client: &str, audience: &str) -> Backend {
    Backend::with_token(hub, format!("Bearer {}", hub.bearer_token(client, audience).expect("a token")))
}

async fn hub_with(principals: &[&str], disable_local_auth: bool) -> Running {
    let mut options = Options { seed: vec![Seed::parse("leaf").expect("a seed")], ..Options::default() };
    options.disable_local_auth = disable_local_auth;
    options.entra.principals = principals.iter().map(|text| Principal::parse(text).expect("a principal")).collect();
    Emulator::start(options).await.expect("a hub")
}

#[tokio::test]
async fn the_authority_grants_what_the_hub_takes() {
    let hub = hub().await;
    let anyone = Backend::with_token(&hub, String::new());
    let found = anyone.get("/_emulator/entra/my-tenant/v2.0/.well-known/openid-configuration").await;
    assert_eq!(found.status, 200);
    let base = format!("https://localhost:{}", hub.https_addr.port());
    let path = |url: &Value| url.as_str().and_then(|url| url.strip_prefix(&base)).expect("a URL of ours").to_owned();
    let keys = anyone.get(&path(&found.body["jwks_uri"])).await;
    assert_eq!((&keys.body["keys"][0]["kty"], keys.body["keys"][0].get("d")), (&json!("EC"), None));
    let token_path = path(&found.body["token_endpoint"]);
    let form = |secret: &str, scope: &str| {
        format!("grant_type=client_credentials&client_id=app&client_secret={secret}&scope={scope}")
    };
    let scope = "https%3A%2F%2Fiothubs.azure.net%2F.default";
    let granted = anyone.form(&token_path, form(hub.control_token(), scope)).await;
    assert_eq!((granted.status.as_u16(), &granted.body["token_type"]), (200, &json!("Bearer")));
    let token = granted.body["access_token"].as_str().expect("a token");
    let answer = Backend::with_token(&hub, format!("Bearer {token}")).get("/twins/leaf").await;
    assert_eq!(answer.status, 200);
    for (form, status, error) in [
        (form("guess", scope), 401, "invalid_client"),
        (form(hub.control_token(), "openid"), 400, "invalid_scope"),
        ("grant_type=password".to_owned(), 400, "unsupported_grant_type"),
        (String::new(), 400, "invalid_request"),
    ] {
        let refused = anyone.form(&token_path, form).await;
        assert_eq!((refused.status.as_u16(), refused.body["error"].as_str()), (status, Some(error)));
        assert!(!refused.body.to_string().contains(hub.control_token()));
    }
}

#[tokio::test]
async fn a_managed_identity_gets_a_token_for_its_secret() {
    let hub = hub().await;
    let anyone = Backend::with_token(&hub, String::new());
    let path = "/msi/token?resource=https%3A%2F%2Fiothubs.azure.net&api-version=2019-08-01";
    assert_eq!(anyone.get_with(path, "x-identity-header", "guess").await.status, 401);
    let granted = anyone.get_with(path, "x-identity-header", hub.control_token()).await;
    assert!(granted.body["expires_on"].as_str().is_some_and(|at| at.parse::<i64>().is_ok()));
    let token = granted.body["access_token"].as_str().expect("a token");
    assert_eq!(Backend::with_token(&hub, format!("Bearer {token}")).get("/twins/leaf").await.status, 200);
}

#[tokio::test]
async fn instance_metadata_is_given_only_where_it_was_asked_for() {
    let path = "/metadata/identity/oauth2/token?resource=https%3A%2F%2Fiothubs.azure.net&api-version=2018-02-01";
    let plain = hub().await;
    assert_eq!(Backend::with_token(&plain, String::new()).get_with(path, "metadata", "true").await.status, 404);
    let entra = Entra { instance_metadata: true, ..Entra::default() };
    let seed = vec![Seed::parse("leaf").expect("a seed")];
    let hub = Emulator::start(Options { entra, seed, ..Options::default() }).await.expect("a hub");
    let anyone = Backend::with_token(&hub, String::new());
    assert_eq!(anyone.get_with(path, "metadata", "no").await.status, 400);
    let granted = anyone.get_with(path, "metadata", "true").await;
    for name in ["expires_in", "expires_on", "not_before", "resource", "token_type"] {
        assert!(granted.body[name].is_string(), "{name}");
    }
    let token = granted.body["access_token"].as_str().expect("a token");
    assert_eq!(Backend::with_token(&hub, format!("Bearer {token}")).get("/twins/leaf").await.status, 200);
}

#[tokio::test]
async fn roles_decide_what_a_principal_may_do() {
    let hub = hub_with(&["reader=IoT Hub Data Reader", "owner=Owner"], false).await;
    for (client, method, path, status) in [
        ("reader", Method::GET, "/twins/leaf", 200),
        ("reader", Method::GET, "/devices/leaf", 200),
        ("reader", Method::PATCH, "/twins/leaf", 401),
        ("owner", Method::GET, "/twins/leaf", 401),
        ("stranger", Method::GET, "/twins/leaf", 401),
    ] {
        let answer = bearer(&hub, client, HUB).call(method.clone(), path, None, None).await;
        assert_eq!(answer.status, status, "{client} {method} {path}");
        if status == 401 {
            assert_eq!(answer.error_code(), "IotHubUnauthorized");
            let text = format!("Principal {client} is not authorized for {method} on {path} due to no assigned");
            assert!(answer.body["Message"].as_str().is_some_and(|message| message.contains(&text)), "{}", answer.body);
        }
    }
    let elsewhere = bearer(&hub, "reader", "https://management.azure.com/").get("/twins/leaf").await;
    assert_eq!((elsewhere.status.as_u16(), elsewhere.error_code()), (401, "IotHubUnauthorizedAccess"));
}

#[tokio::test]
async fn a_hub_without_local_auth_takes_tokens_only() {
    let hub = hub_with(&[], true).await;
    assert_eq!(Backend::new(&hub).get("/twins/leaf").await.status, 401);
    assert_eq!(bearer(&hub, "app", HUB).get("/twins/leaf").await.status, 200);
}

#[tokio::test]
async fn modules_of_a_missing_device_are_not_found_under_a_token() {
    let hub = hub().await;
    for (backend, status, code) in
        [(Backend::new(&hub), 401, "IotHubUnauthorizedAccess"), (bearer(&hub, "app", HUB), 404, "DeviceNotFound")]
    {
        let answer = backend.get("/devices/nobody/modules/m").await;
        assert_eq!((answer.status.as_u16(), answer.error_code()), (status, code));
    }
}

#[tokio::test]
async fn devices_take_no_bearer_tokens() {
    let hub = hub().await;
    let answer = bearer(&hub, "app", HUB).post("/devices/leaf/messages/events", json!({})).await;
    assert_eq!(answer.status, 401);
}
