//! The control API of events: subscriptions, and the tail.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::answer::{no_content, ok, problem, with_body};
use super::app::App;
use super::call::Call;
use crate::event_grid::{EventSubscription, NotMade};
use crate::events::Line;
use crate::hub::Kind;
use crate::shell::Shell;

const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// Whether a call under `/_emulator/v1/` is about events.
pub(super) fn is_ours(path: &[&str]) -> bool {
    matches!(path, [_, _, "event-subscriptions" | "tail", ..])
}

/// Carries out a call that was found to carry the control token.
pub(super) async fn control(app: &App, call: &Call) -> Response {
    let shell = &app.shell;
    let path = call.path();
    let grid = &shell.events.event_grid;
    match (call.method.as_str(), path.get(2..).unwrap_or_default()) {
        ("GET", ["tail"]) => tail(app, call),
        ("GET", ["event-subscriptions"]) => ok(&Value::Array(grid.list())),
        ("GET", ["event-subscriptions", name]) => grid.show(name).map_or_else(unknown, |shown| ok(&shown)),
        ("PUT", ["event-subscriptions", name]) => match described(call, name) {
            Err(reason) => problem(StatusCode::BAD_REQUEST, &reason),
            Ok(described) => match grid.put(described).await {
                Ok(shown) => {
                    shell.keep_subscriptions();
                    with_body(StatusCode::CREATED, &shown)
                }
                Err(e @ (NotMade::Invalid(_) | NotMade::NotValidated(_))) => {
                    problem(StatusCode::BAD_REQUEST, &e.to_string())
                }
            },
        },
        ("DELETE", ["event-subscriptions", name]) => {
            if grid.remove(name) {
                shell.keep_subscriptions();
                no_content()
            } else {
                unknown()
            }
        }
        _ => problem(StatusCode::NOT_FOUND, "no such control call"),
    }
}

/// Whether the call follows a validation url, which needs no token but its code.
pub(super) fn is_validation(path: &[&str]) -> bool {
    matches!(path, ["_emulator", "event-grid", "validate"])
}

/// Takes the code of a validation url.
pub(super) fn validate(shell: &Shell, call: &Call) -> Response {
    let code = call.parameter("id").unwrap_or_default();
    if shell.events.event_grid.validated_by_hand(code) {
        shell.keep_subscriptions();
        return ok(&json!("Webhook successfully validated as a subscription endpoint."));
    }
    problem(StatusCode::NOT_FOUND, "no subscription waits for this code; it is good for 10 minutes")
}

fn described(call: &Call, name: &str) -> Result<EventSubscription, String> {
    let mut described: EventSubscription = serde_json::from_slice(call.body()).map_err(|e| e.to_string())?;
    if !described.name.is_empty() && !described.name.eq_ignore_ascii_case(name) {
        return Err("the body names another subscription".to_owned());
    }
    name.clone_into(&mut described.name);
    Ok(described)
}

fn unknown() -> Response {
    problem(StatusCode::NOT_FOUND, "there is no such subscription")
}

/// What a reader of the tail wants to see.
#[derive(Debug)]
struct Filter {
    device: Option<String>,
    kinds: Vec<String>,
    endpoint: Option<String>,
}

impl Filter {
    fn read(call: &Call) -> Result<Self, String> {
        let own = |name: &str| call.parameter(name).filter(|value| !value.is_empty()).map(str::to_owned);
        let kinds: Vec<String> = own("kind").iter().flat_map(|kinds| kinds.split(',')).map(str::to_owned).collect();
        let known = Kind::ALL.map(Kind::name);
        match kinds.iter().find(|kind| !known.contains(&kind.as_str())) {
            Some(other) => Err(format!("'{other}' is no kind; there are {}", known.join(", "))),
            None => Ok(Self { device: own("device"), kinds, endpoint: own("endpoint") }),
        }
    }

    fn shows(&self, line: &Line) -> bool {
        let endpoint = |wanted: &String| line.endpoint.as_ref().is_some_and(|at| at.eq_ignore_ascii_case(wanted));
        self.device.as_ref().is_none_or(|device| *device == line.id.device)
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == line.kind.name()))
            && self.endpoint.as_ref().is_none_or(endpoint)
    }
}

/// One JSON object a line until the reader leaves or the hub stops. What came before the answer's head is not shown.
fn tail(app: &App, call: &Call) -> Response {
    let filter = match Filter::read(call) {
        Ok(filter) => filter,
        Err(reason) => return problem(StatusCode::BAD_REQUEST, &reason),
    };
    let lines = stream::unfold((app.shell.events.tail(), filter), |(mut receiver, filter)| async {
        let line = next(&mut receiver, &filter).await?;
        Some((Ok::<_, Infallible>(Bytes::from(format!("{line}\n"))), (receiver, filter)))
    });
    let mut response = Response::new(Body::from_stream(lines.take_until(app.stop.clone().cancelled_owned())));
    response.headers_mut().insert(CONTENT_TYPE, LINES);
    response
}

/// The next line to show. A reader that was too slow learns how many happenings it has missed.
async fn next(receiver: &mut Receiver<std::sync::Arc<Line>>, filter: &Filter) -> Option<Value> {
    loop {
        match receiver.recv().await {
            Ok(line) if filter.shows(&line) => return Some(line.json.clone()),
            Ok(_) => {}
            Err(RecvError::Lagged(missed)) => return Some(json!({"kind": "missed", "count": missed})),
            Err(RecvError::Closed) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::broadcast;

    use super::*;
    use crate::hub::Id;

    fn line(device: &str, kind: Kind, endpoint: Option<&str>) -> Arc<Line> {
        let json = json!(format!("{device} {}", kind.name()));
        Arc::new(Line { kind, id: Id::device(device), endpoint: endpoint.map(str::to_owned), json })
    }

    fn filter(device: Option<&str>, kinds: &[&str], endpoint: Option<&str>) -> Filter {
        let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        Filter { device: device.map(str::to_owned), kinds, endpoint: endpoint.map(str::to_owned) }
    }

    #[test]
    fn filters_by_table() {
        let sent = line("a", Kind::Telemetry, Some("events"));
        let lost = line("b", Kind::Twin, None);
        for (filter, shows_sent, shows_lost) in [
            (filter(None, &[], None), true, true),
            (filter(Some("a"), &[], None), true, false),
            (filter(None, &["twin", "connection"], None), false, true),
            (filter(None, &[], Some("EVENTS")), true, false),
            (filter(Some("a"), &["telemetry"], Some("other")), false, false),
        ] {
            assert_eq!((filter.shows(&sent), filter.shows(&lost)), (shows_sent, shows_lost), "{filter:?}");
        }
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_how_many_it_missed() {
        let (sender, mut receiver) = broadcast::channel(2);
        for device in ["a", "b", "c", "d", "e"] {
            sender.send(line(device, Kind::Twin, None)).expect("a reader");
        }
        drop(sender);
        let all = filter(None, &[], None);
        let mut seen = Vec::new();
        while let Some(line) = next(&mut receiver, &all).await {
            seen.push(line);
        }
        assert_eq!(seen, [json!({"kind": "missed", "count": 3}), json!("d twin"), json!("e twin")]);
    }
}
