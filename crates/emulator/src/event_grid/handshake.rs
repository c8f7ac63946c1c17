//! The proof that a webhook wants events.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::schema::{Schema, validation};
use super::subscription::{State, Subscription};
use super::{EventGrid, EventSubscription};
use crate::hub::print_time;

/// Whom webhooks of the CloudEvents kind are asked to allow.
pub(super) const ORIGIN: &str = "eventgrid.azure.net";

const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Between two attempts, for subscriptions that exist from the start.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// An answer to a handshake is short.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What a webhook made of the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It sent the code back.
    Agreed,
    /// It took the question; somebody is to follow the url.
    Later,
    /// Neither.
    Failed(String),
}

impl EventGrid {
    /// Asks once.
    pub(super) async fn shake_hands(&self, subscription: &EventSubscription, code: &str) -> Answer {
        let Some(client) = self.webhooks.client() else {
            return Answer::Failed("no TLS".to_owned());
        };
        let asked = match subscription.schema {
            Schema::EventGrid => self.ask_event_grid(client, subscription, code).await,
            Schema::CloudEvents => self.ask_cloud_events(client, subscription).await,
        };
        asked.unwrap_or_else(|e| Answer::Failed(cause(e)))
    }

    /// Asks until the webhook agrees or the subscription ends.
    pub(super) async fn validate_for_ever(&self, subscription: &Arc<Subscription>) {
        let ask = async {
            loop {
                let code = uuid::Uuid::new_v4().to_string();
                match self.shake_hands(&subscription.described, &code).await {
                    Answer::Agreed => return subscription.set(State::Active),
                    Answer::Later => return subscription.set(State::awaiting(code)),
                    Answer::Failed(reason) => {
                        let name = &subscription.described.name;
                        tracing::warn!(subscription = name, reason, "the webhook was not validated; asking again");
                        subscription.lock().last_error = Some(reason);
                    }
                }
                tokio::time::sleep(ASK_AGAIN_AFTER.mul_f64(self.settings.scale)).await;
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = subscription.ended.cancelled() => {}
            () = ask => {}
        }
    }

    async fn ask_event_grid(
        &self,
        client: &reqwest::Client,
        subscription: &EventSubscription,
        code: &str,
    ) -> reqwest::Result<Answer> {
        let url = format!("{}/_emulator/event-grid/validate?id={code}", self.settings.base_url);
        let id = uuid::Uuid::new_v4().to_string();
        let body = validation(&self.settings.topic, &id, code, &url, &print_time(Timestamp::now()));
        let request = client
            .post(&subscription.url)
            .timeout(ANSWER_WITHIN)
            .header("aeg-event-type", "SubscriptionValidation")
            .header("aeg-subscription-name", subscription.name.to_ascii_uppercase())
            .header("aeg-delivery-count", "0")
            .json(&body);
        let mut response = self.with_token(request, subscription).send().await?;
        if response.status() != StatusCode::OK {
            return Ok(Answer::Failed(format!("it answered {}; 200 is expected", response.status())));
        }
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            answer.extend_from_slice(&chunk);
            if answer.len() > ANSWER_BYTES_MAX {
                return Ok(Answer::Failed("its answer is too long".to_owned()));
            }
        }
        Ok(match serde_json::from_slice::<Value>(&answer).ok().as_ref().and_then(|a| a.get("validationResponse")) {
            Some(given) if given == code => Answer::Agreed,
            Some(_) => Answer::Failed("validationResponse is not the code that was sent".to_owned()),
            None => Answer::Later,
        })
    }

    async fn ask_cloud_events(
        &self,
        client: &reqwest::Client,
        subscription: &EventSubscription,
    ) -> reqwest::Result<Answer> {
        let request = client.request(Method::OPTIONS, &subscription.url).timeout(ANSWER_WITHIN);
        let request = request.header("webhook-request-origin", ORIGIN);
        let response = self.with_token(request, subscription).send().await?;
        if response.status() != StatusCode::OK {
            return Ok(Answer::Failed(format!("it answered {} to OPTIONS; 200 is expected", response.status())));
        }
        let allowed = response.headers().get("webhook-allowed-origin").and_then(|value| value.to_str().ok());
        Ok(match allowed {
            Some("*") => Answer::Agreed,
            Some(origin) if origin.eq_ignore_ascii_case(ORIGIN) => Answer::Agreed,
            Some(_) => Answer::Failed(format!("WebHook-Allowed-Origin does not name {ORIGIN}")),
            None => Answer::Failed("it did not answer with WebHook-Allowed-Origin".to_owned()),
        })
    }
}

/// The innermost reason says most; urls may hold secrets and are left out.
pub(super) fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut inner: &dyn std::error::Error = &error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    if error.is_timeout() { "it did not answer in time".to_owned() } else { inner.to_string() }
}
