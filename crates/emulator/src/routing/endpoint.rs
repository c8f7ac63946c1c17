//! Custom endpoints that lead somewhere on this machine: files and webhooks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::webhook::Webhooks;

/// Messages that may wait for an endpoint.
const WAITING_MAX: usize = 1024;
/// Waits between the attempts to reach a webhook; then the message is given up.
const RETRIES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(10)];
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Where the messages for a custom endpoint are to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The endpoint's name in routes.
    pub name: String,
    /// What is behind it here.
    pub sink: Sink,
}

/// What is behind an endpoint. Every endpoint can be followed with the tail besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// One JSON object a line, appended.
    File(PathBuf),
    /// One POST with a JSON object for each message.
    Webhook(String),
}

impl Endpoint {
    /// Reads `name=path` or `name=http…`.
    ///
    /// # Errors
    /// When a part is missing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, target) = text.split_once('=').unwrap_or_default();
        if name.is_empty() || target.is_empty() {
            return Err(format!("'{text}' is not NAME=FILE or NAME=URL"));
        }
        let is_url = target.starts_with("http://") || target.starts_with("https://");
        let sink = if is_url { Sink::Webhook(target.to_owned()) } else { Sink::File(target.into()) };
        Ok(Self { name: name.to_owned(), sink })
    }
}

impl Sink {
    /// A file that cannot be written is better known at the start than when the first message is lost.
    fn check(&self) -> Result<(), String> {
        let Self::File(path) = self else {
            return Ok(());
        };
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
        opened.map(drop).map_err(|e| format!("cannot write {}: {e}", path.display()))
    }
}

/// The endpoints that lead somewhere, each with a task of its own.
#[derive(Debug, Default)]
pub(crate) struct Endpoints(BTreeMap<String, Outlet>);

#[derive(Debug)]
struct Outlet {
    name: String,
    lines: mpsc::Sender<Arc<str>>,
    health: Arc<Mutex<Health>>,
}

/// How sending has gone.
#[derive(Debug, Default)]
struct Health {
    dropped: u64,
    tried: Option<Timestamp>,
    succeeded: Option<Timestamp>,
    failed: Option<(Timestamp, String)>,
}

impl Endpoints {
    /// Opens an outlet for each endpoint.
    ///
    /// # Errors
    /// When two have one name, a file cannot be written, or webhooks cannot be called at all.
    pub(crate) fn open(
        endpoints: &[Endpoint],
        webhooks: &Webhooks,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, String> {
        let mut open = BTreeMap::new();
        for endpoint in endpoints {
            endpoint.sink.check().map_err(|reason| format!("endpoint {}: {reason}", endpoint.name))?;
            let (lines, waiting) = mpsc::channel(WAITING_MAX);
            let health = Arc::<Mutex<Health>>::default();
            let writer =
                Writer { name: endpoint.name.clone(), waiting, health: Arc::clone(&health), stop: stop.clone() };
            match &endpoint.sink {
                Sink::File(path) => tasks.spawn(writer.append(path.clone())),
                Sink::Webhook(url) => {
                    let client = webhooks.client().ok_or("webhooks cannot be called: no TLS")?;
                    tasks.spawn(writer.post(client.clone(), url.clone()))
                }
            };
            let outlet = Outlet { name: endpoint.name.clone(), lines, health };
            if open.insert(endpoint.name.to_ascii_lowercase(), outlet).is_some() {
                return Err(format!("endpoint {} is given twice; names differ in more than case", endpoint.name));
            }
        }
        Ok(Self(open))
    }

    /// Names of all endpoints with an outlet.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.values().map(|outlet| outlet.name.clone()).collect()
    }

    /// Hands a message over; an outlet that does not keep up loses it, and counts.
    pub(crate) fn send(&self, endpoint: &str, line: &Value) {
        let Some(outlet) = self.0.get(&endpoint.to_ascii_lowercase()) else {
            return;
        };
        if outlet.lines.try_send(line.to_string().into()).is_err() {
            lock(&outlet.health).dropped += 1;
        }
    }

    /// `routingEndpointsHealth`, for these names: what has no outlet is `unknown` for ever.
    pub(crate) fn health(&self, names: &[String]) -> Vec<Value> {
        let show = |name: &String| match self.0.get(&name.to_ascii_lowercase()) {
            Some(outlet) => lock(&outlet.health).show(name),
            None => json!({"endpointId": name, "healthStatus": "unknown"}),
        };
        names.iter().map(show).collect()
    }
}

