//! The emulator as a token authority: what `login.microsoftonline.com` and the managed-identity endpoints answer.
//!
//! Every client id is accepted; its secret is the control token. What the client may do is decided where it uses the
//! token, by the principals of [`Options::entra`](crate::Options::entra).

use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::answer::{ok, with_body};
use super::app::ControlToken;
use super::call::Call;
use crate::access::{LIFETIME_S, TENANT, TokenRequest, issuer_url};
use crate::shell::Shell;

/// The client that a managed identity stands for when it is not named.
const MANAGED_IDENTITY: &str = "managed-identity";

/// Whether the path belongs to the authority.
pub(super) fn is_ours(path: &[&str]) -> bool {
    matches!(path, ["_emulator", "entra", ..] | ["msi", "token"] | ["metadata", "identity", "oauth2", "token"])
}

/// Answers as the authority.
pub(super) fn answer(shell: &Shell, call: &Call, control_token: &ControlToken) -> Response {
    let path = call.path();
    match (call.method.as_str(), &path[..]) {
        ("GET", [_, _, tenant, "v2.0", ".well-known", "openid-configuration"])
        | ("GET", [_, _, tenant, ".well-known", "openid-configuration"]) => ok(&configuration(call, tenant)),
        ("GET", [_, _, _, "discovery", "v2.0", "keys"]) => ok(shell.access().issuer().key_set()),
        ("POST", [_, _, tenant, "oauth2", "token"] | [_, _, tenant, "oauth2", "v2.0", "token"]) => {
            let granted = client_credentials(shell, call, tenant, control_token);
            granted.map_or_else(|problem| problem.response(), |answer| ok(&answer))
        }
        ("GET", ["msi", "token"]) => {
            let granted = app_service(shell, call, control_token);
            granted.map_or_else(|problem| problem.response(), |answer| ok(&answer))
        }
        ("GET", ["metadata", ..]) if shell.access().gives_instance_metadata() => {
            let granted = instance_metadata(shell, call);
            granted.map_or_else(|problem| problem.response(), |answer| ok(&answer))
        }
        _ => Problem::new(StatusCode::NOT_FOUND, "invalid_request", 90_002, "no such endpoint").response(),
    }
}

/// An error in Entra's manner.
struct Problem {
    status: StatusCode,
    error: &'static str,
    number: u32,
    text: String,
}

impl Problem {
    fn new(status: StatusCode, error: &'static str, number: u32, text: impl Into<String>) -> Self {
        Self { status, error, number, text: text.into() }
    }

    fn missing(parameter: &str) -> Self {
        let text = format!("The request must contain the parameter: '{parameter}'.");
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", 900_144, text)
    }

    fn response(&self) -> Response {
        let body = json!({
            "error": self.error,
            "error_description": format!("AADSTS{}: {}", self.number, self.text),
            "error_codes": [self.number],
            "timestamp": Timestamp::now().strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        });
        with_body(self.status, &body)
    }
}

fn configuration(call: &Call, tenant: &str) -> Value {
    let host = host(call);
    let base = format!("https://{host}/_emulator/entra/{tenant}");
    json!({
        "issuer": issuer_url(&host, tenant),
        "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
        "token_endpoint": format!("{base}/oauth2/v2.0/token"),
        "jwks_uri": format!("{base}/discovery/v2.0/keys"),
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
        "response_types_supported": ["code"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "scopes_supported": ["openid"],
    })
}

fn client_credentials(
    shell: &Shell,
    call: &Call,
    tenant: &str,
    control_token: &ControlToken,
) -> Result<Value, Problem> {
    let form = call.form();
    let field = |name: &str| {
        let found = form.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).ok_or_else(|| Problem::missing(name))
    };
    if field("grant_type")? != "client_credentials" {
        let text = "the emulator grants client_credentials only";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "unsupported_grant_type", 70_003, text));
    }
    let client_id = field("client_id")?;
    if !control_token.is(field("client_secret")?) {
        let text = format!("Invalid client secret provided for '{client_id}': it is the emulator's control token.");
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "invalid_client", 7_000_215, text));
    }
    let audience = match field("resource") {
        Ok(resource) => resource,
        Err(_) => audience_of(field("scope")?)?,
    };
    let request = TokenRequest { host: &host(call), tenant, client_id, audience };
    let token = mint(shell, &request)?;
    Ok(json!({
        "token_type": "Bearer",
        "expires_in": LIFETIME_S,
        "ext_expires_in": LIFETIME_S,
        "access_token": token,
    }))
}

/// Client credentials come with one scope, `{audience}/.default`.
fn audience_of(scope: &str) -> Result<&str, Problem> {
    let found = scope.split(' ').find_map(|one| one.strip_suffix("/.default"));
    found.ok_or_else(|| {
        let text = format!("The provided value for scope {scope} is not valid: it must end in /.default.");
        Problem::new(StatusCode::BAD_REQUEST, "invalid_scope", 1_002_012, text)
    })
}

/// As a virtual machine's metadata service answers: whoever can ask may have it.
fn instance_metadata(shell: &Shell, call: &Call) -> Result<Value, Problem> {
    if !call.header("metadata").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        let text = "Required metadata header not specified";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_request", 90_002, text));
    }
    let mut answer = managed_identity(shell, call)?;
    answer["expires_in"] = json!(LIFETIME_S.to_string());
    answer["ext_expires_in"] = json!(LIFETIME_S.to_string());
    answer["not_before"] = json!(Timestamp::now().as_second().to_string());
    Ok(answer)
}

/// As App Service and Functions answer at `IDENTITY_ENDPOINT`.
fn app_service(shell: &Shell, call: &Call, control_token: &ControlToken) -> Result<Value, Problem> {
    let secret = call.header("x-identity-header").unwrap_or_default();
    if !control_token.is(secret) {
        let text = "X-IDENTITY-HEADER is the emulator's control token.";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "invalid_client", 7_000_215, text));
    }
    managed_identity(shell, call)
}

fn managed_identity(shell: &Shell, call: &Call) -> Result<Value, Problem> {
    let resource = call.parameter("resource").ok_or_else(|| Problem::missing("resource"))?;
    let named = ["client_id", "principal_id", "object_id", "mi_res_id"];
    let client_id = named.iter().find_map(|name| call.parameter(name)).unwrap_or(MANAGED_IDENTITY);
    let request = TokenRequest { host: &host(call), tenant: TENANT, client_id, audience: resource };
    let token = mint(shell, &request)?;
    let expires = Timestamp::now().as_second() + LIFETIME_S;
    Ok(json!({
        "access_token": token,
        "expires_on": expires.to_string(),
        "resource": resource,
        "token_type": "Bearer",
        "client_id": client_id,
    }))
}

fn mint(shell: &Shell, request: &TokenRequest<'_>) -> Result<String, Problem> {
    shell.access().issuer().mint(request, Timestamp::now()).ok_or_else(|| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", 90_033, "the token could not be signed")
    })
}

/// The address the caller used, which goes into the token as its issuer's.
fn host(call: &Call) -> String {
    call.header("host").unwrap_or("localhost").to_ascii_lowercase()
}
