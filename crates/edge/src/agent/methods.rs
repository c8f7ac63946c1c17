//! The direct methods of `$edgeAgent`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::process::Processes;
use super::supervisor::Supervisor;
use crate::hub::Now;

/// What edgeAgent answers to, as its real one does.
const KNOWN: [&str; 6] =
    ["ping", "RestartModule", "GetModuleLogs", "UploadModuleLogs", "GetTaskStatus", "UploadSupportBundle"];
/// The whole answer of `GetModuleLogs`.
const LOG_BYTES_MAX: usize = 127_000;

type Answer = (i32, Value);

/// Carries a method out. Names are case-insensitive.
pub(super) fn call(now: Now, name: &str, payload: &[u8], supervisor: &mut Supervisor, processes: &Processes) -> Answer {
    match name.to_ascii_lowercase().as_str() {
        "ping" => (200, Value::Null),
        "restartmodule" => restart(now, payload, supervisor),
        "getmodulelogs" => logs(payload, supervisor, processes),
        "uploadmodulelogs" | "uploadsupportbundle" => {
            let message = "this stand-in has no way to a blob container; use GetModuleLogs";
            (200, json!({"status": "Failed", "message": message, "correlationId": ""}))
        }
        "gettaskstatus" => (200, json!({"status": "Unknown", "message": "there is no such task", "correlationId": ""})),
        _ => bad(format!("Method '{name}' is not registered. Known methods: {}", KNOWN.join(", "))),
    }
}

fn bad(message: impl Into<String>) -> Answer {
    (400, json!({ "message": message.into() }))
}

fn read<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, Answer> {
    serde_json::from_slice(payload).map_err(|error| bad(format!("the payload cannot be read: {error}")))
}

fn restart(now: Now, payload: &[u8], supervisor: &mut Supervisor) -> Answer {
    #[derive(Deserialize)]
    struct Request {
        id: String,
    }
    match read::<Request>(payload) {
        Ok(Request { id }) if supervisor.restart(now, &id) => (200, Value::Null),
        Ok(Request { id }) => bad(format!("there is no module {id}")),
        Err(answer) => answer,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogRequest {
    items: Vec<LogItem>,
    encoding: Option<String>,
    content_type: Option<String>,
}

#[derive(Deserialize)]
struct LogItem {
    id: String,
    #[serde(default)]
    filter: Filter,
}

#[derive(Default, Deserialize)]
struct Filter {
    tail: Option<usize>,
    since: Option<Value>,
    until: Option<Value>,
    loglevel: Option<Value>,
    regex: Option<Value>,
}

fn logs(payload: &[u8], supervisor: &Supervisor, processes: &Processes) -> Answer {
    let request = match read::<LogRequest>(payload) {
        Ok(request) => request,
        Err(answer) => return answer,
    };
    if request.encoding.as_deref().is_some_and(|encoding| encoding != "none") {
        return bad("this stand-in knows no encoding but none");
    }
    if request.content_type.as_deref().is_some_and(|kind| kind != "text") {
        return bad("this stand-in knows no content type but text");
    }
    let mut found = Vec::new();
    for LogItem { id, filter } in &request.items {
        let Filter { tail, since, until, loglevel, regex } = filter;
        if [since, until, loglevel, regex].into_iter().any(Option::is_some) {
            return bad("this stand-in knows no filter but tail");
        }
        for name in supervisor.names().filter(|name| fits(id, name)) {
            // What is longer than the whole answer may be is refused below.
            let log = processes.log(name, *tail, 4 * LOG_BYTES_MAX as u64).unwrap_or_default();
            found.push(json!({"id": name, "payload": log}));
        }
    }
    let answer = Value::Array(found);
    if answer.to_string().len() > LOG_BYTES_MAX {
        return bad(format!("the logs are longer than {LOG_BYTES_MAX} bytes; ask for fewer lines with tail"));
    }
    (200, answer)
}

/// The real one takes a regular expression; here `.*` stands for any run of characters and the rest for itself.
fn fits(pattern: &str, name: &str) -> bool {
    let pattern = pattern.trim_start_matches('^').trim_end_matches('$');
    match pattern.split_once(".*") {
        None => pattern == name,
        Some((head, rest)) => name.strip_prefix(head).is_some_and(|left| {
            (0..=left.len())
                .filter(|at| left.is_char_boundary(*at))
                .any(|at| fits(rest, &left[at..]) || rest.is_empty())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns_by_table() {
        for (pattern, name, expected) in [
            ("press", "press", true),
            ("press", "press2", false),
            (".*", "anything", true),
            ("^press.*$", "press2", true),
            ("press.*x", "press2x", true),
            ("press.*x", "press2", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