impl Health {
    fn show(&self, name: &str) -> Value {
        let failing = match (&self.failed, self.succeeded) {
            (Some((failed, _)), Some(succeeded)) => *failed > succeeded,
            (failed, _) => failed.is_some(),
        };
        let status = match (failing, self.tried, self.dropped) {
            (_, None, _) => "unknown",
            (true, _, 0) => "unhealthy",
            (true, _, _) => "dead",
            (false, _, _) => "healthy",
        };
        let mut out = json!({"endpointId": name, "healthStatus": status});
        if let Some((at, reason)) = &self.failed {
            out["lastKnownError"] = json!(reason);
            out["lastKnownErrorTime"] = json!(rfc1123(*at));
        }
        for (key, at) in [("lastSuccessfulSendAttemptTime", self.succeeded), ("lastSendAttemptTime", self.tried)] {
            if let Some(at) = at {
                out[key] = json!(rfc1123(at));
            }
        }
        out
    }
}

struct Writer {
    name: String,
    waiting: mpsc::Receiver<Arc<str>>,
    health: Arc<Mutex<Health>>,
    stop: CancellationToken,
}

impl Writer {
    async fn append(mut self, path: PathBuf) {
        while let Some(first) = self.next().await {
            let mut block = format!("{first}\n");
            while let Ok(line) = self.waiting.try_recv() {
                block += &line;
                block.push('\n');
            }
            let written = async {
                let mut file = tokio::fs::OpenOptions::new().create(true).append(true).open(&path).await?;
                file.write_all(block.as_bytes()).await?;
                file.flush().await
            };
            let written = written.await.map_err(|e: std::io::Error| e.to_string());
            let lines = u64::try_from(block.lines().count()).unwrap_or(u64::MAX);
            self.note(lines, written);
        }
    }

    async fn post(mut self, client: reqwest::Client, url: String) {
        while let Some(line) = self.next().await {
            let mut waits = RETRIES.iter();
            loop {
                let request = client.post(&url).header("content-type", "application/json; charset=utf-8");
                let sent = request.timeout(ANSWER_WITHIN).body(line.to_string()).send().await;
                let outcome = match sent {
                    Ok(answer) if answer.status().is_success() => Ok(()),
                    Ok(answer) => Err(format!("answered {}", answer.status())),
                    Err(e) => Err(e.without_url().to_string()),
                };
                let wait = if outcome.is_ok() { None } else { waits.next() };
                let failed = outcome.is_err();
                self.note(u64::from(!failed || wait.is_none()), outcome);
                let Some(wait) = wait else {
                    break;
                };
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    () = tokio::time::sleep(*wait) => {}
                }
            }
        }
    }

    /// What came before the stop is still handed out.
    async fn next(&mut self) -> Option<Arc<str>> {
        tokio::select! {
            biased;
            line = self.waiting.recv() => line,
            () = self.stop.cancelled() => None,
        }
    }

    /// `count` messages have been settled, well or not.
    fn note(&self, count: u64, outcome: Result<(), String>) {
        let now = Timestamp::now();
        let mut health = lock(&self.health);
        health.tried = Some(now);
        match outcome {
            Ok(()) => {
                health.succeeded = Some(now);
            }
            Err(reason) => {
                tracing::warn!(endpoint = self.name, reason, "a routed message was not delivered");
                health.dropped += count;
                health.failed = Some((now, reason));
            }
        }
    }
}

fn rfc1123(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn lock(health: &Mutex<Health>) -> std::sync::MutexGuard<'_, Health> {
    health.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_by_example() {
        let endpoint = |name: &str, sink| Ok(Endpoint { name: name.into(), sink });
        assert_eq!(Endpoint::parse("hot=/tmp/a=b.jsonl"), endpoint("hot", Sink::File("/tmp/a=b.jsonl".into())));
        assert_eq!(Endpoint::parse("w=http://x/y"), endpoint("w", Sink::Webhook("http://x/y".into())));
        assert!(Endpoint::parse("=x").is_err() && Endpoint::parse("x").is_err() && Endpoint::parse("x=").is_err());
    }
}
