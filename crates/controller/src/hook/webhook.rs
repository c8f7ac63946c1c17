use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use reqwest::{Response, StatusCode, Url};

use super::event::CloudEvent;
use super::{Answer, Failed, tamed};
use crate::config::WebhookConfig;
use crate::hub::chain;

/// So much of an answer is read, in bytes: room for a reason.
const BODY_MAX: usize = 4_096;

/// Sends one event. Everything is read from its place anew, so that secrets can be changed while we run.
pub(super) async fn call(config: &WebhookConfig, time: Duration, event: &CloudEvent) -> Result<Answer, Failed> {
    let sent = async {
        let address = address(config)?;
        let host = address.host_str().unwrap_or_default().to_owned();
        let (client, body) = (client(config, &host)?, serde_json::to_vec(event).unwrap_or_default());
        let mut request = client.post(address).header(CONTENT_TYPE, "application/cloudevents+json; charset=utf-8");
        if let Some((name, value)) = secret(config)? {
            request = request.header(name, value);
        }
        let response = request.body(body).send().await.map_err(|e| {
            // An address may hold a secret, and the client likes to repeat it.
            Failed::Passing(format!("{host} cannot be reached: {}", chain(&e.without_url())))
        })?;
        judge(response, &host).await
    };
    let late = || Failed::Passing(format!("no answer within {} ms", time.as_millis()));
    tokio::time::timeout(time, sent).await.unwrap_or_else(|_| Err(late()))
}

/// Whether everything that a call needs can be read.
pub(super) fn look(config: &WebhookConfig) -> Result<(), Failed> {
    let host = address(config)?.host_str().unwrap_or_default().to_owned();
    secret(config)?;
    client(config, &host).map(drop)
}

/// Whether events may be sent there; why not, and what to try.
pub(crate) fn check_address(address: &str) -> Result<Url, (String, &'static str)> {
    let hint = "such as https://hooks.example.com/ha; http is for receivers on this machine";
    let parsed = Url::parse(address).map_err(|e| (format!("this is no address: {e}"), hint))?;
    let host = parsed.host_str().unwrap_or_default();
    match parsed.scheme() {
        _ if host.is_empty() => Err(("this address names no host".to_owned(), hint)),
        "https" => Ok(parsed),
        "http" if is_loopback(host) => Ok(parsed),
        "http" => Err(("events would be sent unencrypted".to_owned(), hint)),
        scheme => Err((format!("{scheme} is no way to send events"), hint)),
    }
}

pub(crate) fn is_header_name(name: &str) -> bool {
    HeaderName::from_bytes(name.as_bytes()).is_ok()
}

fn is_loopback(host: &str) -> bool {
    matches!(host, "localhost" | "[::1]") || host.starts_with("127.")
}

fn address(config: &WebhookConfig) -> Result<Url, Failed> {
    let text = config.address.read().map_err(|e| Failed::Lasting(e.to_string()))?;
    check_address(&text).map_err(|(reason, _)| Failed::Lasting(reason))
}

fn secret(config: &WebhookConfig) -> Result<Option<(HeaderName, HeaderValue)>, Failed> {
    let Some(header) = &config.secret else { return Ok(None) };
    let text = header.place.read("secret").map_err(|e| Failed::Lasting(e.to_string()))?;
    let name = HeaderName::from_bytes(header.name.as_bytes());
    let unfit = || Failed::Lasting(format!("what {} holds cannot stand in a header", header.place));
    let mut value = HeaderValue::from_str(&text).map_err(|_| unfit())?;
    value.set_sensitive(true);
    Ok(Some((name.map_err(|_| unfit())?, value)))
}

fn client(config: &WebhookConfig, host: &str) -> Result<reqwest::Client, Failed> {
    // Fails only when a provider is installed already, which is just as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("iotedge-ha/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never());
    if let Some(path) = &config.ca_file {
        let bad = |why: String| Failed::Lasting(format!("the certificates in {}: {why}", path.display()));
        let pem = std::fs::read(path).map_err(|e| bad(e.to_string()))?;
        let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| bad(chain(&e)))?;
        builder = builder.tls_certs_only(roots);
    }
    if is_loopback(host) {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|e| Failed::Lasting(format!("TLS cannot be set up: {}", chain(&e))))
}

async fn judge(response: Response, host: &str) -> Result<Answer, Failed> {
    let status = response.status();
    if status.is_success() {
        return Ok(Answer::Yes);
    }
    if status == StatusCode::CONFLICT {
        return Ok(Answer::No(reason(response).await));
    }
    let said = format!("{host} answered {status}");
    if status.is_redirection() {
        let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| Url::parse(to).ok());
        let to = to.as_ref().and_then(Url::host_str).unwrap_or("elsewhere").to_owned();
        return Err(Failed::Lasting(format!("{said}, a redirect to {}, which is not followed", tamed(&to))));
    }
    let passing =
        status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    Err(if passing { Failed::Passing(said) } else { Failed::Lasting(said) })
}

/// Why a receiver says no: `reason` of a JSON body, or its first line.
async fn reason(mut response: Response) -> String {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk[..chunk.len().min(BODY_MAX - body.len())]);
        if body.len() == BODY_MAX {
            break;
        }
    }
    let parsed = serde_json::from_slice::<serde_json::Value>(&body).ok();
    let given = parsed.as_ref().and_then(|json| json["reason"].as_str()).map(str::to_owned);
    let said = tamed(&given.unwrap_or_else(|| String::from_utf8_lossy(&body).into_owned()));
    if said.is_empty() { "no reason given".to_owned() } else { said }
}
